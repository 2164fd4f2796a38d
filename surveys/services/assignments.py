"""Which forms are asked for: the rows, brought in line with what the pure plan says."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Exists, Min, OuterRef, Q
from django.utils import timezone

from surveys import clock, jobs
from surveys.changes import FormChange
from surveys.models import Assignment, Instrument, PlanLine, Rater, Session, Study, Therapist, Therapy
from surveys.planning import DueForm, LoggedSession, due_forms, trait_period, version_at
from surveys.selectors import RECEIVED, active_versions
from surveys.selectors import version_at as version_row_at
from surveys.services.messages import invitations_plan

DUE, OPENED, WITHDRAWN = Assignment.State.DUE, Assignment.State.OPENED, Assignment.State.WITHDRAWN
TRAIT_WINDOW = timedelta(days=60)

# Of the same kind in the same therapy, not begun.
_OTHERS = """
SELECT 1 FROM surveys_assignment form JOIN surveys_session session ON session.id = form.session_id
WHERE session.therapy_id = %s AND form.rater = %s AND form.instrument_id = %s AND form.state = 'due' LIMIT 1
"""

_Key = tuple[UUID | None, UUID]


def forms_lock(therapy: Therapy) -> list[Assignment]:
    """The forms of a therapy that the caller has locked. Everybody locks therapy, forms, sessions and job
    in this order; nobody can open or send one of these forms until the log is written."""
    rows = Assignment.objects.select_for_update(of=("self",)).filter(session__therapy=therapy)
    return list(rows.order_by("pk"))


def forms_sync(therapy: Therapy, sessions: Iterable[Session], there: Sequence[Assignment]) -> FormChange:
    """Asks for the forms that plan and log make due, and withdraws those that they ask for no more.

    1. A withdrawn form keeps its row, so that a link to it still says what has become of it.
    2. Of a session at which any rater has begun all forms stay: nobody's rating may show because the
       other's form went away. Only a session that turns out not to have been held loses them.
    3. A form that was missed stays missed, also when its occasion is caught up at a later session or the
       patient has stopped since.
    4. A patient who wants to be asked no more is asked no more.
    5. Patients who can be reached by e-mail are invited to what became due.
    """
    versions = active_versions(therapy.study).prefetch_related("lines__instrument")
    plan = {version.pure(): version for version in versions}
    log = [LoggedSession(row.pk, row.held_at, row.status) for row in sessions]
    given = [
        (row.session_id, row.rater, str(row.instrument_id))
        for row in there
        if row.state in RECEIVED and row.session_id is not None
    ]
    due = _by_key(therapy, due_forms(plan, log, therapy.arm, given))
    planned = {(form.session_id, UUID(form.instrument)) for form in due_forms(plan, log, therapy.arm)}
    not_held = {row.id for row in log if row.status != Session.Status.HELD}
    begun = {row.session_id for row in there if row.state not in (DUE, WITHDRAWN)}
    now = clock.now()

    def is_over(row: Assignment) -> bool:
        if row.session_id in not_held:
            return row.state not in (WITHDRAWN, Assignment.State.SUBMITTED)
        if row.state != DUE or _key(row) in due:
            return False
        if _key(row) in planned and row.closes_at < now:
            return False
        is_stopped = row.rater == Rater.PATIENT and therapy.stopped_at is not None
        return is_stopped or row.session_id not in begun

    withdrawn = [row for row in there if is_over(row)]
    back = [row for row in there if row.state == WITHDRAWN and _key(row) in due]
    new = [_assignment(therapy.study, due[key]) for key in due.keys() - {_key(row) for row in there}]
    for row in withdrawn:
        row.state = WITHDRAWN
    for row in back:
        row.state = DUE
    kept = [row for row in there if _key(row) in due]
    changed = [row for row in kept if _brought_in_line(row, due[_key(row)])]
    for row in (*new, *changed):
        follows = version_at(plan, row.opens_at)
        if row.state == DUE and follows is not None:
            row.version = plan[follows]
    fields = ["state", "occasion", "opens_at", "closes_at", "version"]
    Assignment.objects.bulk_update({row.pk: row for row in (*withdrawn, *back, *changed)}.values(), fields)
    Assignment.objects.bulk_create(new)
    invitations_plan(forms=[*new, *back, *changed])
    return FormChange(asked=[*new, *back], withdrawn=withdrawn)


def _key(row: Assignment) -> _Key:
    return row.session_id, row.instrument_id


def _by_key(therapy: Therapy, forms: Iterable[DueForm[UUID]]) -> dict[_Key, DueForm[UUID]]:
    return {
        (form.session_id, UUID(form.instrument)): form
        for form in forms
        if form.rater != Rater.PATIENT or therapy.stopped_at is None
    }


def _assignment(study: Study, form: DueForm[UUID]) -> Assignment:
    return Assignment(
        study=study,
        session_id=form.session_id,
        occasion=form.occasion,
        rater=form.rater,
        instrument_id=UUID(form.instrument),
        opens_at=form.opens_at,
        closes_at=form.closes_at,
    )


def _brought_in_line(row: Assignment, form: DueForm[UUID]) -> bool:
    """Whether the row had to be changed. A form that was begun never closes earlier than it said, and one
    that was received keeps its times."""
    wanted = (form.occasion, form.opens_at, form.closes_at)
    if row.state == OPENED:
        wanted = (form.occasion, form.opens_at, max(row.closes_at, form.closes_at))
    elif row.state != DUE:
        wanted = (form.occasion, row.opens_at, row.closes_at)
    if (row.occasion, row.opens_at, row.closes_at) == wanted:
        return False
    row.occasion, row.opens_at, row.closes_at = wanted
    return True


@transaction.atomic
def therapy_sync(*, therapy_id: UUID) -> FormChange:
    """Brings the forms of a therapy in line with its log as it stands now; for the system, so without an
    audit row of its own: what moved it has one."""
    therapy = Therapy.objects.select_for_update(of=("self",)).select_related("study").get(pk=therapy_id)
    return forms_sync(therapy, therapy.sessions.all(), forms_lock(therapy))


def sync_request(form: Assignment) -> None:
    """After a form was received: its occasion may now be covered, so that another form of it is needed no
    more. A job, as who holds one form must not wait for all forms of the therapy."""
    if form.session is None:
        return
    with connection.cursor() as cursor:
        cursor.execute(_OTHERS, [form.session.therapy_id, form.rater, form.instrument_id])
        if cursor.fetchone() is not None:
            jobs.request("forms", form.session.therapy_id)


@transaction.atomic
def trait_form_assign(
    *,
    therapist: Therapist,
    study: Study,
    instrument: Instrument,
    period: str,
    opens_at: datetime | None = None,
) -> Assignment:
    """Makes a form about practice in general due for one therapist, study and period; once, however often
    called. Raises ValueError where the study has no active version at that time."""
    opens = opens_at or clock.now()
    version = version_row_at(study, opens)
    if version is None:
        raise ValueError("The study was not active at that time.")
    assignment, _ = Assignment.objects.get_or_create(
        study=study,
        therapist=therapist,
        instrument=instrument,
        period=period,
        defaults={
            "version": version,
            "rater": instrument.rater,
            "opens_at": opens,
            "closes_at": opens + TRAIT_WINDOW,
        },
    )
    return assignment


def trait_forms_assign(
    *, study: Study | None = None, therapist: Therapist | None = None, on: date | None = None
) -> int:
    """Makes the forms about practice in general due that therapists owe on this day (default: today), in
    one study or all, one therapist or all; how many are new. May run any number of times.

    A therapist with a running therapy in the study owes them. Their years count from their first therapy in
    it, or from the first version that asks for the form, where that came later.
    """
    today = on or timezone.localdate()
    studies = [study] if study else Study.objects.filter(versions__lines__period__gt="").distinct()
    n_new = 0
    for asking in studies:
        began = _therapists_began(asking, therapist)
        for line in _trait_lines(asking):
            first_asked = _asked_from(asking, line.instrument)
            for person, first_therapy in began.items():
                period = trait_period(line.period, max(first_therapy, first_asked), today)
                n_new += period is not None and _is_new(line, person, period)
    return n_new


def _trait_lines(study: Study) -> Iterable[PlanLine]:
    version = study.current
    return version.lines.exclude(period="").select_related("instrument", "version__study") if version else ()


def _is_new(line: PlanLine, therapist: Therapist, period: str) -> bool:
    study = line.version.study
    there = Assignment.objects.filter(
        study=study, therapist=therapist, instrument=line.instrument, period=period
    )
    if there.exists():
        return False
    trait_form_assign(
        therapist=therapist,
        study=study,
        instrument=line.instrument,
        period=period,
    )
    return True


def _therapists_began(study: Study, therapist: Therapist | None) -> dict[Therapist, date]:
    """Those with a running therapy in the study, with the day on which their first one began."""
    running = Therapy.objects.filter(therapist=OuterRef("pk"), study=study, ended_on=None)
    rows = Therapist.objects.filter(Exists(running), **({"pk": therapist.pk} if therapist else {}))
    rows = rows.annotate(began=Min("therapies__started_on", filter=Q(therapies__study=study)))
    return {row: row.began for row in rows}


def _asked_from(study: Study, instrument: Instrument) -> date:
    first = active_versions(study).filter(lines__instrument=instrument, lines__period__gt="").first()
    return timezone.localdate(first.begins) if first else date.max
