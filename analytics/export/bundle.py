"""One file of a snapshot for the world outside: data in the formats of every desk, what they mean, programs
that fit the models, and the numbers that those must give.

The same snapshot, tier and analyses give the same bytes: names are sorted, times are 1980, nothing says when
it was built. Tables go from block to block; only files with labels (.sav, .dta) need a whole table at once,
and are written by a program of their own.
"""

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from django.conf import settings

from analytics.export import derived, documents, expected, programs
from analytics.export.composites import composites_of, composites_table
from analytics.export.fhir import write_fhir
from analytics.export.source import Source, export_source
from analytics.export.tables import Written, labelled, read_blocks, write_table
from analytics.export.tiers import ITEMS, Rules, table_of, tables_of
from analytics.frozen import Table
from analytics.models import Analysis, Export, PublishedTable, Snapshot
from analytics.storage import sha256
from surveys.selectors import study_instruments

SCRIPTS = Path(__file__).parent / "scripts"
SEED = (1980, 1, 1, 0, 0, 0)
Progress = Callable[[str, int, int], object]
# The larger frozen tables are read whole only for models, column by column.
FOR_MODELS = ("ratings", "practice", "therapies", "therapists", "sessions")


@dataclass
class Bundle:
    """A bundle on its way: what it is of, what it is made from, the folder that it grows in, the tables that
    stand there, and what a long step calls now and then to say that it is alive."""

    export: Export
    source: Source
    root: Path
    written: list[Written]
    heard: Callable[[], object]

    @property
    def snapshot(self) -> Snapshot:
        return self.export.snapshot

    @property
    def rules(self) -> Rules:
        return self.source.rules

    @property
    def is_whole(self) -> bool:
        """Whether models can be computed again: not where small caseloads stand together, nor where somebody
        is left out who was there when they were computed."""
        return self.export.tier == ITEMS and not self.rules.left_out

    def described(self, name: str) -> Table:
        return next(row.table for row in self.written if row.table.name == name)


def build_bundle(export: Export, folder: Path, progress: Progress) -> Path:
    """The zip, in the folder. Raises what `export_source` raises, and StoredFile.DoesNotExist where the
    frozen data are gone."""
    steps = (
        _write_data,
        _write_derived,
        _write_labelled,
        _write_models,
        _write_fhir,
        _write_documents,
        _write_manifest,
    )
    bundle = _begin(export, folder)
    for place, step in enumerate(steps):
        bundle.heard = partial(progress, "tables", place, len(steps) + 1)
        bundle.heard()
        step(bundle)
    progress("tables", len(steps), len(steps) + 1)
    return _zip(
        bundle.root, folder / f"{export.snapshot.study.code}-{export.snapshot.number}-{export.tier}.zip"
    )


def _begin(export: Export, folder: Path) -> Bundle:
    frozen, root = folder / "frozen", folder / "bundle"
    for path in (frozen, *(root / name for name in ("data", "hlm", "models", "scripts", "phenotype"))):
        path.mkdir(parents=True)
    return Bundle(export, export_source(export, frozen), root, [], lambda: None)


def _write_data(bundle: Bundle) -> None:
    for table in bundle.source.tables:
        frames = tables_of(table, bundle.source.path(table), bundle.rules)
        bundle.written.append(write_table(table_of(table, bundle.rules), frames, bundle.root / "data"))


def _write_derived(bundle: Bundle) -> None:
    data = bundle.root / "data"
    ratings, practice = bundle.described("ratings"), bundle.described("practice")
    scales = derived.scales_of(practice)
    about = ["therapist", "about", "period", "instrument", "instrument_version", *scales]
    rows = pd.concat([pd.DataFrame(columns=about), *read_blocks(data, "practice", about)])
    forms = {(row.code, row.version): row.form for row in study_instruments(bundle.snapshot.study)}
    bundle.written.append(write_table(composites_table(), iter([composites_of(rows, forms)]), data))
    long = derived.long_table(ratings, practice)
    means = derived.practice_means(rows, scales)
    bundle.written.append(write_table(long, derived.long_frames(long, data, means), data))
    wide = derived.wide_table(ratings, data)
    bundle.written.append(write_table(wide, derived.wide_frames(wide, ratings, data), data))


def _write_labelled(bundle: Bundle) -> None:
    """By a program of its own, whose memory is not this one's."""
    jobs: list[Any] = [
        labelled(written, kind, f"data/{written.table.name}.{kind}")
        for written in bundle.written
        for kind in ("sav", "dta")
    ]
    jobs += derived.hlm_jobs(next(row for row in bundle.written if row.table.name == "long"))
    order = bundle.root / "jobs.json"
    order.write_text(json.dumps(jobs), encoding="utf-8")
    program = [sys.executable, "-m", "analytics.export.labelled", str(order)]
    done = subprocess.run(program, cwd=settings.BASE_DIR, capture_output=True, text=True)
    order.unlink()
    if done.returncode:
        raise RuntimeError(f"files with labels could not be written: {done.stderr.strip()[-400:]}")


def _analyses(bundle: Bundle) -> list[Analysis]:
    if not bundle.is_whole:
        return []
    rows = bundle.snapshot.analyses.filter(status=Analysis.Status.ANSWERED)
    # Later ones are of later exports: two builds of one export are the same.
    return list(rows.filter(finished_at__lte=bundle.export.asked_at).order_by("number"))


def _published(bundle: Bundle, analyses: Sequence[Analysis]) -> list[PublishedTable]:
    rows = PublishedTable.objects.filter(analysis__in=analyses, published_at__lte=bundle.export.asked_at)
    return list(rows.order_by("code", "version"))


def _write_models(bundle: Bundle) -> None:
    analyses = _analyses(bundle)
    frozen = bundle.source.folder
    tables = {name: pd.read_parquet(frozen / f"{name}.parquet") for name in FOR_MODELS if analyses}
    expected.write_model_frames(analyses, tables, bundle.rules, bundle.root)
    stated = expected.expected(bundle.snapshot, analyses, _published(bundle, analyses))
    names = [written.table.name for written in bundle.written]
    models = [model for analysis in stated["analyses"] for model in analysis["models"]]
    for name, content in programs.files(models, names).items():
        (bundle.root / name).write_text(content, encoding="utf-8")
    if analyses:
        _write_json(bundle.root / "expected.json", stated)
        specs = [{"number": row.number, "title": row.title, "spec": row.spec} for row in analyses]
        _write_json(bundle.root / "spec.json", specs)
        for name in ("reproduce.R", "reproduce.py"):
            shutil.copyfile(SCRIPTS / name, bundle.root / name)
    else:
        (bundle.root / "models").rmdir()


def _write_fhir(bundle: Bundle) -> None:
    """Single answers alone make a form that FHIR knows."""
    if bundle.export.tier != ITEMS:
        return
    forms = {
        (row.code, row.version, row.rater, row.language): (str(row.pk), row.form)
        for row in study_instruments(bundle.snapshot.study)
    }
    folder = bundle.root / "fhir"
    folder.mkdir()
    write_fhir(bundle.root / "data", folder, forms, bundle.heard)


def _about(bundle: Bundle) -> documents.About:
    snapshot = bundle.snapshot
    assert snapshot.read_at is not None, "a frozen snapshot has its moment"
    study = snapshot.study
    policies = study.versions.filter(active_from__isnull=False).order_by("number")
    visibility = ", ".join(f"{version.number}: {version.visibility}" for version in policies)
    facts = (
        ("Study", f"{study.code}, {study.name}"),
        ("Snapshot", f"{snapshot.number} ({snapshot.pk}), SHA-256 {snapshot.sha256}"),
        ("Data as of", snapshot.read_at.isoformat(timespec="seconds")),
        ("Tier", bundle.export.get_tier_display()),
        ("Who sees patients' ratings, by version of the study", visibility),
        (
            "Missing answers",
            "-99 skipped, -98 prefers not to answer, -97 not shown; empty: not part of a form",
        ),
        ("Left out of the research", f"{snapshot.counts.get('n_left_out', 0)} therapies when frozen"),
        ("Left out since", f"{len(bundle.rules.left_out)} patients"),
        ("Duty of care", documents.LICENCE),
    )
    counts = {written.table.name: written.n_rows for written in bundle.written}
    return documents.About(
        study.code,
        study.name,
        study.clinic.name,
        f"snapshot {snapshot.number}",
        snapshot.read_at.date().isoformat(),
        bundle.export.tier,
        facts,
        counts,
    )


def _write_documents(bundle: Bundle) -> None:
    about, tables = _about(bundle), [written.table for written in bundle.written]
    contents = {
        "codebook.html": documents.codebook_html(about, tables),
        "codebook.csv": documents.codebook_csv(tables),
        "redcap_dictionary.csv": documents.redcap_csv(tables),
        "dataset_description.json": documents.psych_ds(about, tables),
        "datacite.json": documents.datacite(about),
        "README.md": _readme(bundle, about),
    }
    for name, content in contents.items():
        (bundle.root / name).write_text(content, encoding="utf-8", newline="")
    _write_phenotype(bundle)


def _write_phenotype(bundle: Bundle) -> None:
    """BIDS: one table of the patients' ratings, one of the therapists', with what their columns mean."""
    ratings = bundle.described("ratings")
    for rater in ("patient", "therapist"):
        name = f"wai_{rater}"
        with (bundle.root / "phenotype" / f"{name}.tsv").open("w", encoding="utf-8", newline="") as target:
            for place, block in enumerate(read_blocks(bundle.root / "data", "ratings")):
                rows = block[block["rater"] == rater]
                rows = rows.assign(participant_id="sub-" + rows["patient"]).drop(columns="patient")
                rows = rows[["participant_id", *(column for column in rows if column != "participant_id")]]
                rows.to_csv(target, sep="\t", index=False, header=place == 0, na_rep="n/a")
        tool = f"Working Alliance Inventory, rated by the {rater}; column instrument names the form"
        sidecar = documents.bids_sidecar(ratings, tool)
        (bundle.root / "phenotype" / f"{name}.json").write_text(sidecar, encoding="utf-8")


def _readme(bundle: Bundle, about: documents.About) -> str:
    facts = "\n".join(f"- **{name}**: {value}" for name, value in about.facts)
    has_numbers = (bundle.root / "reproduce.R").exists()
    again = documents.AGAIN if has_numbers else documents.NOT_AGAIN
    return (
        f"# {about.study}: {about.title}\n\n{facts}\n\n{documents.CONTENT}\n\n{again}\n\n{documents.CHECK}\n"
    )


def _write_manifest(bundle: Bundle) -> None:
    snapshot = bundle.snapshot
    counts = {written.table.name: written.n_rows for written in bundle.written}
    manifest = {
        "study": snapshot.study.code,
        "snapshot": {"id": str(snapshot.pk), "number": snapshot.number, "sha256": snapshot.sha256},
        "read_at": snapshot.read_at.isoformat() if snapshot.read_at else None,
        "selection": snapshot.selection,
        "tier": bundle.export.tier,
        "rows": counts,
        "n_patients_left_out_since": len(bundle.rules.left_out),
    }
    _write_json(bundle.root / "MANIFEST.json", manifest)
    lines = [f"{sha256(path)}  {name}\n" for name, path in _files(bundle.root)]
    (bundle.root / "MANIFEST.sha256").write_text("".join(lines), encoding="utf-8")


def _write_json(path: Path, values: Any) -> None:
    text = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    path.write_text(text, encoding="utf-8")


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(root.rglob("*")):
        if path.is_file():
            yield path.relative_to(root).as_posix(), path


def _zip(root: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as whole:
        for name, path in _files(root):
            entry = zipfile.ZipInfo(name, SEED)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            with whole.open(entry, "w", force_zip64=True) as inside, path.open("rb") as source:
                shutil.copyfileobj(source, inside, 1 << 20)
    return target
