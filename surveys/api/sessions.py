"""The session log of a therapy, and which forms about each session are in: completion, never an answer."""

from uuid import UUID

from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from surveys.access import (
    LinkState,
    form_state,
    get_logged_session_or_404,
    get_logged_therapy_or_404,
    person,
)
from surveys.api.base import ApiView, listed
from surveys.api.errors import Conflict, refused
from surveys.api.people import created
from surveys.api.schema import KEY, LINK, TOTAL, described
from surveys.api.strict import Choice, Moment, NoParameters, Slice, Strict, body, client_key, parameters
from surveys.clinic_access import get_clinic_therapy_or_404
from surveys.forms import time_fault
from surveys.models import Assignment, Rater, Session
from surveys.selectors import logged_sessions
from surveys.services.sessions import LogRefused, SessionExists, session_close

DUE, RECEIVED, NO_RATING, MISSED = "due", "received", "no_rating", "missed"


class FormSerializer(serializers.Serializer):
    id = serializers.UUIDField()
    rater = serializers.ChoiceField(Rater.choices)
    instrument = serializers.CharField(source="instrument.code")
    state = serializers.SerializerMethodField(
        help_text="due; received; no_rating: the therapist gives none; missed: not received in time"
    )
    closes_at = serializers.DateTimeField(help_text="Until when it can be begun")

    @extend_schema_field(serializers.ChoiceField([DUE, RECEIVED, NO_RATING, MISSED]))
    def get_state(self, form: Assignment) -> str:
        if form.rater == Rater.THERAPIST and form.state == Assignment.State.DECLINED:
            return NO_RATING
        state = form_state(form, self.context["now"])
        return {LinkState.OPEN: DUE, LinkState.RECEIVED: RECEIVED}.get(state, MISSED)


class SessionSerializer(serializers.Serializer):
    id = serializers.UUIDField()
    therapy = serializers.UUIDField(source="therapy_id")
    number = serializers.IntegerField(
        allow_null=True,
        help_text="Counts held sessions by their time; derived from the log, so that an earlier session "
        "that is entered later moves it. Null where the session was not held",
    )
    held_at = serializers.DateTimeField()
    status = serializers.ChoiceField(Session.Status.choices)
    reason = serializers.CharField(help_text="Why it was not held; empty where that is not known")
    forms = FormSerializer(source="assignments", many=True, help_text="Those that were asked for about it")


class NewSession(Strict):
    held_at = Moment(help_text="When it began, or would have, with the offset: 2026-05-12T14:00:00+02:00")
    status = Choice(Session.Status.values)
    reason = Choice(
        [value for value in Session.Reason.values if value != Session.Reason.MISTAKE],
        required=False,
        help_text="Why it was not held, where that is known",
    )


EXAMPLE = {
    "id": "01932f60-7d1a-7c3e-9b55-0a4f5c1e2d3b",
    "therapy": "01932f5d-7d1a-7c3e-9b55-0a4f5c1e2d3b",
    "number": 3,
    "held_at": "2026-05-26T12:00:00Z",
    "status": "held",
    "reason": "",
    "forms": [
        {
            "id": "01932f61-7d1a-7c3e-9b55-0a4f5c1e2d3b",
            "rater": "patient",
            "instrument": "wai-s",
            "state": "due",
            "closes_at": "2026-05-28T12:00:00Z",
        }
    ],
}


class Sessions(ApiView):
    @described(
        "listSessions",
        "Sessions",
        "The session log of a therapy, the latest first, with which forms are due or received",
        SessionSerializer(many=True),
        example=EXAMPLE,
        parameters=[Slice, TOTAL, LINK],
        errors=[404],
    )
    def get(self, request: Request, therapy_id: UUID) -> Response:
        asked = parameters(request, Slice)
        therapy = get_logged_therapy_or_404(request.user, therapy_id)
        return listed(request, logged_sessions(therapy), asked, SessionSerializer, now=timezone.now())

    @described(
        "createSession",
        "Sessions",
        "Enters a session into the log of a therapy of a clinic that you administer",
        SessionSerializer,
        status=201,
        example=EXAMPLE,
        body=NewSession,
        body_example={"held_at": "2026-05-26T14:00:00+02:00", "status": "held"},
        parameters=[KEY],
        errors=[404],
        description="The number is derived from the log and never given. What the plan of the study asks for "
        "after the session becomes due at once. 409 where the log has a session at this time.",
    )
    def post(self, request: Request, therapy_id: UUID) -> Response:
        parameters(request, NoParameters)
        key, sent = client_key(request), body(request, NewSession)
        user, therapy = person(request.user), get_clinic_therapy_or_404(request.user, therapy_id)
        reason = sent.get("reason", "")
        if reason and sent["status"] == Session.Status.HELD:
            raise ValidationError({"reason": ["A session that was held has no reason why it was not."]})

        def enter() -> Session:
            if fault := time_fault(therapy, sent["held_at"]):
                raise LogRefused(fault)
            return session_close(
                therapy=therapy, held_at=sent["held_at"], status=sent["status"], reason=reason, actor=user
            ).session

        try:
            made, is_new = created(request, key, enter)
        except SessionExists as error:
            raise Conflict(str(error)) from error
        except LogRefused as error:
            raise refused(error) from error
        row = logged_sessions(therapy).get(pk=made)
        data = SessionSerializer(row, context={"now": timezone.now()}).data
        return Response(data, status=201 if is_new else 200)


class SessionView(ApiView):
    @described(
        "readSession",
        "Sessions",
        "One session, with which forms are due or received",
        SessionSerializer,
        example=EXAMPLE,
        errors=[404],
    )
    def get(self, request: Request, session_id: UUID) -> Response:
        parameters(request, NoParameters)
        session = get_logged_session_or_404(request.user, session_id)
        row = logged_sessions(session.therapy).get(pk=session.pk)
        return Response(SessionSerializer(row, context={"now": timezone.now()}).data)
