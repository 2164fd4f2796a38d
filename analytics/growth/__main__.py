"""Command line: growth models of ratings in a file.

    python -m analytics.growth fit       one outcome, one or two nested levels
    python -m analytics.growth joint     both raters of the same sessions, and how they differ
    python -m analytics.growth compare   two nested models: likelihood ratio, AIC, BIC, bootstrap
    python -m analytics.growth simulate  a cohort drawn from a stated truth

Exit codes: 0 for a fit (ok or singular) and for what else could be done, 3 for data that support no fit
(insufficient_data, no_variation, not_converged, timed_out), 2 for arguments or data that are wrong.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from .commands import EXIT_WRONG, run_compare, run_fit, run_joint, run_simulate
from .errors import DataError, SpecError
from .spec import DfChoice, Method

RANDOM = (
    'random effects of one level: "1 + time | therapist:patient", "time || g" uncorrelated; '
    "give it again for the second level"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        _require_place_for_json(options)
        answer = options.run(options)
        # The answer is on the screen before a full disk can take it away.
        print(answer.text)
        if options.json is not None:
            text = json.dumps(answer.values, indent=2, ensure_ascii=False, allow_nan=False)
            options.json.write_text(text + "\n", encoding="utf-8")
    except (SpecError, DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_WRONG
    except MemoryError:
        print("error: this does not fit into the memory of the machine: ask for less", file=sys.stderr)
        return EXIT_WRONG
    return int(answer.exit_code)


def _require_place_for_json(options: argparse.Namespace) -> None:
    if options.json is None:
        return
    if not options.json.parent.is_dir() or options.json.is_dir():
        raise DataError(
            f"--json {options.json}: no file can be written there; name one in a folder that exists"
        )
    for name in ("data", "out", "truth"):
        other = getattr(options, name, None)
        if other is not None and options.json.resolve() == other.resolve():
            raise DataError(f"--json would overwrite the file of --{name}: name another")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m analytics.growth", description="Growth models of nested data"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_fit(commands.add_parser("fit", help="fit one outcome with one or two nested levels"))
    _add_joint(commands.add_parser("joint", help="fit both raters of the same sessions at once"))
    _add_compare(commands.add_parser("compare", help="test a model against a larger one"))
    _add_simulate(commands.add_parser("simulate", help="draw a cohort from a stated truth"))
    return parser


def _add_fit(command: argparse.ArgumentParser) -> None:
    command.set_defaults(run=run_fit)
    _add_data(command)
    command.add_argument("--formula", required=True, help='outcome and fixed effects: "y ~ time * x"')
    command.add_argument("--random", required=True, action="append", help=RANDOM)
    _add_estimation(command)
    _add_json(command)


def _add_joint(command: argparse.ArgumentParser) -> None:
    command.set_defaults(run=run_joint)
    _add_data(command)
    command.add_argument("--outcome", required=True, help="column of the ratings")
    command.add_argument("--rater", required=True, help="column that names the two raters")
    command.add_argument("--session", required=True, help="column that pairs the ratings of one session")
    command.add_argument("--time", required=True, help="column of time")
    command.add_argument(
        "--predictors",
        default="",
        metavar="X,Y",
        help="columns with an effect on level and on growth",
    )
    command.add_argument(
        "--levels",
        default="therapist,patient",
        metavar="HIGH,LOW",
        help="grouping columns, the highest first; a lower label counts inside the higher unit "
        "(default: %(default)s)",
    )
    command.add_argument(
        "--likelihood-ratio",
        action="store_true",
        help="test each predictor by likelihood ratio too, at the cost of one more fit for each",
    )
    _add_estimation(command)
    _add_json(command)


def _add_compare(command: argparse.ArgumentParser) -> None:
    command.set_defaults(run=run_compare)
    source = command.add_mutually_exclusive_group(required=True)
    _add_data(source, required=False)
    source.add_argument(
        "--results", nargs=2, type=Path, metavar="JSON", help="two results that `fit --json` wrote, instead"
    )
    command.add_argument("--formula", help='first model: "y ~ time * x"')
    command.add_argument("--random", action="append", help=RANDOM)
    command.add_argument("--formula2", help="second model, if its fixed effects are others")
    command.add_argument("--random2", action="append", help="second model, if its random effects are others")
    command.add_argument(
        "--method",
        choices=get_args(Method),
        help="default: reml where random effects alone differ, ml with --formula2",
    )
    command.add_argument(
        "--bootstrap", type=_count, metavar="N", help="p from N data sets simulated from the smaller model"
    )
    _add_seed(command, default=0)
    _add_json(command)


def _add_simulate(command: argparse.ArgumentParser) -> None:
    command.set_defaults(run=run_simulate)
    command.add_argument(
        "--out", required=True, type=Path, help=".csv, .csv.gz or .parquet, one row a planned rating"
    )
    command.add_argument(
        "--truth",
        type=Path,
        help=".json or .toml with the truth and the study; `--json` writes one to start from",
    )
    command.add_argument("--therapists", type=_count, metavar="N", help="default: 40, or as the truth says")
    command.add_argument(
        "--patients", type=_count, metavar="N", help="of each therapist (default: 6, or as the truth says)"
    )
    command.add_argument("--sessions", metavar="S,S", help="planned sessions (default: 3,12,20,40)")
    command.add_argument("--missing", type=float, metavar="SHARE", help="share of the ratings that are lost")
    command.add_argument("--rater", metavar="NAME", help="write the ratings of this rater only")
    _add_seed(command, default=None)
    _add_json(command)


def _add_data(command: argparse._ActionsContainer, *, required: bool = True) -> None:
    command.add_argument(
        "--data", required=required, type=Path, help=".csv, .csv.gz or .parquet, one row a rating"
    )


def _add_estimation(command: argparse.ArgumentParser) -> None:
    command.add_argument("--method", choices=get_args(Method), default="reml")
    command.add_argument("--df", choices=get_args(DfChoice), default="auto", help="degrees of freedom")
    command.add_argument(
        "--seconds", type=_seconds, metavar="S", help="give up after this time, with status timed_out"
    )


def _add_seed(command: argparse.ArgumentParser, *, default: int | None) -> None:
    command.add_argument("--seed", type=_seed, default=default, help="of the random numbers (default: 0)")


def _add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", type=Path, metavar="OUT", help="file for the whole result")


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


def _count(text: str) -> int:
    return _whole(text, least=1)


def _seed(text: str) -> int:
    return _whole(text, least=0)


def _whole(text: str, *, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
