"""Composites of the therapist questionnaires as a table: one row a therapist and period."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from analytics.frozen import Column, Table
from surveys.composites import (
    Component,
    ScaleKey,
    component_value,
    composite_value,
    composites,
    equalised,
)
from surveys.packs import InstrumentFile

# By code and version: the languages of a form have the same options.
Forms = Mapping[tuple[str, str], InstrumentFile]
FIXED = (
    Column("therapist", "therapist", "text", "Therapist", "pseudonym of this dataset", tells="who"),
    Column("period", "therapist", "text", "Period of the forms about practice in general", "text"),
)


def composites_table() -> Table:
    """The components, then the composites made of them."""
    shipped = composites()
    parts = [part for composite in shipped for part in composite.components]
    return Table(
        "composites",
        "Composites of what therapists say of their practice in general",
        (
            *FIXED,
            *(_column(part.code, _meaning(part), "0 to 1; empty: missing") for part in parts),
            *(
                _column(
                    composite.code,
                    f"{composite.title}: mean of "
                    + ", ".join(part.code for part in composite.components)
                    + f" (definition {composite.version})",
                    "0 to 1; empty: a component is missing",
                )
                for composite in shipped
            ),
        ),
    )


def _column(name: str, meaning: str, values: str) -> Column:
    return Column(name, "therapist", "number", meaning, values)


def _meaning(part: Component) -> str:
    scales = " and ".join(part.scales) if len(part.scales) < 3 else ", ".join(part.scales)
    of_scales = f"mean of the scales {scales}" if len(part.scales) > 1 else f"scale {scales}"
    return f"{part.instrument}, {of_scales}: (item mean − lowest option) / (highest − lowest option)"


def composites_of(practice: pd.DataFrame, forms: Forms) -> pd.DataFrame:
    """From the rows of the table `practice`: therapists and periods with at least one form."""
    trait = practice[practice["about"] == "trait"]
    rows = [
        {"therapist": therapist, "period": period, **_values(_equalised(given.to_dict("records"), forms))}
        for (therapist, period), given in trait.groupby(["therapist", "period"], sort=True)
    ]
    return pd.DataFrame(rows, columns=[column.name for column in composites_table().columns])


def _values(values: Mapping[ScaleKey, float | None]) -> dict[str, float | None]:
    parts = [part for composite in composites() for part in composite.components]
    return {part.code: component_value(part, values) for part in parts} | {
        composite.code: composite_value(composite, values) for composite in composites()
    }


def _equalised(rows: Iterable[dict[Any, Any]], forms: Forms) -> dict[ScaleKey, float | None]:
    """By instrument and scale; where a form was filled in two versions, the later one stands."""
    found: dict[ScaleKey, float | None] = {}
    for row in rows:
        form = forms[row["instrument"], row["instrument_version"]]
        for scale in form.scales:
            mean = row[scale.code]
            found[form.code, scale.code] = None if pd.isna(mean) else equalised(form, float(mean))
    return found
