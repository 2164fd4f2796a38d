"""What is to be fitted: outcome, fixed effects, random effects per level, criterion, degrees of freedom."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self, get_args

from .errors import SpecError
from .formula import is_name, split_formula, split_terms, variables

Method = Literal["reml", "ml"]
DfChoice = Literal["auto", "satterthwaite", "kenward-roger", "wald"]


@dataclass(frozen=True)
class RandomTerm:
    """Random effects of one level, lme4's `(columns | group)`, or `(columns || group)` if not correlated.

    `group` is a column, or several joined by `:` for units inside units (`therapist:patient`).
    `columns` are `"1"` for the intercept and names or expressions that give one numeric column each.
    """

    group: str
    columns: tuple[str, ...] = ("1",)
    correlated: bool = True

    def __post_init__(self) -> None:
        for name in self.groups:
            if not is_name(name):
                raise SpecError(f"grouping {self.group!r} must be column names joined by ':'")
        if len(set(self.groups)) < len(self.groups):
            raise SpecError(f"grouping {self.group!r} names a column twice")
        if not self.columns:
            raise SpecError(f"random term for {self.group!r} has no columns")
        if len(set(self.columns)) < len(self.columns):
            raise SpecError(f"random term for {self.group!r} names a column twice")
        for column in self.columns:
            if column != "1" and not variables(column):
                raise SpecError(f"random column {column!r} for {self.group!r} names no column of the data")

    @classmethod
    def parse(cls, text: str) -> Self:
        """`"1 + time | therapist"` and its kin; `time | g` has an intercept, `0 + time | g` has none."""
        inside = text.strip()
        if inside.startswith("(") and inside.endswith(")"):
            inside = inside[1:-1]
        left, bar, group = inside.partition("|")
        correlated = not group.startswith("|")
        group = group.removeprefix("|")
        if not bar or "|" in group or not group.strip() or not left.strip():
            raise SpecError(f"random term {text!r} must read 'terms | group' or 'terms || group'")
        left = re.sub(r"^-\s*1\s*\+", "0 +", left.strip())
        terms = split_terms(left.strip().removesuffix("- 1").removesuffix("-1").strip())
        has_intercept = "0" not in terms and not left.strip().endswith(("- 1", "-1"))
        slopes = tuple(term for term in terms if term not in ("0", "1"))
        columns = ("1", *slopes) if has_intercept else slopes
        return cls(":".join(part.strip() for part in group.split(":")), columns, correlated)

    @property
    def groups(self) -> tuple[str, ...]:
        """Grouping columns, outermost first as written."""
        return tuple(self.group.split(":"))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the random coefficients, as the result shows them."""
        return tuple("Intercept" if column == "1" else column for column in self.columns)


@dataclass(frozen=True)
class GrowthSpec:
    """One growth model of one outcome.

    `fixed` is the right-hand side for the fixed effects (`"time * x"`); `random` holds one term, or two whose
    groups are nested.  `method` is the criterion.  `df` chooses the degrees of freedom of the fixed effects:
    `auto` is Kenward-Roger for REML with fewer than 100 units at the highest level, else Satterthwaite.
    Raises SpecError when it cannot be a model.
    """

    outcome: str
    fixed: str
    random: tuple[RandomTerm, ...]
    method: Method = "reml"
    df: DfChoice = "auto"

    def __post_init__(self) -> None:
        if not is_name(self.outcome):
            raise SpecError(f"outcome {self.outcome!r} must be one column name")
        if self.outcome in variables(self.fixed):
            raise SpecError(f"outcome {self.outcome!r} is among its own predictors")
        if len(self.random) not in (1, 2):
            raise SpecError(f"one or two random terms are needed, not {len(self.random)}")
        if len({frozenset(term.groups) for term in self.random}) < len(self.random):
            raise SpecError(
                f"two random terms for {self.random[0].group!r}: state them as one, with '||' if uncorrelated"
            )
        if self.method not in get_args(Method):
            raise SpecError(f"method {self.method!r} must be one of {', '.join(get_args(Method))}")
        if self.df not in get_args(DfChoice):
            raise SpecError(f"df {self.df!r} must be one of {', '.join(get_args(DfChoice))}")
        if self.df == "kenward-roger" and self.method == "ml":
            raise SpecError("Kenward-Roger degrees of freedom need method reml")

    @classmethod
    def from_formula(
        cls, formula: str, random: Sequence[str], *, method: Method = "reml", df: DfChoice = "auto"
    ) -> Self:
        """Spec from lme4-style text: `from_formula("y ~ time * x", ["1 + time | therapist"])`."""
        outcome, fixed = split_formula(formula)
        return cls(outcome, fixed, tuple(RandomTerm.parse(text) for text in random), method, df)

    @property
    def numeric(self) -> tuple[str, ...]:
        """Columns that must hold numbers: the outcome and what random coefficients multiply."""
        slopes = (name for term in self.random for column in term.columns for name in variables(column))
        return tuple(dict.fromkeys((self.outcome, *slopes)))

    @property
    def predictors(self) -> tuple[str, ...]:
        """Columns of the fixed effects."""
        return variables(self.fixed)

    @property
    def groups(self) -> tuple[str, ...]:
        """Grouping columns."""
        return tuple(dict.fromkeys(name for term in self.random for name in term.groups))


@dataclass(frozen=True)
class JointSpec:
    """The joint model of one outcome by two raters.

    `levels`: grouping columns, the highest first; a lower label counts inside the higher unit.  `predictors`:
    numeric columns, each with an effect on level and on growth of each rater.  `method` and `df` as in
    GrowthSpec.  Raises SpecError when it cannot be a model.
    """

    outcome: str
    rater: str
    session: str
    time: str
    predictors: tuple[str, ...] = ()
    levels: tuple[str, ...] = ("therapist", "patient")
    method: Method = "reml"
    df: DfChoice = "auto"

    def __post_init__(self) -> None:
        names = (self.outcome, self.rater, self.session, self.time, *self.predictors, *self.levels)
        for name in names:
            if not is_name(name):
                raise SpecError(f"{name!r} must be one column name")
        # The session number may well be the time.
        others = (self.outcome, self.rater, self.time, *self.predictors, *self.levels)
        twice = sorted({name for name in others if others.count(name) > 1})
        if twice or self.session in (self.outcome, self.rater, *self.predictors, *self.levels):
            raise SpecError(f"column {(twice or [self.session])[0]!r} is named for two things")
        self.columns_spec()

    @property
    def labels(self) -> tuple[str, ...]:
        """Columns that are names; the session may be the time as well, and is a number then."""
        return (self.rater,) if self.session == self.time else (self.rater, self.session)

    def columns_spec(self) -> GrowthSpec:
        """A spec of the columns that are needed, grouped as they are: what LongData reads."""
        groups = [":".join(self.levels[: i + 1]) for i in range(len(self.levels))]
        fixed = " + ".join(dict.fromkeys((self.time, self.rater, self.session, *self.predictors)))
        random = tuple(RandomTerm(group, ("1", self.time)) for group in groups)
        return GrowthSpec(self.outcome, fixed, random, self.method, self.df)
