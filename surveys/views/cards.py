"""The cards of a questionnaire, as `surveys/_cards.html` shows them."""

from collections.abc import Container, Mapping
from dataclasses import dataclass

from surveys.packs import InstrumentFile, Item
from surveys.scoring import PREFER_NOT


@dataclass(frozen=True)
class Card:
    """One item and what was chosen for it: an option, that no answer is wished, or nothing yet."""

    item: Item
    chosen: int | None = None

    @property
    def is_answered(self) -> bool:
        return self.chosen is not None and self.chosen != PREFER_NOT

    @property
    def is_left_out(self) -> bool:
        return self.chosen == PREFER_NOT


def cards_of(
    form: InstrumentFile, chosen: Mapping[int, int] | None = None, without: Container[int] = ()
) -> list[Card]:
    """The items in the order of the form, except those `without` number."""
    values = chosen or {}
    return [Card(item, values.get(item.number)) for item in form.items if item.number not in without]
