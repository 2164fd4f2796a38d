"""Do 95 % intervals hold 95 %, and does the test of the difference between raters keep its 5 %?

`python -m benchmarks.validation` simulates studies from a stated truth, fits them as the product does,
counts, and writes docs/validation.md with every figure in it.  Each study has its own seed, so a share can be
traced to its studies, and the first studies are the same however many are asked for.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from scipy import stats

from analytics.growth import FitResult, GrowthSpec, LongData, fit
from analytics.growth.covariance import sds_and_correlations
from analytics.growth.joint import JointSpec, fit_joint
from analytics.growth.power import Proportion, study_seeds
from analytics.growth.results import FITTED
from analytics.growth.simulate import (
    Dropout,
    Perspective,
    StudyDesign,
    Truth,
    covariance,
    rows_of,
    simulate,
)
from benchmarks.documents import DOCS, percent, prose, table

DOCUMENT = DOCS / "validation.md"
N_STUDIES = 500
ALPHA = 0.05
COVERAGE, SIZE_OF_TEST = (0.93, 0.97), (0.035, 0.065)

# Equal effects of x on both raters: the null of no difference is true.
EFFECTS = {"x": (-0.15, -0.04)}
TRUTH = Truth(
    (
        Perspective("P", intercept=5.2, time=0.12, sigma=0.50, effects=EFFECTS, missing=0.2),
        Perspective("T", intercept=4.9, time=0.16, sigma=0.40, effects=EFFECTS, missing=0.2),
    ),
    therapist_cov=covariance(
        (0.35, 0.10, 0.45, 0.12),
        [
            [1.00, -0.20, 0.40, 0.00],
            [-0.20, 1.00, 0.05, 0.40],
            [0.40, 0.05, 1.00, -0.15],
            [0.00, 0.40, -0.15, 1.00],
        ],
    ),
    patient_cov=covariance(
        (0.65, 0.17, 0.48, 0.14),
        [
            [1.00, -0.30, 0.40, -0.10],
            [-0.30, 1.00, -0.05, 0.40],
            [0.40, -0.05, 1.00, -0.25],
            [-0.10, 0.40, -0.25, 1.00],
        ],
    ),
    rho=0.3,
)
DROPOUT = Dropout(hazard=0.08, slope=-0.7, at=5.2, rater="P")
# The seed of each design; its studies are spawned from it.
DESIGNS = {
    2101: StudyDesign(70, 4, sessions=(3, 12, 20, 40), dropout=DROPOUT),
    2102: StudyDesign(300, 10, sessions=(3, 12, 20, 40), dropout=DROPOUT),
}
SPEC = GrowthSpec.from_formula(
    "y ~ time * x", ["1 + time | therapist", "1 + time | therapist:patient"], df="kenward-roger"
)
JOINT = JointSpec(
    outcome="y",
    rater="rater",
    session="session",
    time="time",
    predictors=("x",),
    levels=("therapist", "patient"),
    method="reml",
    df="auto",
)


@dataclass(frozen=True)
class Study:
    """One simulated study: fits in the order of the raters, and the joint model's contrasts if it has any."""

    missing: float
    fits: tuple[FitResult, ...]
    joint_status: str
    contrasts: tuple[Any, ...]
    seconds: tuple[float, float]


@dataclass(frozen=True)
class Check:
    """One share that was aimed at, with the share that a correct method has; None if nothing was fitted."""

    what: str
    share: Proportion | None
    aim: tuple[float, float]
    nominal: float

    @property
    def verdict(self) -> str:
        if self.share is None:
            return "no fit"
        if self.aim[0] <= self.share.share <= self.aim[1]:
            return "in the aim"
        chance = self.share.lower <= self.nominal <= self.share.upper
        return "outside, within Monte Carlo error" if chance else "outside"


def study_of(design: StudyDesign, seed: np.random.SeedSequence) -> Study:
    columns = simulate(TRUTH, design, seed)
    began = time.perf_counter()
    fits = tuple(fit(LongData.from_columns(rows_of(columns, r), SPEC), SPEC) for r in TRUTH.raters)
    between = time.perf_counter()
    joint = fit_joint(columns, JOINT)
    return Study(
        missing=float(np.isnan(columns["y"]).mean()),
        fits=fits,
        joint_status=joint.status,
        contrasts=tuple(joint.contrasts) if joint.status in FITTED else (),
        seconds=(between - began, time.perf_counter() - between),
    )


def studies_of(design: StudyDesign, seed: int, n_studies: int, n_processes: int) -> list[Study]:
    studies = []
    with multiprocessing.Pool(n_processes) as pool:
        began = time.perf_counter()
        for study in pool.imap(partial(study_of, design), study_seeds(seed, n_studies)):
            studies.append(study)
            show_progress(name_of(design), len(studies), n_studies, time.perf_counter() - began)
    separate, joint = np.mean([study.seconds for study in studies], axis=0)
    print(f"\n{name_of(design)}: seconds a study {separate:.2f} separate, {joint:.2f} joint", file=sys.stderr)
    return studies


def show_progress(name: str, done: int, n_studies: int, seconds: float) -> None:
    if sys.stderr.isatty() or done == n_studies or done % max(1, n_studies // 10) == 0:
        end = "\r" if sys.stderr.isatty() else "\n"
        left = seconds / done * (n_studies - done)
        print(f"{name}: {done} of {n_studies}, {left:4.0f} s left ", end=end, file=sys.stderr, flush=True)


def true_effects(rater: str) -> dict[str, float]:
    view = TRUTH.perspectives[TRUTH.raters.index(rater)]
    level, growth = view.effects["x"]
    return {"Intercept": view.intercept, "time": view.time, "x": level, "time:x": growth}


def coverage_rows(design: StudyDesign, studies: Sequence[Study]) -> tuple[list[Check], list[Sequence[str]]]:
    checks, rows = [], []
    for i, rater in enumerate(TRUTH.raters):
        fitted = [study.fits[i] for study in studies if study.fits[i].is_fitted]
        for term, truth in true_effects(rater).items():
            effects = [row for result in fitted for row in result.fixed if row.term == term]
            n_covered = sum(row.lower <= truth <= row.upper for row in effects)
            share = Proportion.of(n_covered, len(effects)) if effects else None
            check = Check(f"{name_of(design)}, rater {rater}, {term}", share, COVERAGE, 1 - ALPHA)
            checks.append(check)
            rows.append((rater, f"`{term}`", *spread(truth, effects), *share_cells(check)))
    return checks, rows


def contrast_rows(design: StudyDesign, studies: Sequence[Study]) -> tuple[list[Check], list[Sequence[str]]]:
    checks, rows = [], []
    for effect in ("level", "growth"):
        contrasts = [row for study in studies for row in study.contrasts if row.effect == effect]
        n_rejected = sum(row.p < ALPHA for row in contrasts)
        share = Proportion.of(n_rejected, len(contrasts)) if contrasts else None
        check = Check(f"{name_of(design)}, {effect} of x, P minus T", share, SIZE_OF_TEST, ALPHA)
        checks.append(check)
        rows.append((f"{effect} of x, P minus T", *spread(0.0, contrasts), *share_cells(check)))
    return checks, rows


def spread(truth: float, effects: Sequence[Any]) -> tuple[str, str, str]:
    """Truth, mean estimate with its Monte Carlo standard error, mean SE over SD of the estimates."""
    if len(effects) < 2:
        return f"{truth:g}", "-", "-"
    estimates = np.array([row.estimate for row in effects])
    sd = float(estimates.std(ddof=1))
    error = sd / np.sqrt(len(estimates))
    ratio = float(np.mean([row.se for row in effects])) / sd
    return f"{truth:g}", f"{estimates.mean():.4f} ± {error:.4f}", f"{ratio:.2f}"


def share_cells(check: Check) -> tuple[str, str, str, str]:
    if check.share is None:
        return "0 of 0", "-", "-", check.verdict
    return (
        f"{check.share.count} of {check.share.n}",
        percent(check.share.share),
        f"{percent(check.share.lower)} to {percent(check.share.upper)}",
        check.verdict,
    )


def name_of(design: StudyDesign) -> str:
    return f"{design.n_therapists} therapists x {design.n_patients} patients"


def document(results: dict[int, list[Study]]) -> str:
    sections, checks = [], []
    for seed, studies in results.items():
        design = DESIGNS[seed]
        covered, coverage = coverage_rows(design, studies)
        rejected, contrasts = contrast_rows(design, studies)
        checks += [*covered, *rejected]
        sections.append(design_section(seed, studies, coverage, contrasts))
    n_studies = len(next(iter(results.values())))
    return (
        "\n\n".join([head(n_studies), truth_section(), *sections, verdicts(checks, n_studies), how(results)])
        + "\n"
    )


def head(n_studies: int) -> str:
    sessions = ", ".join(f"{s:g}" for s in next(iter(DESIGNS.values())).sessions)
    intro = prose(
        f"""{n_studies} studies of each of {len(DESIGNS)} designs were simulated from the truth below: both
        raters, sessions {sessions}, time = (session - 3) / 10, one standardised predictor x of the therapist
        with an effect on level and on growth. In each study"""
    )
    separate = prose(
        f"""- each rater's ratings are fitted alone, `y ~ time * x` with random intercepts and slopes of
        therapists and of therapies, REML with Kenward-Roger degrees of freedom, and it is counted how often
        the 95 % interval of each fixed effect holds the true one (aim: {percent(COVERAGE[0])} to
        {percent(COVERAGE[1])});"""
    )
    joint = prose(
        f"""- both raters' ratings are fitted together by the joint model, and it is counted how often the
        test of the difference between raters (effect of x on P minus effect on T) rejects at p < {ALPHA:g},
        unadjusted. The truth has no difference, so each rejection is an error (aim:
        {percent(SIZE_OF_TEST[0])} to {percent(SIZE_OF_TEST[1])})."""
    )
    return "\n\n".join(
        (
            "# Validation: coverage of the intervals, size of the test between raters",
            "Written by `make validation`; no figure here is typed by hand.",
            intro,
            f"{separate}\n{joint}",
        )
    )


def truth_section() -> str:
    views = TRUTH.perspectives
    effects = table(
        ["", *(f"rater {view.rater}" for view in views)],
        [
            ["intercept", *(f"{view.intercept:g}" for view in views)],
            ["time", *(f"{view.time:g}" for view in views)],
            ["x on level", *(f"{view.effects['x'][0]:g}" for view in views)],
            ["x on growth", *(f"{view.effects['x'][1]:g}" for view in views)],
            ["residual SD", *(f"{view.sigma:g}" for view in views)],
            ["single ratings missing", *(percent(view.missing) for view in views)],
        ],
    )
    names = [f"{view.rater} {part}" for view in views for part in ("level", "growth")]
    rows = []
    for level, cov in (("therapist", TRUTH.therapist_cov), ("therapy", TRUTH.patient_cov)):
        sd, corr = sds_and_correlations(np.array(cov))
        for i, name in enumerate(names):
            cells = [f"{r:.2f}" for r in corr[i][:i]]
            rows.append([level, name, f"{sd[i]:g}", *cells, *[""] * (len(names) - 1 - i)])
    random = table(["level", "random effect", "SD", *(f"corr. {name}" for name in names[:-1])], rows)
    rest = prose(
        f"""The residuals of both raters in one session correlate {TRUTH.rho:g}. After each session but the
        last a therapy ends with probability {DROPOUT.hazard:g} if the last rating of rater {DROPOUT.rater} is
        {DROPOUT.at:g}; a point more changes the log odds by {DROPOUT.slope:g}. So ratings are missing at
        random for rater {DROPOUT.rater} and for the joint model, and not quite for the other rater analysed
        alone. Ratings are normal: not rounded, not cut at the ends of a scale."""
    )
    return "\n\n".join(("## Truth", effects, random, rest))


def design_section(
    seed: int, studies: Sequence[Study], coverage: list[Sequence[str]], contrasts: list[Sequence[str]]
) -> str:
    missing = percent(float(np.mean([study.missing for study in studies])))
    numbers = ("truth", "mean estimate ± MC error", "mean SE / SD")
    counted = ("share", "95 % MC interval", "aim")
    return "\n\n".join(
        (
            f"## {name_of(DESIGNS[seed])}",
            prose(
                f"""Seed {seed}; {missing} of the planned ratings are missing. Fits by status; only `ok` and
                `singular` have estimates, and a study without estimates is in no share below."""
            ),
            status_table(studies),
            "Coverage of the 95 % intervals:",
            table(["rater", "effect", *numbers, "covered", *counted], coverage),
            "Rejections of the true null of no difference:",
            table(["contrast", *numbers, "rejected", *counted], contrasts),
        )
    )


def status_table(studies: Sequence[Study]) -> str:
    counts = {
        f"rater {rater} alone": Counter(study.fits[i].status for study in studies)
        for i, rater in enumerate(TRUTH.raters)
    }
    counts["joint model"] = Counter(study.joint_status for study in studies)
    others = sorted({status for each in counts.values() for status in each} - set(FITTED))
    statuses = (*FITTED, *others)
    rows = [[what, *(str(each[status]) for status in statuses)] for what, each in counts.items()]
    return table(["fit", *(f"`{status}`" for status in statuses)], rows)


def verdicts(checks: Sequence[Check], n_studies: int) -> str:
    lines = []
    for what, aim in (("95 % intervals", COVERAGE), ("tests of the difference between raters", SIZE_OF_TEST)):
        own = [check for check in checks if check.aim == aim]
        astray = [check for check in own if check.verdict != "in the aim"]
        nominal, chance = own[0].nominal, by_chance(n_studies, own[0].nominal, aim)
        lines.append(
            prose(
                f"""- {len(own) - len(astray)} of {len(own)} {what} are in the aim. In {n_studies} studies a
                share that is truly {percent(nominal)} falls outside by chance with a probability of
                {percent(chance)}."""
            )
        )
        lines += [
            f"  - Not in the aim: {check.what}: {', '.join(share_cells(check)[:-1])} ({check.verdict})"
            for check in astray
        ]
    return "## What holds and what does not\n\n" + "\n".join(lines)


def by_chance(n: int, nominal: float, aim: tuple[float, float]) -> float:
    """Probability that a share of n with this nominal value lies outside the aim."""
    counts = np.arange(n + 1)
    outside = (counts / n < aim[0]) | (counts / n > aim[1])
    return float(stats.binom(n, nominal).pmf(counts)[outside].sum())


def how(results: dict[int, list[Study]]) -> str:
    studies = next(iter(results.values()))
    first = studies[0].fits[0]
    versions = ", ".join(f"{name} {version}" for name, version in first.libraries.items())
    paragraphs = (
        f"`python -m benchmarks.validation --studies {len(studies)}`, engine {first.engine}, {versions}.",
        """Study i of a design, counted from 0, is drawn from `numpy.random.SeedSequence(seed).spawn(n)[i]`.
        Monte Carlo intervals are Wilson's for a binomial share; the error of a mean estimate is the SD of the
        estimates over the root of their number. "Mean SE / SD" is 1 where standard errors say how much
        estimates vary from study to study.""",
    )
    return "\n\n".join(("## How it was made", *map(prose, paragraphs)))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.validation", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--studies", type=int, default=N_STUDIES, help="of each design (default %(default)s)")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--output", type=Path, default=DOCUMENT)
    options = parser.parse_args(arguments)
    if options.studies < 1 or options.processes < 1:
        parser.error("--studies and --processes must be at least 1")
    results = {
        seed: studies_of(design, seed, options.studies, options.processes) for seed, design in DESIGNS.items()
    }
    options.output.write_text(document(results), encoding="utf-8")
    print(f"wrote {options.output}", file=sys.stderr)


if __name__ == "__main__":
    main()
