"""Do the 95 % intervals of the agreement page hold 95 %?

`python -m benchmarks.agreement` draws caseloads from the truth-and-bias model of `analytics.agreement` with
known numbers, counts how often the intervals hold them, and writes the figures into docs/agreement.md.
Caseload i of a design is drawn from `numpy.random.SeedSequence(seed).spawn(n)[i]`.
"""

import argparse
import multiprocessing
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from analytics.agreement import Estimate, Pair, agreement
from analytics.growth.power import Proportion, study_seeds
from benchmarks.documents import DOCS, percent, prose, put, table

DIFFERENCE, TRACKING = -0.4, 0.3
THERAPY_SD, RESIDUAL_SD, PATIENT_SD = 0.5, 0.4, 0.5
AIM = (0.93, 0.97)
N_CASELOADS = 1000


@dataclass(frozen=True)
class Design:
    """Patients of a therapist, from how many to how many pairs each has, SD of tracking over patients."""

    n_patients: int
    n_pairs: tuple[int, int]
    tracking_sd: float

    @property
    def cells(self) -> tuple[str, str, str]:
        low, high = self.n_pairs
        pairs = str(low) if low == high else f"{low} to {high}"
        return str(self.n_patients), pairs, f"{self.tracking_sd:g}"


DESIGNS = {
    2301: Design(5, (3, 3), 0.25),
    2302: Design(5, (3, 10), 0.0),
    2303: Design(8, (3, 10), 0.25),
    2304: Design(19, (1, 30), 0.25),
    2305: Design(40, (2, 8), 0.1),
}

# Whether the interval held the truth, and the estimate; None where there was no number.
Found = tuple[tuple[bool, float] | None, tuple[bool, float] | None]


def caseload(design: Design, seed: np.random.SeedSequence) -> list[Pair]:
    """The pairs of one therapist.  The patient's deviations have mean 0 in each therapy, so that the model
    holds exactly."""
    rng = np.random.default_rng(seed)
    pairs = []
    for i in range(design.n_patients):
        n = int(rng.integers(design.n_pairs[0], design.n_pairs[1] + 1))
        mean, x = rng.normal(5.5, 0.7), rng.normal(0, PATIENT_SD, n)
        x -= x.mean()
        level = DIFFERENCE + rng.normal(0, THERAPY_SD)
        slope = TRACKING + rng.normal(0, design.tracking_sd)
        own = mean + level + slope * x + rng.normal(0, RESIDUAL_SD, n)
        pairs += [Pair(f"p{i}", f"t{i:02}", s, float(mean + x[s]), float(own[s])) for s in range(n)]
    return pairs


def study_of(design: Design, seed: np.random.SeedSequence) -> Found:
    found = agreement(caseload(design, seed))
    return _held(found.difference, DIFFERENCE), _held(found.tracking, TRACKING)


def _held(estimate: Estimate | None, truth: float) -> tuple[bool, float] | None:
    return None if estimate is None else (estimate.lower <= truth <= estimate.upper, estimate.value)


def row_of(design: Design, name: str, truth: float, found: Sequence[tuple[bool, float] | None]) -> list[str]:
    told = [one for one in found if one is not None]
    share = Proportion.of(sum(held for held, _ in told), len(told))
    values = np.array([value for _, value in told])
    error = values.std(ddof=1) / np.sqrt(len(values))
    away = max(AIM[0] - share.share, share.share - AIM[1])
    verdict = "outside, within Monte Carlo error" if away <= 2 * share.se else "outside"
    verdict = "in the aim" if away <= 0 else verdict
    return [
        *design.cells,
        name,
        f"{truth:g}",
        f"{values.mean():.3f} ± {error:.3f}",
        f"{share.count} of {share.n}",
        f"{percent(share.share)} ± {100 * share.se:.1f}",
        verdict,
    ]


def figures(n_caseloads: int, n_processes: int) -> str:
    rows = []
    with multiprocessing.Pool(n_processes) as pool:
        for seed, design in DESIGNS.items():
            found = pool.map(partial(study_of, design), study_seeds(seed, n_caseloads))
            for place, (name, truth) in enumerate((("difference", DIFFERENCE), ("tracking", TRACKING))):
                rows.append(row_of(design, name, truth, [each[place] for each in found]))
                print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
    head = (
        *("patients", "pairs each", "SD of tracking", "number", "truth", "mean estimate ± MC error"),
        *("held", "share ± SE", f"aim {AIM[0]:.0%} to {AIM[1]:.0%}"),
    )
    how = prose(
        f"""`python -m benchmarks.agreement --caseloads {n_caseloads}`, seeds {", ".join(map(str, DESIGNS))}.
        Truth: SD of the difference over patients {THERAPY_SD:g}, of the patient's rating within a therapy
        {PATIENT_SD:g}, residual SD {RESIDUAL_SD:g}; ratings normal, not rounded, not cut. Caseloads without a
        number are in no share."""
    )
    return f"{table(head, rows)}\n\n{how}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.agreement", description=__doc__.partition("\n")[0]
    )
    parser.add_argument(
        "--caseloads", type=int, default=N_CASELOADS, help="of each design (default %(default)s)"
    )
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args(arguments)
    path = DOCS / "agreement.md"
    put(path, "agreement coverage", figures(options.caseloads, options.processes))
    print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
