"""Patients and therapies, for a clinic's own systems."""

from typing import Any
from uuid import UUID

from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from surveys.access import (
    administered_clinics,
    get_logged_therapy_or_404,
    loggable_therapies,
    person,
)
from surveys.api.base import ApiView, listed, once_under
from surveys.api.errors import Conflict, refused
from surveys.api.schema import KEY, LINK, TOTAL, described
from surveys.api.strict import Choice, Day, NoParameters, Slice, Strict, Text, body, client_key, parameters
from surveys.clinic_access import administered_studies, clinic_patients, get_patient_or_404
from surveys.desk import own_therapists, study_arms
from surveys.models import Clinic, Patient, Study, Therapist, Therapy, User
from surveys.readiness import form_languages
from surveys.services.people import patient_add
from surveys.services.roles import PeopleRefused
from surveys.services.therapies import TherapyRefused, TherapyRuns, therapy_begin

LANGUAGES = list(form_languages())


class PatientSerializer(serializers.Serializer):
    id = serializers.UUIDField()
    code = serializers.CharField(help_text="Stands for the patient everywhere; random, says nothing")
    clinic = serializers.UUIDField(source="clinic_id")
    language = serializers.CharField(help_text="The language that forms and mails begin in")


class NewPatient(Strict):
    language = Choice(LANGUAGES, help_text="The language that forms and mails begin in")
    contact = Text(
        required=False,
        default="",
        allow_blank=True,
        max_length=254,
        help_text="E-mail address for links to forms; stored encrypted and never given out again",
    )
    clinic = serializers.UUIDField(
        required=False, help_text="Only who administers several clinics needs to say in which one"
    )


class PatientQuery(Slice):
    code = Text(required=False, max_length=12, help_text="The patient of this code alone")


class TherapySerializer(serializers.Serializer):
    id = serializers.UUIDField()
    code = serializers.CharField()
    patient = serializers.CharField(source="patient.code", help_text="Code of the patient")
    therapist = serializers.CharField(source="therapist.code", help_text="Code of the therapist")
    study = serializers.CharField(source="study.code", help_text="Code of the study")
    arm = serializers.CharField(help_text="Arm of the study; empty for none")
    started_on = serializers.DateField()
    ended_on = serializers.DateField(allow_null=True)


class NewTherapy(Strict):
    patient = Text(max_length=12, help_text="Code of the patient")
    therapist = Text(max_length=12, help_text="Code of the therapist")
    study = Text(max_length=40, help_text="Code of the study")
    started_on = Day(help_text="First day of the therapy")
    arm = Text(
        required=False,
        default="",
        allow_blank=True,
        max_length=40,
        help_text="Only where the plan of the study has lines for single arms",
    )


class TherapyQuery(Slice):
    code = Text(required=False, max_length=12, help_text="The therapy of this code alone")
    patient = Text(required=False, max_length=12, help_text="Therapies of the patient of this code")


PATIENT = {
    "id": "01932f5c-7d1a-7c3e-9b55-0a4f5c1e2d3b",
    "code": "K7MN4-X",
    "clinic": "01932f5c-0000-7c3e-9b55-0a4f5c1e2d3b",
    "language": "en",
}
THERAPY = {
    "id": "01932f5d-7d1a-7c3e-9b55-0a4f5c1e2d3b",
    "code": "Q4RT9-B",
    "patient": "K7MN4-X",
    "therapist": "H2PV8-D",
    "study": "ROUTINE",
    "arm": "",
    "started_on": "2026-05-12",
    "ended_on": None,
}


class Patients(ApiView):
    @described(
        "listPatients",
        "Patients",
        "Patients of the clinics that you administer, the newest first",
        PatientSerializer(many=True),
        example=PATIENT,
        parameters=[PatientQuery, TOTAL, LINK],
    )
    def get(self, request: Request) -> Response:
        asked = parameters(request, PatientQuery)
        rows = clinic_patients(request.user).order_by("-id")
        if "code" in asked:
            rows = rows.filter(code=asked["code"])
        return listed(request, rows, asked, PatientSerializer)

    @described(
        "createPatient",
        "Patients",
        "Enters a patient under a new random code",
        PatientSerializer,
        status=201,
        example=PATIENT,
        body=NewPatient,
        body_example={"language": "en", "contact": "name@example.org"},
        parameters=[KEY],
        description="No name and no date of birth: the code that is answered stands for the patient from now "
        "on. Keep in your own system who that is. The address is never given out again.",
    )
    def post(self, request: Request) -> Response:
        parameters(request, NoParameters)
        key, sent = client_key(request), body(request, NewPatient)
        user = person(request.user)

        def enter() -> Patient:
            clinic = _clinic(user, sent.get("clinic"))
            return patient_add(clinic=clinic, language=sent["language"], contact=sent["contact"], actor=user)

        made, is_new = created(request, key, enter)
        row = get_patient_or_404(user, made)
        return Response(PatientSerializer(row).data, status=201 if is_new else 200)


def created(request: Request, key: UUID, do: Any) -> tuple[UUID, bool]:
    """Once under the key; what the services refuse as the answers of the API."""
    try:
        return once_under(request, key, do)
    except TherapyRuns as error:
        raise Conflict(str(error)) from error
    except (PeopleRefused, TherapyRefused) as error:
        raise refused(error) from error


def _clinic(user: User, chosen: UUID | None) -> Clinic:
    clinics = list(administered_clinics(user).order_by("pk"))
    if chosen is None and len(clinics) > 1:
        raise ValidationError({"clinic": ["You administer several clinics. Give the id of one of them."]})
    clinic = next((row for row in clinics if chosen in (None, row.pk)), None)
    if clinic is None:
        raise ValidationError({"clinic": ["You administer no clinic of this id."]})
    return clinic


class PatientView(ApiView):
    @described(
        "readPatient",
        "Patients",
        "One patient",
        PatientSerializer,
        example=PATIENT,
        errors=[404],
    )
    def get(self, request: Request, patient_id: UUID) -> Response:
        parameters(request, NoParameters)
        return Response(PatientSerializer(get_patient_or_404(request.user, patient_id)).data)


class Therapies(ApiView):
    @described(
        "listTherapies",
        "Therapies",
        "The therapies of your caseload, and of the clinics that you administer",
        TherapySerializer(many=True),
        example=THERAPY,
        parameters=[TherapyQuery, TOTAL, LINK],
    )
    def get(self, request: Request) -> Response:
        asked = parameters(request, TherapyQuery)
        rows = loggable_therapies(request.user).select_related("study", "patient", "therapist")
        if "code" in asked:
            rows = rows.filter(code=asked["code"])
        if "patient" in asked:
            rows = rows.filter(patient__code=asked["patient"])
        return listed(request, rows.order_by("code"), asked, TherapySerializer)

    @described(
        "createTherapy",
        "Therapies",
        "Begins a therapy of a patient with a therapist in a study of a clinic that you administer",
        TherapySerializer,
        status=201,
        example=THERAPY,
        body=NewTherapy,
        body_example={
            "patient": "K7MN4-X",
            "therapist": "H2PV8-D",
            "study": "ROUTINE",
            "started_on": "2026-05-12",
        },
        parameters=[KEY],
        description="409 where the patient has a running therapy in the study.",
    )
    def post(self, request: Request) -> Response:
        parameters(request, NoParameters)
        key, sent = client_key(request), body(request, NewTherapy)
        user = person(request.user)

        def begin() -> Therapy:
            study, patient, therapist = _of_one_clinic(user, sent)
            return therapy_begin(
                patient=patient,
                therapist=therapist,
                study=study,
                started_on=sent["started_on"],
                arm=sent["arm"],
                actor=user,
            )

        made, is_new = created(request, key, begin)
        row = get_logged_therapy_or_404(user, made)
        return Response(TherapySerializer(row).data, status=201 if is_new else 200)


def _of_one_clinic(user: User, sent: dict[str, Any]) -> tuple[Study, Patient, Therapist]:
    """What the codes stand for in the clinic of the study. Raises ValidationError."""
    study = administered_studies(user).select_related("clinic").filter(code=sent["study"]).first()
    if study is None:
        raise ValidationError({"study": ["You administer no study of this code."]})
    patient = clinic_patients(user).filter(clinic=study.clinic, code=sent["patient"]).first()
    therapist = own_therapists(study.clinic).filter(code=sent["therapist"]).first()
    wrong = {}
    if patient is None:
        wrong["patient"] = ["No patient of the study’s clinic has this code."]
    if therapist is None:
        wrong["therapist"] = ["No therapist of the study’s clinic has this code."]
    if sent["arm"] and sent["arm"] not in study_arms([study]):
        wrong["arm"] = ["The plan of the study has no lines for this arm."]
    if patient is None or therapist is None or wrong:
        raise ValidationError(wrong)
    return study, patient, therapist


class TherapyView(ApiView):
    @described(
        "readTherapy",
        "Therapies",
        "One therapy",
        TherapySerializer,
        example=THERAPY,
        errors=[404],
    )
    def get(self, request: Request, therapy_id: UUID) -> Response:
        parameters(request, NoParameters)
        row = get_logged_therapy_or_404(request.user, therapy_id)
        return Response(TherapySerializer(row).data)
