"""Trying a version out: a study of its own with one made-up patient, of which nothing counts anywhere."""

from datetime import timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from surveys import audit
from surveys.access import Actor
from surveys.models import (
    Assignment,
    Consent,
    Job,
    Patient,
    Rater,
    Response,
    Session,
    Study,
    StudyVersion,
    Therapist,
    Therapy,
    Withdrawal,
)
from surveys.planning import next_asked
from surveys.plans import LAST_SHOWN
from surveys.services.codes import free_code
from surveys.services.sessions import Entry, sessions_close
from surveys.services.studies import TEST_SUFFIX, StudyRefused, version_copy, version_put_in_force
from surveys.services.therapies import therapy_begin

BETWEEN_SESSIONS = timedelta(minutes=5)


@transaction.atomic
def test_run_begin(*, version: StudyVersion, actor: Actor | None = None) -> Study:
    """A test run of a draft or of a version in force, in place of an earlier one: a made-up patient with a
    made-up therapist, and held sessions up to the first at which the plan asks the patient for a form.

    Raises StudyRefused for a draft that does not say yet what is asked of patients and who sees it.
    """
    study = Study.objects.select_for_update(of=("self",)).select_related("clinic").get(pk=version.study_id)
    if study.test_of_id is not None:
        raise StudyRefused(_("This is a test run already."))
    if not version.visibility:
        raise StudyRefused(_("Choose who sees the patients’ answers first; then the form can be tried out."))
    rows = version.lines.filter(instrument__rater=Rater.PATIENT, period="").select_related("instrument")
    lines = sorted(rows, key=lambda line: line.arm)
    if not lines:
        raise StudyRefused(_("Plan a form of patients first; then it can be tried out."))
    arm = lines[0].arm
    first = next_asked([line.pure() for line in lines if line.arm in ("", arm)], after=0) or 1
    if first > LAST_SHOWN:
        raise StudyRefused(_("The first form is asked for too late in the therapy to try it out."))
    for earlier in study.test_runs.all():
        test_run_clear(test=earlier, actor=actor)
    now = timezone.now()
    test = Study.objects.create(
        clinic=study.clinic, code=f"{study.code}{TEST_SUFFIX}", name=study.name, test_of=study
    )
    begins = now - BETWEEN_SESSIONS * (first + 1)
    copy = version_copy(version=version, study=test, number=1)
    version_put_in_force(draft=copy, at=begins, actor=actor)
    clinic = study.clinic
    therapy = therapy_begin(
        patient=Patient.objects.create(clinic=clinic, code=free_code(clinic.patients.all())),
        therapist=Therapist.objects.create(clinic=clinic, code=free_code(clinic.therapists.all())),
        study=test,
        started_on=timezone.localdate(begins),
        arm=arm,
        actor=actor,
    )
    times = [
        now - BETWEEN_SESSIONS * (first - number) - timedelta(minutes=1) for number in range(1, first + 1)
    ]
    sessions_close(therapy=therapy, entries=[Entry(at, Session.Status.HELD) for at in times], actor=actor)
    audit.record("test.begin", subject=test, actor=actor, clinic=clinic, version=version.number)
    return test


@transaction.atomic
def test_run_clear(*, test: Study, actor: Actor | None = None) -> None:
    """Deletes everything of a test run but the trace that there was one. Raises ValueError for a study."""
    row = Study.objects.select_for_update(of=("self",)).select_related("clinic").get(pk=test.pk)
    if row.test_of_id is None:
        raise ValueError("Only a test run is cleared.")
    therapies = list(Therapy.objects.filter(study=row).values_list("pk", "patient", "therapist"))
    therapy_ids = [therapy for therapy, _patient, _therapist in therapies]
    therapists = [therapist for _therapy, _patient, therapist in therapies]
    patients = [patient for _therapy, patient, _therapist in therapies]
    own = Q(study=row) | Q(therapist__in=therapists)
    forms = list(Assignment.objects.filter(own).values_list("pk", flat=True))
    Job.objects.filter(scope__in=[str(row.pk), *map(str, therapy_ids)]).delete()
    Response.objects.filter(assignment__in=forms).delete()
    Assignment.objects.filter(pk__in=forms).delete()
    Session.objects.filter(therapy__in=therapy_ids).delete()
    Therapy.objects.filter(pk__in=therapy_ids).delete()
    Consent.objects.filter(patient__in=patients).delete()
    Withdrawal.objects.filter(study=row).delete()
    Patient.objects.filter(pk__in=patients).delete()
    Therapist.objects.filter(pk__in=therapists).delete()
    audit.record("test.clear", subject=row, actor=actor, clinic=row.clinic)
    row.delete()
