// A tablet of the clinic goes back to its lock page after a while without a touch, and shows no page again that
// the browser still had in its memory. Without this script the page has a refresh of its own.
"use strict";

(() => {
  const { lock, warn, idle } = document.currentScript.dataset;
  const warning = document.getElementById("still-there");
  let last = Date.now();
  let isOver = false;

  // What is on the screen goes first: the clinic's computer may be slow to answer, or away.
  const over = () => {
    if (isOver) return;
    isOver = true;
    document.body.replaceChildren();
    window.location.replace(lock);
  };

  const look = () => {
    const seconds = (Date.now() - last) / 1000;
    if (seconds >= Number(idle)) over();
    else if (warning && !warning.open && seconds >= Number(warn)) warning.showModal();
  };

  const touched = (event) => {
    last = Date.now();
    if (!warning?.open) return;
    // The touch that says "I am here" answers nothing.
    if (event.type === "keydown") event.preventDefault();
    if (event.type === "keydown" || event.type === "click") warning.close();
  };

  for (const kind of ["pointerdown", "click", "keydown", "input", "wheel", "touchmove"]) {
    window.addEventListener(kind, touched, { capture: true, passive: kind !== "keydown" });
  }
  // A question "Leave this page?" would keep the form on the screen.
  window.addEventListener("beforeunload", (event) => isOver && event.stopImmediatePropagation(), { capture: true });
  window.addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    document.body.replaceChildren();
    window.location.reload();
  });
  document.addEventListener("visibilitychange", look);
  setInterval(look, 1000);
})();
