"""Pure: the tables of frozen data, and what every column of them means.

`ratings`    one row a received form about the alliance, of patient or therapist, about one session
`practice`   one row a received form about the therapist's practice: in general, or in one session
`missing`    one row a form about a session that was asked for and did not come in
`sessions`   one row a line of the session log
`therapies`  one row a treatment episode
`therapists` one row a therapist

People and therapies stand under pseudonyms of the dataset. Rows are in the order of the pseudonyms, which is
no order of anything. The words are those of the data files, in English.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from surveys.packs import InstrumentFile

Kind = Literal["text", "integer", "number", "date"]
Level = Literal["study", "therapist", "patient", "therapy", "session", "form"]
# Why an item has no answer.
MISSING = ((-99, "skipped"), (-98, "prefers not to answer"), (-97, "not shown"))
OUTCOME_SCALE = "total"


@dataclass(frozen=True)
class Column:
    """One column. `values`: what stands in it, in words, with unit or rule. `labels`: names of whole numbers;
    `missing`: of those that are no measurements. `tells`: "who" for a pseudonym, "when" for a day."""

    name: str
    level: Level
    kind: Kind
    meaning: str
    values: str
    labels: tuple[tuple[int, str], ...] = ()
    missing: tuple[tuple[int, str], ...] = ()
    tells: Literal["", "who", "when"] = ""


@dataclass(frozen=True)
class Table:
    name: str
    meaning: str
    columns: tuple[Column, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        columns = []
        for row in values["columns"]:
            pairs = {key: tuple((n, text) for n, text in row[key]) for key in ("labels", "missing")}
            columns.append(Column(**{**row, **pairs}))
        return cls(values["name"], values["meaning"], tuple(columns))


_THERAPIST = Column("therapist", "therapist", "text", "Therapist", "pseudonym of this dataset", tells="who")
_PATIENT = Column("patient", "patient", "text", "Patient", "pseudonym of this dataset", tells="who")
_THERAPY = Column(
    "therapy",
    "therapy",
    "text",
    "Treatment episode of a patient with a therapist, the level-2 unit of the models",
    "pseudonym of this dataset",
    tells="who",
)
_SESSION = Column(
    "session", "session", "integer", "Number of the held session in its therapy", "whole number from 1"
)
_OCCASION = Column(
    "occasion",
    "session",
    "integer",
    "Planned session number that the form stands for; another than the session's where it was asked for"
    " within the tolerance of the plan",
    "whole number from 1",
)
_WEEK = Column(
    "week", "session", "integer", "Whole weeks from the first day of the therapy", "whole number from 0"
)
_RATER = Column("rater", "form", "text", "Who filled the form", "patient, therapist")
_INSTRUMENT = Column("instrument", "form", "text", "Code of the instrument", "text")

_FORM = (
    Column("instrument_version", "form", "text", "Version of the instrument file", "text"),
    Column("language", "form", "text", "Language of the wording", "language tag"),
    Column("study_version", "form", "integer", "Version of the study under which it was asked for", "from 1"),
    Column(
        "visibility",
        "form",
        "text",
        "What therapists may see of patients' ratings under that version",
        "blind (never), delayed (after the therapy), feedback (after giving their own)",
    ),
    Column(
        "submitted_on",
        "form",
        "date",
        "Day on which the form was received, clinic time; of a sheet the day written on it",
        "YYYY-MM-DD; empty: taken over from a file",
        tells="when",
    ),
    Column(
        "minutes",
        "form",
        "number",
        "From opening to sending",
        "minutes; empty: filled on paper, or taken over from a file",
    ),
    Column(
        "channel",
        "form",
        "text",
        "How the form was filled",
        "link (patient), tablet (patient, on a tablet of the clinic), paper (patient, typed in by the"
        " clinic's administration), staff (therapist, after signing in), import",
    ),
    Column("device", "form", "text", "Kind of device", "phone, tablet, desktop, paper"),
    Column("layout", "form", "text", "How the items were laid out", "cards"),
    Column(
        "scoring_version", "form", "text", "Rule by which the scales were scored", "text; given: by a file"
    ),
    Column(
        "straight_lined",
        "form",
        "integer",
        "The same option throughout, across plain and reversed items alike",
        "0, 1; never 1 for a form without reversed items",
        labels=((0, "no"), (1, "yes")),
    ),
)
_OF_PATIENT = (
    Column(
        "consent_version",
        "form",
        "integer",
        "Version of the study whose declaration the patient had agreed to when the form was received",
        "from 1; empty: no consent was asked for, or it was not given here",
    ),
    Column(
        "sharing",
        "form",
        "text",
        "What the patient lets the therapist see",
        "none, scores, answers; empty: a therapist's form",
    ),
    Column(
        "revealed",
        "form",
        "integer",
        "The therapist had given or declined their own rating of the session",
        "0, 1; empty: a therapist's form",
        labels=((0, "no"), (1, "yes")),
    ),
    Column(
        "hours_to_reveal",
        "form",
        "number",
        "From the patient's sending to the therapist's own rating, or its decline",
        "hours, negative where the therapist was first; empty: not yet, or a therapist's form",
    ),
)

_SESSIONS = Table(
    "sessions",
    "The session log: held, cancelled and missed sessions",
    (
        _THERAPIST,
        _PATIENT,
        _THERAPY,
        Column("line", "session", "integer", "Place in the log of the therapy, by time", "from 1"),
        Column("status", "session", "text", "What became of it", "held, cancelled, no_show"),
        Column("reason", "session", "text", "Why it was not held", "text; empty: held, or not known"),
        _SESSION,
        _WEEK,
        Column(
            "held_on",
            "session",
            "date",
            "Day, clinic time",
            "YYYY-MM-DD; empty: a file did not tell it",
            tells="when",
        ),
    ),
)
_THERAPIES = Table(
    "therapies",
    "Treatment episodes",
    (
        _THERAPIST,
        _PATIENT,
        _THERAPY,
        Column("arm", "therapy", "text", "Arm of the plan", "text; empty: the common plan alone"),
        Column("patient_language", "patient", "text", "Language of the patient", "language tag"),
        Column("n_held", "therapy", "integer", "Held sessions so far", "from 0"),
        Column("is_ended", "therapy", "integer", "Whether it has ended", "0, 1", ((0, "no"), (1, "yes"))),
        Column(
            "end_reason",
            "therapy",
            "text",
            "How it ended",
            "completed, dropout, transfer, imported (from a file, not known); empty: it goes on",
        ),
        Column(
            "transferred_from",
            "therapy",
            "text",
            "The episode with another therapist that it follows",
            "pseudonym; empty: none",
            tells="who",
        ),
        Column(
            "started_on",
            "therapy",
            "date",
            "First day",
            "YYYY-MM-DD; empty: a file did not tell it",
            tells="when",
        ),
        Column(
            "ended_on",
            "therapy",
            "date",
            "Last day",
            "YYYY-MM-DD; empty: it goes on, or not told",
            tells="when",
        ),
    ),
)
_THERAPISTS = Table(
    "therapists",
    "Therapists with a therapy or a form in this dataset",
    (
        _THERAPIST,
        Column("n_therapies", "therapist", "integer", "Episodes in this dataset", "from 0"),
        Column("n_patients", "therapist", "integer", "Patients in this dataset", "from 0"),
    ),
)
_MISSING = Table(
    "missing",
    "Forms about a session that were asked for and did not come in while they were open",
    (
        _THERAPIST,
        _PATIENT,
        _THERAPY,
        _SESSION,
        _OCCASION,
        _WEEK,
        _RATER,
        _INSTRUMENT,
        Column(
            "fate",
            "form",
            "text",
            "What became of it",
            "declined (by the therapist), begun (opened, never sent), missed (never opened), open (still open"
            " when the data were frozen)",
        ),
    ),
)


def tables(forms: Sequence[InstrumentFile]) -> tuple[Table, ...]:
    """The tables of a study with these instruments, in every version, rater and language of them."""
    outcome = [form for form in forms if is_outcome(form)]
    others = [form for form in forms if not is_outcome(form)]
    ratings = Table(
        "ratings",
        "Received forms about the alliance in one session",
        (
            *(_THERAPIST, _PATIENT, _THERAPY, _SESSION, _OCCASION, _WEEK, _RATER, _INSTRUMENT),
            *_FORM,
            *_OF_PATIENT,
            *_answers(outcome),
        ),
    )
    practice = Table(
        "practice",
        "Received forms of therapists about their practice",
        (
            _THERAPIST,
            Column(
                "about",
                "form",
                "text",
                "Whether the form is about practice in general or about one session; never mix the two",
                "trait, state",
            ),
            Column(
                "period",
                "form",
                "text",
                "When a form about practice in general was asked for",
                "entry, year-1, year-2 …; empty: about one session",
            ),
            *(_PATIENT, _THERAPY, _SESSION, _OCCASION, _WEEK, _RATER, _INSTRUMENT),
            *_FORM,
            *_answers(others),
        ),
    )
    return ratings, practice, _MISSING, _SESSIONS, _THERAPIES, _THERAPISTS


def is_outcome(form: InstrumentFile) -> bool:
    """Whether a form is about the alliance."""
    return any(scale.code == OUTCOME_SCALE for scale in form.scales)


def _answers(forms: Sequence[InstrumentFile]) -> Iterable[Column]:
    """Items, then scales with their answer counts."""
    last = max((item.number for form in forms for item in form.items), default=0)
    yield from (_item(number, forms) for number in range(1, last + 1))
    for code in dict.fromkeys(scale.code for form in forms for scale in form.scales):
        yield from _scale(code, forms)


def _item(number: int, forms: Sequence[InstrumentFile]) -> Column:
    ranges, clashes = set(), set()
    labels: dict[int, str] = {}
    for form in forms:
        for item in form.items:
            if item.number != number:
                continue
            turned = " (reversed in its scales)" if item.reverse else ""
            ranges.add(f"{form.code}: {form.minimum} to {form.maximum}{turned}")
            for option in form.options if form.language == "en" else ():
                if labels.setdefault(option.value, option.label) != option.label:
                    clashes.add(option.value)
    # Two forms that name a number differently give it no name here.
    shown = () if clashes else tuple(sorted(labels.items()))
    return Column(
        f"item_{number}",
        "form",
        "integer",
        f"Answer to item {number} as given, before any reversal",
        f"{'; '.join(sorted(ranges))}; empty: not part of this form",
        labels=shown,
        missing=MISSING,
    )


def _scale(code: str, forms: Sequence[InstrumentFile]) -> Iterable[Column]:
    rules, titles = set(), set()
    for form in forms:
        for scale in form.scales:
            if scale.code == code:
                items = " ".join(map(str, scale.items))
                doubt = ", composition unverified" if scale.unverified else ""
                if form.language == "en":
                    titles.add(scale.title)
                rules.add(
                    f"{form.code}: items {items}, at least {scale.min_share:.0%} answered,"
                    f" from {form.minimum} to {form.maximum}, rule {form.scoring_version}{doubt}"
                )
    yield Column(
        code,
        "form",
        "number",
        f"{' / '.join(sorted(titles)) or code}: mean of the answered items, reversed items turned round",
        f"{'; '.join(sorted(rules))}; empty: not part of this form, too few items answered, or not in a file",
    )
    yield Column(
        f"{code}_answered",
        "form",
        "integer",
        f"How many items of {code} were answered",
        "whole number; empty: not part of this form",
    )
