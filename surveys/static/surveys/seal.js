// Answers that are not stored yet, sealed on a personal device for at most three days. The key comes with the
// form page and lives in memory only: without the server nobody can read what lies in this browser's storage.
"use strict";

const sealed = (() => {
  const LIFE = 72 * 3600 * 1000;
  const isPossible = window.isSecureContext && "indexedDB" in window && Boolean(window.crypto?.subtle);

  const done = (request) =>
    new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });

  const connect = () => {
    const request = indexedDB.open("answers", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("sealed", { keyPath: "id" });
    return done(request);
  };

  const store = async (mode) => (await connect()).transaction("sealed", mode).objectStore("sealed");

  // Every tab seals a record of its own, so that two tabs of one form cannot overwrite each other.
  const ofForm = (form) => IDBKeyRange.bound(`${form} `, `${form} ~`);

  const forget = async (form) => {
    if (isPossible) await done((await store("readwrite")).delete(ofForm(form)));
  };

  const forgetOld = async () => {
    const records = await store("readwrite");
    const old = (await done(records.getAll())).filter((record) => Date.now() - record.at > LIFE);
    await Promise.all(old.map((record) => done(records.delete(record.id))));
  };

  const open = async (form, keyText) => {
    if (!isPossible || !keyText) return null;
    await old;
    const bytes = Uint8Array.from(atob(keyText), (letter) => letter.charCodeAt(0));
    const key = await crypto.subtle.importKey("raw", bytes, "AES-GCM", false, ["encrypt", "decrypt"]);
    const additionalData = new TextEncoder().encode(form);
    const id = `${form} ${crypto.randomUUID()}`;
    let since = Infinity;
    let last = Promise.resolve();

    const unseal = async ({ iv, data }) => {
      try {
        const plain = await crypto.subtle.decrypt({ name: "AES-GCM", iv, additionalData }, key, data);
        return JSON.parse(new TextDecoder().decode(plain));
      } catch {
        return [];
      }
    };

    const put = async (fields) => {
      if (!fields.length) {
        since = Infinity;
        await done((await store("readwrite")).delete(id));
        return;
      }
      since = Math.min(since, Date.now());
      const iv = crypto.getRandomValues(new Uint8Array(12));
      const plain = new TextEncoder().encode(JSON.stringify(fields));
      const data = await crypto.subtle.encrypt({ name: "AES-GCM", iv, additionalData }, key, plain);
      await done((await store("readwrite")).put({ id, at: since, iv, data }));
    };

    // One after the other: the storage must end with what was chosen last.
    const write = (fields) => {
      last = last.then(() => put(fields)).catch(() => {});
      return last;
    };

    // What earlier tabs left behind; it becomes this tab's own.
    const take = async () => {
      const records = (await done((await store("readonly")).getAll(ofForm(form)))).filter((r) => r.id !== id);
      records.sort((one, other) => one.at - other.at);
      const fields = new Map((await Promise.all(records.map(unseal))).flat());
      since = Math.min(since, ...records.map((record) => record.at));
      await write([...fields]);
      const rest = await store("readwrite");
      await Promise.all(records.map((record) => done(rest.delete(record.id))));
      return fields;
    };

    const clear = () => {
      last = last.then(() => forget(form)).catch(() => {});
      return last;
    };

    return { write, take, clear };
  };

  const old = isPossible && forgetOld().catch(() => {});
  // The page after sending names the form that needs no copy any more.
  const over = document.currentScript.dataset.over;
  if (over) forget(over).catch(() => {});
  return { open, forget };
})();
