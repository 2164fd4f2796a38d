"""The worker gives way to web also where the kernel shares the processors among sessions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from alliance_site.management.commands.up import GIVES_WAY, WORKER_NICE, children, giving_way

OWN = Path("/proc/self/autogroup")
SAYS = "import os; print(os.nice(0)); print(open('/proc/self/autogroup').read().split()[-1])"


def started(*argv: str, is_leader: bool) -> list[str]:
    run = subprocess.run(
        giving_way(list(argv)),
        start_new_session=is_leader,
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout.split()


@pytest.mark.skipif(not OWN.exists(), reason="this kernel does not share by sessions")
def test_a_worker_s_session_and_itself_give_way_and_no_other_session() -> None:
    before, mine = OWN.read_text(), os.nice(0)
    nice = str(mine + WORKER_NICE)
    assert started(sys.executable, "-c", SAYS, is_leader=True) == [nice, str(WORKER_NICE)]
    # One of the caller's session lowers itself alone.
    assert started(sys.executable, "-c", SAYS, is_leader=False) == [nice, before.split()[-1]]
    assert OWN.read_text() == before


def test_the_worker_gives_way_and_nothing_else_does() -> None:
    assert {child.name for child in children(1) if GIVES_WAY in child.argv} == {"worker"}
