"""Pure: what one analysis of the research desk asks, stated so that anybody can ask it again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal, Self, get_args

from analytics.frozen import OUTCOME_SCALE, is_outcome
from analytics.growth.errors import SpecError
from analytics.growth.spec import GrowthSpec, JointSpec, Method, RandomTerm
from analytics.growth.times import Linear, TimeCoding
from surveys.composites import composites
from surveys.packs import RATERS, InstrumentFile

# Where a predictor comes from: a form about practice in general; several of them; a form about one session,
# split into the mean of a therapy and the session's distance from it; a fact of the therapist or the therapy.
Source = Literal["trait", "composite", "state", "therapist", "therapy"]
# Which of a therapist's forms about practice in general counts.
TraitAt = Literal["first", "latest", "mean"]
Scaling = Literal["sd", "raw"]
Effects = Literal["slope", "slope-uncorrelated", "intercept", "none"]
Sensitivity = Literal["serial", "dropout", "leave_one_out"]

THERAPIST, THERAPY = "therapist", "therapist:therapy"
COUNTS = {"n_therapies": "therapist", "n_held": "therapy"}
CATEGORIES = ("arm", "patient_language")
STUDY_SESSIONS = (3, 12, 20, 40)
STUDY_FORMS = ("dpccq-difficulties", "dpccq-feelings-general")
# Columns of the frame that are no predictors.
FRAME_COLUMNS = ("therapist", "therapy", "patient", "rater", "session", "y")


@dataclass(frozen=True)
class Predictor:
    """`name`: code of the scale or composite, or the column of the therapist or therapy."""

    source: Source
    name: str
    instrument: str = ""

    def __post_init__(self) -> None:
        if self.source not in get_args(Source):
            raise SpecError(f"no predictor comes from {self.source!r}")
        if bool(self.instrument) != (self.source in ("trait", "state")):
            raise SpecError(f"predictor {self.name!r}: a scale, and only a scale, has an instrument")
        if self.source in ("therapist", "therapy") and (
            COUNTS.get(self.name, "therapy" if self.name in CATEGORIES else "") != self.source
        ):
            raise SpecError(f"there is no fact {self.name!r} of a {self.source}")

    @property
    def key(self) -> str:
        """How a form of the site names it."""
        return ":".join(part for part in (self.source, self.instrument, self.name) if part)

    @classmethod
    def of(cls, key: str) -> Self:
        start, *middle, name = key.split(":")
        source: Source | None = next((known for known in get_args(Source) if known == start), None)
        if source is None or len(middle) > 1:
            raise SpecError(f"{key!r} names no predictor")
        return cls(source, name, *middle)


@dataclass(frozen=True)
class AnalysisSpec:
    """One question: outcome, time, which ratings, predictors, random effects, criterion.

    `instruments`: code of the form of each rater that is analysed; with two raters the joint model is fitted,
    too.  `time`: as `TimeCoding.to_dict` gives it.  `sessions`: planned sessions that count, all if empty.
    `ranges`: lowest and highest option of each form that is used.  `scaling` sd: predictors in standard
    deviations over their own units (therapists, therapies, sessions) about their mean.
    """

    instruments: Mapping[str, str]
    scale: str = OUTCOME_SCALE
    time: Mapping[str, Any] = field(default_factory=lambda: Linear(3, 10).to_dict())
    sessions: tuple[int, ...] = ()
    predictors: tuple[Predictor, ...] = ()
    trait_at: TraitAt = "first"
    scaling: Scaling = "sd"
    therapist: Effects = "slope"
    therapy: Effects = "slope"
    method: Method = "reml"
    sensitivity: tuple[Sensitivity, ...] = ()
    ranges: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.instruments or set(self.instruments) - set(RATERS):
            raise SpecError(f"ratings are of {' or '.join(RATERS)}")
        for value, known in (
            (self.trait_at, TraitAt),
            (self.scaling, Scaling),
            (self.therapist, Effects),
            (self.therapy, Effects),
            (self.method, Method),
            *((name, Sensitivity) for name in self.sensitivity),
        ):
            if value not in get_args(known):
                raise SpecError(f"{value!r} must be one of {', '.join(get_args(known))}")
        if self.therapy == "none":
            raise SpecError("therapies need a random effect: their ratings belong together")
        names = [predictor.name for predictor in self.predictors if predictor.source != "state"]
        names += [
            f"{row.name}_{part}" for row in self.predictors if row.source == "state" for part in STATE_PARTS
        ]
        twice = {name for name in names if names.count(name) > 1}
        taken = {*FRAME_COLUMNS, *self.coding.names} & set(names)
        if twice or taken:
            raise SpecError(f"two columns would have the name {sorted(twice | taken)[0]!r}: leave one out")

    @cached_property
    def coding(self) -> TimeCoding:
        return TimeCoding.from_dict(self.time)

    @property
    def raters(self) -> tuple[str, ...]:
        return tuple(rater for rater in RATERS if rater in self.instruments)

    @property
    def asks_difference(self) -> bool:
        return len(self.raters) == 2

    @property
    def can_be_joint(self) -> bool:
        """The joint model takes a coding of one column alone."""
        return self.asks_difference and len(self.coding.names) == 1

    def growth(self, predictors: Sequence[str], method: Method | None = None) -> GrowthSpec:
        """The model of one rater with these columns as predictors."""
        terms = [(THERAPIST, self.therapist), (THERAPY, self.therapy)]
        random = tuple(self._term(group, effects) for group, effects in terms if effects != "none")
        return GrowthSpec("y", self.coding.fixed(predictors), random, method or self.method)

    def joint(self, predictors: Sequence[str]) -> JointSpec:
        """The joint model: level and growth of both raters, correlated, at both levels."""
        levels = ("therapist", "therapy") if self.therapist != "none" else ("therapy",)
        return JointSpec(
            "y", "rater", "session", self.coding.names[0], tuple(predictors), levels, self.method
        )

    def _term(self, group: str, effects: Effects) -> RandomTerm:
        columns = ("1",) if effects == "intercept" else self.coding.random()
        return RandomTerm(group, columns, correlated=effects != "slope-uncorrelated")

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        values = asdict(self)
        values["time"] = dict(self.time)
        plain: dict[str, Any] = json.loads(json.dumps(values))
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The spec that `to_dict` was made from; raises SpecError for anything else."""
        try:
            predictors = tuple(Predictor(**row) for row in values["predictors"])
            plain = {name: values[name] for name in values if name != "predictors"}
            lists = {name: tuple(plain[name]) for name in ("sessions", "sensitivity")}
            ranges = {code: (low, high) for code, (low, high) in plain["ranges"].items()}
            return cls(**{**plain, **lists, "ranges": ranges, "predictors": predictors})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SpecError(f"this states no analysis: {error}") from error

    @property
    def sha256(self) -> str:
        """Of the canonical JSON."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


STATE_PARTS = ("mean", "within")


def outcome_forms(forms: Sequence[InstrumentFile], rater: str) -> dict[str, InstrumentFile]:
    """Forms of a rater about the alliance, by code; of several languages and versions the last."""
    return {form.code: form for form in forms if form.rater == rater and is_outcome(form)}


def available_predictors(forms: Sequence[InstrumentFile]) -> tuple[Predictor, ...]:
    """What a study with these forms can be asked about; composites where all of their forms are there."""
    about = {form.code: form for form in forms if form.rater == "therapist" and not is_outcome(form)}
    traits = [form for form in about.values() if form.level == "trait"]
    states = [form for form in about.values() if form.level == "session"]
    there = {(form.code, scale.code) for form in traits for scale in form.scales}
    return (
        *(Predictor("trait", scale.code, form.code) for form in traits for scale in form.scales),
        *(
            Predictor("composite", composite.code)
            for composite in composites()
            if {key for part in composite.components for key in part.keys} <= there
        ),
        *(Predictor("state", scale.code, form.code) for form in states for scale in form.scales),
        *(Predictor(level, name) for name, level in COUNTS.items()),  # type: ignore[arg-type]
        *(Predictor("therapy", name) for name in CATEGORIES),
    )


def ranges_of(forms: Sequence[InstrumentFile]) -> dict[str, tuple[int, int]]:
    """Lowest and highest option by code."""
    return {form.code: (form.minimum, form.maximum) for form in sorted(forms, key=lambda form: form.code)}


def study_table(forms: Sequence[InstrumentFile]) -> AnalysisSpec:
    """The question of the study that this application grew out of: both raters, sessions 3, 12, 20 and 40,
    difficulties in practice and feelings in sessions in general.

    Raises SpecError where the study has no such forms.
    """
    instruments = {
        rater: "wai-s" if "wai-s" in found else next(iter(found))
        for rater in RATERS
        if (found := outcome_forms(forms, rater))
    }
    predictors = tuple(
        row
        for code in STUDY_FORMS
        for row in available_predictors(forms)
        if row.source == "trait" and row.instrument == code
    )
    if len(instruments) < 2 or not predictors:
        raise SpecError(
            "the study's table needs ratings of the alliance by both, and forms of the therapists about"
            " difficulties or feelings in general"
        )
    return AnalysisSpec(
        instruments=instruments, sessions=STUDY_SESSIONS, predictors=predictors, ranges=ranges_of(forms)
    )
