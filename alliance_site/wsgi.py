"""The entry point of the web server."""

import logging
import os
import re
from collections.abc import Callable, Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application

from alliance_site.headers import HEADERS
from alliance_site.logs import HideTokens

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alliance_site.settings")
CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^;\"\s]*)", re.IGNORECASE)
django = get_wsgi_application()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Django, behind one check that must come before it: it reads the address in the character set that
    the sender names, and some sets make that fail before any page of ours can answer."""
    named = CHARSET.search(environ.get("CONTENT_TYPE", ""))
    if named and named[1].lower() not in ("utf-8", "utf8"):
        is_api = environ.get("PATH_INFO", "").startswith("/api/")
        kind = "application/json" if is_api else "text/plain; charset=utf-8"
        start_response("415 Unsupported Media Type", [("Content-Type", kind), *HEADERS.items()])
        return [b'{"detail": "Only UTF-8 is accepted."}' if is_api else b"Only UTF-8 is accepted.\n"]
    return django(environ, start_response)


# The server has a log of its own for what Django could not answer.
for handler in logging.getLogger("gunicorn.error").handlers:
    handler.addFilter(HideTokens())
