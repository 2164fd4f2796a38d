"""What may not stand in a log: the secret part of a patient's link, the health page's own answers, and the
traceback of a page that was refused as it should be. As JSON, a log holds nothing about a person at all."""

import json
import logging
import re
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import django.db
import psycopg2

# Of the request that is being answered; empty outside of one.
request_id: ContextVar[str] = ContextVar("request_id", default="")

# What the line of a request says (`alliance_site.middleware.RequestLog`).
REQUEST = ("method", "route", "status", "ms", "user")
# An address on the site may hold the key of a link or of a new password, and a query what was typed.
PATH = re.compile(r"(?<![\w.…])/[^\s\"',;]*")
EMAIL = re.compile(r"[^\s@<>\"']+@[^\s@<>\"']+")

LINK = re.compile(r"/r/[^/\s?\"']+")


# Classes of SQLSTATE whose words name values: data that do not fit, rules of a table, what a function raised.
OF_VALUES = ("22", "23", "P0")


def shown_error(error: BaseException) -> str:
    """The traceback of an error and of what it came from, without values of the database: of a row that was
    refused it keeps the code and the rule's name."""
    earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    before = f"{shown_error(earlier)}\n\nThen:\n\n" if earlier is not None else ""
    frames = "".join(traceback.format_tb(error.__traceback__))
    return f"{before}Traceback (most recent call last):\n{frames}{type(error).__name__}: {_words(error)}"


def _words(error: BaseException) -> str:
    # Django's own error repeats the words of the driver's.
    found = error.__cause__ if isinstance(error, django.db.Error) and error.__cause__ else error
    if not isinstance(found, psycopg2.Error) or not found.pgcode:
        return str(error)
    # The second and later lines quote the statement or the row.
    first = (found.diag.message_primary or "").partition("\n")[0]
    named = (found.diag.constraint_name or found.diag.table_name or "") if _is_of_values(found) else first
    return f"{found.pgcode} {named}".rstrip()


def _is_of_values(error: psycopg2.Error) -> bool:
    return str(error.pgcode).startswith(OF_VALUES)


class HideTokens(logging.Filter):
    """Replaces the token in every formatted message and traceback that passes the handler, and what an error
    of the database says about values."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = LINK.sub("/r/...", record.getMessage()), ()
        if record.exc_info and record.exc_info[1] is not None:
            record.exc_text = shown_error(record.exc_info[1])
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
