"""What is planted in the demonstration clinic comes out in the study's table of it."""

import json
import subprocess
import sys
import zipfile
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

import analytics.tasks  # noqa: F401  registers the job
from analytics.models import Analysis
from surveys import jobs
from surveys.demo.build import build
from surveys.demo.parameters import SIZES

# In whose ratings: the first two in the patients' alone (negative), flow in the therapists' alone (positive).
PLANTED = {("negative_reaction", "level"), ("anxiety", "level"), ("flow", "level")}
pytestmark = [pytest.mark.django_db, pytest.mark.slow]


def run(folder: Path, script: str) -> str:
    program = "Rscript" if script.endswith(".R") else sys.executable
    return subprocess.run([program, script], cwd=folder, capture_output=True, text=True).stdout


def effect(result: dict[str, Any], key: str, term: str) -> dict[str, Any]:
    model = next(row for row in result["models"] if row["key"] == key)
    return next(row for row in model["result"]["fixed"] if row["term"] == term)


def test_what_is_planted_in_the_demonstration_comes_out_and_out_of_its_bundle_again(
    settings: Any, tmp_path: Path
) -> None:
    settings.DEMO = True
    build(SIZES["study"])
    call_command("analyse", "DEMO", later=True, once=True, stdout=StringIO())
    call_command("analyse", "DEMO", later=True, once=True, stdout=StringIO())
    analysis = Analysis.objects.get()
    jobs.run_due(60, is_long=True)
    analysis.refresh_from_db()
    result = analysis.result
    for name in ("negative_reaction", "anxiety"):
        own = effect(result, "patient.conditional", name)
        assert own["upper"] < 0, name
        other = effect(result, "therapist.conditional", name)
        assert other["lower"] < 0 < other["upper"], name
    assert effect(result, "therapist.conditional", "flow")["lower"] > 0
    own = effect(result, "patient.conditional", "flow")
    assert own["lower"] < 0 < own["upper"]
    joint = next(row for row in result["models"] if row["key"] == "joint")["result"]
    differences = {(row["predictor"], row["effect"]): row for row in joint["contrasts"]}
    for name, row in differences.items():
        assert (row["p_holm"] < 0.05) == (name in PLANTED), name
    assert all(differences[name]["estimate"] < 0 for name in PLANTED)
    bundle = tmp_path / "bundle.zip"
    call_command("export_bundle", "DEMO", out=bundle, stdout=StringIO())
    zipfile.ZipFile(bundle).extractall(tmp_path)
    assert " passed, 0 failed." in run(tmp_path, "reproduce.R")
    expected = json.loads((tmp_path / "expected.json").read_text())
    changed = next(row for row in expected["analyses"][0]["models"] if row["key"] == "joint")
    next(row for row in changed["result"]["contrasts"] if row["predictor"] == "anxiety")["estimate"] += 0.001
    (tmp_path / "expected.json").write_text(json.dumps(expected))
    (failed,) = [line for line in run(tmp_path, "reproduce.py").splitlines() if line.startswith("FAIL")]
    assert "anxiety:level estimate" in failed
    printed = StringIO()
    call_command("analyse", "DEMO", stdout=printed)
    assert "Negative personal reaction" in printed.getvalue() and "p (Holm)" in printed.getvalue()
