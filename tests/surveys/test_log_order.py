"""Session log, forms received and transfer, in any order of entry: the rows are those of the rule told again.

Times lie about the last change of the clock in Zurich and come in the zone of the clinic or in UTC.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.db.models import QuerySet
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from surveys.access import browser_hash
from surveys.changes import LogChange
from surveys.models import Assignment, Job, PlanLine, Study, StudyVersion, Therapist, Therapy
from surveys.services.assignments import therapy_sync
from surveys.services.responses import Paradata, form_open, response_submit
from surveys.services.sessions import session_close, session_correct
from surveys.services.therapies import therapy_transfer
from tests import factories
from tests.conftest import Cast

pytestmark = pytest.mark.django_db
ZURICH = ZoneInfo("Europe/Zurich")
RATERS = ("patient", "therapist")
OPEN_LONG = 24 * 300


def last_change() -> datetime:
    """When the clock was last put forward or back, at least three weeks ago."""
    at = timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(days=21)
    while at.astimezone(ZURICH).utcoffset() == (at - timedelta(hours=1)).astimezone(ZURICH).utcoffset():
        at -= timedelta(hours=1)
    return at


CHANGE = last_change()


@dataclass(frozen=True)
class Line:
    rater: str
    sessions: tuple[int, ...]
    every: int | None
    tolerance: int
    catch_up: bool
    hours: int
    arm: str = ""

    def names(self, number: int) -> bool:
        return number in self.sessions or (self.every is not None and number % self.every == 0)


@dataclass(frozen=True)
class Told:
    """What the rule says of one form: its occasion, its end and the number of the version it follows."""

    occasion: int
    closes_at: float
    version: int


Log = dict[UUID, tuple[float, str]]
Versions = list[tuple[float, list[Line]]]


def tell_numbers(log: Log) -> dict[UUID, int | None]:
    held = sorted(at for at, status in log.values() if status == "held")
    return {key: held.index(at) + 1 if status == "held" else None for key, (at, status) in log.items()}


def tell(versions: Versions, log: Log, arm: str, received: set[tuple[UUID, str]]) -> dict:
    """The rule in plain numbers: session after session, in seconds, with nothing of the product."""
    numbers = tell_numbers(log)
    held = sorted((number, key) for key, number in numbers.items() if number)
    told: dict[tuple[UUID, str], Told] = {}
    for rater in RATERS:
        place: dict[UUID, tuple[int, int, list[Line]]] = {}
        for number, key in held:
            begun = [n for n, (since, _) in enumerate(versions) if since <= log[key][0]]
            current = versions[begun[-1]][1] if begun else []
            lines = [line for line in current if line.rater == rater and line.arm in ("", arm)]
            near = [
                (abs(number - k), k)
                for line in lines
                for k in range(1, 60)
                if abs(number - k) <= line.tolerance and line.names(k)
            ]
            if near:
                place[key] = (begun[-1] + 1, min(near)[1], lines)
        for occasion in {k for _, k, _ in place.values()}:
            standing = [key for _, key in held if key in place and place[key][1] == occasion]
            given_here = [key for key in standing if (key, rater) in received]
            end = None
            for key in standing:
                version, _, lines = place[key]
                own = [line for line in lines if line.names(occasion)]
                closes = log[key][0] + 3600 * max(line.hours for line in own)
                late = (numbers[key] or 0) - occasion
                caught = any(line.catch_up and late <= line.tolerance for line in own)
                if given_here:
                    is_asked = key in given_here
                else:
                    is_asked = late == 0 or (late > 0 and caught and end is not None and end <= log[key][0])
                if is_asked:
                    told[key, rater] = Told(occasion, closes, version)
                    end = closes
    return told


def line_of(rater: str) -> st.SearchStrategy[Line]:
    listed = st.builds(
        lambda sessions, tolerance, catch_up, hours, arm: Line(
            rater, tuple(sorted(sessions)), None, tolerance, catch_up and tolerance > 0, hours, arm
        ),
        st.sets(st.integers(1, 4), min_size=1, max_size=2),
        st.integers(0, 2),
        st.sampled_from([True, True, False]),
        st.sampled_from([24, 24, 49, OPEN_LONG]),
        st.sampled_from(["", "", "weekly"]),
    )
    every = st.builds(
        lambda n, hours: Line(rater, (), n, 0, False, hours),
        st.integers(1, 2),
        st.sampled_from([24, OPEN_LONG]),
    )
    return st.one_of(listed, listed, every)


# In half hours, so that the doubled or missing hour after the change is among them.
moments = st.one_of(st.integers(-4, 4), st.integers(-12, 12).map(lambda n: 48 * n)).map(
    lambda n: CHANGE + timedelta(minutes=30 * n)
)
logs = st.lists(
    st.tuples(moments, st.sampled_from(["held", "held", "held", "cancelled", "no_show"])),
    unique_by=lambda row: row[0],
    min_size=3,
    max_size=6,
).map(sorted)


def plan_into(study: Study, versions: list[tuple[datetime, list[Line]]]) -> None:
    for number, (since, lines) in enumerate(versions, start=1):
        version = StudyVersion.objects.create(study=study, number=number, visibility="blind")
        for line in lines:
            PlanLine.objects.create(
                version=version,
                instrument=factories.instrument("wai-s", line.rater),
                sessions=list(line.sessions),
                every=line.every,
                tolerance=line.tolerance,
                catch_up=line.catch_up,
                window_hours=line.hours,
                arm=line.arm,
            )
        factories.activate(version, since)


def give(form: Assignment) -> None:
    """In time, some minutes after the session."""
    at = form.opens_at + timedelta(minutes=10)
    opening = form_open(assignment_id=form.pk, browser_hash=browser_hash(None, "x"), device="phone", at=at)
    response_submit(
        opening=opening,
        answers={1: 4},
        sharing="none",
        client_key=opening.client_key,
        paradata=Paradata(device="phone", channel="link"),
        at=at,
    )


class Desk:
    """Enters one therapy's log, and what goes wrong with it; after every step the rows are checked."""

    def __init__(
        self, draw: st.DrawFn, therapy: Therapy, versions: Versions, log: list[tuple[datetime, str]]
    ) -> None:
        self.draw, self.therapy, self.versions = draw, therapy, versions
        self.waiting = list(log)
        self.entered: list[tuple[datetime, str]] = []

    def step(self) -> None:
        """A line that is waiting is entered, rightly or with a slip that is corrected; then forms come in."""
        at, status = self.waiting.pop(self.draw(st.integers(0, len(self.waiting) - 1)))
        zoned = at.astimezone(self.draw(st.sampled_from([ZURICH, UTC])))
        slip = self.draw(st.sampled_from(["", "", "time", "status", "doubt"]))
        # No session stands seven minutes past a half hour.
        wrong_time = zoned + timedelta(days=self.draw(st.integers(-9, 9)), minutes=7)
        wrong_status = "cancelled" if status == "held" else "held"
        first = {"time": (wrong_time, status), "status": (zoned, wrong_status)}.get(slip, (zoned, status))
        change = self.told(session_close(therapy=self.therapy, held_at=first[0], status=first[1]))
        if slip == "doubt":
            self.told(session_correct(session=change.session, held_at=zoned, status=wrong_status))
        if slip:
            self.told(session_correct(session=change.session, held_at=zoned, status=status))
        self.entered.append((at, status))
        self.check()
        due = self.forms().filter(state="due", session__held_at__in=[at for at, _ in self.entered])
        for form in due.select_related("session").order_by("session__held_at", "rater"):
            form.refresh_from_db(fields=["state"])
            if form.state == "due" and self.draw(st.sampled_from([True, False, False])):
                give(form)
                if Job.objects.filter(kind="forms", scope=str(self.therapy.pk)).exists():
                    therapy_sync(therapy_id=self.therapy.pk)
                self.check()

    def forms(self) -> QuerySet[Assignment]:
        return Assignment.objects.filter(session__therapy=self.therapy).exclude(state="withdrawn")

    def state(self) -> tuple[Log, dict[tuple[UUID, str], Assignment], set[tuple[UUID, str]]]:
        """The log, the forms that are not withdrawn, and which of them were received, as they are stored."""
        log = {row.pk: (row.held_at.timestamp(), row.status) for row in self.therapy.sessions.all()}
        there = {(form.session_id, form.rater): form for form in self.forms().select_related("version")}
        return log, there, {key for key, form in there.items() if form.state != "due"}

    def told(self, change: LogChange) -> LogChange:
        """What a change of the log asks for is asked for by the rule, and by then not covered."""
        log, _, received = self.state()
        rule = tell(self.versions, log, self.therapy.arm, received)
        assert {(form.session_id, form.rater) for form in change.forms.asked} <= rule.keys()
        return change

    def check(self) -> None:
        log, there, received = self.state()
        assert sorted(log.values()) == sorted((at.timestamp(), status) for at, status in self.entered)
        assert dict(self.therapy.sessions.values_list("pk", "number")) == tell_numbers(log)
        self.therapy.refresh_from_db(fields=["last_held_at"])
        held = [at for at, status in self.entered if status == "held"]
        assert self.therapy.last_held_at == max(held, default=None)
        told = tell(self.versions, log, self.therapy.arm, received)
        assert told.keys() <= there.keys()
        for key, rule in told.items():
            form = there[key]
            assert form.occasion == rule.occasion
            if form.state == "due":
                assert form.opens_at.timestamp() == log[key[0]][0]
                assert (form.closes_at.timestamp(), form.version.number) == (rule.closes_at, rule.version)
        # Beside them stand only forms that nothing may take away: received ones, the other rater's where one
        # of the two came in, and what was missed before its occasion was covered.
        begun = {session for session, _ in received}
        asked_at_all = tell(self.versions, log, self.therapy.arm, set())
        for key in there.keys() - told.keys():
            is_missed = key in asked_at_all and there[key].closes_at < timezone.now()
            assert key in received or key[0] in begun or is_missed


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_the_rows_are_those_of_the_rule_however_the_log_came_about(cast: Cast, data: st.DataObject) -> None:
    draw = data.draw
    log = draw(logs)
    lines = st.tuples(line_of("patient"), line_of("therapist")).map(list)
    # The second version begins at the very moment of a session, the first at one or before all.
    times = [at for at, _ in log]
    since = sorted(
        {draw(st.sampled_from([CHANGE - timedelta(days=60), *times[:2]])), draw(st.sampled_from(times))}
    )
    versions = [(at, draw(lines)) for at in since]
    study = Study.objects.create(clinic=cast.clinic, code=f"P{Study.objects.count()}", name="Property")
    plan_into(study, versions)
    cut = draw(st.integers(1, len(log)))
    therapy = factories.make_therapy(study, cast.therapist)
    therapy.arm, therapy.started_on = (
        draw(st.sampled_from(["", "weekly"])),
        (CHANGE - timedelta(days=90)).date(),
    )
    therapy.save(update_fields=["arm", "started_on"])

    rule = [(at.timestamp(), asked) for at, asked in versions]
    old = Desk(draw, therapy, rule, log[:cut])
    for _ in range(draw(st.integers(0, cut))):
        old.step()
    newcomer = Therapist.objects.create(clinic=cast.clinic)
    on = (log[cut][0] if cut < len(log) else log[-1][0]).date()
    new = Desk(draw, therapy_transfer(therapy=therapy, therapist=newcomer, on=on), rule, log[cut:])
    while old.waiting or new.waiting:
        draw(st.sampled_from([desk for desk in (old, new) if desk.waiting])).step()
    old.check()
