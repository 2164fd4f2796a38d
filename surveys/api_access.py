"""The API's part of the door (`surveys.access`): a person's own tokens, questionnaires that their clinics may
use, and the answers that a therapist may read."""

import uuid

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import Http404
from django.shortcuts import get_object_or_404
from knox.models import AuthToken

from surveys.access import Actor, visible_caseload_scores, visible_therapies
from surveys.models import ApiToken, Clinic, Instrument, Rater, Response, Sharing, Therapy, User


def own_tokens(user: Actor) -> QuerySet[AuthToken]:
    """The newest first."""
    if not isinstance(user, User):
        return AuthToken.objects.none()
    return AuthToken.objects.filter(user=user).select_related("line").order_by("-created")


def get_own_token_or_404(user: Actor, prefix: str) -> AuthToken:
    """By the letters that a token begins with."""
    token = own_tokens(user).filter(token_key=prefix).first()
    if token is None:
        raise Http404("No such token.")
    return token


def token_scopes(auth: object) -> frozenset[str] | None:
    """What a request may be used for; None: all that its person may do. `auth` is what the API knows of the
    request beside its person: a token, or nothing for a browser that is signed in."""
    line = ApiToken.objects.filter(token=auth).first() if isinstance(auth, AuthToken) else None
    return None if line is None else frozenset(line.scopes)


def own_clinics(user: Actor) -> QuerySet[Clinic]:
    """Clinics in which the user has any role."""
    if not isinstance(user, User):
        return Clinic.objects.none()
    return Clinic.objects.filter(memberships__user=user).distinct()


def readable_instruments(user: Actor) -> QuerySet[Instrument]:
    """Forms that a clinic of the user's may ask for: what ships with the product, and its own uploads."""
    return Instrument.objects.filter(Q(clinic=None) | Q(clinic__in=own_clinics(user)))


def get_readable_instrument_or_404(user: Actor, instrument_id: uuid.UUID) -> Instrument:
    return get_object_or_404(readable_instruments(user), pk=instrument_id)


def get_treated_therapy_or_404(user: Actor, therapy_id: uuid.UUID) -> Therapy:
    """A therapy of the therapist's own, for whom alone its answers are."""
    return get_object_or_404(visible_therapies(user).select_related("study__clinic"), pk=therapy_id)


def readable_responses(user: Actor) -> QuerySet[Response]:
    """Received forms about the therapist's own therapies whose scores they may see: their own forms, and of
    patients what policy, choice and their own rating let them see."""
    seen = visible_caseload_scores(user).filter(response=OuterRef("pk"))
    return Response.objects.filter(Exists(seen)).select_related(
        "instrument",
        "assignment__session__therapy__patient",
        "assignment__session__therapy__therapist",
        "assignment__study__clinic",
    )


def get_readable_response_or_404(user: Actor, response_id: uuid.UUID) -> Response:
    return get_object_or_404(readable_responses(user), pk=response_id)


def shows_answers(response: Response) -> bool:
    """Of a readable response: whether each answer may be read, or the scores alone."""
    return response.assignment.rater == Rater.THERAPIST or response.sharing == Sharing.ANSWERS
