"""Composites: means of scales that stand on different forms and answer on different ranges.

    component  =  mean over its scales of  (item mean - lowest option) / (highest - lowest option)
    composite  =  mean of its components, from 0 to 1

A component without one of its scales is missing, and so is a composite without one of its components: a mean
of the others would be a different variable under the same name. The components are printed beside it.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from surveys.packs import InstrumentFile, InstrumentFileError
from surveys.sentences import Sentence
from surveys.tables import CODE, NAME, VERSION, Table

MAX_COMPOSITES = 20
MAX_COMPONENTS = 20

_FILE = Path(__file__).parent / "composites.toml"

# A scale by the code of its instrument and its own.
ScaleKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Component:
    code: str
    instrument: str
    scales: tuple[str, ...]

    @property
    def keys(self) -> tuple[ScaleKey, ...]:
        return tuple((self.instrument, scale) for scale in self.scales)


@dataclass(frozen=True, slots=True)
class Composite:
    code: str
    title: str
    version: str
    components: tuple[Component, ...]


@cache
def composites() -> tuple[Composite, ...]:
    """The composites that ship with the product."""
    return parse_composites(_FILE.read_text(encoding="utf-8"))


def parse_composites(text: str) -> tuple[Composite, ...]:
    """The composites of a definition file; faults raise `InstrumentFileError` with every problem."""
    table = Table(tomllib.loads(text), Sentence("File"), [], required=("version", "composites"))
    version = table.matching("version", *VERSION)
    found = tuple(
        Composite(
            code=row.matching("code", *CODE),
            title=row.text("title", 80),
            version=version,
            components=_components(row),
        )
        for row in table.rows("composites", MAX_COMPOSITES, ("code", "title", "components"))
    )
    codes = [composite.code for composite in found]
    codes += [component.code for composite in found for component in composite.components]
    # Each is the name of a column.
    table.check_no_doubles("composites", codes, Sentence("code"))
    if table.problems:
        raise InstrumentFileError(table.problems)
    return found


def _components(row: Table) -> tuple[Component, ...]:
    return tuple(
        Component(
            code=part.matching("code", *CODE),
            instrument=part.matching("instrument", *NAME),
            scales=part.names("scales", *CODE),
        )
        for part in row.rows("components", MAX_COMPONENTS, ("code", "instrument", "scales"))
    )


def equalised(form: InstrumentFile, mean: float) -> float:
    """An item mean as a share of the way from the lowest to the highest option of its form."""
    return (mean - form.minimum) / (form.maximum - form.minimum)


def component_value(component: Component, values: Mapping[ScaleKey, float | None]) -> float | None:
    """From equalised scale scores; None where one of its scales is missing."""
    return _mean([values.get(key) for key in component.keys])


def composite_value(composite: Composite, values: Mapping[ScaleKey, float | None]) -> float | None:
    """From equalised scale scores; None where one of its components is missing."""
    return _mean([component_value(component, values) for component in composite.components])


def _mean(values: list[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if len(present) == len(values) else None
