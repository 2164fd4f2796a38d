"""What a growth model costs, in time and memory, beside lme4, statsmodels and one NumPy sum over the rows.

    python benchmarks/growth.py [--with-large-lme4]

Prints one JSON object: medians of CPU seconds on one thread, made in one run on one machine, and their
ratios, ours over theirs.  Ratings are simulated, 30 % of the planned ones missing; the model is
y ~ time * x + (1 + time | therapist) + (1 + time | therapist:patient) by REML, x a predictor of the
therapist.  What could not be measured is named under `skipped`.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

# One thread, as a worker beside others has it.  BLAS reads this on import, R's BLAS when Rscript starts.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
import statsmodels.formula.api as smf
from statsmodels.regression.mixed_linear_model import MixedLMParams

from analytics.growth import FitResult, GrowthSpec, LongData, UnitSums, fit
from analytics.growth.engine import estimate
from analytics.growth.joint import JointSpec, fit_joint
from analytics.growth.optimize import search

Columns = dict[str, np.ndarray]
Report = dict[str, Any]

SPEC = GrowthSpec.from_formula("y ~ time * x", ["1 + time | therapist", "1 + time | therapist:patient"])
TWO_LEVEL = GrowthSpec.from_formula("y ~ time * x", ["1 + time | patient"], df="wald")
JOINT = JointSpec(outcome="y", rater="rater", session="session", time="time", predictors=("x",))
LME4 = Path(__file__).with_name("lme4.R")
LME4_COLUMNS = ("therapist", "patient", "time", "x", "y")
PROCESS, LIBC = Path("/proc/self"), ctypes.CDLL(None)


@dataclass(frozen=True)
class Size:
    """A cohort: therapists, patients of each therapist, planned ratings of each patient."""

    therapists: int
    patients: int
    ratings: int

    def __str__(self) -> str:
        return f"{self.therapists:,} x {self.patients} x {self.ratings}"


S, M, L = Size(68, 5, 4), Size(1000, 20, 10), Size(5000, 40, 20)
MORE_THERAPIES, MORE_RATINGS = Size(10_000, 20, 10), Size(1000, 20, 100)
T_THERAPIST, T_PATIENT = [[0.09, 0.01], [0.01, 0.01]], [[0.5, -0.05], [-0.05, 0.05]]
BETWEEN_RATERS, RHO, SIGMA = 0.4, 0.25, 0.5


def ratings(size: Size, raters: str = "P", seed: int = 1) -> Columns:
    """Rows in random order; with two raters, their effects and their residuals of one session correlate."""
    rng = np.random.default_rng(seed)
    n_units, n_raters = size.therapists * size.patients, len(raters)
    patient = np.repeat(np.arange(n_units), size.ratings)
    therapist, session = patient // size.patients, np.tile(np.arange(size.ratings), n_units)
    t = 3.7 * session / (size.ratings - 1)
    x = rng.normal(size=size.therapists)[therapist]

    def correlated(shape: tuple[int, ...], corr: float) -> np.ndarray:
        among = np.linalg.cholesky(np.full((n_raters, n_raters), corr) + (1 - corr) * np.eye(n_raters))
        return rng.normal(size=(*shape, n_raters)) @ among.T

    def effects(n: int, T: list[list[float]]) -> np.ndarray:
        return np.einsum("ij,njr->inr", np.linalg.cholesky(T), correlated((n, 2), BETWEEN_RATERS))

    (u0, u1), (v0, v1) = effects(size.therapists, T_THERAPIST), effects(n_units, T_PATIENT)
    level, growth = u0[therapist] + v0[patient], u1[therapist] + v1[patient]
    y = (5.4 + 0.15 * t + (0.2 - 0.05 * t) * x)[:, None] + level + growth * t[:, None]
    y += SIGMA * correlated((len(t),), RHO)
    columns = {"therapist": therapist, "patient": patient, "session": session, "time": t, "x": x}
    stacked = {name: np.tile(column, n_raters) for name, column in columns.items()}
    stacked |= {"rater": np.repeat(list(raters), len(t)), "y": y.T.ravel()}
    there = rng.permutation(np.flatnonzero(rng.random(len(stacked["y"])) > 0.3))
    return {name: column[there] for name, column in stacked.items()}


def median_seconds(work: Callable[[], object], runs: int) -> float:
    """CPU time, which other work hardly lengthens, of `runs` after one that does not count."""
    work()
    taken = []
    for _ in range(runs):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return statistics.median(taken)


def ours(columns: Columns, runs: int) -> tuple[Report, FitResult]:
    """Seconds of the parts of one fit, and of one plain sum over its three columns."""
    data = LongData.from_columns(columns, SPEC)
    found = estimate(data, SPEC)
    result = found.result
    measures = [columns[name] for name in ("time", "x", "y")]
    return {
        "rows": len(data),
        "units": {units.group: len(units) for units in data.units},
        "status": result.status,
        "df_method": result.df_method,
        "steps": result.convergence.steps,
        "seconds": {
            "columns to fit": median_seconds(lambda: fit(LongData.from_columns(columns, SPEC), SPEC), runs),
            "fit alone": median_seconds(lambda: fit(data, SPEC), runs),
            "optimisation alone": median_seconds(lambda: search(found.objective), runs),
            "one NumPy sum": median_seconds(lambda: [column.sum() for column in measures], 21),
        },
    }, result


def refit(columns: Columns, cold: FitResult, runs: int) -> Report:
    """1 % of the ratings are new: their therapies are summed again, and the last theta is the start."""
    n = len(columns["y"])
    is_new = np.zeros(n, dtype=bool)
    is_new[np.random.default_rng(2).choice(n, n // 100, replace=False)] = True
    is_touched = np.isin(columns["patient"], columns["patient"][is_new])
    before = {name: column[~is_new] for name, column in columns.items()}
    touched = {name: column[is_touched] for name, column in columns.items()}
    kept = UnitSums.from_data(LongData.from_columns(before, SPEC), SPEC)
    theta0 = fit(kept, SPEC).theta

    def renewed() -> UnitSums:
        return kept.replace(UnitSums.from_data(LongData.from_columns(touched, SPEC), SPEC))

    sums = renewed()
    return {
        "new rows": int(is_new.sum()),
        "touched rows": int(is_touched.sum()),
        "loglik, warm minus cold": fit(sums, SPEC, theta0=theta0).loglik - cold.loglik,
        "seconds": {
            "sums and warm fit": median_seconds(lambda: fit(renewed(), SPEC, theta0=theta0), runs),
            "warm fit alone": median_seconds(lambda: fit(sums, SPEC, theta0=theta0), runs),
        },
    }


def joint(size: Size, runs: int) -> Report:
    """Both raters at once, against one of them alone; both from columns."""
    columns = ratings(size, "PT")
    of_patients = {name: column[columns["rater"] == "P"] for name, column in columns.items()}
    result = fit_joint(columns, JOINT)
    return {
        "rows": len(columns["y"]),
        "status": result.status,
        "seconds": {
            "joint": median_seconds(lambda: fit_joint(columns, JOINT), runs),
            "separate": median_seconds(lambda: fit(LongData.from_columns(of_patients, SPEC), SPEC), runs),
        },
    }


def by_statsmodels(columns: Columns, three_level: FitResult, runs: int) -> Report:
    """A two-level fit by both, and statsmodels' likelihood of the three-level model at our optimum.

    Its variance components are independent, and so are intercept and slope of the patients where time is
    counted from -T01 / T11.
    """
    rows = pd.DataFrame({name: columns[name] for name in LME4_COLUMNS})
    two_level = smf.mixedlm("y ~ time * x", rows, groups="patient", re_formula="~time")
    data = LongData.from_columns(rows, TWO_LEVEL)
    T_t, T_p = (np.array(level.cov) / three_level.sigma**2 for level in three_level.random)
    components = {"p0": "0 + C(patient)", "p1": "0 + C(patient):moved"}
    moved = rows.assign(moved=rows["time"] + T_p[0, 1] / T_p[1, 1])
    model = smf.mixedlm("y ~ time * x", moved, groups="therapist", re_formula="~time", vc_formula=components)
    model.reml, model.cov_pen, model.fe_pen = True, None, None
    fixed = {row.term: row.estimate for row in three_level.fixed}
    optimum = MixedLMParams.from_components(
        fe_params=np.array([fixed[name] for name in model.exog_names]),
        cov_re=T_t,
        vcomp=np.array([T_p[0, 0] - T_p[0, 1] ** 2 / T_p[1, 1], T_p[1, 1]]),
    )
    found = estimate(LongData.from_columns(rows, SPEC), SPEC)
    return {
        "two-level loglik, ours minus theirs": fit(data, TWO_LEVEL).loglik - two_level.fit(reml=True).llf,
        "three-level loglik at our optimum, ours minus theirs": (
            three_level.loglik - model.loglike(optimum, profile_fe=True)
        ),
        "seconds": {
            "two-level, ours": median_seconds(lambda: fit(data, TWO_LEVEL), runs),
            "two-level, statsmodels": median_seconds(lambda: two_level.fit(reml=True), 3),
            "one likelihood, ours": median_seconds(lambda: found.objective.evaluate(found.found.theta), runs),
            "one likelihood, statsmodels": median_seconds(
                lambda: model.loglike(optimum, profile_fe=True), runs
            ),
        },
    }


def by_lme4(columns: Columns, **runs: int) -> Report:
    """What lme4.R says of the same doubles; `skipped` where R or a package is missing."""
    if shutil.which("Rscript") is None:
        return {"skipped": "Rscript is not installed"}
    with tempfile.NamedTemporaryFile() as file:
        for name in LME4_COLUMNS:
            columns[name].astype(np.float64).tofile(file)
        file.flush()
        wanted = [f"{what.replace('_', '-')}={n}" for what, n in runs.items()]
        arguments = ["Rscript", str(LME4), file.name, str(len(columns["y"])), *wanted]
        done = subprocess.run(arguments, capture_output=True, text=True)
    if done.returncode:
        return {"skipped": f"lme4.R failed: {done.stderr.strip()[-300:]}"}
    answer: Report = json.loads(done.stdout)
    return answer


def memory_of(size: Size) -> Report:
    """Peak beyond the data in a fresh process, which is this file with --memory."""
    arguments = [
        sys.executable,
        __file__,
        "--memory",
        *map(str, (size.therapists, size.patients, size.ratings)),
    ]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    answer: Report = json.loads(done.stdout)
    return answer


def measure_memory(size: Size) -> Report:
    """Resident memory of this process by Linux's account: VmHWM minus VmRSS at the start of each step.

    Before each step the peak is set back, and what malloc holds of freed memory given to the system.
    """
    if not ((PROCESS / "clear_refs").exists() and hasattr(LIBC, "malloc_trim")):
        return {"skipped": "measured with /proc/self/clear_refs and glibc's malloc_trim only"}

    def megabytes(entry: str) -> float:
        line = next(line for line in (PROCESS / "status").read_text().splitlines() if line.startswith(entry))
        return int(line.split()[1]) / 1024

    def extra(work: Callable[[], Any]) -> tuple[Any, float]:
        gc.collect()
        LIBC.malloc_trim(0)
        before = megabytes("VmRSS")
        (PROCESS / "clear_refs").write_text("5")
        return work(), round(megabytes("VmHWM") - before, 1)

    columns = {name: column for name, column in ratings(size).items() if name in LME4_COLUMNS}
    data, reading = extra(lambda: LongData.from_columns(columns, SPEC))
    _, fitting = extra(lambda: fit(data, SPEC))
    return {
        "rows": len(data),
        "MB of the columns": round(sum(column.nbytes for column in columns.values()) / 2**20, 1),
        "MB more, columns to LongData": reading,
        "MB more, fit beside LongData": fitting,
    }


def benchmark(*, with_large_lme4: bool) -> Report:
    """Everything but the ratios, by cohort."""
    cohorts: Report = {}
    lme4_runs = {
        "S": {"lmer": 5, "satterthwaite": 5, "kenward_roger": 3},
        "M": {"lmer": 3, "satterthwaite": 1},
    }
    lme4_runs["L"] = {"lmer": 1} if with_large_lme4 else {}
    for name, size, runs in (("S", S, 15), ("M", M, 5), ("L", L, 3)):
        columns = ratings(size)
        part, result = ours(columns, runs)
        cohorts[name] = {"cohort": str(size), **part}
        if lme4_runs[name]:
            theirs = by_lme4(columns, **lme4_runs[name])
            cohorts[name]["lme4"] = theirs
            if "lmer" in theirs:
                theirs["loglik, ours minus theirs"] = result.loglik - theirs["lmer"]["loglik"]
        else:
            cohorts[name]["lme4"] = {"skipped": "lme4 takes ten minutes here: --with-large-lme4"}
        if name == "S":
            cohorts[name]["statsmodels"] = by_statsmodels(columns, result, runs)
        else:
            cohorts[name]["1 % new"] = refit(columns, result, runs)
    cohorts["M"]["both raters"] = joint(M, 5)
    cohorts["L"]["memory"] = memory_of(L)
    for name, size in (("10 M therapies", MORE_THERAPIES), ("10 M ratings", MORE_RATINGS)):
        cohorts[name] = {"cohort": str(size), **ours(ratings(size), 3)[0]}
    return cohorts


def ratios_of(cohorts: Report) -> list[Report]:
    """Medians over medians; beside a peer that is missing there is none."""
    seconds = {name: cohort["seconds"] for name, cohort in cohorts.items()}
    ratios = []

    def add(value: float, other: float, what: str, against: str) -> None:
        ratios.append({"ratio": float(f"{value / other:.3g}"), "what": what, "against": against})

    for name in "SML":
        whole, cohort = seconds[name]["columns to fit"], cohorts[name]
        what = f"{name}, {cohort['rows']} ratings: columns to fit with {cohort['df_method']} df"
        for peer, timing in cohort["lme4"].items():
            if isinstance(timing, dict):
                by = "lme4::lmer, no df" if peer == "lmer" else f"lmerTest::lmer and its summary, {peer}"
                add(whole, statistics.median(timing["seconds"]), what, by)
        one_sum = "one NumPy sum over time, x and y"
        add(whole, seconds[name]["one NumPy sum"], what, one_sum)
        add(seconds[name]["fit alone"], seconds[name]["one NumPy sum"], f"{name}: fit alone", one_sum)
        if "1 % new" in cohort:
            refits = cohort["1 % new"]["seconds"]
            what = f"{name}, 1 % new ratings: their therapies summed again and warm fit"
            add(refits["sums and warm fit"], whole, what, "cold, columns to fit")
            what = f"{name}, 1 % new ratings: warm fit alone"
            add(refits["warm fit alone"], seconds[name]["fit alone"], what, "cold fit alone")
    peer = cohorts["S"]["statsmodels"]["seconds"]
    add(peer["two-level, ours"], peer["two-level, statsmodels"], "S: two-level fit", "statsmodels MixedLM")
    add(peer["one likelihood, ours"], peer["one likelihood, statsmodels"], "S: one evaluation", "statsmodels")
    more, rows = seconds["10 M therapies"], seconds["10 M ratings"]
    add(more["fit alone"], seconds["M"]["fit alone"], "ten times the therapies of M: fit alone", "M")
    add(
        rows["optimisation alone"],
        seconds["M"]["optimisation alone"],
        "ten times the ratings of each therapy of M: optimisation alone",
        "M",
    )
    both = cohorts["M"]["both raters"]["seconds"]
    add(both["joint"], both["separate"], "M: joint model of both raters, columns to fit", "one rater's model")
    return ratios


def skipped(part: Report, path: str = "") -> dict[str, str]:
    """Reason of every part that says `skipped`."""
    found = {path: part["skipped"]} if "skipped" in part else {}
    for name, inner in part.items():
        if isinstance(inner, dict):
            found |= skipped(inner, f"{path}: {name}" if path else name)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--with-large-lme4", action="store_true", help="lme4 on the largest cohort: ten minutes"
    )
    parser.add_argument("--memory", nargs=3, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.memory:
        print(json.dumps(measure_memory(Size(*options.memory))))
        return
    cohorts = benchmark(with_large_lme4=options.with_large_lme4)
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "statsmodels"))
    machine = f"{platform.machine()}, {os.cpu_count()} cores, one thread"
    report = {
        "name": "growth",
        "machine": f"{machine}, Python {platform.python_version()}, {libraries}",
        "clock": "CPU seconds; on an idle machine they are the elapsed ones",
        "ratios": ratios_of(cohorts),
        "skipped": skipped(cohorts),
        "cohorts": cohorts,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
