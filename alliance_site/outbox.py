"""Mail of a site without a mail server: one file each in a folder that only its owner can read."""

from typing import Any

from django.conf import settings
from django.core.mail.backends.filebased import EmailBackend

from alliance_site.folders import make_folder


class Outbox(EmailBackend):
    """The mails hold links to patients' forms and to new passwords, so they have no place in a log."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        make_folder(settings.EMAIL_FILE_PATH, 0o700)
        super().__init__(*args, **kwargs)
