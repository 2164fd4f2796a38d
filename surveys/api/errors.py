"""What the API answers where it does not do what was asked: always JSON, in one shape for each status.

400 names the fields: `{"held_at": ["…"]}`, with `non_field_errors` for what belongs to none; every other
refusal is `{"detail": "…"}`; under /fhir/ both are an OperationOutcome.
"""

from collections.abc import Mapping
from math import ceil
from typing import Any

from django.http import Http404
from rest_framework import status
from rest_framework.exceptions import APIException, Throttled, UnsupportedMediaType, ValidationError
from rest_framework.response import Response
from rest_framework.views import exception_handler

from surveys.api.refusals import NOT_FOUND, issue
from surveys.fhir import outcome


class Conflict(APIException):
    """What was asked for does not fit what is there."""

    status_code = status.HTTP_409_CONFLICT


class TagGone(APIException):
    """What was to be done only while a tag fits."""

    status_code = status.HTTP_412_PRECONDITION_FAILED
    default_detail = (
        "Nothing here has a tag that If-Match could name. Read the row again and send it without."
    )


def refused(error: Exception) -> ValidationError:
    """The answer to a refusal of a service, at the field that it names."""
    return ValidationError({getattr(error, "field", None) or "non_field_errors": [str(error)]})


def answer(exception: Exception, context: Mapping[str, Any]) -> Response | None:
    """The exception handler of the API; None for what is no refusal but a fault."""
    response = exception_handler(exception, dict(context))
    if response is None:
        return None
    if isinstance(exception, Http404) or response.status_code == status.HTTP_404_NOT_FOUND:
        response.data = {"detail": NOT_FOUND}
    if isinstance(exception, UnsupportedMediaType):
        response.data = {"detail": "The body must be JSON in UTF-8."}
    if isinstance(exception, Throttled):
        seconds = ceil(getattr(exception, "wait", None) or 1)
        response.data = {"detail": f"Too many requests in one minute. Go on in {seconds} seconds."}
        response.headers["Retry-After"] = str(seconds)
    if response.status_code == status.HTTP_400_BAD_REQUEST:
        response.data = by_field(response.data)
    if getattr(context.get("view"), "is_fhir", False):
        response.data = outcome(issue(response.status_code), sentences(response.data))
    return response


def by_field(data: Any) -> dict[str, list[str]]:
    """The sentences by field; those of no field under `non_field_errors`."""
    if not isinstance(data, dict):
        return {"non_field_errors": [str(data)] if isinstance(data, str) else [str(row) for row in data]}
    found: dict[str, list[str]] = {}
    for field, words in data.items():
        name = "non_field_errors" if field == "detail" else str(field)
        found[name] = [str(word) for word in words] if isinstance(words, list) else [str(words)]
    return found


def sentences(data: Mapping[str, Any]) -> list[str]:
    """Every sentence of an answer, with the field that it is about."""
    if "detail" in data:
        return [str(data["detail"])]
    return [
        word if field == "non_field_errors" else f"{field}: {word}"
        for field, words in data.items()
        for word in words
    ]
