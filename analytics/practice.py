"""Questions over what one therapist said of their own practice (DPCCQ): in general, by period; in single
sessions, by month; the composites of a period; and the middle half of the others of the clinic.

The two levels never meet in one series. What the reader may see is decided by `surveys.practice_access`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from uuid import UUID

from django.db.models import Count, Sum
from django.db.models.functions import TruncMonth
from django.utils import timezone

from analytics.models import PracticeBasis
from analytics.practice_bands import LEAST_BASIS, Band, NoBand, band
from surveys.access import Actor
from surveys.composites import ScaleKey, component_value, composite_value, composites, equalised
from surveys.models import Instrument, Therapist
from surveys.packs import InstrumentFile
from surveys.practice_access import clinic_practice_scores, practice_scores, session_feeling_scores
from surveys.sharing_access import ever_shared_with


@dataclass(frozen=True)
class Period:
    """When forms about practice in general were asked for: `code` is entry, year-1 …; each study, known by
    its code, counts for itself."""

    study: str
    code: str


@dataclass(frozen=True)
class AtPeriod:
    """One scale of one form; `value` is None where too few of its items were answered."""

    period: Period
    value: float | None
    n_answered: int
    n_items: int
    sent_on: date


@dataclass(frozen=True)
class InMonth:
    """One scale over the sessions of a month: the mean of the `n_scored` of its `n_forms` forms that have a
    value. None, and no forms, in a month between others."""

    month: date
    value: float | None
    n_scored: int
    n_forms: int


@dataclass(frozen=True)
class Compared:
    """The others' middle half, or why there is none, and of when it is."""

    band: Band | NoBand
    made_at: datetime | None = None


@dataclass(frozen=True)
class ScaleCourse:
    """One scale over time: by period for a form about practice in general, else by month."""

    code: str
    title: str
    periods: tuple[AtPeriod, ...] = ()
    months: tuple[InMonth, ...] = ()
    others: Compared | None = None


@dataclass(frozen=True)
class FormCourses:
    """The scales of one form; another answer scale under the same code is another form. `latest`: day of the
    last form sent, or the last month with a session."""

    form: InstrumentFile
    scales: tuple[ScaleCourse, ...]
    n_forms: int
    latest: date

    @property
    def key(self) -> str:
        return f"{self.form.code}.{self.form.minimum}.{self.form.maximum}"


@dataclass(frozen=True)
class Involvement:
    """The composites of one period by code, and of each the codes of the components it lacks."""

    period: Period
    sent_on: date
    values: Mapping[str, float | None]
    missing: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Practice:
    in_general: tuple[FormCourses, ...]
    in_sessions: tuple[FormCourses, ...]
    involvement: tuple[Involvement, ...]


def practice(user: Actor, therapist: Therapist) -> Practice:
    """All that the user may see of it. The comparison is for the therapist's own eyes."""
    rows = _general_rows(user, therapist)
    others = _others(user, therapist) if therapist.user_id == getattr(user, "pk", None) else None
    return Practice(
        in_general=_general_courses(rows, others),
        in_sessions=_session_courses(user, therapist),
        involvement=_involvement(rows),
    )


@dataclass(frozen=True)
class _FormKey:
    code: str
    minimum: int
    maximum: int

    @classmethod
    def of(cls, form: InstrumentFile) -> "_FormKey":
        return cls(form.code, form.minimum, form.maximum)


@dataclass(frozen=True)
class _Row:
    """One score of a form about practice in general."""

    response: UUID
    form: InstrumentFile
    scale: str
    at: AtPeriod
    sent_at: datetime


def _general_rows(user: Actor, therapist: Therapist) -> list[_Row]:
    """In the order of sending, so that of two forms for one period the later one stands."""
    assignment = "response__assignment"
    found = list(
        practice_scores(user, therapist)
        .order_by("response__submitted_at", "id")
        .values_list(
            "response",
            "response__instrument",
            "scale",
            f"{assignment}__study__code",
            f"{assignment}__period",
            "mean",
            "n_answered",
            "n_items",
            "response__submitted_at",
        )
    )
    forms = _forms(row[1] for row in found)
    return [
        _Row(
            response,
            forms[instrument],
            scale,
            AtPeriod(Period(study, period), mean, n_answered, n_items, timezone.localdate(sent_at)),
            sent_at,
        )
        for response, instrument, scale, study, period, mean, n_answered, n_items, sent_at in found
    ]


def _forms(ids: Iterable[UUID]) -> dict[UUID, InstrumentFile]:
    return {key: row.form for key, row in Instrument.objects.in_bulk(set(ids)).items()}


def _in_order(rows: Sequence[_Row]) -> list[Period]:
    """The periods by the last form sent for each."""
    last = {row.at.period: row.sent_at for row in rows}
    return sorted(last, key=lambda period: last[period])


def _general_courses(
    rows: Sequence[_Row], others: Mapping[tuple[_FormKey, str], Compared] | None
) -> tuple[FormCourses, ...]:
    order = _in_order(rows)
    by_form: dict[_FormKey, list[_Row]] = {}
    for row in rows:
        by_form.setdefault(_FormKey.of(row.form), []).append(row)
    courses = []
    for key in sorted(by_form, key=lambda key: (key.code, key.minimum, key.maximum)):
        own = by_form[key]
        points: dict[str, dict[Period, AtPeriod]] = {}
        for row in own:
            points.setdefault(row.scale, {})[row.at.period] = row.at
        # Words as the form had them last.
        form = own[-1].form
        scales = tuple(
            ScaleCourse(
                code=scale,
                title=title,
                periods=tuple(points[scale][period] for period in order if period in points[scale]),
                others=None if others is None else others.get((key, scale), Compared(NoBand.TOO_FEW)),
            )
            for scale, title in _titles(form, points).items()
        )
        courses.append(FormCourses(form, scales, len({row.response for row in own}), own[-1].at.sent_on))
    return tuple(courses)


def _titles(form: InstrumentFile, there: Iterable[str]) -> dict[str, str]:
    """Of the scales that have values, in the order of the form; one of an earlier version is last."""
    titles = {scale.code: scale.title for scale in form.scales}
    known = set(there)
    return {code: titles.get(code, code) for code in (*titles, *sorted(known - set(titles))) if code in known}


def _involvement(rows: Sequence[_Row]) -> tuple[Involvement, ...]:
    found = []
    for period in _in_order(rows):
        own = [row for row in rows if row.at.period == period]
        values: dict[ScaleKey, float | None] = {
            (row.form.code, row.scale): None if row.at.value is None else equalised(row.form, row.at.value)
            for row in own
        }
        shipped = composites()
        found.append(
            Involvement(
                period,
                own[-1].at.sent_on,
                {one.code: composite_value(one, values) for one in shipped},
                {
                    one.code: tuple(
                        part.code for part in one.components if component_value(part, values) is None
                    )
                    for one in shipped
                },
            )
        )
    return tuple(found)


@dataclass
class _Tally:
    total: float = 0.0
    n_scored: int = 0
    n_forms: int = 0


@dataclass
class _Months:
    form: InstrumentFile
    scales: dict[str, dict[date, _Tally]] = field(default_factory=dict)


def _session_courses(user: Actor, therapist: Therapist) -> tuple[FormCourses, ...]:
    """Every form counts the same, whichever patient's session it is about."""
    found = list(
        session_feeling_scores(user, therapist)
        .annotate(month=TruncMonth("response__assignment__session__held_at"))
        .values("month", "response__instrument", "scale")
        .annotate(total=Sum("mean"), n_scored=Count("mean"), n_forms=Count("id"))
        .order_by("month")
        .values_list("month", "response__instrument", "scale", "total", "n_scored", "n_forms")
    )
    forms = _forms(row[1] for row in found)
    by_form: dict[_FormKey, _Months] = {}
    for month, instrument, scale, total, n_scored, n_forms in found:
        form = forms[instrument]
        months = by_form.setdefault(_FormKey.of(form), _Months(form))
        months.form = form
        tally = months.scales.setdefault(scale, {}).setdefault(timezone.localdate(month), _Tally())
        tally.total += total or 0.0
        tally.n_scored += n_scored
        tally.n_forms += n_forms
    return tuple(
        _session_course(by_form[key])
        for key in sorted(by_form, key=lambda key: (key.code, key.minimum, key.maximum))
    )


def _session_course(found: _Months) -> FormCourses:
    there = {month for months in found.scales.values() for month in months}
    every = _every_month(min(there), max(there))
    scales = tuple(
        ScaleCourse(code, title, months=tuple(_in_month(month, found.scales[code]) for month in every))
        for code, title in _titles(found.form, found.scales).items()
    )
    n_forms = max(sum(row.n_forms for row in scale.months) for scale in scales)
    return FormCourses(found.form, scales, n_forms, max(there))


def _in_month(month: date, tallies: Mapping[date, _Tally]) -> InMonth:
    tally = tallies.get(month, _Tally())
    value = tally.total / tally.n_scored if tally.n_scored else None
    return InMonth(month, value, tally.n_scored, tally.n_forms)


def _every_month(first: date, last: date) -> list[date]:
    n_months = 12 * (last.year - first.year) + last.month - first.month
    return [
        date(first.year + (first.month - 1 + step) // 12, (first.month - 1 + step) % 12 + 1, 1)
        for step in range(n_months + 1)
    ]


def _others(user: Actor, therapist: Therapist) -> dict[tuple[_FormKey, str], Compared]:
    """By scale, from the scores that were chosen for the whole clinic, without the therapist's own. One that
    was erased since is not among them."""
    bases = list(PracticeBasis.objects.filter(clinic=therapist.clinic_id))
    chosen = {key for row in bases if len(row.scores) >= LEAST_BASIS for key in row.scores}
    scores = clinic_practice_scores(therapist.clinic_id).exclude(response__assignment__therapist=therapist)
    rows = scores.filter(pk__in=chosen).values_list("pk", "mean", "response__assignment__therapist")
    known = ever_shared_with(user, therapist.clinic_id, "practice_shared_with")
    values = {key: (value, by in known) for key, value, by in rows if value is not None}
    found = {row.pk: [values[key] for key in row.scores if key in values] for row in bases}
    return {
        (_FormKey(row.instrument, row.minimum, row.maximum), row.scale): Compared(
            band([value for value, _ in found[row.pk]], sum(is_known for _, is_known in found[row.pk])),
            row.made_at,
        )
        for row in bases
    }
