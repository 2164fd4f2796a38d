"""What may not stand in a log: the secret part of a patient's link, the health page's own answers, and the
traceback of a page that was refused as it should be. As JSON, a log holds nothing about a person at all."""

import json
import logging
import re
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

# Of the request that is being answered; empty outside of one.
request_id: ContextVar[str] = ContextVar("request_id", default="")

# What the line of a request says (`alliance_site.middleware.RequestLog`).
REQUEST = ("method", "route", "status", "ms", "user")
# An address on the site may hold the key of a link or of a new password, and a query what was typed.
PATH = re.compile(r"(?<![\w.…])/[^\s\"',;]*")
EMAIL = re.compile(r"[^\s@<>\"']+@[^\s@<>\"']+")

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


class NoRefusals(logging.Filter):
    """Where every request has a line of its own, a refused page needs no second one."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.name != "django.request" or record.levelno >= logging.ERROR


class JsonLines(logging.Formatter):
    """One JSON object a line. No address of a page, no query, no e-mail address; of an error its kinds and
    where it was, not its words: a database's name the value that it refused."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": EMAIL.sub("…", PATH.sub("/…", record.getMessage())),
        }
        if request_id.get():
            line["request"] = request_id.get()
        line |= {name: getattr(record, name) for name in REQUEST if hasattr(record, name)}
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = _kinds(record.exc_info[1])
            frames = traceback.extract_tb(record.exc_info[2])
            line["at"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        return json.dumps(line, ensure_ascii=False)


def _kinds(error: BaseException) -> list[str]:
    """The error, and what it came from."""
    found = [type(error).__name__]
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
        found.append(type(error).__name__)
    return found
