// A form that is sent after the session has ended leads to the sign-in, and what was typed would be gone. What a
// form marked data-keep was sent with stays in this tab, under its address and its user, from the press of its
// button until the server took it; after the sign-in it is back in the form. Nobody else's sign-in finds it, and
// signing out forgets it.
"use strict";

(() => {
  const LIFE = 12 * 3600 * 1000;
  const PREFIX = "unsent ";
  const { who, back, waiting, signOut } = document.currentScript.dataset;
  const channel = new BroadcastChannel("unsent");
  const NEVER = ["hidden", "password", "file", "submit", "button"];

  const fieldsOf = (form) => [...form.elements].filter((field) => field.name && !NEVER.includes(field.type));
  const isChoice = (field) => ["radio", "checkbox"].includes(field.type);
  const addressOf = (form) => new URL(form.getAttribute("action") || "", window.location).pathname;
  const placeOf = (form) => PREFIX + addressOf(form);
  const places = () => Object.keys(sessionStorage).filter((name) => name.startsWith(PREFIX));
  const forget = () => places().forEach((place) => sessionStorage.removeItem(place));

  const keep = (place, record) => {
    try {
      sessionStorage.setItem(place, JSON.stringify(record));
    } catch {
      // A tab without room: the form is sent as without this script.
    }
  };

  const say = (words, before) => {
    const notice = document.createElement("p");
    notice.className = "notice";
    notice.setAttribute("role", "status");
    notice.textContent = words;
    before?.before(notice);
  };

  const putBack = (form, typed) => {
    const free = fieldsOf(form);
    for (const [name, value, isChecked] of typed) {
      const at = free.findIndex((field) => field.name === name && (!isChoice(field) || field.value === value));
      if (at < 0) continue;
      const [field] = free.splice(at, 1);
      if (isChoice(field)) field.checked = isChecked;
      else field.value = value;
    }
    for (let box = form.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
    say(back, form);
    form.scrollIntoView({ block: "center" });
  };

  // What became of a form that was sent, by the first page that came after it.
  const settle = (place, forms, { responseStatus: status = 200, type }) => {
    const record = JSON.parse(sessionStorage.getItem(place));
    const isGone = record.who !== who || Date.now() - record.at > LIFE;
    // Whoever steps back from a page without connection has sent nothing.
    const isTaken = record.isSent && status < 400 && type !== "back_forward";
    const form = forms.find((one) => placeOf(one) === place);
    if (isGone || isTaken || (record.isShown && !form)) sessionStorage.removeItem(place);
    else {
      // A page that names what is wrong shows what was sent by itself.
      if (form && status !== 422) putBack(form, record.typed);
      keep(place, { ...record, isSent: false, isShown: record.isShown || Boolean(form) });
    }
  };

  const look = () => {
    if (!who) {
      if (!places().length) return;
      for (const place of places()) keep(place, { ...JSON.parse(sessionStorage.getItem(place)), isSent: false });
      say(waiting, document.querySelector("main form"));
      return;
    }
    const forms = [...document.querySelectorAll("form[data-keep]")];
    const [arrival = {}] = performance.getEntriesByType("navigation");
    for (const place of places()) settle(place, forms, arrival);
  };

  document.addEventListener("submit", ({ target: form, defaultPrevented }) => {
    if (addressOf(form) === signOut) {
      forget();
      channel.postMessage("forget");
    }
    if (defaultPrevented || !who || !("keep" in form.dataset)) return;
    const typed = fieldsOf(form).map((field) => [field.name, field.value, Boolean(field.checked)]);
    keep(placeOf(form), { who, typed, at: Date.now(), isSent: true });
  });
  channel.addEventListener("message", forget);

  look();
})();
