"""What every view of the API is."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import Model, QuerySet
from rest_framework.exceptions import APIException, Throttled
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from surveys.access import person
from surveys.api.errors import Conflict, TagGone
from surveys.api.schema import ApiSchema
from surveys.services.client_keys import KeyUsedBefore, once

KEY_TAKEN = "Something else was sent under this Idempotency-Key before. Give a new one."

Row = TypeVar("Row", bound=Model)


class ApiView(APIView):
    """Requests that are refused count as well: who tries tokens is slowed down like everybody. Rows here have
    no tags, so whoever enters something only if a tag still fits is told that it does not."""

    schema = ApiSchema()
    # What the header Allow names.
    http_method_names = ["get", "head", "post"]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        try:
            super().initial(request, *args, **kwargs)
            if request.method == "POST" and request.headers.get("If-Match", "*").strip() != "*":
                raise TagGone
        except Throttled:
            raise
        except APIException:
            self.check_throttles(request)
            raise


def listed(
    request: Request, rows: QuerySet, asked: dict[str, Any], shape: type[Serializer], **context: Any
) -> Response:
    """A part of a list as plain JSON rows; how many there are in all, and where the next part is, stand in
    the headers X-Total-Count and Link."""
    part, total = part_of(rows, asked["limit"], asked["offset"])
    return Response(shape(part, many=True, context=context).data, headers=part_headers(request, asked, total))


def part_of(rows: "QuerySet[Row]", limit: int, offset: int) -> tuple[list[Row], int]:
    return list(rows[offset : offset + limit]), rows.count()


def part_headers(request: Request, asked: dict[str, Any], total: int) -> dict[str, str]:
    links = [f'<{url}>; rel="{name}"' for name, url in part_links(request, asked, total)]
    return {"X-Total-Count": str(total)} | ({"Link": ", ".join(links)} if links else {})


def part_links(
    request: Request, asked: dict[str, Any], total: int, names: tuple[str, str] = ("limit", "offset")
) -> Iterable[tuple[str, str]]:
    """Addresses of the parts before and after this one, where there are any."""
    limit, offset = asked[names[0]], asked[names[1]]
    address = request.build_absolute_uri(request.path)
    if offset > 0:
        before = {**asked, names[1]: max(0, offset - limit)}
        yield "prev", f"{address}?{urlencode(before)}"
    if offset + limit < total:
        yield "next", f"{address}?{urlencode({**asked, names[1]: offset + limit})}"


def once_under(request: Request, key: UUID, do: Callable[[], Model]) -> tuple[UUID, bool]:
    """What is sent under a key is done once; the id of the row, and whether it is new. Raises Conflict."""
    sent = {"path": request.path, "body": request.data}
    try:
        return once(user=person(request.user), key=key, sent=sent, do=do)
    except KeyUsedBefore as error:
        raise Conflict(KEY_TAKEN) from error
