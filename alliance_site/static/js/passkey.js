// Passkeys: the buttons that need a script appear with it, and what the device refuses is said on the page.
"use strict";

(() => {
  const forms = window.allauth?.webauthn?.forms;
  if (!forms || !window.PublicKeyCredential) return;

  for (const button of document.querySelectorAll("[data-passkey]")) {
    const form = button.form;
    form.hidden = button.hidden = false;
    forms[button.dataset.passkey]({
      ids: {
        add: button.id,
        authenticate: button.id,
        login: button.id,
        credential: form.elements.credential.id,
        passwordless: form.elements.passwordless?.id,
        data: "js_data",
      },
    });
  }

  document.addEventListener("allauth.error", (event) => {
    event.preventDefault();
    document.getElementById("passkey-failed").hidden = false;
  });
})();
