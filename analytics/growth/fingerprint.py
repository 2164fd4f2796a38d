"""Hashes that tell whether two fits rest on the same ratings, whatever the order of rows and units."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .data import Units

INTEGER = re.compile(r"0|-?[1-9]\d{0,17}")


def fingerprint_of_rows(
    columns: Mapping[str, NDArray[Any]], units: tuple[Units, ...], low_start: NDArray[np.intp]
) -> str:
    """SHA-256 of columns (N,) and the labels of units, whatever the order of either.

    Rows enter by the sum of their hashes in each run that begins at `low_start`, and runs likewise: sums know
    no order.
    """
    n = len(next(iter(columns.values())))
    rows = np.zeros(n, dtype=np.uint64)
    for name in sorted(columns):
        _mix(rows, _words(columns[name]), f"{name}\x1e{columns[name].dtype.kind}")
    rows ^= rows >> np.uint64(32)
    digest = hashlib.sha256("\x1e".join([str(n), *(level.group for level in units)]).encode())
    if n:
        of_units = np.add.reduceat(rows, low_start)
        for level in units:
            _mix_labels(of_units, level, low_start)
        for shift in (1, 28):
            digest.update(int((of_units ^ (of_units >> np.uint64(shift))).sum()).to_bytes(8, "little"))
    return digest.hexdigest()


def fingerprints_of_rows(
    columns: Mapping[str, NDArray[Any]],
    units: tuple[Units, ...],
    low_start: NDArray[np.intp],
    outcome: NDArray[Any],
    outcome_name: str,
) -> dict[str, str]:
    """For each column, and each level under its group, the sum of the hashes of values and outcome."""
    base = np.zeros(len(outcome), dtype=np.uint64)
    _mix(base, _words(outcome), outcome_name)
    out = {outcome_name: f"{int(base.sum()):016x}"}
    for name, column in columns.items():
        if name != outcome_name:
            rows = base.copy()
            _mix(rows, _words(column), f"{name}\x1e{column.dtype.kind}")
            out[name] = f"{int(rows.sum()):016x}"
    for level in units if len(base) else ():
        of_units = np.add.reduceat(base, low_start)
        of_units = np.add.reduceat(of_units, np.searchsorted(low_start, level.start))
        _mix_labels(of_units, level, level.start)
        out[f"| {level.group}"] = f"{int(of_units.sum()):016x}"
    return out


def _words(column: NDArray[Any]) -> NDArray[np.uint64]:
    if column.dtype.kind == "f":
        # Adding zero makes -0.0 the same as 0.0.
        words: NDArray[np.uint64] = (column + 0.0).view(np.uint64)
        return words
    return pd.util.hash_array(column, categorize=True)


def _mix(rows: NDArray[np.uint64], words: NDArray[np.uint64], name: str) -> None:
    """Hash `words` into `rows`, in place."""
    words *= _odd_number(name)
    rows += words
    np.right_shift(rows, np.uint64(29), out=words)
    rows ^= words
    rows *= np.uint64(0x9E3779B97F4A7C15)


def _mix_labels(of_units: NDArray[np.uint64], level: Units, low_start: NDArray[np.intp]) -> None:
    """Hash the labels of a level into the words of the units below or at it, in place."""
    inside = np.diff(np.searchsorted(low_start, level.start), append=len(low_start))
    for codes, names in zip(level.codes, level.names, strict=True):
        of_units += np.repeat(_label_words(names)[codes], inside) * _odd_number(level.group)
        of_units ^= of_units >> np.uint64(31)
        of_units *= np.uint64(0xBF58476D1CE4E5B9)


def _label_words(names: NDArray[Any]) -> NDArray[np.uint64]:
    """One word a label, the same for the number 7 and the text "7"."""
    if names.dtype.kind in "iu":
        return names.astype(np.int64).view(np.uint64) * _odd_number("label")
    words = pd.util.hash_array(names, categorize=False)
    for i, name in enumerate(names.tolist()):
        if INTEGER.fullmatch(name):
            words[i] = _label_words(np.array([int(name)]))[0]
    return words


def _odd_number(text: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") | 1)
