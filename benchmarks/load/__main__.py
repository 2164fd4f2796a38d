"""`python -m benchmarks.load run|steps|seed|pages` prints one JSON object; docs/load.md says how to read
it."""

import argparse
import json
import os
import signal
import sys
from pathlib import Path

from benchmarks.environment import use


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load")
    parts = parser.add_subparsers(dest="part", required=True)
    run = parts.add_parser("run", help="sends and whole ways beside a refit, and a bare view")
    run.add_argument("--limit", type=float, default=30, help="seconds, half of them for the bare view")
    run.add_argument("--seconds", type=float, default=30, help="of sends at fixed moments")
    run.add_argument("--rate", type=float, default=100, help="of them, in a second")
    run.add_argument("--journey", type=float, default=15, help="seconds of whole ways")
    run.add_argument("--connections", type=int, default=8)
    run.add_argument("--patients", type=int, default=8)
    steps = parts.add_parser("steps", help="CPU time and statements of each step of a patient's way")
    steps.add_argument("--forms", type=int, default=100)
    steps.add_argument("--profile", default="", metavar="STEP", help="its functions as well, to stderr")
    steps.add_argument("--sql", action="store_true", help="the statements themselves as well")
    seed = parts.add_parser("seed", help="a folder with a million responses")
    seed.add_argument("--responses", type=int, default=1_000_000)
    pages = parts.add_parser("pages", help="the pages of such a folder")
    pages.add_argument("--rounds", type=int, default=20)
    pages.add_argument("--only", nargs="+", default=(), metavar="PAGE")
    pages.add_argument("--explain", type=float, default=0, metavar="MS", help="plans of slower statements")
    for part in (run, steps):
        part.add_argument("--var", type=Path, default=Path("var") / f"load-{os.getpid()}")
    for part in (seed, pages):
        part.add_argument("--var", type=Path, required=True)
    return parser


def main() -> None:
    chosen = options().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    chosen.var.mkdir(parents=True, exist_ok=chosen.part in ("seed", "pages"))
    use(chosen.var)
    # All that follows reads the environment.
    import django  # noqa: PLC0415

    django.setup()
    from benchmarks.load import parts  # noqa: PLC0415

    print(json.dumps(getattr(parts, chosen.part)(chosen), indent=1))


if __name__ == "__main__":
    main()
