"""In whose scope a request runs: that of who is signed in, or of the one clinic whose secret it brought."""

from collections.abc import Callable, Iterable
from functools import partial
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

from surveys import scope
from surveys.emergency_access import open_emergencies
from surveys.models import Membership, User


class ClinicsInScope:
    """The clinics in which who is signed in has a role, and that of an emergency which they opened. They are
    looked up when a protected table is first asked for: a page that asks for none costs nothing. A door that
    takes a secret narrows it to the clinic of the secret (`surveys.scope.open_only`)."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        with scope.request(partial(_scope_of, request, {})):
            response: HttpResponseBase = self.get_response(request)
            if isinstance(response, StreamingHttpResponse):
                pieces: Iterable[bytes] = response.streaming_content  # type: ignore[assignment]
                response.streaming_content = scope.kept(pieces)
            return response


def _scope_of(request: HttpRequest, known: dict[UUID, str]) -> str:
    """Kept for the person: with a token of the API it becomes known late who that is."""
    user = getattr(request, "user", None)
    if not isinstance(user, User):
        return scope.NOTHING
    if user.pk not in known:
        known[user.pk] = scope.of(_clinics_of(user))
    return known[user.pk]


def _clinics_of(user: User) -> set[UUID]:
    found = set(Membership.objects.filter(user=user).values_list("clinic", flat=True))
    with scope.everything():
        return found | set(open_emergencies(user).values_list("clinic", flat=True))
