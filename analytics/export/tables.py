"""Pure: tables of a bundle written block by block, as CSV and Parquet, and described for the programs that
need labels."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from analytics.export.cells import FORMULA
from analytics.frozen import Column, Kind, Table

ARROW: dict[Kind, pa.DataType] = {
    "text": pa.string(),
    "integer": pa.int32(),
    "number": pa.float64(),
    "date": pa.date32(),
}
RISKY = f"^[{re.escape(''.join(FORMULA))}]"
Frames = Iterator[pd.DataFrame]


@dataclass(frozen=True)
class Written:
    """A table that stands in the folder as `<name>.csv` and `<name>.parquet`."""

    table: Table
    n_rows: int


def schema_of(table: Table) -> pa.Schema:
    """The Parquet schema; what a column means stands in the metadata of its field."""
    return pa.schema([pa.field(c.name, ARROW[c.kind], metadata=_described(c)) for c in table.columns])


def _described(column: Column) -> dict[str, str]:
    labels = {**dict(column.labels), **dict(column.missing)}
    return {
        "label": column.meaning,
        "values": column.values,
        "level": column.level,
        "value_labels": json.dumps({str(number): words for number, words in labels.items()}),
        "missing_codes": json.dumps([number for number, _words in column.missing]),
    }


def write_table(table: Table, frames: Frames, folder: Path) -> Written:
    """Both files of a table, from blocks of rows with its columns. Text that a spreadsheet would take for a
    formula gets an apostrophe before it in the CSV alone."""
    schema, n = schema_of(table), 0
    plain = pa.schema([pa.field(field.name, field.type) for field in schema])
    # Every text in quotes: a code such as 007 or 1e5 stays what it is.
    options = pa_csv.WriteOptions(quoting_style="needed")
    with ExitStack() as stack:
        parquet = stack.enter_context(
            pq.ParquetWriter(folder / f"{table.name}.parquet", schema, compression="zstd")
        )
        lines = stack.enter_context(
            pa_csv.CSVWriter(folder / f"{table.name}.csv", plain, write_options=options)
        )
        for frame in frames:
            block = pa.Table.from_pandas(frame, schema=schema, preserve_index=False)
            parquet.write_table(block)
            lines.write_table(_guarded(block).cast(plain))
            n += block.num_rows
            # Their room is for the next ones, and what nobody needs goes back to the system.
            del frame, block
            pa.default_memory_pool().release_unused()
    return Written(table, n)


def _guarded(block: pa.Table) -> pa.Table:
    for place, field in enumerate(block.schema):
        if field.type == pa.string():
            column = block.column(place)
            risky = pc.fill_null(pc.match_substring_regex(column, RISKY), False)
            if pc.any(risky).as_py():
                safe = pc.if_else(risky, pc.binary_join_element_wise("'", column, ""), column)
                block = block.set_column(place, field, safe)
    return block


def read_blocks(folder: Path, name: str, columns: Sequence[str] | None = None) -> Frames:
    """A written table again, block by block."""
    with pq.ParquetFile(folder / f"{name}.parquet") as source:
        for block in source.iter_batches(batch_size=20_000, columns=columns):
            yield block.to_pandas(types_mapper={pa.int32(): pd.Int32Dtype()}.get)
            pa.default_memory_pool().release_unused()


def labelled(written: Written, kind: str, target: str) -> dict[str, Any]:
    """What `analytics.export.labelled` needs to know to write a table as .sav or .dta."""
    return {
        "source": f"data/{written.table.name}.parquet",
        "target": target,
        "kind": kind,
        "label": written.table.meaning[:64],
        "columns": [
            {
                "name": column.name,
                "kind": column.kind,
                "label": column.meaning,
                "labels": column.labels,
                "missing": column.missing,
            }
            for column in written.table.columns
        ],
    }
