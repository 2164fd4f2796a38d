"""The command `python -m analytics.growth fit`: its JSON, its exit codes, its complaints."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analytics.growth import FitResult
from analytics.growth.__main__ import main
from tests.growth.dense import REFERENCE, models, simulated

ROOT = Path(__file__).parents[2]
COHORT = [
    *("--data", str(REFERENCE / "cohort_s2.csv.gz")),
    *("--random", "1 + time | therapist", "--random", "1 + time | therapist:patient"),
]


def growth(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "analytics.growth", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def written(tmp_path: Path, columns: dict[str, object], name: str = "ratings.csv") -> str:
    path = tmp_path / name
    frame = pd.DataFrame(columns)
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    return str(path)


def test_fit_writes_the_whole_contract(tmp_path):
    out = tmp_path / "fit.json"
    run = growth("fit", *COHORT, "--formula", "wai_p ~ time * self_doubt + time * warmth", "--json", str(out))

    assert run.returncode == 0, run.stderr
    result = json.loads(out.read_text())
    reference = models("cohort_s2")["wai_p_full"]["fits"]["reml"]
    assert (result["status"], result["method"], result["df_method"]) == ("ok", "reml", "kenward-roger")
    assert result["loglik"] == pytest.approx(reference["loglik"], rel=1e-9)
    assert result["deviance"] == pytest.approx(-2 * reference["loglik"], rel=1e-9)
    assert result["n"] == {"rows": 1173, "dropped": 203, "therapist": 45, "therapist:patient": 322}
    fixed = {row["term"]: row for row in result["fixed"]}
    assert fixed.keys() == {"Intercept", "time", "self_doubt", "warmth", "time:self_doubt", "time:warmth"}
    for row in reference["kenward_roger"]:
        assert fixed[row["term"]]["se"] == pytest.approx(row["se"], rel=1e-5)
        assert fixed[row["term"]]["df"] == pytest.approx(row["df"], rel=1e-4)
    assert set(fixed["time"]) == {"term", "estimate", "se", "df", "t", "p", "lower", "upper"}
    assert [(row["group"], row["terms"]) for row in result["random"]] == [
        ("therapist", ["Intercept", "time"]),
        ("therapist:patient", ["Intercept", "time"]),
    ]
    expected = {row["group"]: row for row in reference["random"]}["therapist"]
    assert result["random"][0]["sd"] == pytest.approx(expected["sd"], rel=1e-5)
    correlation = expected["cov"][0][1] / np.prod(expected["sd"])
    assert result["random"][0]["corr"][0][1] == pytest.approx(correlation, rel=1e-5)
    assert {"message", "aic", "bic", "sigma", "engine", "seconds"} <= result.keys()
    assert FitResult.from_dict(result).to_dict() == result
    assert "time:self_doubt" in run.stdout


def test_options_choose_method_and_df(tmp_path):
    out = tmp_path / "fit.json"
    options = ["--method", "ml", "--df", "wald", "--json", str(out)]
    run = growth("fit", *COHORT, "--formula", "wai_t ~ time", *options)

    assert run.returncode == 0, run.stderr
    result = json.loads(out.read_text())
    assert (result["method"], result["df_method"]) == ("ml", "wald")
    reference = models("cohort_s2")["wai_t_growth"]["fits"]["ml"]
    assert result["loglik"] == pytest.approx(reference["loglik"], rel=1e-9)
    assert result["fixed"][0]["df"] is None


def test_singular_fit_is_a_fit(tmp_path):
    out = tmp_path / "fit.json"
    run = growth(
        *("fit", "--data", str(REFERENCE / "wafer.csv.gz"), "--formula", "current ~ voltage + I(voltage^2)"),
        *("--random", "1 + voltage | Wafer", "--random", "1 + voltage | Wafer:Site", "--json", str(out)),
    )

    assert run.returncode == 0, run.stderr
    result = json.loads(out.read_text())
    reference = models("wafer")["quadratic"]["fits"]["reml"]
    assert result["status"] == "singular"
    assert "Wafer:Site" in result["message"]
    assert result["loglik"] == pytest.approx(reference["loglik"], rel=1e-9)
    assert [row["term"] for row in result["fixed"]] == ["Intercept", "voltage", "I(voltage^2)"]


def test_parquet_is_read_like_csv(tmp_path):
    columns = simulated(1)
    results = []
    for name in ("ratings.csv", "ratings.parquet"):
        out = tmp_path / f"{name}.json"
        arguments = ["fit", "--data", written(tmp_path, columns, name), "--formula", "y ~ time"]
        random = ["--random", "time || therapist", "--random", "1 | therapist:patient"]
        assert main([*arguments, *random, "--json", str(out)]) == 0
        results.append(json.loads(out.read_text()) | {"seconds": 0})
    assert results[0]["fingerprint"] == results[1]["fingerprint"]
    assert results[0] == results[1]


def test_labels_are_read_as_they_are_written(tmp_path):
    """Therapists 07 and 7 are two."""
    columns = simulated(1, n_therapists=4)
    columns["therapist"] = np.array(["07", "7", "8", "9"], dtype=object)[columns["therapist"]]
    out = tmp_path / "fit.json"
    arguments = ["fit", "--data", written(tmp_path, columns), "--formula", "y ~ time"]
    assert main([*arguments, "--random", "1 | therapist", "--json", str(out)]) == 0
    assert json.loads(out.read_text())["n"]["therapist"] == 4


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"y": 4.0}, "no_variation"),
        ({"y": float("nan")}, "insufficient_data"),
        ({"therapist": "only"}, "insufficient_data"),
    ],
    ids=["constant outcome", "all missing", "one therapist"],
)
def test_data_that_support_no_fit_end_with_3_and_a_status(tmp_path, change, status):
    out = tmp_path / "fit.json"
    data = written(tmp_path, {**simulated(1), **change})
    run = growth(
        *("fit", "--data", data, "--formula", "y ~ time"),
        *("--random", "1 + time | therapist", "--random", "1 | therapist:patient", "--json", str(out)),
    )

    assert run.returncode == 3, run.stderr
    result = json.loads(out.read_text())
    assert result["status"] == status
    assert result["message"] in run.stdout
    assert (result["loglik"], result["sigma"], result["fixed"], result["random"]) == (None, None, [], [])


def test_text_where_a_number_is_needed_is_named_by_column_and_row(tmp_path):
    columns = simulated(1)
    columns["y"] = columns["y"].astype(object)
    columns["y"][6] = "5,4"
    data = written(tmp_path, columns)
    run = growth("fit", "--data", data, "--formula", "y ~ time", "--random", "1 | therapist")

    assert run.returncode == 2
    assert "column 'y', row 7: '5,4' is not a number" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("formula", "random", "complaint"),
    [
        ("y ~ time + nothere", "1 | therapist", "no column 'nothere'"),
        ("y ~ time", "1 | nothere", "no column 'nothere'"),
        ("y ~ time + late", "1 | therapist", "column 'late' is a linear combination of 'Intercept', 'time'"),
        ("y ~ time +", "1 | therapist", "cannot be evaluated"),
        ("y = time", "1 | therapist", "must read 'outcome ~ terms'"),
        ("y ~ time", "1 + time", "must read 'terms | group'"),
        ("y ~ __import__(time)", "1 | therapist", "'__import__'"),
    ],
)
def test_wrong_arguments_and_data_end_with_2_and_a_reason(tmp_path, capsys, formula, random, complaint):
    columns = simulated(1)
    columns["late"] = 3 * columns["time"] - 2
    data = written(tmp_path, columns)

    assert main(["fit", "--data", data, "--formula", formula, "--random", random]) == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("name", ["nothere.csv", "ratings.xlsx", "broken.parquet", "empty.csv"])
def test_file_that_cannot_be_read_ends_with_2(tmp_path, capsys, name):
    path = tmp_path / name
    if name != "nothere.csv":
        path.write_bytes(b"" if name == "empty.csv" else b"not a table")

    assert main(["fit", "--data", str(path), "--formula", "y ~ time", "--random", "1 | therapist"]) == 2
    assert name in capsys.readouterr().err


def test_missing_argument_ends_with_2():
    run = growth("fit", "--formula", "y ~ time")
    assert (run.returncode, "--data" in run.stderr) == (2, True)


def test_choices_that_do_not_exist_or_go_together_end_with_2(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["fit", *COHORT, "--formula", "wai_p ~ time", "--method", "mcmc"])
    assert caught.value.code == 2
    options = ["--method", "ml", "--df", "kenward-roger"]
    assert main(["fit", *COHORT, "--formula", "wai_p ~ time", *options]) == 2
    assert "need method reml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (
            ["y,time,g", *(f"5.4,{i},{i % 4},0" for i in range(16))],
            "Length of header or names does not match",
        ),
        (["y,y,time,g", *(f"5.4,1,{i},{i % 4}" for i in range(16))], "column 'y' stands twice in the header"),
    ],
)
def test_a_file_whose_columns_would_shift_or_hide_is_refused(tmp_path, capsys, lines, complaint):
    path = tmp_path / "shifted.csv"
    path.write_text("\n".join(lines) + "\n")
    arguments = ["fit", "--data", str(path), "--formula", "y ~ time", "--random", "1 | g"]
    assert main(arguments) == 2
    assert complaint in capsys.readouterr().err


def test_a_comma_at_the_end_of_each_row_shifts_nothing(tmp_path, capsys):
    path = tmp_path / "trailing.csv"
    rows = [f"{5 + (i * 7 % 5) / 3},{i // 4},{i % 4}," for i in range(24)]
    path.write_text("\n".join(["y,time,g,", *rows]) + "\n")
    assert main(["fit", "--data", str(path), "--formula", "y ~ time", "--random", "1 | g"]) in (0, 3)
    assert "24" in capsys.readouterr().out


def test_a_packed_file_that_was_cut_off_is_refused(tmp_path, capsys):
    path = tmp_path / "cut.csv.gz"
    path.write_bytes((REFERENCE / "cohort_s2.csv.gz").read_bytes()[:300])
    assert main(["fit", "--data", str(path), "--formula", "y ~ time", "--random", "1 | g"]) == 2
    assert "cannot be read" in capsys.readouterr().err
