"""How operations of the API are described: names, examples, and every answer that they can give."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers

from surveys.api.refusals import MEDIA as FHIR_JSON
from surveys.api.refusals import issue
from surveys.api.strict import Strict
from surveys.fhir import outcome


class DetailSerializer(serializers.Serializer):
    detail = serializers.CharField(help_text="One sentence: what is the matter, and what to do")


class FieldErrorsSerializer(serializers.Serializer):
    """Sentences by the name of the field; those of no field under `non_field_errors`."""

    non_field_errors = serializers.ListField(child=serializers.CharField(), required=False)


class ApiSchema(AutoSchema):
    """Errors by field have names that no description knows beforehand; what is sent has no others."""

    def _map_serializer(self, serializer: Any, direction: str, bypass_extensions: bool = False) -> Any:
        schema = super()._map_serializer(serializer, direction, bypass_extensions)
        if isinstance(serializer, FieldErrorsSerializer):
            schema["additionalProperties"] = {"type": "array", "items": {"type": "string"}}
        if isinstance(serializer, Strict):
            schema["additionalProperties"] = False
        return schema


class ApiTokenScheme(OpenApiAuthenticationExtension):
    target_class = "surveys.api.auth.ApiTokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "`Authorization: Token <token>`. A token is made on the page API tokens.",
        }


ERRORS = {
    400: "Something sent cannot be taken; the fields are named",
    401: "No token, or one that is not valid any more",
    403: "The role or the token does not include this",
    404: "There is nothing of this id, or it is not yours to see",
    405: "The address does not take this method",
    406: "This is not to be had in the format of the Accept header",
    409: "It does not fit what is there",
    412: "The header If-Match names a tag, and no row has one",
    413: f"More than {settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 1024} kB were sent",
    415: "The body is not JSON in UTF-8, or it is packed",
    429: "Too many requests in one minute; Retry-After says for how many seconds to wait",
    503: "The database is away; Retry-After says for how many seconds to wait",
}
ALWAYS = (400, 401, 403, 405, 406, 415, 429, 503)
TOTAL = OpenApiParameter(
    "X-Total-Count",
    int,
    OpenApiParameter.HEADER,
    description="How many rows there are in all",
    response=[200],
)
LINK = OpenApiParameter(
    "Link",
    str,
    OpenApiParameter.HEADER,
    description="Addresses of the parts before and after this one, rel=prev and rel=next",
    response=[200],
)
RETRY = OpenApiParameter(
    "Retry-After", int, OpenApiParameter.HEADER, description="Seconds to wait", response=[429, 503]
)
KEY = OpenApiParameter(
    "Idempotency-Key",
    OpenApiTypes.UUID,
    OpenApiParameter.HEADER,
    required=True,
    description="A new UUID for each thing you send and the same for a retry: sent again within 30 days, "
    "nothing is added and the first answer is given again, with status 200",
)


def described(
    operation: str,
    tag: str,
    summary: str,
    answer: Any,
    *,
    example: object,
    status: int = 200,
    body: type[serializers.Serializer] | None = None,
    body_example: object = None,
    parameters: Iterable[Any] = (),
    errors: Iterable[int] = (),
    description: str = "",
    is_fhir: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The description of one operation. `errors` beside those that any operation can answer; `example` of a
    list is one of its rows."""
    media = FHIR_JSON if is_fhir else "application/json"
    good = [OpenApiExample("Answer", value=example, response_only=True, status_codes=[str(status)])]
    sent = [OpenApiExample("Body", value=body_example, request_only=True)] if body_example else []
    answers: dict[Any, Any] = {(status, media): OpenApiResponse(answer, summary, good)}
    if status == 201:
        again = [OpenApiExample("Answer", value=example, response_only=True, status_codes=["200"])]
        answers[200, media] = OpenApiResponse(answer, "The same was sent under this key before", again)
    for code in sorted({*ALWAYS, *errors, *((409, 412, 413) if body else ())}):
        shape: Any = FieldErrorsSerializer if code == 400 else DetailSerializer
        answers[code, media] = OpenApiResponse(
            OpenApiTypes.OBJECT if is_fhir else shape, ERRORS[code], [_refusal(code, is_fhir)]
        )
    return extend_schema(
        operation_id=operation,
        tags=[tag],
        summary=summary,
        description=description or summary,
        request=body,
        responses=answers,
        parameters=[*parameters, RETRY],
        examples=sent,
    )


def _refusal(code: int, is_fhir: bool) -> OpenApiExample:
    value: Mapping[str, object] = {"detail": f"{ERRORS[code]}."}
    if is_fhir:
        value = outcome(issue(code), [f"{ERRORS[code]}."])
    elif code == 400:
        value = {"limit": ["Ensure this value is less than or equal to 500."]}
    return OpenApiExample("Refusal", value=value, response_only=True, status_codes=[str(code)])
