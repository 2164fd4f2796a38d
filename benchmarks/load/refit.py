"""A refit that never ends: the growth model of a large clinic, fitted again and again, as the worker does it.

    python -m benchmarks.load.refit FILE

Writes after each fit into FILE how many there were.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from analytics.growth import LongData, fit
from benchmarks.growth import SPEC, Size, ratings

# Therapists, patients of each, ratings of each patient.
CLINIC = Size(300, 20, 10)


def main(file: Path) -> None:
    columns, n = ratings(CLINIC), 0
    while True:
        fit(LongData.from_columns(columns, SPEC), SPEC)
        n += 1
        file.write_text(str(n))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
