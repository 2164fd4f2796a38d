"""Text that somebody types for others to read."""

import unicodedata
from typing import Any

from django import forms


class OwnWords(forms.CharField):
    """Kept in one spelling (NFC): what looks the same is the same, and as long."""

    def to_python(self, value: Any) -> str:
        return unicodedata.normalize("NFC", super().to_python(value) or "")
