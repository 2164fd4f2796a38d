"""Thousands of open patients' forms with links, in a few statements: as the services would have made them."""

from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import Any

from django.db import connection, connections, transaction
from django.test import Client
from django.utils import timezone

from surveys.models import (
    Assignment,
    Clinic,
    FormLink,
    Instrument,
    Membership,
    Patient,
    PlanLine,
    Rater,
    Role,
    Session,
    Study,
    StudyVersion,
    Therapist,
    Therapy,
    User,
)
from surveys.tokens import new_token, token_hash
from tests.sign_in import sign_in_fully

FORM = "wai-s"
SESSIONS_PER_THERAPY = 12
WINDOW_HOURS = 300 * 24
N_LOAD_STUDIES = 4
BEGAN = timedelta(days=1000)


@dataclass(frozen=True)
class Form:
    """An open form and the token of its link."""

    id: str
    token: str


@dataclass(frozen=True)
class Seed:
    """`forms` of a few busy studies; `lone` has one form for each of many studies that get no other; `cookie`
    is that of the therapist, who is signed in."""

    forms: list[Form]
    lone: list[Form]
    items: list[str]
    lowest: int
    highest: int
    n_scales: int
    cookie: dict[str, str] = field(repr=False)


def plant(n_forms: int, n_lone: int, n_sessions: int = SESSIONS_PER_THERAPY) -> Seed:
    """In an empty, migrated database with the built-in instruments; so many forms are open in one therapy."""
    instrument = Instrument.objects.get(code=FORM, rater=Rater.PATIENT, language="en")
    with transaction.atomic():
        clinic = Clinic.objects.create(name="Fault Clinic", contact="Reception", is_simulated=True)
        user = User.objects.create_user("therapist@faults.example", new_token())
        Membership.objects.create(user=user, clinic=clinic, role=Role.THERAPIST)
        therapist = Therapist.objects.create(clinic=clinic, user=user)
        versions = _studies(clinic, instrument, N_LOAD_STUDIES + n_lone)
        n_therapies = -(-n_forms // n_sessions)
        busy = [versions[number % N_LOAD_STUDIES] for number in range(n_therapies)]
        forms = _forms(clinic, therapist, instrument, busy, n_sessions)
        lone = _forms(clinic, therapist, instrument, versions[N_LOAD_STUDIES:], 1)
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE faults_effect (scope text NOT NULL)")
            cursor.execute("ANALYZE")
    client = Client()
    sign_in_fully(client, user)
    cookie = {name: morsel.value for name, morsel in client.cookies.items()}
    connections.close_all()
    form = instrument.form
    return Seed(
        forms=forms,
        lone=lone,
        items=[str(item.number) for item in form.items],
        lowest=form.minimum,
        highest=form.maximum,
        n_scales=len(form.scales),
        cookie=cookie,
    )


def _studies(clinic: Clinic, instrument: Instrument, n: int) -> list[StudyVersion]:
    """Studies that ask the patient at every session, in force since long ago."""
    studies = Study.objects.bulk_create(
        Study(clinic=clinic, code=f"FAULT-{number}", name=f"Study {number}") for number in range(n)
    )
    versions = StudyVersion.objects.bulk_create(
        StudyVersion(study=study, number=1, visibility=StudyVersion.Visibility.FEEDBACK) for study in studies
    )
    PlanLine.objects.bulk_create(
        PlanLine(version=version, instrument=instrument, every=1, window_hours=WINDOW_HOURS)
        for version in versions
    )
    # What is in force is frozen, so the lines come first.
    own = StudyVersion.objects.filter(pk__in=[version.pk for version in versions])
    own.update(active_from=timezone.now() - BEGAN)
    return versions


def _forms(
    clinic: Clinic,
    therapist: Therapist,
    instrument: Instrument,
    versions: list[StudyVersion],
    n_sessions: int,
) -> list[Form]:
    """For each version in the list one therapy with this many sessions, each with the form it owes."""
    code = f"{instrument.code[:1]}{n_sessions}-"
    patients = Patient.objects.bulk_create(
        Patient(clinic=clinic, code=f"P{code}{number}") for number in range(len(versions))
    )
    now = timezone.now()
    therapies = Therapy.objects.bulk_create(
        Therapy(
            code=f"T{code}{number}",
            patient=patient,
            therapist=therapist,
            study_id=version.study_id,
            started_on=(now - timedelta(days=200)).date(),
        )
        for number, (patient, version) in enumerate(zip(patients, versions, strict=True))
    )
    sessions = Session.objects.bulk_create(
        Session(
            therapy=therapy,
            held_at=now - timedelta(days=7 * (n_sessions - number), hours=1),
            status=Session.Status.HELD,
            number=number + 1,
        )
        for therapy in therapies
        for number in range(n_sessions)
    )
    version_of = {version.study_id: version.pk for version in versions}
    assignments = Assignment.objects.bulk_create(_assignment(row, instrument, version_of) for row in sessions)
    tokens = [new_token() for _ in assignments]
    FormLink.objects.bulk_create(
        FormLink(assignment=row, token_hash=token_hash(token), via=FormLink.Via.COMMAND, issued_at=now)
        for row, token in zip(assignments, tokens, strict=True)
    )
    return [Form(str(row.pk), token) for row, token in zip(assignments, tokens, strict=True)]


def _assignment(session: Session, instrument: Instrument, version_of: dict[Any, int]) -> Assignment:
    """As `surveys.planning` asks for it; any other would be withdrawn by the first plan job."""
    return Assignment(
        study_id=session.therapy.study_id,
        version_id=version_of[session.therapy.study_id],
        session=session,
        occasion=session.number,
        rater=Rater.PATIENT,
        instrument=instrument,
        opens_at=session.held_at,
        closes_at=session.held_at + timedelta(hours=WINDOW_HOURS),
    )


class Forms:
    """Hands out every form once, to any thread; in a mixed order of studies."""

    def __init__(self, forms: list[Form]) -> None:
        self._rest = iter(forms[start] for start in _mixed(len(forms)))

    def take(self, n: int) -> list[Form]:
        taken = list(islice(self._rest, n))
        if len(taken) < n:
            raise RuntimeError("More forms were filled than were planted; plant more.")
        return taken


def _mixed(n: int) -> list[int]:
    step = SESSIONS_PER_THERAPY
    return [place for first in range(step) for place in range(first, n, step)]
