"""The API of the data: what was frozen of a study, and files that are asked for and fetched."""

from typing import Any
from uuid import UUID

from django.forms import Form
from django.http import HttpResponse, HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import APIException, PermissionDenied
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.access import (
    get_export_or_404,
    get_own_export_or_404,
    get_snapshot_or_404,
    visible_exports,
)
from analytics.data_forms import FreezeForm, RequestForm
from analytics.data_selectors import ExportRow, data_desk, export_row, export_rows, snapshot_rows
from analytics.data_words import export_refusal, gone_words, refusal
from analytics.models import Export, Snapshot
from analytics.services.exports import (
    ExportRefused,
    Gone,
    NotConfirmed,
    State,
    export_ask,
    export_fetch,
    export_state,
)
from analytics.services.freeze import NoKey
from analytics.services.snapshots import SelectionRefused, snapshot_ask
from analytics.views.desk_data import download
from surveys.access import get_study_or_404, person
from surveys.api.base import ApiView, once_under, part_headers, part_of
from surveys.api.schema import (
    ALWAYS,
    ERRORS,
    KEY,
    LINK,
    RETRY,
    TOTAL,
    DetailSerializer,
    FieldErrorsSerializer,
    described,
)
from surveys.api.strict import Choice, Day, NoParameters, Slice, Strict, Text, body, client_key, parameters

STATES = [state.value for state in State]
SELECTION: dict[str, Any] = {
    "started_from": None,
    "started_until": "2026-06-30",
    "arms": [],
    "only_ended": False,
}
SNAPSHOT = {
    "id": "01932f60-7d1a-7c3e-9b55-0a4f5c1e2d3b",
    "number": 3,
    "selection": SELECTION,
    "asked_at": "2026-07-01T08:00:00Z",
    "read_at": "2026-07-01T08:00:04Z",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "identical_to": None,
    "counts": {"n_ratings": 2345, "n_episodes": 370, "n_patients": 368, "n_treating": 70},
    "n_left_out_since": 0,
    "erased_at": None,
}
REQUEST = {
    "snapshot": SNAPSHOT["id"],
    "tier": "scores",
    "purpose": "How both see the bond; kept on the institute's server.",
}
EXPORT = {
    "id": "01932f61-7d1a-7c3e-9b55-0a4f5c1e2d3b",
    **REQUEST,
    "state": "waiting",
    "n_approvals_missing": 1,
    "reason": "",
    "expires_at": None,
    "sha256": "",
}


class SelectionSerializer(serializers.Serializer):
    started_from = serializers.DateField(allow_null=True, required=False)
    started_until = serializers.DateField(allow_null=True, required=False)
    arms = serializers.ListField(child=serializers.CharField(), required=False)
    only_ended = serializers.BooleanField(required=False)


class NewSnapshot(Strict):
    """Which therapies; without a value, all of them."""

    started_from = Day(required=False, allow_null=True, default=None, help_text="Begun on this day or later")
    started_until = Day(required=False, allow_null=True, default=None, help_text="Begun on it or before")
    arms = serializers.ListField(
        child=Text(max_length=40), required=False, default=list, max_length=50, help_text="Empty: of all"
    )
    only_ended = serializers.BooleanField(required=False, default=False)


class SnapshotSerializer(serializers.Serializer):
    id = serializers.UUIDField(source="snapshot.pk")
    number = serializers.IntegerField(source="snapshot.number", help_text="Of the study's snapshots, from 1")
    selection = SelectionSerializer(source="snapshot.selection")
    asked_at = serializers.DateTimeField(source="snapshot.asked_at")
    read_at = serializers.DateTimeField(
        source="snapshot.read_at", allow_null=True, help_text="The moment that the data are of; null: not yet"
    )
    sha256 = serializers.CharField(source="snapshot.sha256")
    identical_to = serializers.IntegerField(
        allow_null=True, help_text="Number of the first snapshot with the same bytes"
    )
    counts = serializers.DictField(child=serializers.IntegerField())
    n_left_out_since = serializers.IntegerField(
        source="n_left", help_text="Its patients who have asked since to be left out of the research"
    )
    erased_at = serializers.DateTimeField(
        source="snapshot.erased_at", allow_null=True, help_text="When it was deleted, for a patient in it"
    )


class Snapshots(ApiView):
    @described(
        "listSnapshots",
        "Datasets",
        "What was frozen of a study, the latest first",
        SnapshotSerializer(many=True),
        example=SNAPSHOT,
        parameters=[Slice, TOTAL, LINK],
        errors=[404],
    )
    def get(self, request: Request, study_id: UUID) -> Response:
        asked = parameters(request, Slice)
        study = get_study_or_404(request.user, study_id)
        rows, total = part_of(study.snapshots.order_by("-number"), asked["limit"], asked["offset"])
        shown = snapshot_rows(study.snapshots.filter(pk__in=[row.pk for row in rows]))
        headers = part_headers(request, asked, total)
        return Response(SnapshotSerializer(shown, many=True).data, headers=headers)

    @described(
        "freezeStudy",
        "Datasets",
        "Freezes a study's data as they are now",
        SnapshotSerializer,
        status=201,
        example=SNAPSHOT,
        body=NewSnapshot,
        body_example={"started_until": "2026-06-30"},
        parameters=[KEY],
        errors=[404],
        description="A job does it: ask for the list until `read_at` is there. Selections of few people are"
        " refused.",
    )
    def post(self, request: Request, study_id: UUID) -> Response:
        parameters(request, NoParameters)
        key, sent = client_key(request), body(request, NewSnapshot)
        study = get_study_or_404(request.user, study_id)
        form = FreezeForm(_as_form(sent), arms=data_desk(study).arms)

        def ask() -> Snapshot:
            if not form.is_valid():
                raise _wrong(form)
            if sent["arms"] and "arms" not in form.fields:
                raise serializers.ValidationError({"arms": ["The study has no arms."]})
            try:
                return snapshot_ask(study=study, selection=form.selection, actor=person(request.user))
            except SelectionRefused as refused:
                raise serializers.ValidationError({"selection": [refusal(refused)]}) from refused

        made, is_new = once_under(request, key, ask)
        (row,) = snapshot_rows(study.snapshots.filter(pk=made))
        return Response(SnapshotSerializer(row).data, status=201 if is_new else 200)


class NewExport(Strict):
    snapshot = serializers.UUIDField(help_text="Id of a snapshot of the study")
    tier = Choice(Export.Tier.values, help_text="scores, or items (every answer)")
    purpose = Text(max_length=1000, help_text="What for, by whom, kept where; no names of patients")
    agreement = Text(
        max_length=200,
        required=False,
        default="",
        allow_blank=True,
        help_text="Needed for items: the signed agreement",
    )


class ExportSerializer(serializers.Serializer):
    id = serializers.UUIDField(source="export.pk")
    snapshot = serializers.UUIDField(source="export.snapshot_id")
    tier = serializers.ChoiceField(Export.Tier.values, source="export.tier")
    purpose = serializers.CharField(source="export.purpose")
    state = serializers.SerializerMethodField(help_text=", ".join(STATES))
    n_approvals_missing = serializers.IntegerField(source="n_missing")
    reason = serializers.CharField(source="export.reason", help_text="Why it was declined or taken back")
    expires_at = serializers.DateTimeField(source="export.expires_at", allow_null=True)
    sha256 = serializers.CharField(source="export.sha256", help_text="Of the file; empty: not built yet")

    def get_state(self, row: ExportRow) -> str:
        return row.state.value


class Exports(ApiView):
    @described(
        "listExports",
        "Datasets",
        "Files asked for of a study, the latest first",
        ExportSerializer(many=True),
        example=EXPORT,
        parameters=[Slice, TOTAL, LINK],
        errors=[404],
    )
    def get(self, request: Request, study_id: UUID) -> Response:
        asked = parameters(request, Slice)
        study = get_study_or_404(request.user, study_id)
        found = visible_exports(request.user).filter(snapshot__study=study).order_by("-asked_at")
        total = found.count()
        part = export_rows(found[asked["offset"] : asked["offset"] + asked["limit"]])
        headers = part_headers(request, asked, total)
        return Response(ExportSerializer(part, many=True).data, headers=headers)

    @described(
        "askForExport",
        "Datasets",
        "Asks for a file of a snapshot",
        ExportSerializer,
        status=201,
        example=EXPORT,
        body=NewExport,
        body_example=REQUEST,
        parameters=[KEY],
        errors=[404],
        description="A second person decides; then the file is built, and is there for 24 hours.",
    )
    def post(self, request: Request, study_id: UUID) -> Response:
        parameters(request, NoParameters)
        key, sent = client_key(request), body(request, NewExport)
        study = get_study_or_404(request.user, study_id)
        snapshot = get_snapshot_or_404(request.user, sent.pop("snapshot"))
        form = RequestForm(sent)

        def ask() -> Export:
            if snapshot.study_id != study.pk:
                raise serializers.ValidationError({"snapshot": ["It is of another study."]})
            if not form.is_valid():
                raise _wrong(form)
            return _asked(snapshot, form.cleaned_data, request)

        made, is_new = once_under(request, key, ask)
        row = get_export_or_404(request.user, made)
        return Response(ExportSerializer(export_row(row)).data, status=201 if is_new else 200)


def _asked(snapshot: Snapshot, values: dict[str, Any], request: Request) -> Export:
    try:
        return export_ask(snapshot=snapshot, actor=person(request.user), **values)
    except ExportRefused as refused:
        raise serializers.ValidationError({"snapshot": [export_refusal(refused.code)]}) from refused
    except NoKey as missing:
        raise serializers.ValidationError({"snapshot": [export_refusal("key")]}) from missing


class ExportDetail(ApiView):
    @described(
        "readExport",
        "Datasets",
        "What became of a file that was asked for",
        ExportSerializer,
        example=EXPORT,
        errors=[404],
    )
    def get(self, request: Request, export_id: UUID) -> Response:
        parameters(request, NoParameters)
        return Response(ExportSerializer(export_row(get_export_or_404(request.user, export_id))).data)


class FileGone(APIException):
    status_code = 410
    default_code = "gone"


class ZipRenderer(BaseRenderer):
    """Lets a caller ask for application/zip; the view streams the bytes itself, only refusals come here."""

    media_type = "application/zip"
    format = "zip"

    def render(
        self, data: object, accepted_media_type: str | None = None, renderer_context: object = None
    ) -> bytes:
        return f"{data['detail'] if isinstance(data, dict) else data}\n".encode()


def _refusals() -> dict[Any, Any]:
    """Of the file: what any operation can answer, and that it is not there now."""
    words = {
        **{code: ERRORS[code] for code in (*ALWAYS, 404)},
        403: "Fetch it once on its page, where you give your password; or the token does not include this",
        410: "Not there now, and why",
    }
    return {
        (code, "application/json"): OpenApiResponse(
            FieldErrorsSerializer if code == 400 else DetailSerializer,
            text,
            [
                OpenApiExample(
                    "Refusal",
                    value={"limit": [f"{text}."]} if code == 400 else {"detail": f"{text}."},
                    response_only=True,
                    status_codes=[str(code)],
                )
            ],
        )
        for code, text in sorted(words.items())
    }


class ExportFile(ApiView):
    renderer_classes = [JSONRenderer, ZipRenderer]

    @extend_schema(
        operation_id="fetchExport",
        tags=["Datasets"],
        summary="Fetches a file that you asked for, once it is approved and built",
        description="The zip in one piece. The first time it is fetched on its page, after your password.",
        parameters=[RETRY],
        responses={(200, "application/zip"): OpenApiTypes.BINARY, **_refusals()},
    )
    def get(self, request: Request, export_id: UUID) -> HttpResponseBase:
        parameters(request, NoParameters)
        row = get_own_export_or_404(request.user, export_id)
        try:
            if request.method == "HEAD":
                # Asked for without a body, nothing is fetched, and nothing is written down.
                return _head(row)
            return download(row, export_fetch(export=row, actor=person(request.user)))
        except Gone as gone:
            raise FileGone(gone_words(gone.state)) from gone
        except NotConfirmed as missing:
            raise PermissionDenied(
                "Fetch it once on its page, where you give your password; after that it can be fetched here."
            ) from missing


def _head(row: Export) -> HttpResponse:
    state = export_state(row)
    if state is not State.READY:
        raise Gone(state)
    return HttpResponse(content_type="application/zip")


def _as_form(sent: dict[str, Any]) -> dict[str, Any]:
    """As a page sends it."""
    days = {name: sent[name] and sent[name].isoformat() for name in ("started_from", "started_until")}
    return {**days, "arms": sent["arms"], "only_ended": sent["only_ended"]}


def _wrong(form: Form) -> serializers.ValidationError:
    return serializers.ValidationError({name: list(map(str, found)) for name, found in form.errors.items()})
