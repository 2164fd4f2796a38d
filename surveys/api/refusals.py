"""Refusals of the API that are made before or beside its views, in the shapes of `surveys.api.errors`."""

from django.http import HttpRequest, HttpResponse, JsonResponse

from surveys.fhir import outcome

NOT_FOUND = "There is nothing at this address, or it is not yours to see."
FAULT = "Something went wrong here and was written down. Send it again under the same Idempotency-Key."
AWAY = "The database is away. Try again in a moment."
FULL = "The disk is nearly full, and what is left is kept for answers. Nothing was changed; try again later."
FHIR = "/api/v1/fhir/"
MEDIA = "application/fhir+json"
ISSUES = {
    400: "invalid",
    401: "login",
    403: "forbidden",
    404: "not-found",
    405: "not-supported",
    406: "not-supported",
    429: "throttled",
    503: "transient",
    507: "no-store",
}


def issue(status: int) -> str:
    """FHIR's type of issue for a status."""
    return ISSUES.get(status, "processing")


def api_refusal(request: HttpRequest, status: int, sentence: str) -> HttpResponse:
    if request.path.startswith(FHIR):
        return JsonResponse(outcome(issue(status), [sentence]), status=status, content_type=MEDIA)
    data: dict[str, object] = {"non_field_errors": [sentence]} if status == 400 else {"detail": sentence}
    return JsonResponse(data, status=status)
