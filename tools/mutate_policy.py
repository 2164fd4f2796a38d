"""Checks the checker: does a test fail when a door is a little too wide, or a little too narrow?

    make mutate                          every mutant (some hours; with --share about one)
    make mutate ARGS="--share 1/2"       every second one, the others in another checkout at the same time
    make mutate ARGS="--sample 60"       sixty of them, by chance; --seed N takes others
    make mutate ARGS="--only visible_"   those whose name has these letters
    make mutate ARGS="--only ' as True' --tests-only --tests tests/surveys"   by these tests, without the walk

Each mutant of `tools.mutants` is judged twice: by the walk of `tests/doors`, of which those requests are made
again that ran through what was changed; and, if all of them are answered as before, by the tests of `TESTS`
that did. What nothing notices is reported, and the command ends with 1, unless `tools/equivalent_mutants.txt`
says why it makes no difference. Everything happens in one process and one database; no file is changed.
"""

import argparse
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

# Loaded as a plugin of pytest, before Django reads its settings; what needs Django is imported by the plugin.
ROOT = Path(__file__).resolve().parent.parent
EQUIVALENT = ROOT / "tools" / "equivalent_mutants.txt"
TESTS = (
    "tests/doors/test_rooms.py",
    "tests/test_visibility_oracle.py",
    "tests/test_practice_privacy.py",
    "tests/test_traces.py",
    "tests/test_second_factor.py",
    "tests/surveys/test_visibility.py",
    "tests/surveys/test_two_clinics.py",
    "tests/surveys/test_links.py",
    "tests/surveys/test_own_form.py",
    "tests/surveys/test_sharing.py",
    "tests/surveys/test_emergency.py",
    "tests/surveys/test_respond.py",
    "tests/surveys/test_paper.py",
    "tests/surveys/test_tablets.py",
    "tests/surveys/test_your_data.py",
    "tests/surveys/test_api_tokens.py",
    "tests/surveys/test_fhir.py",
    "tests/surveys/test_trace_pages.py",
    "tests/surveys/test_test_runs.py",
    "tests/surveys/test_people_pages.py",
    "tests/surveys/test_import_pages.py",
    "tests/surveys/test_instrument_pages.py",
    "tests/analytics/test_supervision.py",
    "tests/analytics/test_panels.py",
    "tests/analytics/test_dip_tally.py",
    "tests/analytics/test_practice_page.py",
    "tests/analytics/test_practice_bands.py",
    "tests/analytics/test_exports.py",
    "tests/analytics/test_data_desk.py",
    "tests/analytics/test_plans.py",
    "tests/analytics/test_analyses.py",
    "tests/analytics/test_publishing.py",
    "tests/analytics/test_therapy_states.py",
)
# Of the requests that ran through one function as many are made again; they are told apart by chance.
MOST = 1500


def equivalent() -> dict[str, str]:
    """By the name of a mutant that makes no difference, why."""
    lines = EQUIVALENT.read_text().splitlines() if EQUIVALENT.exists() else []
    kept = [line for line in lines if line.strip() and not line.startswith("#")]
    return {name.strip(): why.strip() for name, _, why in (line.partition(" => ") for line in kept)}


class Mutation:
    """Takes the place of pytest's loop over its tests."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.chance = random.Random(options.seed)  # noqa: S311  not for secrets
        self.is_survived = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        mutants = self._mutants()
        print(f"\n{len(mutants)} mutants", flush=True)
        rooms = [item for item in session.items if "doors/test_doors.py" not in item.nodeid]
        first = next(item for item in session.items if item not in rooms)
        run(first)
        left = mutants if self.options.tests_only else self._left_by_walk(session.config, mutants)
        left = self._tests(left, rooms) if left and not self.options.walk_only else left
        self._report(mutants, left)
        return True

    def _mutants(self) -> list[Any]:
        from tools import mutants as made  # noqa: PLC0415  needs Django

        found = [*made.of_policy(), *made.of_doors()]
        names = {mutant.name for mutant in found}
        if gone := equivalent().keys() - names:
            raise SystemExit(f"{EQUIVALENT.name} names mutants that are not made: {sorted(gone)}")
        if self.options.only:
            found = [mutant for mutant in found if any(part in mutant.name for part in self.options.only)]
        if self.options.begin:
            found = found[[mutant.name for mutant in found].index(self.options.begin) :]
        if self.options.sample and self.options.sample < len(found):
            found = self.chance.sample(found, self.options.sample)
        place, n_shares = (int(part) for part in self.options.share.split("/"))
        return found[place - 1 :: n_shares]

    def _left_by_walk(self, config: pytest.Config, mutants: list[Any]) -> list[Any]:
        began = time.monotonic()
        left = self._walk(config, mutants)
        print(f"{len(left)} are not noticed by the walk ({time.monotonic() - began:.0f} s)", flush=True)
        for mutant in left if self.options.verbose else ():
            print("  not by the walk:", mutant.name, flush=True)
        return left

    def _walk(self, config: pytest.Config, mutants: list[Any]) -> list[Any]:
        from django.db import transaction  # noqa: PLC0415
        from pytest_django.plugin import blocking_manager_key  # noqa: PLC0415

        from tests.doors.rows import build  # noqa: PLC0415

        with config.stash[blocking_manager_key].unblock(), transaction.atomic():
            town = build()
            by_part = self._knocks_by_part(town, {mutant.part for mutant in mutants})
            left = []
            for mutant in mutants:
                chosen = by_part[mutant.part, mutant.method] or by_part[mutant.part, ""]
                if not self._is_noticed(town, mutant, chosen):
                    left.append(mutant)
            transaction.set_rollback(True)
        return left

    def _knocks_by_part(self, town: Any, parts: set[str]) -> dict[tuple[str, str], list[Any]]:
        """Which requests run through which function, and which are for which route and method."""
        from tests.doors.addresses import DOORS  # noqa: PLC0415
        from tests.doors.walk import BY_NAME, knocks, walk  # noqa: PLC0415
        from tools.mutants import watch  # noqa: PLC0415

        found: dict[tuple[str, str], list[Any]] = defaultdict(list)
        called: set[str] = set()
        every = [
            knock
            for knock in knocks(town, self.options.routes.split(), methods=("GET", "POST"))
            if (knock.route, knock.method) in DOORS
        ]
        for knock in every:
            if knock.route in parts:
                found[knock.route, knock.method].append(knock)
        if not parts <= BY_NAME.keys():

            def note(knock: Any) -> None:
                for name in called:
                    found[name, ""].append(knock)
                called.clear()

            undo = watch(called.add)
            try:
                report = walk(town, iter(every), note=note)
            finally:
                undo()
            if report.wrong:
                raise SystemExit("The walk finds faults without a mutant:\n" + "\n".join(report.wrong))
        for rows in found.values():
            self.chance.shuffle(rows)
            del rows[MOST:]
        return found

    def _is_noticed(self, town: Any, mutant: Any, chosen: Iterable[Any]) -> bool:
        from tests.doors.walk import walk  # noqa: PLC0415

        undo = mutant.apply()
        try:
            return bool(walk(town, iter(chosen), until_wrong=True).wrong)
        finally:
            undo()

    def _tests(self, mutants: list[Any], items: list[pytest.Item]) -> list[Any]:
        """Those that none of the tests notices, either."""
        from tools.mutants import watch  # noqa: PLC0415

        by_part: dict[str, list[tuple[float, pytest.Item]]] = defaultdict(list)
        called: set[str] = set()
        undo = watch(called.add)
        for item in items:
            called.clear()
            began = time.monotonic()
            if not run(item):
                print("fails without a mutant, and is left out:", item.nodeid, flush=True)
                continue
            for name in called:
                by_part[name].append((time.monotonic() - began, item))
        undo()
        noticed: Counter[str] = Counter()
        left = []
        for mutant in mutants:
            if mutant.name in equivalent():
                left.append(mutant)
                continue
            # What noticed most until now is asked first, of the others the quickest.
            by_rank = sorted(by_part[mutant.part], key=lambda row: (-noticed[row[1].nodeid], row[0]))
            # A constant is nobody's call.
            chosen = [item for _, item in by_rank] or [
                item for item in items if mutant.part.rpartition(".")[2].isupper()
            ]
            undo = mutant.apply()
            try:
                red = next((item for item in chosen if not run(item)), None)
            finally:
                undo()
            if red is None:
                left.append(mutant)
                print("survived:", mutant.name, flush=True)
            else:
                noticed[red.nodeid] += 1
        return left

    def _report(self, mutants: list[Any], left: list[Any]) -> None:
        known = equivalent()
        survived = [mutant.name for mutant in left if mutant.name not in known]
        n_equal = len(left) - len(survived)
        n_killed = len(mutants) - len(left)
        for name in survived if self.options.walk_only else ():
            print("survived:", name)
        print(
            f"{len(mutants)} mutants: {n_killed} killed, {n_equal} equal, {len(survived)} survived",
            flush=True,
        )
        self.is_survived = bool(survived)


class Rest:
    """Stands for the test that comes next: of the fixtures those of the session stay."""

    def __init__(self, session: pytest.Session) -> None:
        self.session = session

    def listchain(self) -> list[pytest.Session]:
        return [self.session]


def run(item: Any) -> bool:
    """Whether a test passes."""
    from _pytest.runner import runtestprotocol  # noqa: PLC0415

    item._initrequest()
    return not any(report.failed for report in runtestprotocol(item, nextitem=Rest(item.session), log=False))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.mutate_policy", description="Checks the checker.")
    parser.add_argument("--sample", type=int, default=0, help="as many mutants, by chance")
    parser.add_argument(
        "--begin", default="", help="a mutant's name: where a run was cut off, it and what follows"
    )
    parser.add_argument("--share", default="1/1", help="K/N: every N-th mutant, from the K-th on")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", help="mutants whose name has these letters, or those")
    parser.add_argument("--tests", nargs="*", default=TESTS, help="files of the tests after the walk")
    parser.add_argument("--routes", default="", help="the walk asks these alone")
    parser.add_argument("--walk-only", action="store_true", help="without the tests after the walk")
    parser.add_argument("--tests-only", action="store_true", help="without the walk before the tests")
    parser.add_argument("--verbose", action="store_true", help="names what the walk does not notice")
    chosen = parser.parse_args(arguments)
    mutation = Mutation(chosen)
    options = [
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        "not slow or judge",
        "tests/doors/test_doors.py",
    ]
    status = pytest.main([*options, *chosen.tests], plugins=[mutation])
    return int(status) or int(mutation.is_survived)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
