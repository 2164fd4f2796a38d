// A second tap on a button of a form, while the answer to the first is on its way, is the same press: two taps
// would enter two patients. Later it is a press of its own, for a first one that got lost.
"use strict";

(() => {
  const SAME_PRESS = 3000;
  const sentAt = new WeakMap();

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.method !== "post") return;
    if (event.timeStamp - (sentAt.get(form) ?? -Infinity) < SAME_PRESS) event.preventDefault();
    else sentAt.set(form, event.timeStamp);
  });

  // Back on a page that the browser kept, nothing is on its way.
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) for (const form of document.forms) sentAt.delete(form);
  });
})();
