"""Random worlds: whatever page, file or answer of the API somebody opens, no rating is in it that an
independent telling of the rule hides from them; and no rating is in any mail.

The patients' ratings are 1.25, 2.25, 3.25 …, each on every scale, and therapists rate whole numbers. So each
of these numbers in a body, also rounded to 1.2 or 1.3, says whose rating it is.
"""

import itertools
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.core.mail import EmailMessage
from django.db import transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.urls.resolvers import RoutePattern
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

import analytics.tasks  # noqa: F401  registers what follows from ratings
from alliance_site.policy import POLICY
from analytics.models import Export
from analytics.services.exports import FILE
from analytics.storage import store
from surveys import jobs, tasks
from surveys.models import Patient, Response, Therapist, Therapy
from surveys.services.patients import patient_contact_set
from tests import factories
from tests.analytics.clinics import frozen, read
from tests.conftest import Cast, signed_in
from tests.files import pdf_words
from tests.test_permissions import ROUTES

pytestmark = pytest.mark.django_db
assert tasks, "the handlers of messages are registered"

ACTORS = ("therapist", "colleague", "supervisor", "clinic_admin", "researcher", "stranger", "superuser")
REVERSED = (4, 10)


@pytest.fixture(autouse=True)
def a_site_that_writes_mail(settings: Any) -> None:
    settings.SITE_URL = "https://alliance.example"


@dataclass(frozen=True)
class Rated:
    """One session: what the patient shares, None where they sent nothing, and whether the therapist rated."""

    sharing: str | None
    by_therapist: bool


@dataclass(frozen=True)
class World:
    """`is_open`: to supervisors; `is_shared`: the therapist shares their own ratings with the supervisor,
    which is theirs to do and opens nothing of the patients'."""

    visibility: str
    is_ended: bool
    own: tuple[Rated, ...]
    other: tuple[Rated, ...]
    colleagues: tuple[Rated, ...]
    is_open: bool = False
    is_shared: bool = False


def answers(effective: dict[int, int]) -> dict[int, int]:
    """What is ticked so that the items count as these values: two of them count the other way round."""
    return {item: 8 - value if item in REVERSED else value for item, value in effective.items()}


def canary(number: int) -> dict[int, int]:
    """Items 1, 3 and 4 are each on another scale of four items."""
    return answers({item: number + (item in (1, 3, 4)) for item in range(1, 13)})


def in_body(number: int, body: str) -> bool:
    """Shares of a hundred, which the rules of dips are described with, are no ratings."""
    return re.search(rf"(?<![\d.,:]){number}[.,](25|2|3)(?![\d.:]|\s?%)", body) is not None


def body_of(answer: HttpResponse) -> str:
    """With its headers; of a drawn picture what it says of its marks, as places in it are numbers, too."""
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    kind = answer.headers.get("Content-Type", "")
    text = pdf_words(content) if kind == "application/pdf" else content.decode()
    if "svg" in kind:
        text = " ".join(re.findall(r'aria-label="([^"]*)"', text))
    return " ".join(f"{key}: {value}" for key, value in answer.headers.items()) + text


def words_of_mail(message: EmailMessage) -> str:
    shown = " ".join(str(content) for content, _kind in getattr(message, "alternatives", ()))
    return f"{message.subject} {message.body} {message.extra_headers} {shown}"


def fill(therapy: Therapy, sessions: tuple[Rated, ...], numbers: Iterator[int]) -> dict[int, Rated]:
    given_ = {}
    begin = timezone.now() - timedelta(hours=30)
    for at, rated in enumerate(sessions):
        session = factories.hold_session(therapy, begin + timedelta(hours=at))
        if rated.sharing is not None:
            number = next(numbers)
            form = factories.form_of(session, "patient")
            factories.give(form, canary(number), sharing=rated.sharing)
            given_[number] = rated
        if rated.by_therapist:
            whole = answers(dict.fromkeys(range(1, 13), 5))
            factories.give(factories.form_of(session, "therapist"), whole, user=therapy.therapist.user)
    return given_


def may_see(world: World, actor: str, owner: str, is_over: bool, rated: Rated) -> bool:
    """Only who treats the patient, and who supervises them in an open study; never in a blind study, never
    what is not shared; under the delayed policy after the end; else after the therapist's own rating."""
    if rated.sharing == "none" or world.visibility == "blind":
        return False
    if actor != owner and not (actor == "supervisor" and owner == "therapist" and world.is_open):
        return False
    return is_over if world.visibility == "delayed" else rated.by_therapist


def addresses(cast: Cast) -> Iterator[tuple[str, str]]:
    """Every route that can be read, with every object of the world."""
    therapies = list(Therapy.objects.filter(study=cast.study).order_by("pk"))
    values = {
        "therapy_id": [row.pk for row in therapies],
        "session_id": [session.pk for row in therapies for session in row.sessions.all()],
        "assignment_id": [
            form.pk
            for row in therapies
            for session in row.sessions.all()
            for form in session.assignments.all()
        ],
        "response_id": list(Response.objects.values_list("pk", flat=True)),
        "patient_id": [row.patient_id for row in therapies],
        "user_id": [cast.therapist.pk, cast.colleague.pk],
        "therapist_id": [row.therapist_id for row in therapies],
        "study_id": [cast.study.pk],
        "snapshot_id": [snapshot.pk for snapshot in cast.study.snapshots.all()],
        "export_id": [export.pk for export in Export.objects.filter(snapshot__study=cast.study)],
    }
    readable = {name for name, method in POLICY if method == "GET"}
    for route in ROUTES:
        names = list(route.pattern.converters)
        is_path = isinstance(route.pattern, RoutePattern)
        if route.name in readable and is_path and set(names) <= set(values):
            for chosen in itertools.product(*(values[name] for name in names)):
                yield route.name, reverse(route.name, kwargs=dict(zip(names, chosen, strict=True)))
    for row in therapies:
        yield "api-answers", reverse("api-answers") + f"?therapy={row.pk}"


def _offer_a_file(cast: Cast) -> None:
    """Frozen data, and a file of every answer that is ready for the researcher, whose bytes are theirs once
    they have given their password: without it nobody has them."""
    snapshot = frozen(cast.study)
    now = timezone.now()
    export = Export.objects.create(
        snapshot=snapshot,
        tier="items",
        purpose="A thesis",
        agreement="Folder 7",
        asked_by=cast.researcher,
        asked_at=now,
        decision="approved",
        decided_by=cast.clinic_admin,
        decided_at=now,
        built_at=now,
        expires_at=now + timedelta(hours=1),
        sha256=snapshot.sha256,
        report={"left_out": []},
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ratings.csv"
        read(snapshot, "ratings", Path(folder)).to_csv(path)
        store(export, FILE, path)


def walk(
    cast: Cast, world: World, actors: tuple[str, ...] = (*ACTORS, "anonymous")
) -> tuple[list[str], dict[str, set[int]]]:
    """What shows and must not, and which ratings each could read somewhere."""
    is_open = world.is_open and world.visibility != "blind"
    factories.set_visibility(cast.study, world.visibility, is_open_to_supervisors=is_open)
    if world.is_shared:
        Therapist.objects.filter(supervisor=cast.supervisor).update(ratings_shared_with=cast.supervisor)
    other = factories.make_therapy(cast.study, cast.therapist, cast.supervisor)
    for patient in Patient.objects.filter(therapies__study=cast.study):
        patient_contact_set(patient=patient, contact=f"{patient.code.lower()}@example.org")
    numbers = iter(range(1, 7))
    ratings = [
        (number, owner, is_over, rated)
        for therapy, sessions, owner, is_over in (
            (cast.therapy, world.own, "therapist", world.is_ended),
            (other, world.other, "therapist", False),
            (cast.colleague_therapy, world.colleagues, "colleague", False),
        )
        for number, rated in fill(therapy, sessions, numbers).items()
    ]
    if world.is_ended:
        cast.therapy.ended_on, cast.therapy.end_reason = timezone.localdate(), "completed"
        cast.therapy.save(update_fields=["ended_on", "end_reason"])
    while jobs.run_due(600):
        pass
    _offer_a_file(cast)
    wrong = [
        f"mail {message.subject!r}: rating {number}"
        for message in mail.outbox
        for number, *_ in ratings
        if in_body(number, words_of_mail(message))
    ]
    read: dict[str, set[int]] = {actor: set() for actor in actors}
    pages = list(addresses(cast))
    for actor in actors:
        user = None if actor == "anonymous" else getattr(cast, actor)
        client = Client() if user is None else signed_in(user, is_confirmed=False)
        for name, url in pages:
            for address in (url, f"{url}?perspective=therapist&scale=bond") if "therap" in name else (url,):
                body = body_of(client.get(address))
                for number, owner, is_over, rated in ratings:
                    if in_body(number, body):
                        read[actor].add(number)
                        if not may_see(world, actor, owner, is_over, rated):
                            wrong.append(f"{actor} at {address}: rating {number}, {rated}")
    for actor in actors:
        visible = {row[0] for row in ratings if may_see(world, actor, *row[1:])}
        assert visible <= read[actor], f"what {actor} may see is shown to them"
    return wrong, read


ALL = (Rated("scores", True), Rated("none", True), Rated("answers", False))


@pytest.mark.slow
@pytest.mark.parametrize("visibility", ["blind", pytest.param("feedback", marks=pytest.mark.judge)])
def test_no_page_shows_a_rating_that_its_reader_may_not_see(cast: Cast, visibility: str) -> None:
    unsent = (Rated(None, by_therapist=True),)
    world = World(visibility, is_ended=False, own=ALL, other=unsent, colleagues=ALL[:2], is_open=True)
    wrong, read = walk(cast, world)
    assert wrong == []
    assert mail.outbox, "patients with open forms were written to"
    assert read["supervisor"] == ({1} if visibility == "feedback" else set())


def test_a_therapist_who_shares_their_own_ratings_opens_nothing_of_their_patients(cast: Cast) -> None:
    world = World("feedback", is_ended=False, own=ALL, other=(), colleagues=(), is_shared=True)
    wrong, read = walk(cast, world, actors=("supervisor",))
    assert (wrong, read["supervisor"]) == ([], set())


RATED = st.builds(Rated, st.sampled_from([None, "none", "scores", "answers"]), st.booleans())


@pytest.mark.slow
@hypothesis(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(
    world=st.builds(
        World,
        st.sampled_from(["blind", "delayed", "feedback"]),
        st.booleans(),
        st.lists(RATED, min_size=1, max_size=3).map(tuple),
        st.lists(RATED, max_size=1).map(tuple),
        st.lists(RATED, max_size=2).map(tuple),
        st.booleans(),
        st.booleans(),
    )
)
def test_in_no_world_does_a_page_show_a_rating_that_its_reader_may_not_see(cast: Cast, world: World) -> None:
    undo = transaction.savepoint()
    wrong, _ = walk(cast, world)
    transaction.savepoint_rollback(undo)
    for row in (cast.therapy, cast.study):
        row.refresh_from_db()
    cast.study.__dict__.pop("current", None)
    assert wrong == []
