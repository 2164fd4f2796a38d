// Saves each answer as it is given and sends the form; keeps trying until the server says that it has them.
// Without this script the form works by its Send button alone.
"use strict";

(() => {
  const LONGEST_WAIT = 300;
  const form = document.getElementById("questionnaire");
  const status = document.getElementById("saved");
  const home = new URL("../", form.action).pathname;
  const unsaved = new Map();
  let copy = null;
  let intent = "";
  let spoken = "";
  let saveStop = null;
  let isHeldUp = false;
  let isSending = false;
  let isRefused = false;
  let isLeaving = false;

  // Always seen; heard only when it turns, because "Saved" after each answer would be in the way.
  const say = (what, isWarning = false) => {
    const { lang } = document.documentElement;
    const time = { hour: "2-digit", minute: "2-digit", hourCycle: "h23", numberingSystem: "latn" };
    status.textContent = status.dataset[what].replace("{time}", new Date().toLocaleTimeString(lang, time));
    status.toggleAttribute("data-unsaved", isWarning);
    if (what === "saving" || what === spoken) return;
    spoken = what;
    document.getElementById("spoken").textContent = status.textContent;
  };

  // After 1, 2, 4 … seconds, and at once when the connection is back.
  const patiently = (work) => {
    let wait = 1;
    let timer = null;
    return {
      again() {
        clearTimeout(timer);
        timer = setTimeout(work, wait * 1000);
        wait = Math.min(wait * 2, LONGEST_WAIT);
      },
      now() {
        clearTimeout(timer);
        wait = 1;
        return work();
      },
    };
  };

  const post = async (address, fields, seconds, stop = new AbortController()) => {
    const token = form.elements.namedItem("csrfmiddlewaretoken").value;
    const timer = setTimeout(() => stop.abort(), seconds * 1000);
    try {
      const response = await fetch(address, {
        method: "POST",
        body: new URLSearchParams(fields),
        headers: { "X-CSRFToken": token },
        credentials: "same-origin",
        signal: stop.signal,
      });
      if (!response.redirected || new URL(response.url).pathname !== form.dataset.tablet) return response;
      // The tablet was locked or taken out of use: what is on this page is nobody's to see any more.
      leave(response.url);
      return new Promise(() => {});
    } catch {
      return null;
    } finally {
      clearTimeout(timer);
    }
  };

  const isFinal = (response) => response !== null && response.status >= 400 && response.status < 500 && response.status !== 429;

  const seal = () => {
    if (isLeaving) return;
    const sharing = form.querySelector('input[name="sharing"]:checked');
    const fields = [...unsaved];
    if (sharing && !sharing.defaultChecked) fields.push(["sharing", sharing.value]);
    if (intent) fields.push(["send", intent]);
    copy?.write(fields);
  };

  const showCount = () => {
    const chosen = [...form.querySelectorAll('input[name^="item_"]:checked')];
    const leftOut = chosen.filter((input) => input.value === form.dataset.preferNot).length;
    const answered = chosen.length - leftOut + Number(form.dataset.elsewhere);
    document.getElementById("n-answered").textContent = String(answered);
    document.getElementById("n-left-out").textContent = String(leftOut);
    document.getElementById("left-out").hidden = !leftOut;
  };

  async function save() {
    if (saveStop || isRefused || intent || !unsaved.size) return;
    saveStop = new AbortController();
    if (!isHeldUp) say("saving");
    const batch = new Map(unsaved);
    const response = await post(form.dataset.answers, [...batch], 10, saveStop);
    saveStop = null;
    if (intent) return;
    if (response?.status === 204) {
      isHeldUp = false;
      // An answer that was changed while it travelled stays in the list.
      batch.forEach((value, name) => unsaved.get(name) === value && unsaved.delete(name));
      seal();
      if (unsaved.size) saving.now();
      else say("saved");
    } else if (isFinal(response)) {
      isRefused = true;
      // 403, 404: somebody signed in or out beside this page. Sending keeps what is filled in, reloading might not.
      say([403, 404].includes(response.status) ? "refused" : "gone", true);
    } else {
      isHeldUp = true;
      say("unsavedYet", true);
      saving.again();
    }
  }
  const saving = patiently(save);

  const leave = (address) => {
    isLeaving = true;
    if (form.dataset.tablet) window.location.replace(address);
    else window.location.assign(address);
  };

  // What the server refuses for good it explains on a page of its own: let the browser go there.
  const sendPlainly = (name, value) => {
    isLeaving = true;
    const field = Object.assign(document.createElement("input"), { type: "hidden", name, value });
    form.append(field);
    form.submit();
  };

  async function send() {
    if (isSending || isLeaving) return;
    isSending = true;
    // Every answer travels with the form; a save that came after it would be refused.
    saveStop?.abort();
    const response = await post(form.action, [...new FormData(form), ["send", intent]], 30);
    isSending = false;
    const there = response?.ok && response.redirected ? new URL(response.url) : null;
    if (there?.pathname.startsWith(home) || there?.pathname.startsWith(form.dataset.tablet)) {
      // The server has every answer now, be the form received or some items still open.
      isLeaving = true;
      await copy?.clear();
      leave(there);
    } else if (isFinal(response)) {
      sendPlainly("send", intent);
    } else {
      say("unsent", true);
      sending.again();
    }
  }
  const sending = patiently(send);

  form.addEventListener("change", (event) => {
    const { name, value } = event.target;
    if (name.startsWith("item_")) {
      unsaved.set(name, value);
      showCount();
    }
    seal();
    saving.now();
  });

  // The answers travel along; the same page comes back in the other language.
  const speak = async (language) => {
    const response = await post(form.action, [...new FormData(form), ["language", language]], 10);
    if (response?.ok && response.redirected) {
      isLeaving = true;
      await copy?.clear();
      leave(response.url);
    } else if (isFinal(response)) sendPlainly("language", language);
    else saving.now();
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (event.submitter?.name === "language") {
      speak(event.submitter.value);
      return;
    }
    intent = event.submitter?.value || "send";
    say("sending");
    seal();
    sending.now();
  });

  window.addEventListener("online", () => (intent ? sending.now() : saving.now()));

  window.addEventListener("beforeunload", (event) => {
    if (!copy && !isLeaving && (unsaved.size || intent)) event.preventDefault();
  });

  // A page that comes back from the browser's memory may belong to somebody who has left the device.
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) window.location.reload();
    isLeaving = false;
  });

  // What this device could not store before the page was left or loaded again.
  const restore = async () => {
    const { form: id, seal: key } = form.dataset;
    delete form.dataset.seal;
    copy = await sealed.open(id, key);
    const kept = (await copy?.take()) ?? new Map();
    // What the server has just asked about waits for an answer.
    if (!document.getElementById("open")) intent ||= kept.get("send") ?? "";
    kept.forEach((value, name) => {
      const input = form.querySelector(`input[type="radio"][name="${name}"][value="${value}"]`);
      if (!input || input.checked || unsaved.has(name)) return;
      input.checked = true;
      if (name !== "sharing") unsaved.set(name, value);
    });
  };

  const begin = async () => {
    // What the browser itself ticked again, after a reload for example, is shown and so must be kept.
    form.querySelectorAll('input[name^="item_"]:checked').forEach((input) => {
      if (!input.defaultChecked) unsaved.set(input.name, input.value);
    });
    await restore().catch(() => {});
    showCount();
    seal();
    if (intent) {
      say("sending");
      sending.now();
    } else if (unsaved.size) saving.now();
    // What the page came with is stored; a reload in the middle must not leave that open.
    else if (form.querySelector('input[name^="item_"]:checked')) say("saved");
  };

  document.querySelector("form[data-forget]")?.addEventListener("submit", () => {
    isLeaving = true;
    sealed.forget(form.dataset.form).catch(() => {});
  });
  if (form.dataset.worker) {
    navigator.serviceWorker?.register(form.dataset.worker).catch(() => {});
  }
  document.getElementById("open")?.focus();
  begin();
})();
