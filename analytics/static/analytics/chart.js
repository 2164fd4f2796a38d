// Draws each chart from the numbers that stand in the page. Colours are the style sheet's own variables,
// words come from the page.
"use strict";

const tip = document.getElementById("chart-tip");
const rest = (frame) =>
  frame.scrollWidth > frame.clientWidth ? `${tip.dataset.tip} ${tip.dataset.scroll}` : tip.dataset.tip;

async function draw(element) {
  const frame = element.closest(".chart-frame");
  const spec = JSON.parse(document.getElementById(element.dataset.spec).textContent);
  await window.vegaEmbed(element, spec, {
    actions: false,
    renderer: "svg",
    ast: true,
    defaultStyle: false,
    // Vega's own tooltip injects a style element, which the content security policy forbids.
    tooltip: (handler, event, item, value) => {
      tip.textContent = value ? String(value) : rest(frame);
    },
  });
  // To the latest session; where reading goes from right to left, the way to it is counted down from 0.
  frame.scrollLeft = document.dir === "rtl" ? -frame.scrollWidth : frame.scrollWidth;
  tip.textContent = rest(frame);
  element.dataset.ready = "yes";
}

document.querySelectorAll(".vega-chart").forEach((element) => {
  draw(element).catch((error) => {
    element.dataset.ready = "failed";
    element.textContent = tip.dataset.failed;
    console.error(error);
  });
});
