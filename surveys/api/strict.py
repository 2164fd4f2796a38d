"""What the API reads: JSON and parameters, without guessing. What is not known is refused, not ignored."""

import json
import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import IO, Any
from uuid import UUID

from django.utils.dateparse import parse_datetime
from rest_framework import serializers
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.parsers import JSONParser
from rest_framework.request import Request

MOST_DEPTH = 8
_UNSPEAKABLE = re.compile("[\x00\ud800-\udfff]")
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\";\s]*)", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,7}")


class StrictJSON(JSONParser):
    """JSON in UTF-8 that means one thing: no name twice, no NUL, no half characters, no deep nesting."""

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        charset = _CHARSET.search(media_type or "")
        if charset and charset[1].lower() not in ("utf-8", "utf8"):
            raise UnsupportedMediaType(media_type or "")
        try:
            value = json.loads(
                stream.read().decode(), object_pairs_hook=_each_once, parse_constant=_no_constant
            )
        except RecursionError as error:
            raise ParseError("The body is nested too deeply.") from error
        except ValueError as error:
            raise ParseError(f"The body is not valid JSON: {error}") from error
        _check(value, MOST_DEPTH)
        return value


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name stands twice in one object.")
    return dict(pairs)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number.")


def _check(value: Any, depth: int) -> None:
    if depth == 0:
        raise ParseError("The body is nested too deeply.")
    if isinstance(value, str) and _UNSPEAKABLE.search(value):
        raise ParseError("The body holds a character that is no text.")
    if isinstance(value, dict):
        for name, inner in value.items():
            _check(name, depth)
            _check(inner, depth - 1)
    if isinstance(value, list):
        for inner in value:
            _check(inner, depth - 1)


class Text(serializers.CharField):
    """Text alone: a number or a list is not made text."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Number(serializers.IntegerField):
    """A whole number of a parameter, in plain digits."""

    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, str) or not _NUMBER.fullmatch(data):
            self.fail("invalid")
        return int(data)


class Choice(serializers.ChoiceField):
    """One of some words; anything but text is none of them."""

    default_error_messages = {"invalid_choice": "Give one of these: {known}."}

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str) or data not in self.choices:
            self.fail("invalid_choice", known=", ".join(self.choices))
        return data


class Day(serializers.DateField):
    """A day as 2026-05-12."""

    def to_internal_value(self, value: Any) -> date:
        if not isinstance(value, str) or not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
            self.fail("invalid", format="YYYY-MM-DD")
        return super().to_internal_value(value)


class Moment(serializers.DateTimeField):
    """A time with its offset, as 2026-05-12T14:00:00+02:00: without one it may mean two moments."""

    default_error_messages = {"no_offset": "Give the offset as well: 2026-05-12T14:00:00+02:00."}

    def to_internal_value(self, value: Any) -> datetime:
        if not isinstance(value, str):
            self.fail("invalid", format="2026-05-12T14:00:00+02:00")
        moment = super().to_internal_value(value)
        plain = parse_datetime(value)
        if plain is None or plain.tzinfo is None:
            self.fail("no_offset")
        return moment.replace(microsecond=0)


class Strict(serializers.Serializer):
    """Fields that are not known are refused by name."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if isinstance(data, Mapping):
            unknown = sorted(set(data) - set(self.fields))
            if unknown:
                known = ", ".join(self.fields)
                raise serializers.ValidationError(
                    {
                        str(name)[:80]: [f"There is no such field. Known are: {known}."]
                        for name in unknown[:20]
                    }
                )
        return super().to_internal_value(data)


class NoParameters(Strict):
    """Of an address that takes none."""


class Slice(Strict):
    """Which part of a list."""

    limit = Number(required=False, default=100, min_value=1, max_value=500, help_text="How many, at most")
    offset = Number(required=False, default=0, min_value=0, max_value=1_000_000, help_text="After how many")


def parameters(request: Request, known: type[Strict]) -> dict[str, Any]:
    """The parameters of the address, each given once. Raises ValidationError."""
    lists = dict(request.query_params.lists())
    if twice := [name for name, values in lists.items() if len(values) > 1]:
        raise serializers.ValidationError({name[:80]: ["Give this once."] for name in twice[:20]})
    values = {name: given[0] for name, given in lists.items()}
    if any(_UNSPEAKABLE.search(text) for pair in values.items() for text in pair):
        raise serializers.ValidationError("The address holds a character that is no text.")
    query = known(data=values)
    query.is_valid(raise_exception=True)
    return dict(query.validated_data)


def body(request: Request, known: type[Strict]) -> dict[str, Any]:
    """What was sent, checked field by field. Raises ValidationError and ParseError."""
    if not int(request.META.get("CONTENT_LENGTH") or 0):
        # Else it would mean every default, and might be what a client lost on the way.
        raise ParseError("The body is empty. Send a JSON object, {} where nothing is to be said.")
    sent = known(data=request.data)
    sent.is_valid(raise_exception=True)
    return dict(sent.validated_data)


def client_key(request: Request) -> UUID:
    """The key under which something is sent. Raises ValidationError."""
    text = request.headers.get("Idempotency-Key", "")
    if not re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", text):
        sentence = (
            "Give the header Idempotency-Key, a new UUID for each thing you send, the same for a retry."
        )
        raise serializers.ValidationError({"Idempotency-Key": [sentence]})
    return UUID(text)
