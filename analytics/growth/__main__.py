"""Command line: `python -m analytics.growth fit --data F --formula "y ~ time" --random "time | therapist"`.

Exit codes: 0 for a fit (ok or singular), 3 for data that support none (insufficient_data, no_variation,
not_converged), 2 for arguments or data that are wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pandas as pd

from .data import LongData
from .engine import fit
from .errors import DataError, SpecError
from .report import text_report
from .spec import DfChoice, GrowthSpec, Method

EXIT_FITTED, EXIT_WRONG, EXIT_UNFITTED = 0, 2, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        spec = GrowthSpec.from_formula(options.formula, options.random, method=options.method, df=options.df)
        result = fit(LongData.from_columns(_read(options.data, spec), spec), spec)
        if options.json is not None:
            text = json.dumps(result.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
            options.json.write_text(text + "\n", encoding="utf-8")
    except (SpecError, DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_WRONG
    print(text_report(result))
    return EXIT_FITTED if result.is_fitted else EXIT_UNFITTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m analytics.growth", description="Growth models of nested data"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("fit", help="fit one outcome with one or two nested levels")
    command.add_argument(
        "--data", required=True, type=Path, help=".csv, .csv.gz or .parquet, one row a rating"
    )
    command.add_argument("--formula", required=True, help='outcome and fixed effects: "y ~ time * x"')
    command.add_argument(
        "--random",
        required=True,
        action="append",
        help='random effects of one level: "1 + time | therapist:patient", "time || g" uncorrelated; '
        "give it again for the second level",
    )
    command.add_argument("--method", choices=get_args(Method), default="reml")
    command.add_argument("--df", choices=get_args(DfChoice), default="auto", help="degrees of freedom")
    command.add_argument("--json", type=Path, metavar="OUT", help="file for the whole result")
    return parser


def _read(path: Path, spec: GrowthSpec) -> pd.DataFrame:
    """The file's columns, group labels as they are written (007 is not 7)."""
    try:
        if path.name.endswith((".csv", ".csv.gz")):
            return _read_csv(path, spec)
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
    except (ValueError, EOFError, zlib.error, pd.errors.ParserWarning) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    raise DataError(f"{path}: the name must end in .csv, .csv.gz or .parquet")


def _read_csv(path: Path, spec: GrowthSpec) -> pd.DataFrame:
    """Refuses what pandas would mend silently: rows longer than the header shift every column, and of two
    columns with one name only the first would be used."""
    names = pd.read_csv(path, header=None, nrows=1, dtype=str, encoding="utf-8-sig").iloc[0].tolist()
    doubled = sorted({str(name) for name in names if names.count(name) > 1})
    if doubled:
        raise DataError(f"{path}: column {doubled[0]!r} stands twice in the header", column=doubled[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            path,
            dtype=dict.fromkeys(spec.groups, str),
            encoding="utf-8-sig",
            index_col=False,
            low_memory=False,
        )


if __name__ == "__main__":
    sys.exit(main())
