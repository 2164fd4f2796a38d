"""The file of a backup: encrypted, authenticated, written and read piece by piece.

    magic | salt (16 bytes) | check (8 bytes) | chunk 0 | chunk 1 | ... | last chunk

The key of a file is made by scrypt from the backup key and the salt; 8 more bytes of it are the check, which
tells another key from a damaged file. A chunk is AES-256-GCM of 1 MiB, the last one of what is left. Its
nonce is its number in 11 bytes and one byte that is 1 for the last chunk alone: chunks can be neither
changed, left out, moved nor cut off at the end (STREAM: Hoang, Reyhanitabar, Rogaway, Vizár 2015, as in the
age format). The head is authenticated with every chunk.
"""

import os
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

MAGIC = b"alliance-backup 1\n"
SALT, CHECK, TAG = 16, 8, 16
CHUNK = 1 << 20


class BadBackup(Exception):
    """The file cannot be used; the text says why and what to do."""


def seal(pieces: Iterable[bytes], target: BinaryIO, key: str) -> None:
    """Writes the pieces, of whatever length, encrypted under `key`. The memory is that of a few chunks."""
    salt = os.urandom(SALT)
    cipher, check = _cipher(key, salt)
    head = MAGIC + salt + check
    target.write(head)
    number, waiting = 0, bytearray()
    for piece in pieces:
        waiting += piece
        # The last chunk must be known as the last one, so a full one waits for more to come.
        while len(waiting) > CHUNK:
            target.write(cipher.encrypt(_nonce(number, is_last=False), bytes(waiting[:CHUNK]), head))
            del waiting[:CHUNK]
            number += 1
    target.write(cipher.encrypt(_nonce(number, is_last=True), bytes(waiting), head))


def opened(source: BinaryIO, key: str) -> Iterator[bytes]:
    """The plain bytes, a chunk at a time; each was checked before it is given. Raises BadBackup."""
    head = source.read(len(MAGIC) + SALT + CHECK)
    if not head.startswith(MAGIC) or len(head) < len(MAGIC) + SALT + CHECK:
        raise BadBackup("This is no backup of this application.")
    cipher, check = _cipher(key, head[len(MAGIC) : len(MAGIC) + SALT])
    if check != head[-CHECK:]:
        raise BadBackup("BACKUP_KEY is not the key that this backup was made with. Set that one.")
    number, chunk = 0, source.read(CHUNK + TAG)
    is_last = False
    while not is_last:
        following = source.read(CHUNK + TAG)
        is_last = not following
        try:
            yield cipher.decrypt(_nonce(number, is_last=is_last), chunk, head)
        except InvalidTag:
            raise BadBackup(
                f"The backup is damaged or cut off, in or after its megabyte {number + 1}. Use another copy."
            ) from None
        number, chunk = number + 1, following


def _cipher(key: str, salt: bytes) -> tuple[AESGCM, bytes]:
    derived = Scrypt(salt=salt, length=32 + CHECK, n=1 << 15, r=8, p=1).derive(key.encode())
    return AESGCM(derived[:32]), derived[32:]


def _nonce(number: int, *, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([is_last])
