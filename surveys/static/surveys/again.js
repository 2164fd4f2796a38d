// Who opened the link again or signed in meanwhile, in another tab, has a new token and perhaps a new key of the
// form, which this page cannot know: the form's own page, read by the same origin at the press, has both. Without
// this script the first press is refused.
"use strict";

(() => {
  const { form: address } = document.currentScript.dataset;
  const form = document.querySelector("main form");
  let isFresh = false;

  const refresh = async () => {
    try {
      const answer = await fetch(address, { cache: "no-store", signal: AbortSignal.timeout(10_000) });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const name of ["csrfmiddlewaretoken", "key"]) {
        const [here, there] = [form, page.getElementById("questionnaire")].map((found) => found?.elements.namedItem(name));
        if (here && there) here.value = there.value;
      }
    } catch {
      // Sent as it is: the server says what is missing.
    }
  };

  form.addEventListener("submit", async (event) => {
    if (isFresh) {
      isFresh = false;
      return;
    }
    event.preventDefault();
    const { submitter } = event;
    await refresh();
    isFresh = true;
    form.requestSubmit(submitter);
  });
})();
