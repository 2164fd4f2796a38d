"""Bytes of snapshots and exports in the database: written from a file on disk, read back piece by piece,
never whole in memory."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from django.db import models

from analytics.models import Export, Snapshot, StoredChunk, StoredFile

CHUNK = 1 << 20


def store(owner: Snapshot | Export, name: str, path: Path) -> StoredFile:
    """Keeps a copy of the file under this name. Call it in a transaction: a file is whole or not there."""
    file = StoredFile.objects.create(
        **_of(owner), name=name, n_bytes=path.stat().st_size, sha256=sha256(path)
    )
    with path.open("rb") as source:
        for number, content in enumerate(_pieces(source)):
            StoredChunk.objects.create(file=file, number=number, content=content)
    return file


def pieces(file: StoredFile) -> Iterator[bytes]:
    """The bytes in order, about a megabyte at a time."""
    number = 0
    while True:
        row = StoredChunk.objects.filter(file=file, number=number).values_list("content", flat=True).first()
        if row is None:
            return
        yield bytes(row)
        number += 1


def fetch(owner: Snapshot | Export, name: str, path: Path) -> Path:
    """Writes a stored file to `path`. Raises StoredFile.DoesNotExist, and ValueError where the
    bytes are not those that were stored."""
    file = StoredFile.objects.get(**_of(owner), name=name)
    with path.open("wb") as target:
        for content in pieces(file):
            target.write(content)
    if sha256(path) != file.sha256:
        raise ValueError(f"The stored bytes of {name} are not those that were written.")
    return path


def sha256(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _pieces(source: BinaryIO) -> Iterator[bytes]:
    while content := source.read(CHUNK):
        yield content


def _of(owner: Snapshot | Export) -> dict[str, models.Model]:
    return {"snapshot" if isinstance(owner, Snapshot) else "export": owner}
