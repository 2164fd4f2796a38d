"""The file of an export: the tables of its tier in one archive, the same bytes whenever it is built again."""

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from analytics.export.composites import composites_of, composites_table
from analytics.export.source import Source, export_source
from analytics.export.tiers import table_of, tables_of
from analytics.frozen import Table
from analytics.models import Export
from analytics.services.freeze import ARROW
from surveys.selectors import study_instruments

Report = Callable[[str, int, int], None]
NAME = "bundle.zip"
MANIFEST = "MANIFEST.sha256"
# The least that a zip archive can say.
STORED_AT = (1980, 1, 1, 0, 0, 0)


def build_bundle(export: Export, folder: Path, progress: Report) -> Path:
    """Writes the archive into the folder. Raises what `export_source` raises."""
    source = export_source(export, folder)
    path = folder / NAME
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        lines = []
        for name, made in _files(export, source, progress):
            lines.append(f"{_add(archive, name, made)}  {name}\n")
        archive.writestr(zipfile.ZipInfo(MANIFEST, STORED_AT), "".join(lines))
    return path


def _files(export: Export, source: Source, progress: Report) -> Iterator[tuple[str, Path]]:
    described = []
    for place, table in enumerate(source.tables):
        progress("tables", place, len(source.tables))
        shown = table_of(table, source.rules)
        described.append(shown)
        yield f"{table.name}.parquet", _table(table, shown, source)
    described.append(composites_table())
    yield "composites.parquet", _composites(export, source)
    about = source.folder / "dataset.json"
    about.write_text(json.dumps(_about(export, source, described), sort_keys=True, indent=1))
    yield about.name, about


def _table(table: Table, shown: Table, source: Source) -> Path:
    return _parquet(shown, source, tables_of(table, source.path(table), source.rules))


def _composites(export: Export, source: Source) -> Path:
    """From the rows of practice as they are in the file."""
    practice = next(table for table in source.tables if table.name == "practice")
    forms = {(row.code, row.version): row.form for row in study_instruments(export.snapshot.study)}
    blocks = tables_of(practice, source.path(practice), source.rules)
    return _parquet(composites_table(), source, (composites_of(block, forms) for block in blocks))


def _parquet(shown: Table, source: Source, blocks: Iterable[pd.DataFrame]) -> Path:
    path = source.folder / f"out-{shown.name}.parquet"
    schema = pa.schema([pa.field(column.name, ARROW[column.kind]) for column in shown.columns])
    with pq.ParquetWriter(path, schema, compression="zstd") as target:
        for block in blocks:
            target.write_table(pa.Table.from_pandas(block, schema=schema, preserve_index=False))
    return path


def _about(export: Export, source: Source, described: list[Table]) -> dict[str, Any]:
    snapshot = export.snapshot
    return {
        "study": snapshot.study.code,
        "snapshot": {
            "id": str(snapshot.pk),
            "number": snapshot.number,
            "sha256": snapshot.sha256,
            "read_at": snapshot.read_at.isoformat() if snapshot.read_at else None,
        },
        "tier": export.tier,
        "n_patients_left_out_since": len(source.rules.left_out),
        "tables": [table.to_dict() for table in described],
    }


def _add(archive: zipfile.ZipFile, name: str, path: Path) -> str:
    info = zipfile.ZipInfo(name, STORED_AT)
    info.compress_type = zipfile.ZIP_DEFLATED
    with path.open("rb") as source, archive.open(info, "w", force_zip64=True) as target:
        whole = hashlib.sha256()
        while block := source.read(1 << 20):
            whole.update(block)
            target.write(block)
    return whole.hexdigest()
