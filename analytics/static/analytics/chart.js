// Draws each chart from the numbers that stand in the page. Colours are the style sheet's own variables.
"use strict";

const tip = document.getElementById("chart-tip");
const rest = (frame) =>
  frame.scrollWidth > frame.clientWidth
    ? "Tap or point at a mark to read it. Scroll the chart to the left for earlier sessions."
    : "Tap or point at a mark to read it.";

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
  frame.scrollLeft = frame.scrollWidth;
  tip.textContent = rest(frame);
  element.dataset.ready = "yes";
}

document.querySelectorAll(".vega-chart").forEach((element) => {
  draw(element).catch((error) => {
    element.dataset.ready = "failed";
    element.textContent = "The chart could not be drawn here. The table below has the same numbers.";
    console.error(error);
  });
});
