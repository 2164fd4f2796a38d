"""Pure: which therapies of a study a dataset is made of, and under which names their people stand in it."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Self

from surveys.ids import ALPHABET

# 29^10: that two of a million people are given one pseudonym happens once in a thousand datasets, and the
# table of names refuses it.
LENGTH = 10


@dataclass(frozen=True)
class Selection:
    """Therapies of a study: those begun in a span of days (either end open, both included), of these arms
    (empty: of all), ended ones alone or all. What patients' choices leave out is never among them."""

    started_from: date | None = None
    started_until: date | None = None
    arms: tuple[str, ...] = ()
    only_ended: bool = False

    def __post_init__(self) -> None:
        if self.started_from and self.started_until and self.started_from > self.started_until:
            raise ValueError("The first day must not be after the last one.")

    @property
    def is_all(self) -> bool:
        return self == Selection()

    def to_dict(self) -> dict[str, Any]:
        """JSON values, equal for equal selections."""
        values = asdict(self)
        days = {name: values[name] and values[name].isoformat() for name in ("started_from", "started_until")}
        return values | days | {"arms": sorted(self.arms)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        def day(name: str) -> date | None:
            return date.fromisoformat(values[name]) if values.get(name) else None

        return cls(
            day("started_from"),
            day("started_until"),
            tuple(values.get("arms", ())),
            bool(values.get("only_ended", False)),
        )


@dataclass(frozen=True)
class Pseudonyms:
    """Names of people and therapies in one dataset. Each dataset has a key of its own, made from the site's:
    nobody can join two datasets by them, nor reach a row of the database without the key."""

    key: bytes

    @classmethod
    def of(cls, site_key: str, *dataset: object) -> Self:
        """`dataset`: what tells it from every other: study, selection, tier."""
        name = json.dumps(list(map(str, dataset)), separators=(",", ":"))
        return cls(hmac.digest(site_key.encode(), name.encode(), hashlib.sha256))

    def __call__(self, prefix: str, name: object) -> str:
        """`prefix` is the kind (T therapist, P patient, E episode), `name` what it is known by inside."""
        number = int.from_bytes(hmac.digest(self.key, f"{prefix}:{name}".encode(), hashlib.sha256))
        letters = []
        for _ in range(LENGTH):
            number, letter = divmod(number, len(ALPHABET))
            letters.append(ALPHABET[letter])
        return prefix + "".join(letters)
