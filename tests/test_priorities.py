"""The worker gives way to web also where the kernel shares the processors among sessions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from alliance_site.management.commands.up import GIVES_WAY, WORKER_NICE, children, giving_way

OWN = Path("/proc/self/autogroup")
SAYS = "import os; print(os.nice(0)); print(open('/proc/self/autogroup').read())"


def started(argv: list[str], is_leader: bool) -> tuple[str, str]:
    """The nice value of the process, and what the kernel says of its session."""
    run = subprocess.run(
        argv,
        start_new_session=is_leader,
        capture_output=True,
        text=True,
        check=True,
    )
    nice, *session = run.stdout.split()
    return nice, " ".join(session)


@pytest.mark.skipif(not OWN.exists(), reason="this kernel does not share by sessions")
def test_a_worker_s_session_and_itself_give_way_and_no_other_session() -> None:
    says = [sys.executable, "-c", SAYS]
    if not started(says, is_leader=True)[1]:
        pytest.skip("here the kernel does not share by sessions")
    # Empty where nothing has begun a session since the kernel started it.
    before, mine = OWN.read_text(), os.nice(0)
    nice = str(mine + WORKER_NICE)
    own_nice, session = started(giving_way(says), is_leader=True)
    assert own_nice == nice and session.endswith(f" nice {WORKER_NICE}")
    # One of the caller's session lowers itself alone.
    assert started(giving_way(says), is_leader=False) == (nice, before.strip())
    assert OWN.read_text() == before


def test_the_worker_gives_way_and_nothing_else_does() -> None:
    assert {child.name for child in children(1) if GIVES_WAY in child.argv} == {"worker"}
