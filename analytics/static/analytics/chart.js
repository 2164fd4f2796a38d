// Draws each chart from the numbers that stand in the page. Colours are the style sheet's own variables.
"use strict";

// Vega's own tooltip injects a style element, which the content security policy forbids.
const tooltip = (handler, event, item, value) => {
  const box = document.getElementById("chart-tip");
  box.textContent = value ? Object.values(value).join(" ") : box.dataset.rest;
};

async function draw(element) {
  const spec = JSON.parse(document.getElementById(element.dataset.spec).textContent);
  await window.vegaEmbed(element, spec, {
    actions: false,
    renderer: "svg",
    ast: true,
    defaultStyle: false,
    tooltip,
  });
  element.dataset.ready = "yes";
}

document.querySelectorAll(".vega-chart").forEach((element) => {
  draw(element).catch((error) => {
    element.dataset.ready = "failed";
    element.textContent = "The chart could not be drawn here. The table below has the same numbers.";
    console.error(error);
  });
});
