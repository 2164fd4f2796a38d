// Typing in a sheet: one key for each answer, and on to the next. Also the button that prints one.
"use strict";

(() => {
  for (const button of document.querySelectorAll("[data-print]")) {
    button.hidden = false;
    button.addEventListener("click", () => window.print());
  }

  const answers = [...document.querySelectorAll("input.one-digit")];
  const longest = Math.max(0, ...answers.map((input) => Number(input.dataset.digits ?? 1)));
  answers.forEach((input, place) => {
    const next = answers[place + 1];
    input.addEventListener("focus", () => input.select());
    input.addEventListener("input", () => {
      if (next && (input.value === "-" || input.value.length >= longest)) next.focus();
    });
    input.addEventListener("keydown", (event) => {
      const to = { ArrowDown: next, Enter: next, ArrowUp: answers[place - 1] }[event.key];
      if (!to) return;
      event.preventDefault();
      to.focus();
    });
  });
})();
