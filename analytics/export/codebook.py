"""What every column of the dataset means, made from the instruments that the study uses."""

from dataclasses import dataclass

from surveys.models import Instrument, Study
from surveys.selectors import study_instruments

MISSING = "-99 skipped, -98 prefers not to answer, -97 not shown; empty: not part of this form"


@dataclass(frozen=True)
class Column:
    name: str
    level: str
    meaning: str
    values: str


FIXED = (
    Column("study", "study", "Code of the study", "text"),
    Column("therapist", "therapist", "Random code of the therapist", "text"),
    Column(
        "patient", "patient", "Random code of the patient", "text; empty for forms about practice in general"
    ),
    Column(
        "therapy", "therapy", "Random code of the treatment episode, the level-2 unit of the models", "text"
    ),
    Column("session", "session", "Number of the held session that the form is about", "whole number from 1"),
    Column(
        "occasion",
        "session",
        "Planned session number that the form stands for; another than the session's where it was asked for"
        " within the tolerance of the plan",
        "whole number from 1; empty for forms about practice in general",
    ),
    Column(
        "study_version",
        "form",
        "Version of the study under which the form was asked for",
        "whole number from 1",
    ),
    Column("period", "therapist", "Period of a form about practice in general", "text"),
    Column("rater", "form", "Who filled the form", "patient, therapist"),
    Column("instrument", "form", "Code of the instrument", "text"),
    Column("instrument_version", "form", "Version of the instrument file", "text"),
    Column("language", "form", "Language of the wording", "language tag"),
    Column(
        "consent_version",
        "form",
        "Version of the study whose declaration the patient had agreed to when the form was received",
        "whole number from 1; empty: no consent was asked for, or it was not given here",
    ),
    Column(
        "submitted_on",
        "form",
        "Day on which the form was received, clinic time; of a sheet the day written on it",
        "YYYY-MM-DD; empty: taken over from a file",
    ),
    Column("minutes", "form", "From opening to sending", "minutes; empty: filled on paper"),
    Column(
        "channel",
        "form",
        "How the form was filled",
        "link (patient), tablet (patient, on a tablet of the clinic), paper (patient, typed in by the"
        " clinic's administration), staff (therapist, after signing in), import (taken over from a file)",
    ),
    Column(
        "device",
        "form",
        "Kind of device: as its browser says, or tablet or paper by the channel",
        "phone, tablet, desktop, paper",
    ),
    Column("layout", "form", "How the items were laid out", "cards"),
    Column(
        "sharing",
        "form",
        "What the patient lets the therapist see",
        "none, scores, answers; empty: a therapist's form",
    ),
    Column(
        "revealed",
        "form",
        "The therapist had given or declined their own rating of the session",
        "0, 1; empty: a therapist's form",
    ),
    Column(
        "straight_lined",
        "form",
        "The same option throughout, across plain and reversed items alike",
        "0, 1; never 1 for a form without reversed items",
    ),
)


def columns(study: Study) -> tuple[Column, ...]:
    """The columns of the study's dataset in order: fixed ones, items, then scales and their answer counts."""
    instruments = list(study_instruments(study))
    last_item = max((item.number for instrument in instruments for item in instrument.form.items), default=0)
    items = [_item_column(number, instruments) for number in range(1, last_item + 1)]
    scales: dict[str, list[Column]] = {}
    for instrument in instruments:
        for scale in instrument.form.scales:
            scales.setdefault(scale.code, _scale_columns(scale.code, instruments))
    return (*FIXED, *items, *(column for pair in scales.values() for column in pair))


def _item_column(number: int, instruments: list[Instrument]) -> Column:
    ranges = {
        f"{instrument.code}: {instrument.form.minimum} to {instrument.form.maximum}"
        + (" (reversed in its scales)" if item.reverse else "")
        for instrument in instruments
        for item in instrument.form.items
        if item.number == number
    }
    return Column(
        f"item_{number}",
        "form",
        f"Answer to item {number} as given, before any reversal",
        f"{'; '.join(sorted(ranges))}; {MISSING}",
    )


def _scale_columns(code: str, instruments: list[Instrument]) -> list[Column]:
    rules, titles = set(), set()
    for instrument in instruments:
        for scale in instrument.form.scales:
            if scale.code == code:
                items = " ".join(map(str, scale.items))
                doubt = ", composition unverified" if scale.unverified else ""
                titles.add(scale.title)
                rules.add(
                    f"{instrument.code}: items {items}, at least {scale.min_share:.0%} answered,"
                    f" rule {instrument.form.scoring_version}{doubt}"
                )
    meaning = f"{' / '.join(sorted(titles))}: mean of the answered items, reversed items turned round"
    return [
        Column(
            code,
            "form",
            meaning,
            f"{'; '.join(sorted(rules))}; empty: not part of this form, or too few items answered",
        ),
        Column(
            f"{code}_answered",
            "form",
            f"How many items of {code} were answered",
            "whole number; empty: not part of this form, or a file gave the score alone",
        ),
    ]
