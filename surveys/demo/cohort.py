"""The simulated people, their sessions and their answers: NumPy only, no database.

`simulate` draws everything from one seed; the model stands in `surveys.demo.parameters`. Days count from
today, so the same seed on the same day gives the same cohort.

Dropout depends on the ratings that a patient has given before, as it does in clinics: missing at random,
never on what was not observed. The first therapist's caseload is arranged for showing, not drawn: enough
running therapies with ratings at every session, whose newest patient forms are still to be filled.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from surveys.demo.parameters import EVERY_SESSION, OCCASIONS, PRACTICE, TRAITS, Parameters, Size
from surveys.packs import RATERS, InstrumentFile
from surveys.planning import CANCELLED, HELD, NO_SHOW
from surveys.scoring import SKIPPED

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

SHARING = ("none", "scores", "answers")
DEVICES = {"patient": ("phone", "tablet", "desktop"), "therapist": ("desktop", "desktop", "phone")}
N_OPEN_FORMS = 24
OPEN_FORM_DAYS = 21

# The first therapist's caseload: (arm, weeks since the first session, planned length; 0 for running on).
SHOWCASE = (
    *((EVERY_SESSION, weeks, 0) for weeks in (7, 9, 11, 14, 17, 20, 23, 26, 29, 33, 37, 41)),
    *(("", weeks, 0) for weeks in (8, 18, 28, 40)),
    (EVERY_SESSION, 52, 24),
    ("", 60, 16),
    ("", 78, 40),
)


@dataclass(frozen=True, slots=True)
class Meeting:
    """One line of the session log, `day` counted from today; only held sessions have a number."""

    day: int
    hour: int
    status: str
    number: int | None


@dataclass(frozen=True, slots=True)
class Form:
    """One filled form of a rater, sent so many hours after the session."""

    rater: str
    number: int
    answers: dict[int, int]
    sharing: str
    device: str
    hours: float


@dataclass(frozen=True, slots=True)
class Course:
    """One therapy; `end_reason` is empty while it runs. `forms` holds what was filled, not what is owed."""

    arm: str
    meetings: tuple[Meeting, ...]
    forms: tuple[Form, ...]
    end_reason: str


@dataclass(frozen=True, slots=True)
class Practitioner:
    """One therapist: true standardised traits, trait answers by instrument code, those of each year after by
    code, and the therapies."""

    traits: dict[str, float]
    trait_answers: dict[str, dict[int, int]]
    later_answers: tuple[dict[str, dict[int, int]], ...]
    courses: tuple[Course, ...]


@dataclass(frozen=True)
class _Logs:
    """Session logs as arrays: therapies in rows, weekly slots in columns."""

    day: Ints
    status: Ints
    number: Ints
    in_log: Bools
    n_held: Ints
    ended: Bools


@dataclass(frozen=True)
class _Plan:
    """Per therapy: whose it is, its arm, when it begins, how long it is to last."""

    therapist: Ints
    every: Bools
    start_week: Ints
    length: Ints
    may_drop_out: Bools


def simulate(
    size: Size,
    forms: Mapping[str, InstrumentFile],
    trait_forms: Sequence[InstrumentFile],
    *,
    seed: int,
    today: date,
    parameters: Parameters | None = None,
) -> tuple[Practitioner, ...]:
    """The cohort of this seed; `forms` holds the alliance form of each rater."""
    p = parameters or Parameters()
    rng = np.random.default_rng(seed)
    z = rng.multivariate_normal(np.zeros(len(TRAITS)), np.array(p.trait_correlations), size.n_therapists)
    every_trait = np.column_stack([z, _practice(rng, p, z)])
    plan = _plan(rng, p, size)
    eta = _latent(rng, p, z, plan.therapist)
    answers = [_answers(rng, p, rater, forms[rater], eta[:, index]) for index, rater in enumerate(RATERS)]
    sessions = np.arange(1, p.max_length + 1)
    asked = plan.every[:, None] | np.isin(sessions, OCCASIONS)
    given = [asked & (rng.random(asked.shape) >= view.missing) for view in p.perspectives]
    scores = _patient_scores(forms["patient"], answers[0])
    dropout = _dropout(rng, p, scores, given[0], plan.may_drop_out)
    logs = _logs(rng, p, plan, dropout, today)
    _leave_newest_open(plan, logs, given)
    courses = _courses(rng, p, plan, logs, forms, answers, given, dropout)
    traits = [_trait_answers(rng, p, form, every_trait) for form in trait_forms]
    later = _later_answers(rng, p, trait_forms, every_trait)
    return tuple(
        Practitioner(
            traits=dict(zip((*TRAITS, *PRACTICE), every_trait[j].tolist(), strict=True)),
            trait_answers={
                form.code: rows[j] for form, rows in zip(trait_forms, traits, strict=True) if rows[j]
            },
            later_answers=tuple({code: rows[j] for code, rows in year.items() if rows[j]} for year in later),
            courses=tuple(courses[i] for i in np.flatnonzero(plan.therapist == j)),
        )
        for j in range(size.n_therapists)
    )


def _practice(rng: np.random.Generator, p: Parameters, z: Floats) -> Floats:
    """Standardised coping and manner, correlated with flow; drawn apart, so that the ratings of a seed do not
    depend on how many such scales there are."""
    rho = np.array(p.practice_flow)
    own = rng.spawn(1)[0].standard_normal((len(z), len(rho)))
    return z[:, [TRAITS.index("flow")]] * rho + own * np.sqrt(1 - rho**2)


def _plan(rng: np.random.Generator, p: Parameters, size: Size) -> _Plan:
    n_first, n_others = len(SHOWCASE), size.n_therapists - 1
    spare = size.n_patients - n_first - n_others
    if n_others < 1 or spare < 0:
        raise ValueError(f"A cohort needs {n_first} patients for the first therapist and 1 for each other.")
    shares = rng.gamma(4.0, size=n_others)
    caseloads = np.array([n_first, *(1 + rng.multinomial(spare, shares / shares.sum()))])
    n = size.n_patients
    plan = _Plan(
        therapist=np.repeat(np.arange(size.n_therapists), caseloads),
        every=rng.random(n) < p.every_share,
        start_week=-rng.integers(1, p.weeks + 1, n),
        length=rng.choice(np.array(p.lengths), n),
        may_drop_out=np.arange(n) >= n_first,
    )
    for i, (arm, weeks, length) in enumerate(SHOWCASE):
        plan.every[i], plan.start_week[i] = arm == EVERY_SESSION, -weeks
        plan.length[i] = length or p.max_length
    return plan


def _latent(rng: np.random.Generator, p: Parameters, z: Floats, therapist: Ints) -> Floats:
    """eta by therapy, rater and session."""
    t = (np.arange(1, p.max_length + 1) - 3) / 10
    effects = np.array([trait.effects for trait in p.traits])  # trait, rater, (level, growth)
    u = _effects(rng, p, [view.therapist_sd for view in p.perspectives], p.rater_correlation[0], len(z))
    v = _effects(rng, p, [view.therapy_sd for view in p.perspectives], p.rater_correlation[1], len(therapist))
    fixed = np.array([(view.level, view.growth) for view in p.perspectives])
    lines = fixed + (np.einsum("jk,krc->jrc", z, effects) + u)[therapist] + v
    between = _correlation(p.rater_correlation[2])
    sd = np.array([view.residual_sd for view in p.perspectives])
    e = rng.multivariate_normal(np.zeros(2), between * np.outer(sd, sd), (len(therapist), len(t)))
    return np.asarray(lines[..., :1] + lines[..., 1:] * t + np.swapaxes(e, 1, 2))


def _correlation(rho: float) -> Floats:
    return np.array([[1.0, rho], [rho, 1.0]])


def _effects(
    rng: np.random.Generator, p: Parameters, sd: Sequence[tuple[float, float]], rho: float, n: int
) -> Floats:
    """Random intercepts and slopes by unit and rater; the Kronecker product keeps the matrix positive."""
    correlation = np.kron(_correlation(rho), _correlation(p.intercept_slope))
    spread = np.array(sd).ravel()
    return rng.multivariate_normal(np.zeros(4), correlation * np.outer(spread, spread), n).reshape(n, 2, 2)


def _answers(rng: np.random.Generator, p: Parameters, rater: str, form: InstrumentFile, eta: Floats) -> Ints:
    """Answers as given, reversed items reversed, by therapy, session and item; SKIPPED where left out."""
    view = p.perspectives[RATERS.index(rater)]
    height = rng.normal(0, view.item_sd, len(form.items))
    height -= height.mean()
    raw = eta[..., None] + height + rng.normal(0, view.noise_sd, (*eta.shape, len(form.items)))
    keyed = np.clip(np.rint(raw), form.minimum, form.maximum).astype(np.int64)
    turned = np.array([item.reverse for item in form.items])
    answers = np.where(turned, form.minimum + form.maximum - keyed, keyed)
    return np.where(rng.random(answers.shape) < p.skipped, SKIPPED, answers)


def _patient_scores(form: InstrumentFile, answers: Ints) -> Floats:
    """The mean of the answered items by therapy and session, on which dropout depends."""
    turned = np.array([item.reverse for item in form.items])
    keyed = np.where(turned, form.minimum + form.maximum - answers, answers)
    answered = answers != SKIPPED
    return np.asarray((keyed * answered).sum(axis=-1) / np.maximum(answered.sum(axis=-1), 1))


def _dropout(
    rng: np.random.Generator, p: Parameters, scores: Floats, given: Bools, may_drop_out: Bools
) -> Ints:
    """The session after which a patient stays away; beyond the last session for all others."""
    n, n_sessions = scores.shape
    last = np.full(n, p.perspectives[0].level)
    stays = np.full(n, n_sessions + 1)
    chance = rng.random((n, n_sessions))
    for s in range(n_sessions):
        last = np.where(given[:, s], scores[:, s], last)
        hazard = p.dropout_hazard * np.exp(p.dropout_slope * (last - p.perspectives[0].level))
        stays = np.where(may_drop_out & (stays > n_sessions) & (chance[:, s] < hazard), s + 1, stays)
    return stays


def _logs(rng: np.random.Generator, p: Parameters, plan: _Plan, dropout: Ints, today: date) -> _Logs:
    n, n_slots = len(plan.therapist), p.weeks + 1
    gaps = 1 + (rng.random((n, n_slots)) < p.gap_share) * rng.integers(1, 3, (n, n_slots))
    # The arranged caseload has a session every week, so that there are always recent ones.
    gaps[: len(SHOWCASE)] = 1
    week = plan.start_week[:, None] + np.cumsum(gaps, axis=1) - gaps
    day = 7 * week + rng.integers(0, 5, n)[:, None] - today.weekday()
    status = rng.choice(len(p.status), (n, n_slots), p=p.status)
    status[:, 0] = 0
    held = status == 0
    number = np.cumsum(held, axis=1)
    last = np.minimum(plan.length, dropout)[:, None]
    in_log = (number - held < last) & (day < 0)
    n_held = (held & in_log).sum(axis=1)
    return _Logs(day, status, number, in_log, n_held, ended=n_held >= last[:, 0])


def _leave_newest_open(plan: _Plan, logs: _Logs, given: list[Bools]) -> None:
    """The newest sessions of the first therapist's running therapies that the therapist has rated and
    the patient has yet to rate."""
    # The form of yesterday's session may not be sent yet.
    recent = logs.in_log & (logs.status == 0) & (logs.day >= -OPEN_FORM_DAYS) & (logs.day < -1)
    recent &= (plan.every & ~logs.ended & (plan.therapist == 0))[:, None]
    rows, slots = np.nonzero(recent)
    sessions = logs.number[rows, slots] - 1
    rated = given[1][rows, sessions]
    order = np.argsort(-logs.day[rows, slots][rated], kind="stable")[:N_OPEN_FORMS]
    given[0][rows[rated][order], sessions[rated][order]] = False


def _courses(
    rng: np.random.Generator,
    p: Parameters,
    plan: _Plan,
    logs: _Logs,
    forms: Mapping[str, InstrumentFile],
    answers: Sequence[Ints],
    given: Sequence[Bools],
    dropout: Ints,
) -> list[Course]:
    n = len(plan.therapist)
    hour = rng.integers(8, 18, n)
    sharing = rng.choice(SHARING, given[0].shape, p=p.sharing)
    device = {rater: rng.choice(DEVICES[rater], n) for rater in RATERS}
    hours = [0.25 + rng.exponential(view.delay_hours, given[0].shape) for view in p.perspectives]
    statuses = (HELD, CANCELLED, NO_SHOW)
    courses = []
    for i in range(n):
        meetings = tuple(
            Meeting(
                day=int(logs.day[i, slot]),
                hour=int(hour[i]),
                status=statuses[logs.status[i, slot]],
                number=int(logs.number[i, slot]) if logs.status[i, slot] == 0 else None,
            )
            for slot in np.flatnonzero(logs.in_log[i])
        )
        held = {meeting.number: meeting for meeting in meetings if meeting.number is not None}
        filled = tuple(
            Form(
                rater=rater,
                number=int(s) + 1,
                answers=_numbered(forms[rater], answers[index][i, s]),
                sharing=str(sharing[i, s]) if rater == "patient" else "none",
                device=str(device[rater][i]),
                hours=float(hours[index][i, s]),
            )
            for index, rater in enumerate(RATERS)
            for s in np.flatnonzero(given[index][i, : logs.n_held[i]])
            # What would be sent today or later is still to be filled.
            if 24 * held[int(s) + 1].day + hour[i] + hours[index][i, s] < 0
        )
        reason = "dropout" if dropout[i] < plan.length[i] else "completed"
        arm = EVERY_SESSION if plan.every[i] else ""
        courses.append(Course(arm, meetings, filled, reason if logs.ended[i] else ""))
    return courses


def _numbered(form: InstrumentFile, values: Ints) -> dict[int, int]:
    return {item.number: int(value) for item, value in zip(form.items, values, strict=True)}


def _trait_answers(
    rng: np.random.Generator, p: Parameters, form: InstrumentFile, z: Floats
) -> list[dict[int, int]]:
    """One form about practice in general per therapist; empty where it was never filled."""
    names, traits = (*TRAITS, *PRACTICE), (*p.traits, *p.practice)
    by_item = {number: names.index(scale.code) for scale in form.scales for number in scale.items}
    columns = [by_item[item.number] for item in form.items]
    mean = np.array([traits[k].mean for k in columns])
    sd = np.array([traits[k].sd for k in columns])
    noise = rng.normal(0, p.trait_noise * (form.maximum - form.minimum), (len(z), len(columns)))
    values = np.clip(np.rint(mean + sd * z[:, columns] + noise), form.minimum, form.maximum).astype(np.int64)
    missing = rng.random(len(z)) < p.trait_missing
    missing[0] = False
    return [{} if missing[j] else _numbered(form, values[j]) for j in range(len(z))]


def _later_answers(
    rng: np.random.Generator, p: Parameters, trait_forms: Sequence[InstrumentFile], z: Floats
) -> list[dict[str, list[dict[int, int]]]]:
    """The same forms at each anniversary, by code; traits drift a little from year to year."""
    own, years = rng.spawn(1)[0], []
    for _ in range(p.trait_years):
        drift = own.standard_normal(z.shape) * np.sqrt(1 - p.trait_stability**2)
        z = p.trait_stability * z + drift
        years.append({form.code: _trait_answers(own, p, form, z) for form in trait_forms})
    return years


def answers_near(
    form: InstrumentFile, mean: float, rng: np.random.Generator, noise_sd: float
) -> dict[int, int]:
    """One more form of somebody whose ratings lie about this mean."""
    keyed = np.clip(np.rint(rng.normal(mean, noise_sd, len(form.items))), form.minimum, form.maximum)
    turned = np.array([item.reverse for item in form.items])
    values = np.where(turned, form.minimum + form.maximum - keyed, keyed).astype(np.int64)
    return _numbered(form, values)
