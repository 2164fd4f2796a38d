"""Text that the database holds encrypted (Fernet: AES-128-CBC with HMAC-SHA256).

`settings.FIELD_KEYS` holds the keys: the first encrypts, every one decrypts, so a key is changed by putting a
new one in front. A row cannot be searched by such a column.
"""

import base64
import hashlib
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models

_NO_KEY = "An encrypted column was written with a key that FIELD_KEYS does not hold. Add the old key to it."


@cache
def _cipher(keys: tuple[str, ...]) -> MultiFernet:
    # A key of the site is any long random text; Fernet asks for 32 bytes in base64.
    digests = [hashlib.sha256(key.encode()).digest() for key in keys]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(digest)) for digest in digests])


def encrypt(text: str) -> str:
    return encrypt_bytes(text.encode()).decode()


def decrypt(text: str) -> str:
    """Raises ImproperlyConfigured where no key of the site fits."""
    return decrypt_bytes(text.encode()).decode()


def encrypt_bytes(content: bytes) -> bytes:
    return _cipher(tuple(settings.FIELD_KEYS)).encrypt(content)


def decrypt_bytes(content: bytes) -> bytes:
    """Raises ImproperlyConfigured where no key of the site fits."""
    try:
        return _cipher(tuple(settings.FIELD_KEYS)).decrypt(content)
    except InvalidToken as error:
        raise ImproperlyConfigured(_NO_KEY) from error


def is_encrypted(content: bytes) -> bool:
    """Whether a key of the site made it, which no other text is."""
    try:
        _cipher(tuple(settings.FIELD_KEYS)).decrypt(content)
    except InvalidToken:
        return False
    return True


def renewed(content: bytes) -> bytes | None:
    """What is stored, under the first key; None where it is under that already. Raises ImproperlyConfigured
    where no key of the site fits."""
    try:
        _cipher(tuple(settings.FIELD_KEYS[:1])).decrypt(content)
    except InvalidToken:
        return encrypt_bytes(decrypt_bytes(content))
    return None


class EncryptedText(models.TextField):
    """A text column whose plain value exists in Python only; empty text stays empty."""

    def get_prep_value(self, value: str | None) -> str | None:
        return encrypt(value) if value else value

    def from_db_value(self, value: str | None, expression: object, connection: object) -> str | None:
        return decrypt(value) if value else value


class EncryptedBytes(models.BinaryField):
    """The same for bytes."""

    def get_prep_value(self, value: Any) -> Any:
        return encrypt_bytes(bytes(value)) if value else value

    def from_db_value(self, value: memoryview | None, expression: object, connection: object) -> bytes | None:
        return decrypt_bytes(bytes(value)) if value else None


def encrypt_within(values: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """An object with the texts under these names encrypted, as `EncryptedWithin` stores it."""
    return {name: encrypt(value) if name in names and value else value for name, value in values.items()}


class EncryptedWithin(models.JSONField):
    """An object whose texts under `names` are encrypted, each by itself; the others stand in clear."""

    def __init__(self, *args: Any, names: Collection[str] = (), **options: Any) -> None:
        self.names = tuple(names)
        super().__init__(*args, **options)

    def deconstruct(self) -> Any:
        name, path, args, options = super().deconstruct()
        return name, path, args, options | {"names": self.names}

    def get_prep_value(self, value: Any) -> Any:
        return encrypt_within(value, self.names) if isinstance(value, Mapping) else value

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        found = super().from_db_value(value, expression, connection)
        if not isinstance(found, Mapping):
            return found
        return {name: decrypt(text) if name in self.names and text else text for name, text in found.items()}
