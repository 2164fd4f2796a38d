"""Composites of the therapist questionnaires as a dataset: one row a therapist and period."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from io import StringIO
from itertools import groupby
from uuid import UUID

from analytics.export.codebook import Column
from surveys.composites import (
    Component,
    ScaleKey,
    component_value,
    composite_value,
    composites,
    equalised,
)
from surveys.models import Score, Study
from surveys.packs import InstrumentFile
from surveys.selectors import period_scores, study_instruments

FIXED = (
    Column("study", "study", "Code of the study", "text"),
    Column("therapist", "therapist", "Random code of the therapist", "text"),
    Column("period", "therapist", "Period of the forms about practice in general", "text"),
)


def composite_columns() -> tuple[Column, ...]:
    """What every column of the file means: the components, then the composites made of them."""
    shipped = composites()
    parts = [part for composite in shipped for part in composite.components]
    return (
        *FIXED,
        *(Column(part.code, "therapist", _meaning(part), "0 to 1; empty: missing") for part in parts),
        *(
            Column(
                composite.code,
                "therapist",
                f"{composite.title}: mean of "
                + ", ".join(part.code for part in composite.components)
                + f" (definition {composite.version})",
                "0 to 1; empty: a component is missing",
            )
            for composite in shipped
        ),
    )


def _meaning(part: Component) -> str:
    scales = " and ".join(part.scales) if len(part.scales) < 3 else ", ".join(part.scales)
    of_scales = f"mean of the scales {scales}" if len(part.scales) > 1 else f"scale {scales}"
    return f"{part.instrument}, {of_scales}: (item mean − lowest option) / (highest − lowest option)"


def composite_lines(study: Study) -> Iterator[str]:
    """CSV (UTF-8, RFC 4180) line by line, header first: therapists and periods with at least one form."""
    forms = {instrument.pk: instrument.form for instrument in study_instruments(study)}
    buffer = StringIO()
    writer = csv.DictWriter(buffer, [column.name for column in composite_columns()], lineterminator="\r\n")
    writer.writeheader()
    for (therapist, period), scores in groupby(period_scores(study), _therapist_and_period):
        values = _equalised(scores, forms)
        writer.writerow(
            {
                "study": study.code,
                "therapist": therapist,
                "period": period,
                **{
                    part.code: component_value(part, values)
                    for composite in composites()
                    for part in composite.components
                },
                **{composite.code: composite_value(composite, values) for composite in composites()},
            }
        )
    yield buffer.getvalue()


def _therapist_and_period(score: Score) -> tuple[str, str]:
    assignment = score.response.assignment
    assert assignment.therapist is not None, "a form about practice in general belongs to a therapist"
    return assignment.therapist.code, assignment.period


def _equalised(scores: Iterable[Score], forms: Mapping[UUID, InstrumentFile]) -> dict[ScaleKey, float | None]:
    """By instrument and scale; where a form was filled in two versions, the later one stands."""
    return {
        (score.response.instrument.code, score.scale): None
        if score.mean is None
        else equalised(forms[score.response.instrument_id], score.mean)
        for score in scores
    }
