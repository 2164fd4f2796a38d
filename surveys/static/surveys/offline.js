// Goes back to the form by itself once the clinic's computer answers again.
"use strict";

(() => {
  const LONGEST_WAIT = 60;
  const own = new URL(document.currentScript.dataset.page, window.location).pathname;
  let wait = 1;
  let timer = null;

  const look = async () => {
    try {
      const answer = await fetch(window.location.href, { method: "HEAD", cache: "no-store" });
      if (answer.status < 500 && answer.status !== 429) {
        window.location.reload();
        return;
      }
    } catch {
      // Still no connection.
    }
    wait = Math.min(wait * 2, LONGEST_WAIT);
    later();
  };

  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(look, wait * 1000);
  };

  // Opened at its own address the page stands for no form.
  if (window.location.pathname === own) return;
  window.addEventListener("online", () => {
    wait = 1;
    later();
  });
  later();
})();
