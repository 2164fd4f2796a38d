"""The process in which an SPSS file is read: `python -m surveys.imports.spss_reader FILE ROWS` writes one
JSON line about the columns and then one for each row (0: all of them) as a list of texts."""

import json
import resource
import sys
from datetime import date, datetime
from typing import Any

import pyreadstat

BLOCK = 20_000
MEMORY = 2 << 30
CPU_SECONDS = 1800
# Labels of so many values say what a column is; a column with more is no question.
MAX_LABELS = 100


def main(path: str, limit: int) -> None:
    """Writes the columns and the rows of the file to the standard output."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    _, meta = pyreadstat.read_sav(path, metadataonly=True, user_missing=True)
    sys.stdout.write(json.dumps(_about(meta)) + "\n")
    offset = 0
    while True:
        size = min(BLOCK, limit - offset) if limit else BLOCK
        if size <= 0:
            return
        data, _ = pyreadstat.read_sav(
            path, row_offset=offset, row_limit=size, user_missing=True, output_format="dict"
        )
        columns = [data[name] for name in meta.column_names]
        n = len(columns[0]) if columns else 0
        for row in zip(*columns, strict=True):
            sys.stdout.write(json.dumps([_cell(value) for value in row]) + "\n")
        if n < size:
            return
        offset += n


def _about(meta: Any) -> dict[str, object]:
    missing: set[str] = set()
    for ranges in meta.missing_ranges.values():
        for one in ranges:
            # A range is a single code where both ends are the same; wider ones are written out while whole.
            low, high = one["lo"], one["hi"]
            if isinstance(low, str) or low == high:
                missing.add(_cell(low))
            elif high - low <= MAX_LABELS:
                missing.update(str(value) for value in range(int(low), int(high) + 1))
    return {
        "names": list(meta.column_names),
        "labels": {name: label for name, label in meta.column_names_to_labels.items() if label},
        "values": {
            name: {_cell(value): str(label) for value, label in list(labels.items())[:MAX_LABELS]}
            for name, labels in meta.variable_value_labels.items()
        },
        "missing": sorted(missing),
    }


def _cell(value: object) -> str:
    """A value as text: whole numbers without a point, days as ISO, nothing as nothing."""
    # NaN alone is unlike itself.
    if value is None or value != value:
        return ""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime):
        return value.date().isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return str(value).strip()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
