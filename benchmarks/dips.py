"""How often each rule for possible dips is right and wrong, on simulated courses.

    python benchmarks/dips.py

Prints one JSON object.  Studies are drawn from the growth model (`analytics.growth.simulate`), one rating a
session, and fitted as the product does; each rule then judges courses without a dip and the same courses with
one dip of a known depth, a single lower rating at a random session from the 12th on.  Seeds are fixed: the
figures are the same on every machine but for the last digits of the fits.

`false alarms`: share of judged ratings that a rule points at where there is no dip, and of therapies in
which it does so at least once.  `hits by depth`: share of planted dips that it points at.  `promised`: what
the definition of the rule alone leads to expect of steady, independent, normal ratings.
"""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from scipy import integrate, optimize, special

from analytics.dips import RULES, Expectation, Judgement, Kind, Rule, judge
from analytics.growth import FitResult, GrowthSpec, LongData, expected_course, fit
from analytics.growth.effects import variance_shares
from analytics.growth.simulate import Form, Perspective, StudyDesign, Truth, covariance, rows_of, simulate

Report = dict[str, Any]

N_STUDIES = 4
SEED = 3101
SESSIONS = tuple(range(1, 21))
FIRST_DIP = 12
DEPTHS = (0.5, 1.0, 1.5, 2.0)
BAND = 0.80
SPEC = GrowthSpec.from_formula("y ~ time", ["1 + time | therapist", "1 + time | therapist:patient"])
DESIGN = StudyDesign(30, 4, sessions=tuple(map(float, SESSIONS)))


@dataclass(frozen=True)
class Point:
    session: int
    value: float


def truth(form: Form | None) -> Truth:
    """Patients' ratings in points of a scale from 1 to 7: residual SD 0.50, SD between patients 0.74."""
    corr = [[1.0, -0.2], [-0.2, 1.0]]
    return Truth(
        (Perspective("P", intercept=5.2, time=0.12, sigma=0.50, form=form),),
        therapist_cov=covariance((0.35, 0.10), corr),
        patient_cov=covariance((0.65, 0.17), corr),
    )


def promised_within(k: float, n: int) -> float:
    """Chance that a rating drops by k s, with s the SD of n earlier ones, all n + 1 independent normal.

    With their variance sigma², y_n - y_{n+1} = (y_n - ȳ) + (ȳ - y_{n+1}), the second with variance
    sigma² (1 + 1/n) and independent of the earlier ratings' deviations; y_n - ȳ = s (n - 1) u / √n with u a
    coordinate of a uniform direction in n - 1 dimensions, independent of s.  So the chance is
    E_u F((u (n - 1) / √n - k) / √(1 + 1/n)), F that of t with n - 1 degrees of freedom.
    """
    power = (n - 4) / 2
    norm = special.beta(0.5, (n - 2) / 2)

    def density(u: float) -> float:
        at = (u * (n - 1) / math.sqrt(n) - k) / math.sqrt(1 + 1 / n)
        return float((1 - u * u) ** power / norm * special.stdtr(n - 1, at))

    return float(integrate.quad(density, -1, 1)[0])


def promised_chart(n: int) -> float:
    """Chance of a rating below the lower limit of a control chart made of n earlier ones, all independent
    normal: about that of t, since R / d2 is nearly sigma chi / (c √nu) with nu degrees of freedom, where
    c = E chi / √nu and nu gives it the variance of the mean R of m = n - 1 moving ranges,

        Var R / E² R = (m (2 - 4/pi) + 2 (m - 1) (v - 4/pi)) / (m² 4/pi),   v = 4/pi (√(3/4) + pi/12)

    (v is E|d_j d_{j+1}| of neighbouring changes, correlated by -1/2).  With n without limit the chance is
    Phi(-3) = 0.00135.
    """
    m, square = n - 1, 4 / math.pi
    v = square * (math.sqrt(0.75) + math.pi / 12)
    spread = (m * (2 - square) + 2 * (m - 1) * (v - square)) / (m * m * square)

    def c(nu: float) -> float:
        return math.sqrt(2 / nu) * math.exp(special.gammaln((nu + 1) / 2) - special.gammaln(nu / 2))

    nu = optimize.brentq(lambda nu: 1 / c(nu) ** 2 - 1 - spread, 0.5, 1 / spread + 5)
    return float(special.stdtr(nu, -3 / (c(nu) * math.sqrt(1 + 1 / n))))


def promised(rule: Rule) -> str:
    """The promise in words and numbers; some depend on how many ratings there are."""
    if rule.kind is Kind.BAND:
        return "0.10"
    if rule.kind is Kind.RELIABLE:
        return "0.025"
    if rule.kind is Kind.WITHIN:
        rates = ", ".join(f"{promised_within(rule.k or 1, n):.3f} after {n}" for n in (4, 8, 19))
        return f"{rates}; {special.ndtr(-(rule.k or 1) / math.sqrt(2)):.3f} after many"
    if rule.kind is Kind.CHART:
        return f"{promised_chart(10):.4f} after 10, {promised_chart(19):.4f} after 19; 0.0013 after many"
    if rule.kind is Kind.BETWEEN:
        # At the origin of time, with the truth of this simulation.
        return f"{special.ndtr(-(rule.k or 1) * math.hypot(0.35, 0.65) / (math.sqrt(2) * 0.5)):.3f}"
    return "no more than within or between alone"


def expectations(result: FitResult, points: Sequence[Point]) -> list[Expectation]:
    """As the product makes them (`analytics.dip_selectors`)."""
    assert result.sigma is not None
    times = [(point.session - DESIGN.origin) / DESIGN.unit for point in points]
    course = expected_course(result, times, times, [point.value for point in points], level=BAND)
    found = []
    for i, t in enumerate(times):
        between = math.sqrt(sum(row.variance for row in variance_shares(result, t).rows if row.group))
        found.append(Expectation(between, result.sigma, float(course.mean[i]), float(course.lower[i])))
    return found


class Counts:
    """Of one rule: judged ratings and those it points at, of courses without a dip and of planted ones."""

    def __init__(self) -> None:
        self.clean: Counter[str] = Counter()
        self.planted: dict[float, Counter[str]] = {depth: Counter() for depth in DEPTHS}


def run(form: Form | None, n_studies: int = N_STUDIES) -> Report:
    """All studies of one kind of ratings: normal ones, or recorded on a form with its ceiling."""
    counts = {code: Counts() for code in RULES}
    for seed in np.random.SeedSequence(SEED).spawn(n_studies):
        study_seed, dip_seed = seed.spawn(2)
        rng = np.random.default_rng(dip_seed)
        rows = rows_of(simulate(truth(form), DESIGN, study_seed), "P")
        result = fit(LongData.from_columns(rows, SPEC), SPEC)
        assert result.is_fitted, result.message
        for values in rows["y"].reshape(-1, len(SESSIONS)):
            course(counts, result, [float(value) for value in values], rng, form)
    return {code: summary(code, found) for code, found in counts.items()}


def course(
    counts: dict[str, Counts],
    result: FitResult,
    values: list[float],
    rng: np.random.Generator,
    form: Form | None,
) -> None:
    """Judges one course as it is, and once more for each depth with a dip in it."""
    points = [Point(session, value) for session, value in zip(SESSIONS, values, strict=True)]
    expected = expectations(result, points)
    for code, rule in RULES.items():
        judged = [found for i, one in enumerate(expected) if (found := verdict(rule, points, i, one))]
        clean = counts[code].clean
        clean["judged"] += len(judged)
        clean["dips"] += sum(found.is_dip for found in judged)
        clean["therapies"] += 1
        clean["therapies with a dip"] += any(found.is_dip for found in judged)
    at = int(rng.integers(FIRST_DIP, len(SESSIONS) + 1)) - 1
    for depth in DEPTHS:
        low = values[at] - depth
        if form is not None:
            low = max(low, form.minimum)
        dipped = [*points[:at], Point(SESSIONS[at], low)]
        for code, rule in RULES.items():
            # What is expected of a rating rests on those before it: the dip changes nothing of it.
            found = verdict(rule, dipped, at, expected[at])
            planted = counts[code].planted[depth]
            planted["planted"] += 1
            planted["hits"] += found is not None and found.is_dip


def verdict(rule: Rule, points: Sequence[Point], index: int, expected: Expectation) -> Judgement | None:
    found = judge(rule, points, index, expected)
    return found if isinstance(found, Judgement) else None


def summary(code: str, found: Counts) -> Report:
    clean = found.clean
    return {
        "earlier ratings needed": RULES[code].min_earlier,
        "promised": promised(RULES[code]),
        "judged ratings": clean["judged"],
        "false alarms": {
            "per rating": round(clean["dips"] / clean["judged"], 4),
            f"per therapy of {len(SESSIONS)} ratings": round(
                clean["therapies with a dip"] / clean["therapies"], 3
            ),
        },
        "hits by depth": {
            str(depth): round(planted["hits"] / planted["planted"], 3)
            for depth, planted in found.planted.items()
        },
    }


def main() -> None:
    start = time.process_time()
    report = {
        "name": "dips",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, one thread",
        "design": f"{N_STUDIES} studies of {DESIGN.n_therapists} therapists with 4 patients, rated "
        f"after each of {len(SESSIONS)} sessions; a dip is one rating at a session from {FIRST_DIP} on",
        "normal ratings": run(None),
        "on a form of 12 items from 1 to 7": run(Form()),
    }
    report["cpu_seconds"] = round(time.process_time() - start, 1)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
