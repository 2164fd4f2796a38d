"""A bundle: whole, read by every desk with its labels, the same whenever it is built, of nobody by name."""

import csv
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyreadstat
import pytest
from django.db import transaction
from django.utils import timezone
from fhir.resources.R4B.questionnaire import Questionnaire
from fhir.resources.R4B.questionnaireresponse import QuestionnaireResponse
from hypothesis import given, settings, strategies

from analytics.export import labelled, programs
from analytics.export.bundle import build_bundle
from analytics.export.documents import REDCAP, codebook_csv, redcap_csv
from analytics.export.fhir import responses
from analytics.export.tables import write_table
from analytics.frozen import MISSING, Column, Table
from analytics.models import Analysis, Export, Snapshot
from analytics.research.run import answer
from analytics.research.spec import AnalysisSpec, Predictor
from analytics.services.freeze import snapshot_freeze
from analytics.storage import fetch
from surveys import packs
from surveys.models import Patient, Response, Therapist, Therapy, User
from surveys.progress import silent
from surveys.selectors import study_instruments
from tests import factories
from tests.analytics.clinics import rated_clinic

pytestmark = pytest.mark.django_db
SKIPPED = -99


def frozen_study(n_therapists: int = 6, n_therapies: int = 3) -> Snapshot:
    """With a form about practice of every therapist, and answers that are missing."""
    study, _ = rated_clinic(n_therapists=n_therapists, n_therapies=n_therapies)
    for place, therapist in enumerate(Therapist.objects.order_by("code")):
        form = factories.form_about_practice(therapist, study, "dpccq-feelings-general", "entry")
        items = [item.number for item in form.instrument.form.items]
        values = {number: (number * 7 + place) % 4 for number in items}
        factories.give(form, values | {items[0]: SKIPPED}, user=therapist.user)
    snapshot = Snapshot.objects.create(study=study, number=1, asked_at=timezone.now())
    snapshot_freeze(str(snapshot.pk), silent)()
    snapshot.refresh_from_db()
    return snapshot


TABLES = ("ratings", "practice", "missing", "sessions", "therapies", "therapists")


def analyse(snapshot: Snapshot, folder: Path) -> Analysis:
    """A small analysis of it, as the desk makes one."""
    tables = {n: pd.read_parquet(fetch(snapshot, f"{n}.parquet", folder / f"{n}.parquet")) for n in TABLES}
    forms = [instrument.form for instrument in study_instruments(snapshot.study)]
    spec = AnalysisSpec(
        instruments={"patient": "wai-s", "therapist": "wai-s"},
        time={"name": "linear", "origin": 1.0, "unit": 1.0},
        predictors=(Predictor("trait", "flow", "dpccq-feelings-general"),),
        ranges={form.code: (form.minimum, form.maximum) for form in forms},
        therapist="intercept",
        therapy="intercept",
    )
    return Analysis.objects.create(
        study=snapshot.study,
        snapshot=snapshot,
        number=1,
        title="Flow",
        spec=spec.to_dict(),
        spec_sha256=spec.sha256,
        asked_at=timezone.now(),
        status="answered",
        result=answer(tables, spec, silent),
        finished_at=timezone.now(),
    )


def built(snapshot: Snapshot, folder: Path, tier: str = "items") -> Path:
    agreement = "signed" if tier == "items" else ""
    export = Export.objects.create(
        snapshot=snapshot, tier=tier, purpose="a test", agreement=agreement, asked_at=timezone.now()
    )
    folder.mkdir(parents=True)
    return build_bundle(export, folder, silent)


@dataclass(frozen=True)
class Made:
    """Two builds of one snapshot, unpacked; and what must not be in them."""

    first: Path
    again: Path
    root: Path
    scores: Path
    secrets: frozenset[str]
    n_ratings: int


@pytest.fixture(scope="module")
def made(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("bundle")
    with django_db_blocker.unblock(), transaction.atomic():
        snapshot = frozen_study()
        analyse(snapshot, folder)
        first = built(snapshot, folder / "first")
        again = built(snapshot, folder / "again")
        scores = built(snapshot, folder / "scores", "scores")
        people = [*Therapy.objects.all(), *Therapist.objects.all(), *Patient.objects.all()]
        secrets = {person.code for person in people} | {str(person.pk) for person in people}
        emails = set(User.objects.values_list("email", flat=True))
        n_ratings = Response.objects.filter(assignment__session__isnull=False).count()
        transaction.set_rollback(True)
    for path in (first, scores):
        with zipfile.ZipFile(path) as whole:
            whole.extractall(path.parent / "unpacked")
    yield Made(
        first,
        again,
        first.parent / "unpacked",
        scores.parent / "unpacked",
        frozenset(secrets | emails),
        n_ratings,
    )


def test_two_builds_of_a_snapshot_are_the_same_bytes(made: Made) -> None:
    assert made.first.read_bytes() == made.again.read_bytes()


def test_every_file_stands_in_the_manifest_as_it_is(made: Made) -> None:
    lines = (made.root / "MANIFEST.sha256").read_text().splitlines()
    stated = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    files = {path.relative_to(made.root).as_posix() for path in made.root.rglob("*") if path.is_file()}
    assert files == {*stated, "MANIFEST.sha256"}
    for name, digest in stated.items():
        assert hashlib.sha256((made.root / name).read_bytes()).hexdigest() == digest, name


def test_nobody_of_the_clinic_is_in_any_file(made: Made) -> None:
    for root in (made.root, made.scores):
        for path in root.rglob("*"):
            text = path.read_bytes().decode(errors="ignore") if path.is_file() else ""
            if path.suffix == ".parquet":
                text = pd.read_parquet(path).to_csv()
            found = [secret for secret in made.secrets if secret in text]
            assert found == [], path.name


def test_numbers_labels_and_missing_codes_survive_every_format(made: Made) -> None:
    data = made.root / "data"
    plain = pd.read_csv(data / "ratings.csv")
    parquet = pq.read_table(data / "ratings.parquet")
    spss, of_spss = pyreadstat.read_sav(data / "ratings.sav", user_missing=True)
    stata, of_stata = pyreadstat.read_dta(data / "ratings.dta", user_missing=True)
    assert len(plain) == parquet.num_rows == len(spss) == len(stata) == made.n_ratings
    for frame in (plain, parquet.to_pandas(), spss, stata):
        assert frame["total"].tolist() == plain["total"].tolist()
    label = parquet.schema.field("total").metadata[b"label"].decode()
    assert label.startswith("Alliance") and of_spss.column_names_to_labels["total"] == label
    assert of_stata.column_names_to_labels["total"] == label[:80]
    assert of_spss.variable_measure["item_1"] == "ordinal"
    assert of_spss.variable_value_labels["item_1"][7.0] == "Always"


def test_a_skipped_answer_is_declared_missing_in_spss_and_stata(made: Made) -> None:
    data = made.root / "data"
    plain = pd.read_csv(data / "practice.csv")
    item = next(name for name in plain if name.startswith("item_") and (plain[name] == SKIPPED).any())
    n = int((plain[item] == SKIPPED).sum())
    kept, of_spss = pyreadstat.read_sav(data / "practice.sav", user_missing=True)
    gone, _meta = pyreadstat.read_sav(data / "practice.sav")
    assert (kept[item] == SKIPPED).sum() == n and gone[item].isna().sum() >= n
    assert {row["lo"] for row in of_spss.missing_ranges[item]} == {-99, -98, -97}
    stata, of_stata = pyreadstat.read_dta(data / "practice.dta", user_missing=True)
    assert (stata[item] == "a").sum() == n
    assert of_stata.variable_value_labels[item]["a"] == "skipped"


IN_R = """
library(haven)
library(jsonlite)
shown <- function(x) {
  x <- if (inherits(x, "Date")) as.character(x) else unclass(x)
  if (is.character(x)) return(as.vector(x))
  ifelse(is.na(x), na_tag(x), sprintf("%.17g", x))
}
seen <- function(x) {
  labels <- attr(x, "labels")
  list(label = attr(x, "label"), values = shown(x), n_missing = sum(is.na(x)),
       codes = if (length(labels)) shown(labels), words = names(labels), na_values = attr(x, "na_values"))
}
paths <- commandArgs(TRUE)
read <- function(path) if (grepl("sav$", path)) read_sav(path, user_na = TRUE) else read_dta(path)
cat(toJSON(setNames(lapply(paths, function(path) lapply(read(path), seen)), basename(paths)),
           na = "null", null = "null"))
"""


@pytest.mark.slow
def test_haven_reads_numbers_labels_and_declared_missing_codes(made: Made, tmp_path: Path) -> None:
    assert shutil.which("Rscript"), "R is not installed: see `make r`"
    (tmp_path / "read.R").write_text(IN_R)
    files = sorted(path for path in (made.root / "data").iterdir() if path.suffix in (".sav", ".dta"))
    program = ["Rscript", tmp_path / "read.R", *files]
    done = subprocess.run(program, capture_output=True, text=True, timeout=120, cwd="/")
    assert done.returncode == 0, done.stderr
    in_r = json.loads(done.stdout)
    assert len(in_r) == len(files) == 18
    n_skipped = 0
    for name, columns in in_r.items():
        table = pq.read_table(made.root / "data" / f"{name[:-4]}.parquet")
        assert list(columns) == labelled.names_of(table.column_names)
        for field, column in zip(table.schema, columns.values(), strict=True):
            values = table[field.name].to_pylist()
            assert as_read(column, field.type) == as_meant(field, values, name[-3:]), (name, field.name)
            n_skipped += SKIPPED in values
    assert n_skipped >= 2, "a column with answers that were skipped, in both formats"


def as_read(column: dict[str, Any], kind: pa.DataType) -> dict[str, Any]:
    """What R says of a column."""
    codes, words = column["codes"] or [], column["words"] or []
    return {
        "label": column["label"],
        "values": [cell(value, kind) for value in column["values"]],
        "words": {cell(code, kind): text for code, text in zip(codes, words, strict=True)},
        "declared": sorted(column["na_values"] or []),
        "n_missing": column["n_missing"],
    }


def as_meant(field: pa.Field, values: list[Any], kind: str) -> dict[str, Any]:
    """What it must say by the Parquet: Stata has letters for missing answers, SPSS numbers that are declared
    missing, and neither knows a text that is not there."""
    about = {key.decode(): value.decode() for key, value in field.metadata.items()}
    codes = json.loads(about["missing_codes"])
    letters = dict(zip(codes, "abc", strict=False)) if kind == "dta" else {}
    words = {int(code): text for code, text in json.loads(about["value_labels"]).items()}
    label = about["label"].encode()[: labelled.MAX_LABEL[kind]].decode(errors="ignore").rstrip()
    missing = [value for value in values if value in codes or (value is None and field.type != pa.string())]
    return {
        "label": [label],
        "values": [cell(letters.get(value, value), field.type) for value in values],
        "words": {letters.get(code, code): text for code, text in words.items()},
        "declared": sorted(codes) if kind == "sav" else [],
        "n_missing": [len(missing)],
    }


def cell(value: Any, kind: pa.DataType) -> Any:
    if kind == pa.string():
        return value or ""
    is_letter = isinstance(value, str) and value in "abc"
    return value if value is None or is_letter else str(value) if kind == pa.date32() else float(value)


def test_the_ready_tables_hold_the_ratings_with_what_therapists_say(made: Made) -> None:
    data = made.root / "data"
    ratings, long, wide = (pd.read_csv(data / f"{name}.csv") for name in ("ratings", "long", "wide"))
    assert len(long) == len(ratings) and long["total"].sum() == pytest.approx(ratings["total"].sum())
    practice = pd.read_csv(data / "practice.csv").set_index("therapist")["flow"]
    assert long["t_flow"].tolist() == pytest.approx(practice.loc[long["therapist"]].tolist())
    assert len(wide) == ratings["therapy"].nunique()
    one = ratings[(ratings["rater"] == "patient") & (ratings["occasion"] == 2)].iloc[0]
    assert wide.set_index("therapy").loc[one["therapy"], "wai_s_p_s2_total"] == pytest.approx(one["total"])
    composites = pd.read_csv(data / "composites.csv")
    assert len(composites) == 6 and composites["flow"].between(0, 1).all()
    assert composites["healing_involvement"].isna().all(), "most of its components were never asked"


def test_hlm_reads_three_levels_sorted_by_the_same_numbers(made: Made) -> None:
    level = {
        name: pyreadstat.read_sav(made.root / "hlm" / f"{name}.sav")[0] for name in ("L1_patient", "L2", "L3")
    }
    one, two, three = level.values()
    assert one[["therapist", "therapy"]].equals(
        one[["therapist", "therapy"]].sort_values(["therapist", "therapy"])
    )
    assert set(one["therapy"]) == set(two["therapy"]) and set(two["therapist"]) == set(three["therapist"])
    assert two["therapy"].is_unique and three["therapist"].is_unique


def resources(root: Path, kind: type[Questionnaire] | type[QuestionnaireResponse]) -> list[dict[str, Any]]:
    """Those in the file of their kind, each checked against the definitions of FHIR R4B."""
    lines = (root / "fhir" / f"{kind.__name__}.ndjson").read_text(encoding="utf-8").splitlines()
    for line in lines:
        kind.model_validate_json(line)
    return [json.loads(line) for line in lines]


def given_in(resource: dict[str, Any], group: str) -> dict[str, Any]:
    """By the number of an item or the code of a scale: the value, or why there is none."""
    (rows,) = [row["item"] for row in resource["item"] if row["linkId"] == group]
    found = {}
    for row in rows:
        answer = row.get("answer", [{}])[0]
        value = answer.get("valueDecimal", int(answer.get("valueCoding", {}).get("code", SKIPPED)))
        found[row["linkId"].partition("-")[2]] = row["extension"][0]["valueCode"] if not answer else value
    return found


def test_every_form_is_a_resource_under_the_names_of_the_file(made: Made) -> None:
    forms = {row["id"]: row for row in resources(made.root, Questionnaire)}
    received = resources(made.root, QuestionnaireResponse)
    tables = {name: pd.read_csv(made.root / "data" / f"{name}.csv") for name in ("ratings", "practice")}
    assert [row["id"] for row in received] == [
        f"{name}-{line}" for name, table in tables.items() for line in range(1, len(table) + 1)
    ]
    for resource in received:
        table, line = resource["id"].split("-")
        row = tables[table].iloc[int(line) - 1]
        form = forms[resource["questionnaire"].removeprefix("urn:uuid:").partition("|")[0]]
        assert form["identifier"][0]["value"] == f"{row['instrument']}:{row['rater']}"
        assert resource["authored"] == row["submitted_on"], "the day that the file has, and no time"
        who = {name: resource[name]["identifier"] for name in ("subject", "author")}
        assert {name["system"] for name in who.values()} <= {
            f"urn:alliance-tracker:pseudonym:{kind}" for kind in ("patient", "therapist")
        }
        is_of_patient = table == "ratings"
        assert who["subject"]["value"] == row["patient" if is_of_patient else "therapist"]
        assert who["author"]["value"] == row[row["rater"]]
        for number, value in given_in(resource, "items").items():
            assert value == ("unknown" if row[f"item_{number}"] == SKIPPED else row[f"item_{number}"])
        for scale, value in given_in(resource, "scores").items():
            assert value == pytest.approx(row[scale], abs=1e-6) or (
                value == "not-applicable" and pd.isna(row[scale])
            )
    assert not (made.scores / "fhir").exists()


def test_no_form_in_a_bundle_has_its_wording(made: Made) -> None:
    for form in resources(made.root, Questionnaire):
        (items,) = [row["item"] for row in form["item"] if row["linkId"] == "items"]
        assert {row["text"] for row in items} == {f"Item {row['prefix']}" for row in items}
        assert not any("display" in option["valueCoding"] for row in items for option in row["answerOption"])


def test_a_form_of_which_nobody_knows_the_day_has_none() -> None:
    form = next(form for form in packs.built_in() if form.code == "wai-s")
    row = dict.fromkeys(["session", "patient", "therapy", "submitted_on"]) | {
        "therapist": "T1", "rater": form.rater, "instrument": form.code,
        "instrument_version": form.version, "language": form.language,
        **dict.fromkeys(scale.code for scale in form.scales),
        **{f"item_{item.number}": form.maximum for item in form.items},
    }  # fmt: skip
    forms = {(form.code, form.version, form.rater, form.language): ("1", form)}
    (resource,) = responses("ratings", 41, pd.DataFrame([row]), forms, set())
    QuestionnaireResponse.model_validate_json(json.dumps(resource))
    assert "authored" not in resource and resource["id"] == "ratings-42"


def test_the_codebooks_list_every_column_of_every_table(made: Made) -> None:
    rows = list(csv.DictReader(io.StringIO((made.root / "codebook.csv").read_text())))
    listed = {(row["table"], row["column"]) for row in rows}
    for path in (made.root / "data").glob("*.csv"):
        columns = path.read_text(encoding="utf-8").splitlines()[0].replace('"', "").split(",")
        assert {(path.stem, column) for column in columns} <= listed
    html = (made.root / "codebook.html").read_text()
    assert all(f"<code>{row['column']}</code>" in html for row in rows)
    assert "1: feedback" in html and all(row["meaning"] and row["values"] for row in rows)
    redcap = list(csv.reader(io.StringIO((made.root / "redcap_dictionary.csv").read_text())))
    assert tuple(redcap[0]) == REDCAP and {len(row) for row in redcap} == {18}
    names = [row[0] for row in redcap[1:]]
    assert len(names) == len(set(names)) == len(rows)
    described = json.loads((made.root / "dataset_description.json").read_text())
    assert {row["name"] for row in described["variableMeasured"]} == {row["column"] for row in rows}
    sidecar = json.loads((made.root / "phenotype" / "wai_patient.json").read_text())
    header = (made.root / "phenotype" / "wai_patient.tsv").read_text().splitlines()[0].split("\t")
    assert header[0] == "participant_id" and set(header) <= set(sidecar)
    assert json.loads((made.root / "datacite.json").read_text())["titles"]


def test_its_own_script_computes_every_number_again(made: Made) -> None:
    script = [sys.executable, str(made.root / "reproduce.py")]
    done = subprocess.run(script, capture_output=True, text=True, timeout=120, cwd="/")
    assert done.returncode == 0, done.stdout + done.stderr
    expected = json.loads((made.root / "expected.json").read_text())
    keys = {f"1/{model['key']}" for model in expected["analyses"][0]["models"]}
    assert len(keys) >= 5 and any(model["kind"] == "joint" for model in expected["analyses"][0]["models"])
    for key in keys:
        assert key in done.stdout


def test_scores_alone_hold_no_answer_and_no_day_and_no_numbers_of_models(made: Made) -> None:
    assert not (made.scores / "reproduce.R").exists() and not (made.scores / "models").exists()
    for path in (made.scores / "data").glob("*.csv"):
        frame = pd.read_csv(path)
        assert not [name for name in frame if name.startswith("item_") or name.endswith("_on")]
    day = re.compile(rb"20[0-9]{2}-[0-9]{2}-[0-9]{2}")
    for path in (made.scores / "data").glob("*.csv"):
        assert not day.search(path.read_bytes()), path.name
    people = [set(pd.read_csv(root / "data" / "ratings.csv")["patient"]) for root in (made.root, made.scores)]
    assert not people[0] & people[1], "two tiers cannot be joined by names"


@settings(deadline=None)
@given(strategies.lists(strategies.text(min_size=1, max_size=50), max_size=30))
def test_names_are_such_as_spss_and_stata_take(columns: list[str]) -> None:
    names = labelled.names_of(columns)
    assert len(names) == len(columns) == len({name.lower() for name in names})
    for name in names:
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,31}", name)


def test_a_cell_that_a_spreadsheet_would_run_is_text(tmp_path: Path) -> None:
    table = Table("t", "t", (Column("arm", "therapy", "text", "Arm", "text"),))
    frame = pd.DataFrame({"arm": ["=1+1", "@a", "-x", "plain", None]})
    write_table(table, iter([frame]), tmp_path)
    rows = [row["arm"] for row in csv.DictReader((tmp_path / "t.csv").read_text().splitlines())]
    assert rows == ["'=1+1", "'@a", "'-x", "plain"], "an empty line is no row to a reader of CSV"
    assert pd.read_parquet(tmp_path / "t.parquet")["arm"].tolist()[0] == "=1+1"


def test_a_codebook_runs_nothing_in_a_spreadsheet() -> None:
    """Titles of scales and labels of options are a clinic's own words."""
    options = ((0, "no | 7, maybe"), (1, "=1+1"))
    scale = Column("calm", "form", "integer", '=HYPERLINK("x"): mean', "@values", options, MISSING)
    for text in (codebook_csv([Table("t", "t", (scale,))]), redcap_csv([Table("t", "t", (scale,))])):
        for row in csv.reader(io.StringIO(text)):
            assert not [cell for cell in row if cell[:1] in ("=", "+", "-", "@", "\t", "\r", "\n") and cell]
    dictionary = list(csv.DictReader(io.StringIO(redcap_csv([Table("t", "t", (scale,))]))))
    choices = dictionary[0]["Choices, Calculations, OR Slider Labels"].split(" | ")
    assert choices[:2] == ["0, no / 7, maybe", "1, =1+1"] and len(choices) == 2 + len(MISSING)


def test_what_an_export_needed_goes_back_to_the_system() -> None:
    """Arrow's own allocator would keep it: 60 MB more of a worker that made a large file."""
    shown = "import alliance_site.celery, pyarrow; print(pyarrow.default_memory_pool().backend_name)"
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "system", done.stderr


def test_models_are_stated_for_other_programs(made: Made) -> None:
    scripts = made.root / "scripts"
    lme4 = (scripts / "lme4.R").read_text()
    assert "lmer(y ~ time * flow + (1 | therapist) + (1 | therapist:therapy)," in lme4
    nlme = (scripts / "nlme.R").read_text()
    assert "random = list(therapist = ~ 1, therapy = ~ 1)" in nlme
    spss = (scripts / "spss_mixed.sps").read_text()
    assert "MIXED y WITH flow time" in spss and "SUBJECT(therapist*therapy)" in spss
    plain = programs.files([], ["long"])
    assert "total ~ time" in plain["scripts/lme4.R"]
