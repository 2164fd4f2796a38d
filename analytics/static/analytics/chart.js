// Draws each chart from the numbers that stand in the page. Colours are the style sheet's own variables,
// words come from the page.
"use strict";

(() => {
  const draw = async (element) => {
    const frame = element.closest(".chart-frame");
    const tip = element.closest("figure").querySelector(".chart-tip");
    const rest = () => (frame.scrollWidth > frame.clientWidth ? `${tip.dataset.tip} ${tip.dataset.scroll}` : tip.dataset.tip);
    const spec = JSON.parse(document.getElementById(element.dataset.spec).textContent);
    await window.vegaEmbed(element, spec, {
      actions: false,
      renderer: "svg",
      ast: true,
      defaultStyle: false,
      // Vega's own tooltip injects a style element, which the content security policy forbids.
      tooltip: (handler, event, item, value) => {
        tip.textContent = value ? String(value) : rest();
      },
    });
    // To the latest session; where reading goes from right to left, the way to it is counted down from 0.
    frame.scrollLeft = document.dir === "rtl" ? -frame.scrollWidth : frame.scrollWidth;
    tip.textContent = rest();
    element.dataset.ready = "yes";
  };

  const drawAll = (root) => {
    root.querySelectorAll(".vega-chart:not([data-ready])").forEach((element) => {
      draw(element).catch((error) => {
        element.dataset.ready = "failed";
        element.textContent = element.closest("figure").querySelector(".chart-tip").dataset.failed;
        console.error(error);
      });
    });
  };

  drawAll(document);
  // Another rater, scale or coding of time was chosen.
  document.body.addEventListener("htmx:afterSwap", () => drawAll(document));
  // A job's result came in beside its panel.
  document.body.addEventListener("htmx:oobAfterSwap", () => drawAll(document));
})();
