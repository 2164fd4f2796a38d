"""What may not stand in a log: the secret part of a patient's link, the health page's own answers, and the
traceback of a page that was refused as it should be."""

import logging
import re

LINK = re.compile(r"/r/[^/\s?\"']+")


class HideTokens(logging.Filter):
    """Replaces the token in every formatted message and traceback that passes the handler."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = LINK.sub("/r/...", record.getMessage()), ()
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = LINK.sub("/r/...", record.exc_text)
        return True


class NoHealth(logging.Filter):
    """A health page that says 503 does its work; whoever asked it every second was told already."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "/health/" not in record.getMessage()


class ShortRefusals(logging.Filter):
    """A refused page (4xx) is one line; errors of our own (5xx) keep their traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == "django.request" and record.levelno < logging.ERROR:
            record.exc_info = record.exc_text = None
        return True
