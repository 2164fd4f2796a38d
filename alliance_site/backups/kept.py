"""Whether what was backed up is still there, as far as this process can see it."""

import os
import re
from pathlib import Path

from django.conf import settings

from surveys.services.withdrawal_list import list_path

# As `manage.py backup` names a file by itself; another name was chosen with a place, which is not known here.
OWN_NAME = re.compile(r"\d{8}T\d{6}Z\.alliance")
BACKUP, LIST, UNSEEN = "backup", "list", "unseen"


def backup_missing(file: str | None, n_bytes: int | None) -> str:
    """Which of the last good backup and the list of withdrawals is not in BACKUP_DIR as it was written there;
    UNSEEN where this process finds or may read no such folder; empty where both are, and where no backup was
    made yet."""
    folder = settings.BACKUP_DIR
    if file is None:
        return ""
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.X_OK):
        return UNSEEN
    if OWN_NAME.fullmatch(file) and _size(folder / file) != n_bytes:
        return BACKUP
    return "" if list_path().is_file() else LIST


def _size(path: Path) -> int:
    """In bytes; -1 where there is nothing."""
    try:
        return path.stat().st_size
    except OSError:
        return -1
