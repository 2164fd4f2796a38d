"""Folders, locks and accounts of the embedded servers."""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
ELSEWHERE = "Run as the user who ran it first, or choose another folder with VAR=."


class EmbeddedError(RuntimeError):
    """A server could not be started or stopped; the text says what to do next."""


def make_folder(path: Path, mode: int, user: pwd.struct_passwd | None = None) -> None:
    """Make a folder with exactly this mode, whatever the umask; an existing one stays as it is."""
    try:
        if not path.parent.exists():
            make_folder(path.parent, 0o755, user)
        path.mkdir(mode=0o700)
        if user is not None:
            os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)
        path.chmod(mode)
    except FileExistsError:
        return
    except OSError as error:
        raise EmbeddedError(f"The folder {path} cannot be made ({error.strerror}). {ELSEWHERE}") from error


@contextlib.contextmanager
def open_lock(path: Path) -> Iterator[int]:
    """A file to lock; the kernel lets go of the lock when its holder ends, however it ends."""
    make_folder(path.parent, 0o755)
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EmbeddedError(f"The file {path} cannot be opened ({error.strerror}). {ELSEWHERE}") from error
    try:
        owner = path.parent.stat()
        if os.geteuid() == 0:
            os.fchown(lock, owner.st_uid, owner.st_gid)
        yield lock
    finally:
        os.close(lock)


def project_user() -> pwd.struct_passwd | None:
    """Whom root's servers run as: the owner of the project folder, else nobody."""
    if os.geteuid() != 0:
        return None
    owner = PROJECT.stat().st_uid
    with contextlib.suppress(KeyError):
        if owner:
            return pwd.getpwuid(owner)
    return pwd.getpwnam("nobody")


def may_enter(path: Path, user: pwd.struct_passwd) -> bool:
    """Whether that account may pass every existing folder on the way and use the end of it."""
    path = path.resolve()
    for part in (path, *path.parents):
        if part.exists():
            info = part.stat()
            shift = 6 if info.st_uid == user.pw_uid else 3 if info.st_gid == user.pw_gid else 0
            if not info.st_mode >> shift & 1:
                return False
    return True
