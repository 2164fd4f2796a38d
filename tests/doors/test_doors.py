"""Nobody gets in where they do not belong: every address, with every method, as everybody, at things of their
own, of others, and that are not there.

The quick suite knocks at a part of them; `pytest -m slow tests/doors -s` at all, and prints how many
(docs/access.md).
"""

import os
import time
from collections.abc import Iterator

import pytest
from django.db import transaction
from pytest_django import DjangoDbBlocker

from tests.doors.addresses import DOORS
from tests.doors.rows import build
from tests.doors.town import ACTORS, Town
from tests.doors.walk import BY_NAME, METHODS, Knock, knocks, walk

pytestmark = pytest.mark.django_db
NOT_IN_THE_ADDRESS = ("key", "visit", "lock page", "clinic", "answers")


@pytest.fixture(scope="module")
def town(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Town]:
    """Made once, and gone with the module."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield build()
        transaction.set_rollback(True)


def test_every_route_has_a_line_that_says_who_finds_what_behind_it() -> None:
    unknown = sorted(set(BY_NAME) - {route for route, _ in DOORS})
    assert not unknown, (
        f"Say in tests/doors/addresses.py who finds what behind {', '.join(unknown)}: one line with its "
        "methods, the kind of thing that its address names, and for each role the rule of whose things are "
        "found."
    )
    gone = sorted({route for route, _ in DOORS} - set(BY_NAME))
    assert not gone, (
        f"No address is called {', '.join(gone)}: take the lines out of tests/doors/addresses.py."
    )


def test_there_is_something_behind_every_door(town: Town) -> None:
    for (route, _), door in DOORS.items():
        pattern = BY_NAME[route].pattern
        named = set(pattern.converters) or set(pattern.regex.groupindex)
        there = town.objects.get(door.kind, {})
        missing = named - {name for kwargs, _ in there.values() for name in kwargs}
        assert not missing, (
            f"The address {route} names {', '.join(sorted(missing))}, and the kind {door.kind!r} has none: "
            "let tests/doors/rows.py add such things with `town.add`, one of one's own, one of the same "
            "clinic, one of another clinic, and put what is sensitive about them under a mark with "
            "`town.canaries.plant`."
        )
        assert named or not there or door.kind in NOT_IN_THE_ADDRESS, route


def part_of(every: Iterator[Knock]) -> Iterator[Knock]:
    """What may be done, as one of each role, at a thing of one's own and of another clinic; of every other
    method a few, as somebody else each time."""
    people = ("anonymous", "therapist", "supervisor", "clinic admin", "researcher")
    for number, knock in enumerate(every):
        if (knock.route, knock.method) in DOORS:
            if knock.actor in people and knock.at in ("", "own", "far"):
                yield knock
        elif number % 97 == 0:
            yield knock


@pytest.mark.slow
def test_nobody_finds_behind_a_part_of_the_doors_what_is_not_theirs(town: Town) -> None:
    report = walk(town, part_of(knocks(town)))
    assert report.wrong == [], "\n".join(report.wrong)
    assert report.n["requests"] > 2000


@pytest.mark.slow
def test_nobody_finds_behind_any_door_what_is_not_theirs(town: Town) -> None:
    """Every line of the table, as everybody, at everything; of the methods that nobody may use every eleventh
    knock, with DOORS=all each."""
    began = time.monotonic()
    is_all = os.environ.get("DOORS") == "all"
    some = (
        knock
        for number, knock in enumerate(knocks(town))
        if is_all or number % 11 == 0 or (knock.route, knock.method) in DOORS
    )
    report = walk(town, some)
    n_objects = sum(len(things) for things in town.objects.values())
    print(
        f"\n{len(BY_NAME)} routes, {len(METHODS)} methods, {len(ACTORS)} actors, {n_objects} objects of "
        f"{len(town.objects)} kinds, {len(town.canaries.readers)} marks: {report.n['requests']} requests in "
        f"{time.monotonic() - began:.0f} s, {report.n['marks']} marks seen, unexpected = {len(report.wrong)}"
    )
    assert report.wrong == [], "\n".join(report.wrong)


def test_what_is_planted_is_found_again(town: Town) -> None:
    """The marks that somebody may read are read by somebody: a scan that sees nothing proves nothing."""
    seen: set[str] = set()
    for actor, route in (
        ("therapist", "therapy"),
        ("clinic admin", "people-patient"),
        ("clinic admin", "tablets"),
        ("researcher", "desk-plan"),
        ("supervisor", "therapy"),
        ("clinic admin", "import"),
    ):
        report = walk(town, (knock for knock in knocks(town, [route], ["GET"], [actor])))
        assert report.seen, (actor, route)
        seen |= set(report.seen)
    words = (
        "5.25",
        "4.75",
        "qzxownt",
        "qzxmailown",
        "qzxtabletown",
        "qzxplanown",
        "qzxfileown",
        "qzxclinicadmin",
    )
    assert [word for word in words if word not in seen] == []
