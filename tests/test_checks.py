"""A database that would forget in a power failure what it has acknowledged is refused at once."""

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from alliance_site.checks import DURABLE, durability, forgetful

SAFE = dict.fromkeys(DURABLE, "on")


def test_a_safe_database_is_accepted() -> None:
    assert forgetful(SAFE) == []
    assert forgetful(SAFE | {"synchronous_commit": "remote_apply"}) == []


@pytest.mark.parametrize("name", DURABLE)
def test_each_unsafe_setting_is_named(name: str) -> None:
    assert forgetful(SAFE | {name: "off"}) == [name]


def test_a_commit_that_waits_for_the_own_disk_alone_is_safe() -> None:
    """`local` waits for this server's disk; only a second server may be behind."""
    assert forgetful(SAFE | {"synchronous_commit": "local"}) == []


@pytest.mark.django_db
def test_the_throw_away_cluster_of_the_tests_is_refused() -> None:
    switches = "fsync=off, synchronous_commit=off, full_page_writes=off"
    with pytest.raises(SystemCheckError, match=f"{switches}: a power failure would lose answers"):
        call_command("check", tags=["database"], databases=["default"])


def test_no_database_is_asked_where_none_is_named() -> None:
    assert durability() == durability(databases=[]) == []
