"""The list of withdrawals outside of the database, so that a restored older backup brings nobody back.

`withdrawals.jsonl` in the folder of the backups has one line for each withdrawal: random ids, the choice and
the time; nothing of what was answered, and no name. It is only ever added to. A job writes it a few seconds
after each withdrawal, and every backup before it is made; after a restoration it is replayed.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

from django.conf import settings
from django.db import transaction

from surveys import audit
from surveys.models import Patient, Study, User, Withdrawal
from surveys.parts import strongest_withdrawal
from surveys.services.withdrawals import withdrawal_enter

NAME = "withdrawals.jsonl"


def list_path() -> Path:
    return settings.BACKUP_DIR / NAME


def withdrawals_list() -> int:
    """Adds the withdrawals that the list does not have, safely on disk when this returns; how many. Those of
    test runs are nobody's."""
    rows = Withdrawal.objects.filter(study__test_of=None).order_by("at", "pk")
    with _locked(list_path()) as file:
        text = file.read()
        known = {(line["patient"], line["study"], line["choice"]) for line in _lines(text)[0]}
        new = [line for row in rows if (line := _line(row)) and _key(line) not in known]
        # The rest of a line that a power cut left unfinished stays alone on its line.
        start = b"\n" if text and not text.endswith(b"\n") else b""
        file.write(start + b"".join(json.dumps(line).encode() + b"\n" for line in new))
        file.flush()
        os.fsync(file.fileno())
    return len(new)


@dataclass(frozen=True)
class Replay:
    """What became of the lines of the list: in the data already, entered again, about people who came after
    the backup, and not readable."""

    n_there: int = 0
    n_entered: int = 0
    n_unknown: int = 0
    n_unreadable: int = 0


def withdrawals_replay() -> Replay:
    """Enters again every withdrawal of the list that the data do not know, with its time, each with its
    trace."""
    path = list_path()
    lines, n_unreadable = _lines(path.read_bytes()) if path.exists() else ([], 0)
    done = [_replay(line) for line in lines]
    return Replay(
        n_there=done.count("there"),
        n_entered=done.count("entered"),
        n_unknown=done.count("unknown"),
        n_unreadable=n_unreadable,
    )


@transaction.atomic
def _replay(line: dict[str, Any]) -> str:
    patient = Patient.objects.filter(pk=UUID(line["patient"])).first()
    study = Study.objects.filter(pk=UUID(line["study"])).first()
    if patient is None or study is None or not patient.therapies.filter(study=study).exists():
        return "unknown"
    order = Withdrawal.Choice.values
    earlier = strongest_withdrawal(patient, study)
    if earlier is not None and order.index(earlier.choice) >= order.index(line["choice"]):
        return "there"
    withdrawal = withdrawal_enter(
        patient=patient,
        study=study,
        choice=line["choice"],
        at=datetime.fromisoformat(line["at"]),
        recorded_by=User.objects.filter(pk=line["recorded_by"]).first() if line["recorded_by"] else None,
    )
    audit.record("withdrawal.replay", subject=withdrawal, clinic=study.clinic, choice=withdrawal.choice)
    return "entered"


def _line(row: Withdrawal) -> dict[str, Any]:
    return {
        "patient": str(row.patient_id),
        "study": str(row.study_id),
        "choice": row.choice,
        "at": row.at.isoformat(),
        "recorded_by": str(row.recorded_by_id) if row.recorded_by_id else None,
    }


def _key(line: dict[str, Any]) -> tuple[str, str, str]:
    return line["patient"], line["study"], line["choice"]


def _lines(text: bytes) -> tuple[list[dict[str, Any]], int]:
    """The lines, and how many cannot be read: a power cut may leave the beginning of one."""
    found = [_parsed(line) for line in text.splitlines() if line.strip()]
    return [line for line in found if line is not None], found.count(None)


def _parsed(text: bytes) -> dict[str, Any] | None:
    """A line of the list; None where it is none."""
    try:
        line = json.loads(text)
        UUID(line["patient"]), UUID(line["study"]), datetime.fromisoformat(line["at"])
        return line | {"choice": Withdrawal.Choice(line["choice"]).value, "recorded_by": line["recorded_by"]}
    except (ValueError, KeyError, TypeError):
        return None


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    """The list, for this process alone; made where there is none, readable by its owner only."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
