"""Pure: planning a study by simulating it: what is taken to be true, the designs, how often each finds what.

The truth is the joint growth model of both raters (`analytics.growth.simulate.Truth`) with one predictor x of
the therapist, of mean 0 and SD 1; time is (session - 3) / 10. Covariances are stated as SDs and three
correlations: within a rater between level and growth, and between the raters of the like at each level.
Dropout takes therapies away after any session but the last with one chance, whatever the ratings were, so
that the stated share is gone at the last one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Self

from analytics.growth import GrowthSpec, JointResult, JointSpec
from analytics.growth.errors import SpecError
from analytics.growth.power import Power, Tests, fixed_effect_tests, joint_tests, power
from analytics.growth.results import ENGINE
from analytics.growth.simulate import Dropout, Perspective, StudyDesign, Truth, covariance

RATERS = ("patient", "therapist")
PREDICTOR = "x"
# What a plan may be asked for: the effect of x on the level and the growth that each rater rates, and the
# patient's minus the therapist's.
EFFECTS = {
    "patient.level": "patient:x",
    "patient.growth": "patient:time:x",
    "therapist.level": "therapist:x",
    "therapist.growth": "therapist:time:x",
    "difference.level": "x:level",
    "difference.growth": "x:growth",
}
MAX_DESIGNS = 12
MAX_STUDIES = 2000
# Simulated ratings of a whole plan; some minutes of one processor.
MAX_RATINGS = 40_000_000
LIMIT_CORRELATION = 0.9

ORIGIN, UNIT = 3, 10


@dataclass(frozen=True)
class View:
    """One rater's truth: effects of one SD of x on level and on growth (in ten sessions), SDs of level and
    growth between therapists beyond x and between therapies, residual SD, and the share of ratings lost."""

    level: float
    growth: float
    therapist_sd: tuple[float, float]
    therapy_sd: tuple[float, float]
    residual_sd: float
    missing: float = 0.0


@dataclass(frozen=True)
class PlanSpec:
    """`n_therapists` and `n_patients` (of each therapist): every pair is a design. `dropout`: share of the
    therapies without a rating at the last session because they ended. Raises SpecError for what cannot be."""

    views: tuple[View, View]
    within: float
    therapists_alike: float
    therapies_alike: float
    residuals_alike: float
    n_therapists: tuple[int, ...]
    n_patients: tuple[int, ...]
    sessions: tuple[int, ...]
    dropout: float
    effects: tuple[str, ...]
    n_studies: int
    seed: int
    alpha: float = 0.05

    def __post_init__(self) -> None:
        if not self.effects or set(self.effects) - set(EFFECTS):
            raise SpecError("choose at least one effect")
        if len(self.designs) > MAX_DESIGNS:
            raise SpecError(f"at most {MAX_DESIGNS} designs, not {len(self.designs)}")
        if not 1 <= self.n_studies <= MAX_STUDIES:
            raise SpecError(f"between 1 and {MAX_STUDIES} studies, not {self.n_studies}")
        if self.n_ratings > MAX_RATINGS:
            raise SpecError(f"{self.n_ratings} simulated ratings are more than {MAX_RATINGS}")
        # Refuses, in its own words, covariances and designs that cannot be.
        _ = self.truth
        for design in self.designs:
            _ = self.design(*design)

    @property
    def designs(self) -> list[tuple[int, int]]:
        """Therapists and patients of each, in the order of the plan."""
        return [(j, i) for i in dict.fromkeys(self.n_patients) for j in dict.fromkeys(self.n_therapists)]

    @property
    def n_ratings(self) -> int:
        """That are simulated in all."""
        each = sum(j * i for j, i in self.designs) * len(self.sessions) * len(RATERS)
        return each * self.n_studies

    @property
    def truth(self) -> Truth:
        perspectives = tuple(
            Perspective(
                rater,
                intercept=0.0,
                time=0.0,
                sigma=view.residual_sd,
                effects={PREDICTOR: (view.level, view.growth)},
                missing=view.missing,
            )
            for rater, view in zip(RATERS, self.views, strict=True)
        )
        return Truth(
            perspectives,
            therapist_cov=self._covariance([view.therapist_sd for view in self.views], self.therapists_alike),
            patient_cov=self._covariance([view.therapy_sd for view in self.views], self.therapies_alike),
            rho=self.residuals_alike,
        )

    def _covariance(self, sds: Sequence[tuple[float, float]], alike: float) -> tuple[tuple[float, ...], ...]:
        within = self.within
        # Level and growth of different raters: no more than both correlations ask for.
        across = within * alike
        corr = [
            [1, within, alike, across],
            [within, 1, across, alike],
            [alike, across, 1, within],
            [across, alike, within, 1],
        ]
        return covariance([sd for pair in sds for sd in pair], corr)

    def design(self, n_therapists: int, n_patients: int) -> StudyDesign:
        steps = max(len(self.sessions) - 1, 1)
        hazard = 1 - (1 - self.dropout) ** (1 / steps) if self.dropout else 0.0
        return StudyDesign(
            n_therapists,
            n_patients,
            sessions=self.sessions,
            origin=ORIGIN,
            unit=UNIT,
            dropout=Dropout(hazard, slope=0.0, at=0.0) if hazard else None,
        )

    def true_effect(self, effect: str) -> float:
        """Of one SD of x, one of EFFECTS; a difference is the patient's minus the therapist's."""
        rater, _dot, what = effect.partition(".")
        patient, therapist = ((view.level if what == "level" else view.growth) for view in self.views)
        return {"patient": patient, "therapist": therapist, "difference": patient - therapist}[rater]

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        def view(row: Mapping[str, Any]) -> View:
            pairs = {key: tuple(row[key]) for key in ("therapist_sd", "therapy_sd")}
            return View(**{**row, **pairs})

        lists = ("n_therapists", "n_patients", "sessions", "effects")
        first, second = values["views"]
        return cls(
            **{**values, "views": (view(first), view(second)), **{key: tuple(values[key]) for key in lists}}
        )


def run_plan(spec: PlanSpec, progress: Callable[[int, int], None]) -> dict[str, Any]:
    """JSON: for each design its power for each effect, as `Power.to_dict` gives it. The same plan gives the
    same numbers. `progress` hears how many of all fits are done."""
    asked = _asked(spec)
    total, before = len(spec.designs) * len(asked) * spec.n_studies, 0
    rows = []
    for n_therapists, n_patients in spec.designs:
        found: dict[str, Power] = {}
        for tests, names in asked:
            counted = power(
                spec.truth,
                spec.design(n_therapists, n_patients),
                tests,
                list(names.values()),
                n_studies=spec.n_studies,
                seed=spec.seed,
                alpha=spec.alpha,
                progress=partial(_tell, progress, before, total),
            )
            found |= {effect: counted[name] for effect, name in names.items()}
            before += spec.n_studies
        effects = {effect: found[effect].to_dict() for effect in spec.effects}
        rows.append({"n_therapists": n_therapists, "n_patients": n_patients, "effects": effects})
    return {"designs": rows, "engine": ENGINE}


def _tell(progress: Callable[[int, int], None], before: int, total: int, done: int) -> None:
    progress(before + done, total)


def _asked(spec: PlanSpec) -> list[tuple[Tests, dict[str, str]]]:
    """The tests of a study, each with the effects that it shows and its names for them: the joint model where
    a difference is asked for, else the model of each rater alone, which is faster."""
    if any(effect.startswith("difference") for effect in spec.effects):
        joint = JointSpec("y", "rater", "session", "time", (PREDICTOR,), ("therapist", "patient"))
        return [(joint_tests(joint), {effect: EFFECTS[effect] for effect in spec.effects})]
    alone = GrowthSpec.from_formula(
        f"y ~ time * {PREDICTOR}", ("1 + time | therapist", "1 + time | therapist:patient")
    )
    asked = []
    for rater in RATERS:
        own = [effect for effect in spec.effects if effect.startswith(f"{rater}.")]
        names = {effect: EFFECTS[effect].partition(":")[2] for effect in own}
        if names:
            asked.append((fixed_effect_tests(alone, list(names.values()), rater), names))
    return asked


def from_result(result: JointResult, predictor: str) -> dict[str, Any]:
    """What a joint fit of the study's own data says of the truth: `views` and the four correlations, as
    `PlanSpec` takes them; the first rater is the patient. Correlations on the boundary, which few data give,
    are brought to 0.9. Raises KeyError if the model has no such predictor."""
    if result.residual is None:
        raise SpecError("the analysis has no estimates to plan with")
    fixed = {row.term: row.estimate for row in result.fixed}
    time = next(row.terms[1] for row in result.random).partition(":")[2]
    high, low = result.random
    views = tuple(
        View(
            level=fixed[f"{rater}:{predictor}"],
            growth=fixed[f"{rater}:{time}:{predictor}"],
            therapist_sd=(high.sd[2 * place], high.sd[2 * place + 1]),
            therapy_sd=(low.sd[2 * place], low.sd[2 * place + 1]),
            residual_sd=result.residual.sd[rater],
        )
        for place, rater in enumerate(RATERS)
    )
    within = [low.corr[1][0], low.corr[3][2]]
    return {
        "views": views,
        "within": _bounded(within),
        "therapists_alike": _bounded([high.corr[2][0]]),
        "therapies_alike": _bounded([low.corr[2][0]]),
        "residuals_alike": _bounded([result.residual.rho]),
    }


def _bounded(values: Sequence[float | None]) -> float:
    """The mean of the correlations that exist, kept from the boundary; 0 of none."""
    known = [value for value in values if value is not None]
    mean = sum(known) / len(known) if known else 0.0
    return max(-LIMIT_CORRELATION, min(LIMIT_CORRELATION, mean))
