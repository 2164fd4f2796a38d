"""The scripts of a bundle compute its numbers again, independently of the engine, and notice a wrong one."""

import copy
import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from analytics.growth import GrowthSpec, JointSpec, LongData, fit, fit_joint
from analytics.growth.commands import DESIGN, TRUTH
from analytics.growth.simulate import rows_of, simulate

SCRIPTS = Path(__file__).resolve().parents[2] / "analytics" / "export" / "scripts"
RANDOM = ("1 + time | therapist", "1 + time | therapist:therapy")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as an unzipped bundle has it, with a model of one rater and the joint one."""
    root = tmp_path_factory.mktemp("bundle")
    (root / "models").mkdir()
    frame = pd.DataFrame(simulate(TRUTH, replace(DESIGN, n_therapists=16, n_patients=4), 5)).rename(
        columns={"patient": "therapy"}
    )
    frame["arm"] = (frame["therapist"] % 2).map({0: "long", 1: "short"})
    own = pd.DataFrame({name: frame[name] for name in frame}).pipe(
        lambda rows: pd.DataFrame(rows_of({name: rows[name].to_numpy() for name in rows}, "P"))
    )
    spec = GrowthSpec.from_formula("y ~ time * x + arm", RANDOM)
    singular = GrowthSpec.from_formula("y ~ time", ("1 | therapist", "1 || therapist:therapy"), method="ml")
    joint = JointSpec("y", "rater", "session", "time", ("x",), ("therapist", "therapy"))
    models = []
    for key, rows, kind, result in (
        ("patient", own, "growth", fit(LongData.from_columns(own, spec), spec)),
        ("patient.plain", own, "growth", fit(LongData.from_columns(own, singular), singular)),
        ("joint", frame, "joint", fit_joint(frame, joint)),
    ):
        assert result.is_fitted
        rows.to_csv(root / "models" / f"1-{key}.csv", index=False)
        names = {"rater": "rater", "session": "session", "time": "time", "predictors": ["x"]}
        models.append(
            {
                "key": key,
                "kind": kind,
                "formula": result.formula,
                "outcome": "y",
                "method": result.method,
                "joint": names if kind == "joint" else None,
                "data": f"models/1-{key}.csv",
                "result": result.to_dict(),
            }
        )
    found = models[-1]["result"]["contrasts"][0]
    cell = {
        "name": "x, level, difference",
        "value": found["estimate"],
        "model": "1/joint",
        "path": ["contrasts", "x:level", "estimate"],
    }
    expected = {
        "format": 1,
        "tolerance": 1e-4,
        "analyses": [{"number": 1, "models": models}],
        "tables": [{"code": "t", "version": 1, "cells": [cell]}],
    }
    (root / "expected.json").write_text(json.dumps(expected))
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  models/{path.name}\n"
        for path in sorted((root / "models").iterdir())
    ]
    (root / "MANIFEST.sha256").write_text("".join(lines))
    for name in ("reproduce.py", "reproduce.R"):
        shutil.copy(SCRIPTS / name, root / name)
    return root


@pytest.fixture
def changed(bundle: Path, tmp_path: Path) -> Path:
    shutil.copytree(bundle, tmp_path / "changed")
    return tmp_path / "changed"


def run(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable] if script.endswith(".py") else ["Rscript"]
    return subprocess.run([*program, folder / script], capture_output=True, text=True, timeout=300, cwd="/")


def script_of(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("reproduce", folder / "reproduce.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_python_script_passes_every_number_of_an_untouched_bundle(bundle: Path) -> None:
    done = run(bundle, "reproduce.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAIL" not in done.stdout and done.stdout.count("PASS") > 100
    assert "Table t, version 1" in done.stdout


def leaves_of(tree: dict[str, Any], *path: str) -> Iterator[tuple[str, ...]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from leaves_of(value, *path, name)
        elif value is not None:
            yield *path, name


def test_each_single_number_is_looked_at(bundle: Path) -> None:
    """Of every number that a model states, another one in its place would not pass."""
    script = script_of(bundle)
    expected = json.loads((bundle / "expected.json").read_text())
    for stated in expected["analyses"][0]["models"]:
        computed = script.numbers_of(script.Model(stated))
        numbers = script.stated_of(stated["result"])
        assert len(list(leaves_of(numbers))) >= 20
        for path in leaves_of(numbers):
            value, found = script.at_path(numbers, path), script.at_path(computed, path)
            assert script.agrees(path[-1], value, found, 1e-4), path
            assert not script.agrees(path[-1], value * 1.002 + 0.002, found, 1e-4), path


CHANGES = (
    ("analyses", 0, "models", 0, "result", "fixed", 1, "estimate"),
    ("analyses", 0, "models", 2, "result", "contrasts", 1, "p_holm"),
    ("tables", 0, "cells", 0, "value"),
)


def test_each_changed_number_and_each_changed_file_fails(changed: Path) -> None:
    expected = json.loads((changed / "expected.json").read_text())
    for place in CHANGES:
        at: Any = expected
        for key in place[:-1]:
            at = at[key]
        at[place[-1]] = at[place[-1]] * 1.01 + 0.001
    (changed / "expected.json").write_text(json.dumps(expected))
    file = changed / "models" / "1-patient.plain.csv"
    file.write_text(file.read_text() + "\n")
    done = run(changed, "reproduce.py")
    assert done.returncode == 1 and done.stdout.count("FAIL") == len(CHANGES) + 1
    assert "FAIL  models/1-patient.plain.csv is not the file" in done.stdout


def test_a_model_without_numbers_is_no_failure_and_alone_no_success(changed: Path) -> None:
    expected = json.loads((changed / "expected.json").read_text())
    models = expected["analyses"][0]["models"]
    models[:] = [copy.deepcopy(models[0])]
    models[0]["result"] |= {"status": "insufficient_data", "fixed": [], "random": []}
    expected["tables"] = []
    (changed / "expected.json").write_text(json.dumps(expected))
    done = run(changed, "reproduce.py")
    assert "NONE  1/patient: insufficient_data" in done.stdout and done.returncode == 1


@pytest.mark.slow
def test_r_and_lme4_pass_the_same_numbers_and_notice_a_wrong_one(bundle: Path, changed: Path) -> None:
    if shutil.which("Rscript") is None:
        pytest.skip("R is not installed: see `make r`")
    done = run(bundle, "reproduce.R")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAIL" not in done.stdout and "lme4 time:x" in done.stdout
    assert done.stdout.count("PASS") > run(bundle, "reproduce.py").stdout.count("PASS")
    expected = json.loads((changed / "expected.json").read_text())
    expected["analyses"][0]["models"][2]["result"]["residual"]["rho"] += 0.001
    (changed / "expected.json").write_text(json.dumps(expected))
    again = run(changed, "reproduce.R")
    assert again.returncode == 1 and again.stdout.count("FAIL") == 1
