"""Whether somebody who has no account can be told by the time of an answer.

    python benchmarks/sign_in.py [--rounds 200]

Prints one JSON object.  By turns, in an order that changes: a wrong password for an address with an account
and for one without, through the whole of Django with the hash that a clinic has (Argon2); and a request for a
new password for both.  Each is another account from another network address: no limit of tries is met.
`ratio`: median time of the known address over that of the unknown one, the one of the two that is farther
from 1; `ms_apart`: the difference of the medians.  Without network and mail server: mails stay in memory.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import secrets
import statistics
import time
from typing import Any

from benchmarks.environment import database

LOGIN, RESET = "/accounts/login/", "/accounts/password/reset/"
WARM = 10


def people(n: int) -> list[str]:
    """Accounts with one hash; who can sign in is not the question."""
    from django.contrib.auth.hashers import make_password  # noqa: PLC0415

    from surveys.models import User  # noqa: PLC0415

    hashed = make_password(secrets.token_urlsafe(20))
    rows = [User(email=f"known-{number:05}@example.org", password=hashed) for number in range(n)]
    User.objects.bulk_create(rows)
    return [row.email for row in rows]


def seconds(url: str, sent: dict[str, str], number: int, status: int) -> tuple[float, float]:
    """Of one answer on the wall, and of this process."""
    from django.core import mail  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415

    mail.outbox = []
    client = Client(REMOTE_ADDR=f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}")
    client.get(url, secure=True)
    start, start_of_cpu = time.perf_counter(), time.process_time()
    answer = client.post(url, sent, secure=True)
    took = time.perf_counter() - start, time.process_time() - start_of_cpu
    assert answer.status_code == status, (url, answer.status_code)
    assert len(mail.outbox) == (url == RESET)
    return took


def compare(url: str, known: list[str], fields: dict[str, str], name: str, status: int) -> dict[str, Any]:
    both: dict[str, list[tuple[float, float]]] = {"known": [], "unknown": []}
    order = random.Random(1)  # noqa: S311
    number = 0
    for turn, email in enumerate(known):
        pair = [("known", email), ("unknown", email.replace("known", "other"))]
        order.shuffle(pair)
        for kind, address in pair:
            number += 1
            took = seconds(url, fields | {name: address}, number, status)
            if turn >= WARM:
                both[kind].append(took)
    times = {kind: [wall for wall, _cpu in own] for kind, own in both.items()}
    cpu = {kind: statistics.median(used for _wall, used in own) for kind, own in both.items()}
    of_known, of_unknown = (statistics.median(times[kind]) for kind in ("known", "unknown"))
    return {
        "ratio": round(of_known / of_unknown, 4),
        "ms_apart": round(1000 * (of_known - of_unknown), 3),
        "ms_known": round(1000 * of_known, 2),
        "ms_unknown": round(1000 * of_unknown, 2),
        # What other work on the machine hardly lengthens.
        "ms_apart_of_cpu": round(1000 * (cpu["known"] - cpu["unknown"]), 3),
        # How far two halves of the same kind are apart: what such a difference may be by chance.
        "ms_apart_by_chance": round(1000 * _halves(times["unknown"]), 3),
    }


def _halves(times: list[float]) -> float:
    return statistics.median(times[::2]) - statistics.median(times[1::2])


def measure(rounds: int) -> dict[str, Any]:
    known = people(rounds + WARM)
    wrong = {"password": "not the password of anybody"}
    found = {
        "new password asked for": compare(RESET, known, {}, "email", 302),
        "wrong password": compare(LOGIN, known, wrong, "login", 200),
    }
    return {
        "name": "known and unknown addresses at the sign-in",
        "ratio": max((row["ratio"] for row in found.values()), key=lambda ratio: abs(ratio - 1)),
        "against": "the same request with an address that has no account",
        "rounds": rounds,
        "pages": found,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=200)
    chosen = parser.parse_args()
    with database():
        from django.conf import settings  # noqa: PLC0415
        from django.core.management import call_command  # noqa: PLC0415

        settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
        call_command("migrate", verbosity=0)
        print(json.dumps(measure(chosen.rounds)))


if __name__ == "__main__":
    main()
