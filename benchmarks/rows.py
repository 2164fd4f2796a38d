"""What the second net costs: the same page with the database's rules about rows and without them.

    python -m benchmarks.rows [--ratings 100000] [--only send]

Prints one JSON object.  One database, one person, one page, by turns with the rules switched on and the scope
said before each statement, and with neither.  Measured is CPU time of this process and of its connection's
process in the database, which other work on the machine hardly lengthens.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.environment import database
from benchmarks.pages import LARGE, prepare, use

ROUNDS, TIMES, FORMS = 12, 5, 15


def cpu() -> float:
    """Seconds so far, of this process and of the one that serves it in the database."""
    from django.db import connection  # noqa: PLC0415

    # To the nanosecond; what psutil reads is to a hundredth of a second.
    served = Path(f"/proc/{connection.connection.info.backend_pid}/schedstat").read_text()
    return time.process_time() + int(served.split()[0]) / 1e9


def switch(*, on: bool) -> None:
    from django.db import connection  # noqa: PLC0415

    from alliance_site.database import base, guard, tables  # noqa: PLC0415

    connection.settings_dict["OPTIONS"].pop("assume_role", None)
    connection.close()
    guard.switch(on=on)
    connection.close()
    connection.settings_dict["OPTIONS"]["assume_role"] = "alliance_app"
    base.names_protected = tables.names_protected if on else lambda _statement: False
    connection.ensure_connection()


def compare(step: Callable[[], None], times: int) -> dict[str, Any]:
    """Medians over the rounds; `ratio`: with over without, of each round."""
    found: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(ROUNDS):
        for on in (True, False) if turn % 2 else (False, True):
            switch(on=on)
            step()
            began = cpu()
            for _ in range(times):
                step()
            found[on].append((cpu() - began) / times)
    ratios = [with_ / without for with_, without in zip(found[True], found[False], strict=True)]
    return {
        "ratio": round(statistics.median(ratios), 3),
        "ms_with": round(1000 * statistics.median(found[True]), 2),
        "ms_without": round(1000 * statistics.median(found[False]), 2),
    }


def opened(user: Any, url: str) -> Callable[[], None]:
    from django.test import Client  # noqa: PLC0415

    from tests.sign_in import sign_in_fully  # noqa: PLC0415

    client = Client()
    sign_in_fully(client, user)

    def step() -> None:
        answer = client.get(url)
        assert answer.status_code == 200, (url, answer.status_code)

    return step


def sent() -> Callable[[], None]:
    """One form after the other; what comes before Send is done before anything is measured."""
    from surveys import scope  # noqa: PLC0415
    from surveys.models import Role  # noqa: PLC0415
    from tests import factories  # noqa: PLC0415
    from tests.surveys.test_respond import filled, started  # noqa: PLC0415

    with scope.everything():
        clinic = factories.make_clinic("Of the benchmark")
        study = factories.make_study(clinic, code="of-the-benchmark")
        therapist = factories.make_user("of@benchmark.example", Role.THERAPIST, clinic=clinic)
        waiting = []
        for _ in range(2 * ROUNDS * (FORMS + 1)):
            therapy = factories.make_therapy(study, therapist)
            form = factories.form_of(factories.hold_session(therapy), "patient")
            client = started(form)
            waiting.append((client, f"/f/{form.pk}/send/", filled(client, form)))

    def step() -> None:
        client, url, fields = waiting.pop()
        answer = client.post(url, fields)
        assert answer.status_code == 303, answer.status_code

    return step


def measure(n_ratings: dict[str, int], only: list[str]) -> dict[str, Any]:
    from django.core.management import call_command  # noqa: PLC0415

    from surveys import scope  # noqa: PLC0415
    from surveys.models import Therapy, User  # noqa: PLC0415

    use(LARGE)
    call_command("app_role", no_password=True, stdout=open(os.devnull, "w"))  # noqa: SIM115
    therapist = User.objects.get(email="therapist@demo.example")
    supervisor = User.objects.get(email="supervisor@demo.example")
    with scope.everything():
        therapy = Therapy.objects.filter(therapist__user=therapist).order_by("pk").first()
    steps = {
        "therapy page": (opened(therapist, f"/therapies/{therapy.pk}/"), TIMES),
        "caseload": (opened(therapist, "/caseload/"), TIMES),
        "board": (opened(supervisor, "/supervision/"), TIMES),
        "send": (sent(), FORMS),
    }
    found = {name: compare(step, times) for name, (step, times) in steps.items() if name in only}
    return {
        "name": "pages with the database's rules about rows and without",
        "ratio": max(row["ratio"] for row in found.values()),
        "against": "the same page without",
        "ratings": n_ratings[LARGE],
        "rounds": ROUNDS,
        "pages": found,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--ratings", type=int, default=100_000)
    parser.add_argument("--only", nargs="+", default=["therapy page", "caseload", "board", "send"])
    chosen = parser.parse_args()
    with database(ALLIANCE_DEMO="1"):
        print(json.dumps(measure(prepare(chosen.ratings), chosen.only)))


if __name__ == "__main__":
    main()
