"""How long a growth model takes: against statsmodels where both can state it, and against one plain pass.

Prints one JSON object with ratios of medians, measured in one run on one machine; simulated ratings.
"""

import json
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import statsmodels.formula.api as smf

from analytics.growth import GrowthSpec, LongData, fit


def cohort(n_therapists: int, n_patients: int, n_ratings: int, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    therapist = np.repeat(np.arange(n_therapists), n_patients * n_ratings)
    patient = np.repeat(np.arange(n_therapists * n_patients), n_ratings)
    time_ = np.tile(np.linspace(0, 3.7, n_ratings), n_therapists * n_patients)
    u = rng.normal(0, 0.3, n_therapists)[therapist]
    v = rng.multivariate_normal([0, 0], [[0.5, -0.05], [-0.05, 0.05]], n_therapists * n_patients)[patient]
    y = 5.4 + 0.15 * time_ + u + v[:, 0] + v[:, 1] * time_ + rng.normal(0, 0.5, len(time_))
    return pd.DataFrame({"therapist": therapist, "patient": patient, "time": time_, "y": y})


def median_seconds(work: Callable[[], object], runs: int = 5) -> float:
    work()
    taken = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def main() -> None:
    warnings.simplefilter("ignore")
    small, large = cohort(68, 5, 4), cohort(1000, 20, 7)
    two = GrowthSpec.from_formula("y ~ time", ["1 + time | patient"], df="wald")
    three = GrowthSpec.from_formula("y ~ time", ["1 + time | therapist", "1 + time | therapist:patient"])
    small_data, large_data = LongData.from_columns(small, two), LongData.from_columns(large, three)
    peer = smf.mixedlm("y ~ time", small, groups="patient", re_formula="~time")
    ours_small, theirs = (
        median_seconds(lambda: fit(small_data, two)),
        median_seconds(lambda: peer.fit(reml=True)),
    )
    ours_large = median_seconds(lambda: fit(large_data, three), runs=3)
    columns = [large_data.columns[name] for name in ("time", "y")]
    one_pass = median_seconds(lambda: [column.sum() for column in columns], runs=20)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(
        json.dumps(
            {
                "name": "growth",
                "machine": machine,
                "ratios": [
                    {
                        "ratio": round(ours_small / theirs, 4),
                        "what": f"two-level fit of {len(small)} ratings",
                        "against": "statsmodels MixedLM, same model and data",
                    },
                    {
                        "ratio": round(ours_large / one_pass, 1),
                        "what": f"three-level fit of {len(large)} ratings, Satterthwaite included",
                        "against": "one NumPy sum over its two columns",
                    },
                ],
                "seconds": {"two-level": ours_small, "statsmodels": theirs, "three-level": ours_large},
            }
        )
    )


if __name__ == "__main__":
    main()
