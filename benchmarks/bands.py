"""Does the 80 % band of the expected course hold 80 % of the next ratings?

`python -m benchmarks.bands` simulates clinics whose therapies are still running, fits what came in so far as
the product does, predicts the rating that each therapy has not given yet, counts how often it lies in the
band, and writes the figures into docs/expected-course.md.  The truth is that of the demonstration
(`surveys.demo.parameters`), once with ratings that are not rounded and have no ends, once as its form records
them.  Study i of a design is drawn from `numpy.random.SeedSequence(seed).spawn(n)[i]`.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray
from scipy import special

from analytics.growth import GrowthSpec, LongData, expected_course, fit
from analytics.growth.power import study_seeds
from analytics.growth.simulate import Form, Perspective, StudyDesign, Truth, simulate
from benchmarks.documents import DOCS, percent, prose, put, table
from surveys.demo.parameters import OCCASIONS, Parameters

LEVEL, AIM = 0.80, (0.78, 0.82)
EARLIER = (0, 1, 3, 8)
RATERS = ("patient", "therapist")
SESSIONS = tuple(range(1, 41))
FORM = Form(1, 7, 12)
# Of one rating: whether it lies in the product's band, and in one that takes the variances as known.
Inside = tuple[bool, bool]
# As `analytics.dataset` fits it; the study's model has no predictors.
SPEC = GrowthSpec.from_formula("y ~ time", ["1 + time | therapist", "1 + time | therapist:patient"])
DEMO = Parameters()

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Design:
    """A clinic, and how many of them are simulated."""

    study: StudyDesign
    n_studies: int

    @property
    def name(self) -> str:
        n_patients = self.study.n_patients
        count = f"{n_patients:g}" if isinstance(n_patients, int) else f"about {n_patients:.1f}"
        return f"{self.study.n_therapists} therapists x {count} patients"


DESIGNS = {
    2201: Design(StudyDesign(70, 370 / 70, SESSIONS, "poisson"), 75),
    2202: Design(StudyDesign(12, 5, SESSIONS), 150),
    2203: Design(StudyDesign(8, 3, SESSIONS), 300),
}


@dataclass(frozen=True)
class Share:
    """How many of `n` next ratings lay in the band; `se` allows for what ratings of one study share."""

    n: int
    share: float
    se: float

    @classmethod
    def of(cls, inside: Sequence[Sequence[Inside]], which: int) -> "Share":
        """Of the ratings of each study; the standard error is that of a ratio over studies (Cochran 1977,
        Sampling Techniques, sec. 6.3)."""
        n = np.array([len(row) for row in inside], dtype=float)
        hits = np.array([sum(each[which] for each in row) for row in inside], dtype=float)
        share = float(hits.sum() / n.sum())
        return cls(int(n.sum()), share, float(np.sqrt(((hits - share * n) ** 2).sum()) / n.sum()))


def demonstration(form: Form | None) -> Truth:
    """The demonstration's people as one growth model without predictors: what therapists' traits do is part
    of how therapists differ, the noise of single items part of the residuals."""
    views = DEMO.perspectives
    effects = np.array([np.ravel(trait.effects) for trait in DEMO.traits])
    by_traits = effects.T @ np.array(DEMO.trait_correlations) @ effects
    n_items = FORM.n_items or 1

    def level(sds: Iterable[tuple[float, float]], rho: float) -> Floats:
        sd = np.ravel(list(sds))
        corr = np.kron([[1, rho], [rho, 1]], [[1, DEMO.intercept_slope], [DEMO.intercept_slope, 1]])
        return np.asarray(corr * np.outer(sd, sd))

    therapists = by_traits + level((view.therapist_sd for view in views), DEMO.rater_correlation[0])
    therapies = level((view.therapy_sd for view in views), DEMO.rater_correlation[1])
    sigma = [float(np.hypot(view.residual_sd, view.noise_sd / n_items**0.5)) for view in views]
    shared = DEMO.rater_correlation[2] * views[0].residual_sd * views[1].residual_sd
    return Truth(
        tuple(
            Perspective(rater, view.level, view.growth, s, missing=view.missing, form=form)
            for rater, view, s in zip(RATERS, views, sigma, strict=True)
        ),
        therapist_cov=tuple(map(tuple, therapists.tolist())),
        patient_cov=tuple(map(tuple, therapies.tolist())),
        rho=shared / (sigma[0] * sigma[1]),
    )


def clinic_of(
    truth: Truth, design: Design, seed: np.random.SeedSequence
) -> tuple[NDArray[np.int64], Floats, NDArray[np.int64]]:
    """Therapist of each therapy (n,), its ratings (n, sessions, raters), NaN where none is given, and how
    many of them are in (n,): therapies run on, and stand at a point that nobody's ratings chose.

    Therapies end early by the demonstration's hazard, which rises where the patient's last rating is low.
    """
    of_ratings, of_plan = seed.spawn(2)
    columns = simulate(truth, design.study, of_ratings)
    rng = np.random.default_rng(of_plan)
    y = columns["y"].reshape(-1, len(SESSIONS), len(RATERS)).copy()
    n, m, _ = y.shape
    every = rng.random(n) < DEMO.every_share
    y[~(every[:, None] | np.isin(SESSIONS, OCCASIONS))] = np.nan
    at = DEMO.perspectives[0].level
    last, ended, chance = np.full(n, at), np.zeros(n, dtype=bool), rng.random((n, m))
    for s in range(m - 1):
        last = np.where(np.isnan(y[:, s, 0]), last, y[:, s, 0])
        hazard = special.expit(special.logit(DEMO.dropout_hazard) + DEMO.dropout_slope * (last - at))
        ended |= chance[:, s] < hazard
        y[ended, s + 1] = np.nan
    n_in = np.where(every, rng.choice((8, 8, 8, 15, m), n), rng.choice((0, 1, 2, 3, m), n))
    therapist = columns["therapist"].reshape(n, -1)[:, 0]
    return therapist, y, n_in


def study_of(
    truth: Truth, design: Design, seed: np.random.SeedSequence
) -> dict[tuple[str, int], list[Inside]]:
    """Whether each next rating lies in its band, by rater and number of earlier ratings; the key (rater, -1)
    has an empty list where the model could not be fitted."""
    therapist, y, n_in = clinic_of(truth, design, seed)
    times = (np.array(SESSIONS) - design.study.origin) / design.study.unit
    out: dict[tuple[str, int], list[Inside]] = {}
    for r, rater in enumerate(RATERS):
        given = ~np.isnan(y[..., r])
        order = given.cumsum(axis=1)
        known = given & (order <= n_in[:, None])
        i, s = np.nonzero(known)
        columns = {"therapist": therapist[i], "patient": i, "time": times[s], "y": y[i, s, r]}
        result = fit(LongData.from_columns(columns, SPEC), SPEC)
        if not result.is_fitted:
            out[rater, -1] = []
            continue
        for i in np.flatnonzero((order[:, -1] > n_in) & np.isin(n_in, EARLIER)):
            (s,) = np.flatnonzero(given[i] & (order[i] == n_in[i] + 1))
            own = known[i]
            bands = [
                expected_course(
                    result, [times[s]], times[own], y[i, own, r], level=LEVEL, with_variances=allows
                )
                for allows in (True, False)
            ]
            inside = [bool(band.lower[0] <= y[i, s, r] <= band.upper[0]) for band in bands]
            out.setdefault((rater, int(n_in[i])), []).append((inside[0], inside[1]))
    return out


def measured(
    truth: Truth, design: Design, seed: int, n_processes: int
) -> tuple[dict[tuple[str, int], tuple[Share, Share]], Counter[str]]:
    """Shares by rater and number of earlier ratings, and how many fits of each rater gave no model."""
    inside: dict[tuple[str, int], list[list[Inside]]] = {}
    unfitted: Counter[str] = Counter()
    with multiprocessing.Pool(n_processes) as pool:
        seeds = study_seeds(seed, design.n_studies)
        for study in pool.imap(partial(study_of, truth, design), seeds, chunksize=8):
            for (rater, n_earlier), row in study.items():
                if n_earlier < 0:
                    unfitted[rater] += 1
                else:
                    inside.setdefault((rater, n_earlier), []).append(row)
    return {key: (Share.of(rows, 0), Share.of(rows, 1)) for key, rows in inside.items()}, unfitted


def verdict(share: Share) -> str:
    """In the aim, below it, or above; `chance` where the aim is within two standard errors."""
    if AIM[0] <= share.share <= AIM[1]:
        return "in the aim"
    is_below = share.share < AIM[0]
    away = AIM[0] - share.share if is_below else share.share - AIM[1]
    word = "below" if is_below else "above"
    return f"{word}, within Monte Carlo error" if away <= 2 * share.se else word


def figures(scale: float, n_processes: int) -> str:
    rows, lines = [], []
    for seed, full in DESIGNS.items():
        design = replace(full, n_studies=max(2, round(full.n_studies * scale)))
        for kind, form in (("not cut", None), (f"form {FORM.minimum:g} to {FORM.maximum:g}", FORM)):
            began = time.perf_counter()
            shares, unfitted = measured(demonstration(form), design, seed, n_processes)
            for (rater, n_earlier), (share, known) in sorted(shares.items()):
                cells = (
                    f"{percent(share.share)} ± {100 * share.se:.1f}",
                    verdict(share),
                    percent(known.share),
                )
                rows.append((design.name, kind, rater, str(n_earlier), str(share.n), *cells))
                print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
            seconds = time.perf_counter() - began
            print(f"{design.name}, {kind}: {seconds:.0f} s", file=sys.stderr, flush=True)
            lines += [
                f"{design.name}, {kind}: {n} of {design.n_studies} fits of {rater} ratings gave no model."
                for rater, n in unfitted.items()
            ]
    head = (
        "clinic",
        "ratings",
        "rater",
        "earlier",
        "next ratings",
        "in the band ± SE",
        f"aim {AIM[0]:.0%} to {AIM[1]:.0%}",
        "variances as known",
    )
    numbers = ", ".join(f"{max(2, round(d.n_studies * scale))} clinics of {d.name}" for d in DESIGNS.values())
    how = prose(
        f"""`python -m benchmarks.bands --scale {scale:g}`, seeds {", ".join(map(str, DESIGNS))}: {numbers},
        with ratings at every session in {percent(DEMO.every_share)} of the therapies. "Earlier": ratings of
        the therapy before the one that is predicted. {" ".join(lines)}"""
    )
    return f"{table(head, rows)}\n\n{how}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bands", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of clinics (default 1)")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args(arguments)
    path = DOCS / "expected-course.md"
    put(path, "band coverage", figures(options.scale, options.processes))
    print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
