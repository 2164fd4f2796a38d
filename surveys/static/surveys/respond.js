// Saves each answer as it is given. Without this script the form works by its Send button alone.
// Answers live in the page only; nothing is written into the browser's storage.
"use strict";

(() => {
  const form = document.getElementById("questionnaire");
  const saved = document.getElementById("saved");
  const count = document.getElementById("n-answered");
  const leftOut = document.getElementById("left-out");
  const unsaved = new Map();
  const LONGEST_WAIT = 300;
  let wait = 1;
  let timer = null;
  let isSaving = false;
  let isLeaving = false;
  let isRefused = false;
  let isHeldBack = false;

  const show = (text, isWarning) => {
    saved.textContent = text;
    saved.toggleAttribute("data-unsaved", isWarning);
  };

  const showCount = () => {
    const chosen = [...form.querySelectorAll('input[name^="item_"]:checked')];
    const left = chosen.filter((input) => input.value === form.dataset.preferNot).length;
    count.textContent = String(chosen.length - left + Number(form.dataset.elsewhere));
    leftOut.hidden = !left;
    document.getElementById("n-left-out").textContent = String(left);
  };

  const clock = () => new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });

  const retry = () => {
    if (!isHeldBack) show("Not saved yet – keep this page open", true);
    clearTimeout(timer);
    timer = setTimeout(save, wait * 1000);
    wait = Math.min(wait * 2, LONGEST_WAIT);
  };

  const settle = (batch, response) => {
    if (response.ok) {
      // An answer that was changed while it travelled stays in the list.
      batch.forEach((value, name) => unsaved.get(name) === value && unsaved.delete(name));
      wait = 1;
      isHeldBack = false;
      show(unsaved.size ? "Saving …" : `Saved ${clock()}`, false);
      if (unsaved.size) save();
    } else if (response.status >= 500 || response.status === 429) {
      retry();
    } else {
      isRefused = true;
      // 403: somebody signed in beside this page. Sending still works, reloading would lose what is open.
      const advice = response.status === 403 ? "send it from this page" : "reload this page to see why";
      show(`Not saved – ${advice}`, true);
    }
  };

  async function save() {
    if (isSaving || isRefused || !unsaved.size) return;
    isSaving = true;
    const batch = new Map(unsaved);
    const body = new URLSearchParams([...batch]);
    const token = form.elements.namedItem("csrfmiddlewaretoken").value;
    let response = null;
    try {
      response = await fetch(form.dataset.answers, {
        method: "POST",
        body,
        headers: { "X-CSRFToken": token },
        credentials: "same-origin",
        signal: AbortSignal.timeout(10000),
      });
    } catch {
      response = null;
    }
    isSaving = false;
    if (response) settle(batch, response);
    else retry();
  }

  form.addEventListener("change", (event) => {
    const { name, value } = event.target;
    if (!name.startsWith("item_")) return;
    unsaved.set(name, value);
    showCount();
    clearTimeout(timer);
    save();
  });

  // Sending without a connection would put the browser's own error page in place of the answers.
  form.addEventListener("submit", (event) => {
    if (navigator.onLine) {
      isLeaving = true;
      return;
    }
    event.preventDefault();
    isHeldBack = true;
    show("No connection – not sent yet. Try again in a moment", true);
  });

  window.addEventListener("online", () => {
    if (isHeldBack && !unsaved.size) show("The connection is back", false);
    isHeldBack = false;
    save();
  });

  window.addEventListener("beforeunload", (event) => {
    if (unsaved.size && !isLeaving) event.preventDefault();
  });

  // A page that comes back from the browser's memory may belong to somebody who has left the device.
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) window.location.reload();
    isLeaving = false;
  });

  // What the browser itself ticked again, after a reload for example, is shown and so must be kept.
  form.querySelectorAll('input[name^="item_"]:checked').forEach((input) => {
    if (!input.defaultChecked) unsaved.set(input.name, input.value);
  });
  showCount();
  save();
  document.getElementById("open")?.focus();
})();
