"""The commands of `python -m analytics.growth`: their JSON, their exit codes, their complaints."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analytics.growth import FitResult, LongData, RandomTerm
from analytics.growth.__main__ import main
from analytics.growth.commands import DESIGN, TRUTH
from analytics.growth.compare import bootstrap_comparison
from analytics.growth.joint import JointSpec, fit_joint
from analytics.growth.results import JointResult
from analytics.growth.simulate import simulate
from tests.growth.dense import REFERENCE, models, simulated, spec_of
from tests.growth.references import joint_frame, joint_reference, likelihood_ratio_tests

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
    of_csv, of_parquet = results
    for name in ("status", "message", "n", "fingerprint", "formula"):
        assert of_csv[name] == of_parquet[name]
    for name in ("loglik", "sigma", "theta"):
        assert of_csv[name] == pytest.approx(of_parquet[name], rel=1e-10)
    for ours, theirs in zip(of_csv["fixed"], of_parquet["fixed"], strict=True):
        assert ours.pop("term") == theirs.pop("term")
        assert ours == pytest.approx(theirs, rel=1e-9)


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


def test_time_that_runs_out_ends_with_3_and_a_status(tmp_path, capsys):
    out = tmp_path / "fit.json"
    assert main(["fit", *COHORT, "--formula", "wai_p ~ time", "--seconds", "1e-9", "--json", str(out)]) == 3
    assert json.loads(out.read_text())["status"] == "timed_out"
    assert main([*JOINT, "--seconds", "1e-9", "--json", str(out)]) == 3
    assert json.loads(out.read_text())["status"] == "timed_out"
    assert capsys.readouterr().out.count("status: timed_out") == 2


@pytest.mark.parametrize("seconds", ["0", "-1", "inf", "nan", "soon"])
def test_a_time_limit_that_is_none_ends_with_2(capsys, seconds):
    with pytest.raises(SystemExit) as caught:
        main(["fit", *COHORT, "--formula", "wai_p ~ time", "--seconds", seconds])
    assert caught.value.code == 2
    assert f"--seconds: '{seconds}' is not a positive number" in capsys.readouterr().err


JOINT_COLUMNS = ["--outcome", "y", "--rater", "rater", "--session", "session", "--time", "time"]
JOINT = ["joint", "--data", str(REFERENCE / "joint_j1.csv.gz"), *JOINT_COLUMNS]


def test_joint_writes_the_whole_contract(tmp_path):
    out = tmp_path / "joint.json"
    options = ["--predictors", "anxiety, negative_reaction,flow", "--levels", "therapist, patient"]
    run = growth(*JOINT, *options, "--df", "wald", "--json", str(out))

    assert run.returncode == 0, run.stderr
    result = json.loads(out.read_text())
    reference = joint_reference()["fits"]["reml"]
    assert (result["status"], result["method"], result["df_method"]) == ("ok", "reml", "wald")
    assert result["loglik"] == pytest.approx(reference["loglik"], rel=1e-10)
    assert {"message", "deviance", "aic", "bic", "engine", "seconds"} <= result.keys()
    assert "sigma" not in result
    assert result["residual"]["sd"] == pytest.approx(
        {"P": reference["residual"]["sd_P"], "T": reference["residual"]["sd_T"]}, rel=1e-6
    )
    assert result["residual"]["rho"] == pytest.approx(reference["residual"]["rho"], rel=1e-5)
    fixed = {row["term"]: row["estimate"] for row in result["fixed"]}
    assert fixed == pytest.approx({row["term"]: row["estimate"] for row in reference["fixed"]}, abs=1e-7)
    assert [row["terms"] for row in result["random"]] == [["P", "P:time", "T", "T:time"]] * 2
    assert result["n"] == {"rows": 4171, "dropped": 0, "therapist": 80, "therapist:patient": 480}
    contrasts = {f"{row['predictor']}_{row['effect']}": row for row in result["contrasts"]}
    for row in reference["contrasts_P_minus_T"][2:]:
        assert contrasts[row["contrast"]]["estimate"] == pytest.approx(row["estimate"], abs=1e-7)
        assert contrasts[row["contrast"]]["p"] == pytest.approx(row["p"], rel=1e-4)
    assert set(contrasts["flow_level"]) == {
        *("predictor", "effect", "estimate", "se", "df", "t", "p", "p_holm", "p_bh", "lower", "upper")
    }
    assert [row["predictor"] for row in result["tests"]] == ["anxiety", "negative_reaction", "flow"]
    assert JointResult.from_dict(result).to_dict() == result
    for words in ("P:time:anxiety", "Effects on P minus T", "flow, growth", "p Holm", "Level and growth"):
        assert words in run.stdout


def test_joint_takes_its_options(tmp_path):
    out = tmp_path / "joint.json"
    options = ["--predictors", "flow", "--method", "ml", "--df", "satterthwaite", "--likelihood-ratio"]
    assert main([*JOINT, *options, "--levels", "patient", "--json", str(out)]) == 0

    spec = JointSpec("y", "rater", "session", "time", ("flow",), ("patient",), "ml", "satterthwaite")
    expected = fit_joint(joint_frame(), spec, likelihood_ratio=True)
    result = JointResult.from_dict(json.loads(out.read_text()))
    assert (result.method, result.df_method) == ("ml", "satterthwaite")
    assert result.loglik == pytest.approx(expected.loglik, rel=1e-12)
    assert result.tests[0].lr == pytest.approx(expected.tests[0].lr, rel=1e-6)
    assert result.contrasts[0].df == pytest.approx(expected.contrasts[0].df, rel=1e-6)


def test_joint_prints_the_differences_and_residuals_of_its_result(tmp_path, capsys):
    out = tmp_path / "joint.json"
    options = ["--predictors", "flow,anxiety", "--likelihood-ratio", "--json", str(out)]
    assert main([*JOINT, *options]) == 0
    result = JointResult.from_dict(json.loads(out.read_text()))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]

    assert ["Residual", "P", f"{result.residual.sd['P']:.5g}"] in lines
    assert ["T", f"{result.residual.sd['T']:.5g}", f"{result.residual.rho:.3f}"] in lines
    for row in result.contrasts:
        numbers = [f"{row.estimate:.5g}", f"{row.se:.4g}", f"{row.df:.1f}", f"{row.t:.3f}", f"{row.p:.4f}"]
        limits = [f"{row.lower:.5g}", f"{row.upper:.5g}", f"{row.p_holm:.4f}", f"{row.p_bh:.4f}"]
        assert [f"{row.predictor},", row.effect, *numbers, *limits] in lines
    for row in result.tests:
        numbers = [f"{row.F:.3f}", "2,", f"{row.df:.1f}", f"{row.p:.4f}", f"{row.lr:.3f}", f"{row.lr_p:.4f}"]
        assert [row.predictor, *numbers] in lines


def test_joint_needs_no_predictors(tmp_path, capsys):
    out = tmp_path / "joint.json"
    assert main([*JOINT, "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    assert [row["term"] for row in result["fixed"]] == ["P", "P:time", "T", "T:time"]
    assert (result["contrasts"], result["tests"]) == ([], [])
    assert "minus" not in capsys.readouterr().out


def few_ratings() -> pd.DataFrame:
    rows = joint_frame()
    return rows[rows["therapist"] <= 12]


def joint_of(tmp_path: Path, rows: pd.DataFrame, *options: str, name: str = "ratings.csv") -> dict[str, Any]:
    out = tmp_path / "joint.json"
    data = written(tmp_path, rows, name)
    assert main(["joint", "--data", data, *JOINT_COLUMNS, *options, "--json", str(out)]) in (0, 3)
    return json.loads(out.read_text()) | {"seconds": 0}


@pytest.mark.parametrize("name", ["ratings.csv", "ratings.parquet"])
def test_labels_of_the_joint_model_are_read_as_they_are_written(tmp_path, name):
    """Sessions 3 and 003 are two, and so are therapists and patients; a label may be no number at all."""
    rows = few_ratings()
    plain = joint_of(tmp_path, rows, name=name)
    texts = rows.astype({"session": str, "therapist": str, "patient": str})
    relabelled = texts.replace({"session": {"4": "003"}, "therapist": {"2": "01"}, "patient": {"2": "001"}})
    result = joint_of(tmp_path, relabelled.replace({"session": {"5": "5b"}}), name=name)

    assert {"3", "003"} < set(relabelled["session"])
    assert result["n"] == plain["n"]
    assert result["loglik"] == pytest.approx(plain["loglik"], rel=1e-11)


def test_a_session_without_a_label_is_missing(tmp_path):
    rows = few_ratings().astype({"session": str})
    rows.iloc[4, rows.columns.get_loc("session")] = ""
    assert joint_of(tmp_path, rows)["n"]["dropped"] == 1


JOINT_COMPLAINTS = {
    "one rater": (lambda rows: rows[rows["rater"] == "P"], [], "must name two raters, not 1 (P)"),
    "three raters": (
        lambda rows: rows.assign(rater=["A", *rows["rater"][1:]]),
        [],
        "must name two raters, not 3 (A, P, T)",
    ),
    "a rating twice": (
        lambda rows: pd.concat([rows, rows.iloc[[3]]]),
        [],
        "the same rater rated this session in row 4 too",
    ),
    "text for a predictor": (lambda rows: rows.assign(flow="high"), [], "predictor 'flow' must be numeric"),
    "one text in a predictor": (
        lambda rows: rows.assign(flow=["high", *rows["flow"][1:]]),
        [],
        "column 'flow', row 1: 'high' is not a number",
    ),
    "levels that are not nested": (lambda rows: rows, ["--levels", "patient,therapist"], "not nested"),
    "one column for two things": (lambda rows: rows, ["--levels", "therapist,session"], "for two things"),
    "no level": (lambda rows: rows, ["--levels", " "], "one or two random terms are needed"),
    "a comma too many": (lambda rows: rows, ["--predictors", "flow,,anxiety"], "must be one column name"),
    "no such column": (lambda rows: rows, ["--predictors", "warmth"], "there is no column 'warmth'"),
    "no session": (lambda rows: rows.drop(columns="session"), [], "there is no column 'session'"),
    "times that differ": (
        lambda rows: rows.assign(time=[*rows["time"][:3], 99.0, *rows["time"][4:]]),
        [],
        "column 'time', row 4: the two ratings of this session differ",
    ),
    "df and method": (lambda rows: rows, ["--method", "ml", "--df", "kenward-roger"], "need method reml"),
}


@pytest.mark.parametrize("case", JOINT_COMPLAINTS.values(), ids=JOINT_COMPLAINTS)
def test_joint_ends_with_2_and_one_sentence_where_something_is_wrong(tmp_path, capsys, case):
    spoil, options, complaint = case
    data = written(tmp_path, spoil(few_ratings()))
    arguments = ["joint", "--data", data, *JOINT_COLUMNS, "--predictors", "flow", *options]

    assert main(arguments) == 2
    said = capsys.readouterr()
    assert complaint in said.err
    assert (said.err.count("\n"), said.out) == (1, "")


def test_joint_ends_with_3_and_a_status_where_the_data_support_no_fit(tmp_path, capsys):
    result = joint_of(tmp_path, few_ratings().assign(y=4.0))
    assert (result["status"], result["residual"], result["contrasts"]) == ("no_variation", None, [])
    assert result["message"] in capsys.readouterr().out


FULL = "time + self_doubt + warmth + time:self_doubt + time:warmth"
FIXED_ONLY = ["--random2", "1 | therapist", "--random2", "1 + time | therapist:patient"]


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_compare_tests_a_random_effect_as_lme4s_fits_do(tmp_path, capsys, method):
    out = tmp_path / "compare.json"
    arguments = ["compare", *COHORT, "--formula", f"wai_p ~ {FULL}", *FIXED_ONLY, "--method", method]
    assert main([*arguments, "--json", str(out)]) == 0

    result = json.loads(out.read_text())
    (expected,) = (
        row
        for row in likelihood_ratio_tests("cohort_s2")
        if (row["full"], row["reduced"], row["method"]) == ("wai_p_full", "wai_p_ther_int", method)
    )
    assert (result["status"], result["method"]) == ("ok", method)
    assert result["statistic"] == pytest.approx(expected["chisq"], abs=1e-6)
    assert (result["df"], result["mixture_of_df"]) == (expected["df"], expected["mixture_of_df"])
    assert result["p"] == pytest.approx(expected["p_mixture"], rel=1e-6)
    assert result["p_naive"] == pytest.approx(expected["p_chisq"], rel=1e-6)
    fits = [models("cohort_s2")[name]["fits"][method] for name in ("wai_p_ther_int", "wai_p_full")]
    assert [result[name]["aic"] for name in ("small", "large")] == pytest.approx([f["aic"] for f in fits])
    assert result["bic_difference"] == pytest.approx(fits[1]["bic"] - fits[0]["bic"], abs=1e-6)
    assert result["bootstrap"] is None
    assert "by the mixture of chi2(1) and chi2(2)" in capsys.readouterr().out


def test_compare_takes_the_models_in_either_order_and_fixed_effects_by_ml(tmp_path, capsys):
    out = tmp_path / "compare.json"
    arguments = ["compare", *COHORT, "--formula", f"wai_p ~ {FULL}", "--formula2", "wai_p ~ time"]
    assert main([*arguments, "--json", str(out)]) == 0

    result = json.loads(out.read_text())
    full, growth_only = (models("cohort_s2")[f"wai_p_{name}"]["fits"]["ml"] for name in ("full", "growth"))
    assert (result["method"], result["df"], result["mixture_of_df"]) == ("ml", 4, [4])
    assert result["statistic"] == pytest.approx(2 * (full["loglik"] - growth_only["loglik"]), abs=1e-6)
    assert "mixture" not in capsys.readouterr().out


def test_compare_fits_both_models_to_the_rows_that_both_can_use(tmp_path):
    columns = simulated(2)
    columns["x"] = np.where(np.arange(len(columns["x"])) % 10 == 0, np.nan, columns["x"])
    data, out = written(tmp_path, columns), tmp_path / "compare.json"
    arguments = ["compare", "--data", data, "--formula", "y ~ time", "--random", "1 | therapist"]
    assert main([*arguments, "--formula2", "y ~ time + x", "--json", str(out)]) == 0

    alone = tmp_path / "fit.json"
    complete = written(tmp_path, {k: v[~np.isnan(columns["x"])] for k, v in columns.items()}, "complete.csv")
    arguments = ["fit", "--data", complete, "--formula", "y ~ time", "--random", "1 | therapist"]
    assert main([*arguments, "--method", "ml", "--json", str(alone)]) == 0
    deviance = json.loads(alone.read_text())["deviance"]
    assert json.loads(out.read_text())["small"]["deviance"] == pytest.approx(deviance, rel=1e-10)


def test_compare_reads_two_results_of_fit(tmp_path):
    paths = [str(tmp_path / name) for name in ("large.json", "small.json", "compare.json")]
    formula = ["--formula", "wai_p ~ time"]
    for path, slope in zip(paths, ("1 + time", "1"), strict=False):
        random = ["--random", f"{slope} | therapist", "--random", "1 + time | therapist:patient"]
        assert main(["fit", *COHORT[:2], *formula, *random, "--json", path]) == 0
    assert main(["compare", "--results", *paths[:2], "--json", paths[2]]) == 0
    stored = json.loads(Path(paths[2]).read_text())
    assert main(["compare", *COHORT, *formula, *FIXED_ONLY, "--json", paths[2]]) == 0
    fitted = json.loads(Path(paths[2]).read_text())
    assert stored == fitted
    assert fitted["df"] == 2


def test_compare_by_bootstrap_is_that_of_the_library(tmp_path, capsys):
    columns = simulated(3, n_therapists=8, n_patients=3)
    data, out = written(tmp_path, columns), tmp_path / "compare.json"
    arguments = ["compare", "--data", data, "--formula", "y ~ time", "--random", "1 + time | therapist"]
    options = ["--random2", "1 | therapist", "--bootstrap", "12", "--seed", "7", "--json", str(out)]
    assert main([*arguments, *options]) == 0

    large, small = (spec_of(f"y ~ time + ({slope} | therapist)") for slope in ("1 + time", "1"))
    expected = bootstrap_comparison(LongData.from_columns(columns, large), small, large, 12, 7)
    result = json.loads(out.read_text())
    assert result["bootstrap"]["p"] == pytest.approx(expected.p)
    assert result["bootstrap"]["statistics"] == pytest.approx(expected.statistics, abs=1e-6)
    assert result["bootstrap"]["seed"] == 7
    assert "from 12 of 12 simulated data sets (seed 7)" in capsys.readouterr().out


def test_compare_without_a_fit_ends_with_3_and_says_why(tmp_path, capsys):
    data, out = written(tmp_path, {**simulated(1), "y": 4.0}), tmp_path / "compare.json"
    arguments = ["compare", "--data", data, "--formula", "y ~ time", "--random", "1 | therapist"]
    assert main([*arguments, "--formula2", "y ~ time + x", "--json", str(out)]) == 3
    assert json.loads(out.read_text())["status"] == "no_variation"
    assert "every value is 4" in capsys.readouterr().out


COMPARED = ["compare", *COHORT, "--formula", "wai_p ~ time"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (COMPARED, "by --formula2 or --random2"),
        (["compare", *COHORT, "--formula2", "wai_p ~ time"], "by --formula and --random"),
        ([*COMPARED, "--formula2", "wai_p ~ time"], "same model"),
        ([*COMPARED, "--formula2", "wai_t ~ time"], "outcomes differ"),
        (
            [*COMPARED, "--formula2", "wai_p ~ warmth + self_doubt", "--bootstrap", "5"],
            "compare them by AIC or",
        ),
        ([*COMPARED, "--formula2", "wai_p ~ time * warmth", "--method", "reml"], "refit both models with"),
        ([*COMPARED, "--random2", "1 | session"], "one or two random terms"),
        ([*COMPARED, "--formula2", "wai_p ~ nothere"], "no column 'nothere'"),
        (["compare", "--results", "nothere.json", "nothere.json"], "nothere.json"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_compare_ends_with_2_and_a_reason_where_there_is_nothing_to_compare(capsys, arguments, complaint):
    assert main(arguments) == 2
    assert complaint in capsys.readouterr().err


def test_compare_reads_results_with_other_predictors_of_the_same_ratings(tmp_path):
    paths = [str(tmp_path / name) for name in ("small.json", "large.json", "compare.json")]
    for path, formula in zip(paths, ("wai_p ~ time", f"wai_p ~ {FULL}"), strict=False):
        assert main(["fit", *COHORT, "--formula", formula, "--method", "ml", "--json", path]) == 0
    assert main(["compare", "--results", *paths[:2], "--json", paths[2]]) == 0
    full, growth_only = (models("cohort_s2")[f"wai_p_{name}"]["fits"]["ml"] for name in ("full", "growth"))
    result = json.loads(Path(paths[2]).read_text())
    assert result["statistic"] == pytest.approx(2 * (full["loglik"] - growth_only["loglik"]), abs=1e-6)


def test_compare_refuses_results_of_other_ratings_and_files_that_are_no_results(tmp_path, capsys):
    paths = [tmp_path / name for name in ("all.json", "fewer.json", "other.json")]
    columns = simulated(2)
    fewer = {name: column[:-3] for name, column in columns.items()}
    for path, used, slope in zip(paths, (columns, fewer), ("1", "1 + time"), strict=False):
        data = written(tmp_path, used)
        arguments = ["fit", "--data", data, "--formula", "y ~ time", "--random", f"{slope} | therapist"]
        assert main([*arguments, "--json", str(path)]) == 0
    paths[2].write_text('{"status": "ok"}')

    assert main(["compare", "--results", *map(str, paths[:2])]) == 2
    assert "not of the same data (time differs): state --data" in capsys.readouterr().err
    assert main(["compare", "--results", *map(str, paths[1:])]) == 2
    assert "other.json is not a result" in capsys.readouterr().err
    for options in (["--bootstrap", "5"], ["--formula", "wai_p ~ time"], ["--method", "ml"]):
        assert main(["compare", "--results", *map(str, paths[:2]), *options]) == 2
        assert "compares two fits as they are" in capsys.readouterr().err


def cohort_of(tmp_path: Path, *options: str, name: str = "cohort.csv") -> pd.DataFrame:
    path = tmp_path / name
    assert main(["simulate", "--out", str(path), *options]) == 0
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)


@pytest.mark.parametrize("name", ["cohort.csv", "cohort.csv.gz", "cohort.parquet"])
def test_simulate_writes_the_cohort_of_its_truth_and_seed(tmp_path, capsys, name):
    rows = cohort_of(tmp_path, "--seed", "5", name=name)
    expected = pd.DataFrame(simulate(TRUTH, DESIGN, 5))

    pd.testing.assert_frame_equal(rows, expected, check_dtype=False, rtol=1e-14)
    assert "40 therapists, 240 patients, 1920 planned ratings, seed 5" in capsys.readouterr().out


def test_simulate_takes_its_options(tmp_path, capsys):
    options = ["--therapists", "12", "--patients", "3", "--sessions", "3, 8,15.5", "--missing", "0.3"]
    rows = cohort_of(tmp_path, *options)
    assert (rows["therapist"].nunique(), rows["patient"].nunique()) == (12, 36)
    assert sorted(rows["session"].unique()) == [3, 8, 15.5]
    assert 0.2 < rows["y"].isna().mean() < 0.4
    recorded = rows.groupby("rater")["y"].count()
    said = capsys.readouterr().out
    assert f"{recorded['P']} of 108" in said and f"{recorded['T']} of 108" in said

    own = cohort_of(tmp_path, *options, "--rater", "T")
    theirs = rows[rows["rater"] == "T"].reset_index(drop=True)
    pd.testing.assert_frame_equal(own, theirs)


def test_simulated_cohorts_can_be_fitted(tmp_path):
    """From the truth to its estimates: the residual SDs and the growth of both raters are found."""
    path, out = str(tmp_path / "cohort.csv"), tmp_path / "joint.json"
    assert main(["simulate", "--out", path, "--therapists", "60", "--seed", "2"]) == 0
    assert main(["joint", "--data", path, *JOINT_COLUMNS, "--predictors", "x", "--json", str(out)]) == 0
    result = JointResult.from_dict(json.loads(out.read_text()))
    for row in result.fixed:
        view = TRUTH.perspectives[row.term[0] == "T"]
        level, growth_ = view.effects["x"]
        truth = {"": view.intercept, "time": view.time, "x": level, "time:x": growth_}[row.term[2:]]
        assert abs(row.estimate - truth) < 4 * row.se
    assert result.residual.sd == pytest.approx({"P": 0.5, "T": 0.4}, rel=0.1)
    assert result.residual.rho == pytest.approx(0.25, abs=0.1)


TOML = """
seed = 3
therapist_cov = { sd = [0.5, 0.1], corr = [[1, -0.2], [-0.2, 1]] }
patient_cov = [[0.49, -0.04], [-0.04, 0.04]]

[[perspectives]]
rater = "P"
intercept = 5
time = 0.1
sigma = 0.5
missing = 0.1
effects = { anxiety = [-0.3, 0.1], flow = [0.0, 0.2] }
form = { minimum = 1, maximum = 7, n_items = 12 }

[design]
n_therapists = 9
n_patients = 4
sessions = [3, 8, 15, 25]
caseload = "poisson"
dropout = { hazard = 0.1, slope = -0.5, at = 4.0 }
"""


def test_a_truth_file_states_everything_and_its_json_states_it_again(tmp_path):
    truth, again = tmp_path / "truth.toml", tmp_path / "truth.json"
    truth.write_text(TOML)
    rows = cohort_of(tmp_path, "--truth", str(truth), "--json", str(again))

    assert (rows["therapist"].nunique(), set(rows["rater"])) == (9, {"P"})
    assert {"anxiety", "flow"} < set(rows)
    ratings = rows["y"].dropna()
    assert ratings.between(1, 7).all() and np.allclose(ratings * 12, np.rint(ratings * 12))
    ended = rows.sort_values("session").groupby("patient")["y"].last().isna()
    assert len(ratings) < 0.9 * len(rows) and not ended.all()
    pd.testing.assert_frame_equal(rows, cohort_of(tmp_path, "--truth", str(again)))
    pd.testing.assert_frame_equal(rows, cohort_of(tmp_path, "--truth", str(again), "--seed", "3"))
    stated = json.loads(again.read_text())
    assert stated["seed"] == 3
    assert stated["therapist_cov"][0] == pytest.approx([0.25, -0.01])
    assert stated["design"]["dropout"] == {"hazard": 0.1, "slope": -0.5, "at": 4.0, "rater": None}
    other = cohort_of(tmp_path, "--truth", str(again), "--therapists", "5", "--seed", "4")
    assert other["therapist"].nunique() == 5


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda text: text.replace("seed = 3", "seed = -3"), "seed must be a whole number from 0"),
        (lambda text: text.replace("seed = 3", "sigma = 3"), "'sigma' is not known there"),
        (lambda text: text.replace("intercept = 5\n", ""), "perspective 1: 'intercept' is missing"),
        (lambda text: text.replace("intercept = 5", 'intercept = "5"'), "intercept must be a number"),
        (lambda text: text.replace('rater = "P"', 'rater = ["P"]'), "rater must be a text"),
        (lambda text: text.replace("[3, 8, 15, 25]", '[3, "late"]'), "sessions must be a number, or numbers"),
        (lambda text: text.replace("[3, 8, 15, 25]", "3"), "design: a value is not of the right kind"),
        (lambda text: text.replace("n_patients = 4", "n_patients = [1.5, 2]"), "must be whole numbers"),
        (lambda text: text.replace("seed = 3", "seed = true"), "seed must be a whole number from 0"),
        (lambda text: text.replace("sigma = 0.5", "sigma = -1"), "sigma of rater 'P' must be positive"),
        (lambda text: text.replace("[0.0, 0.2]", "0.2"), "effects must be a table of predictors"),
        (lambda text: text.replace("[0.0, 0.2]", "[0.2]"), "must be two finite numbers"),
        (lambda text: text.replace("n_therapists = 9", "n_therapists = 9.5"), "n_therapists must be a whole"),
        (lambda text: text.replace("hazard = 0.1", "hazard = 0"), "design, dropout: hazard must be between"),
        (lambda text: text.replace("hazard = 0.1, ", ""), "design, dropout: 'hazard' is missing"),
        (
            lambda text: text.replace("sd = [0.5, 0.1], ", ""),
            "therapist_cov must be a matrix, or sd and corr",
        ),
        (lambda text: text.replace("-0.2, 1]]", "-2, 1]]"), "therapist_cov is not symmetric"),
        (lambda text: text.replace("[[perspectives]]", "[perspectives]"), "perspectives must be a list"),
        (lambda text: text.replace("[design]", "[plan]"), "'plan' is not known there"),
        (lambda text: text.replace("[design]", "[design"), "cannot be read"),
        (lambda text: "design = 3\n" + text.split("[design]")[0], "design must be a table of n_therapists"),
    ],
)
def test_a_truth_that_cannot_be_ends_with_2_and_names_the_place(tmp_path, capsys, spoil, complaint):
    truth = tmp_path / "truth.toml"
    truth.write_text(spoil(TOML))
    assert main(["simulate", "--out", str(tmp_path / "cohort.csv"), "--truth", str(truth)]) == 2
    said = capsys.readouterr().err
    assert complaint in said and "truth.toml" in said
    assert not (tmp_path / "cohort.csv").exists()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--sessions", "3,late"], "must be numbers with commas"),
        (["--sessions", "8,3"], "each later than the one before"),
        (["--missing", "1.5"], "missing of rater 'P' is a share"),
        (["--rater", "X"], "no rows of rater 'X'"),
        (["--truth", "nothere.toml"], "nothere.toml"),
        (["--out", "cohort.xlsx"], "must end in .csv"),
        (["--out", "nothere/cohort.csv"], "nothere"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_simulate_ends_with_2_and_a_reason_for_options_that_cannot_be(
    tmp_path, monkeypatch, capsys, options, complaint
):
    monkeypatch.chdir(tmp_path)
    assert main(["simulate", "--out", "cohort.csv", *options]) == 2
    assert complaint in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "option", ["--therapists=0", "--patients=2.5", "--seed=-1", "--seed=one", "--nothing=1"]
)
def test_simulate_refuses_numbers_that_are_none(capsys, option):
    with pytest.raises(SystemExit) as caught:
        main(["simulate", "--out", "cohort.csv", option])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert option.split("=")[0] in said and "_" not in said


def test_result_file_that_would_overwrite_its_data_is_refused_before_the_work(tmp_path, capsys):
    data = tmp_path / "ratings.csv"
    pd.DataFrame(simulated(1)).to_csv(data, index=False)
    before = data.read_bytes()
    for json_path, words in (
        (data, "would overwrite the file of --data"),
        (tmp_path / "no" / "a", "a folder that"),
    ):
        code = main(
            [
                "fit",
                "--data",
                str(data),
                "--formula",
                "y ~ time",
                "--random",
                "1 | therapist",
                "--json",
                str(json_path),
            ]
        )
        assert code == 2
        assert words in capsys.readouterr().err
    assert data.read_bytes() == before


def test_file_with_semicolons_is_named_as_one(tmp_path, capsys):
    data = tmp_path / "ratings.csv"
    pd.DataFrame(simulated(1)).to_csv(data, index=False, sep=";")
    assert main(["fit", "--data", str(data), "--formula", "y ~ time", "--random", "1 | therapist"]) == 2
    assert "separated by ';': save the file with commas" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("y ~ self.doubt", "letters, digits and _: rename the column"),
        ("y ~ " + "a*" * 20 + "b", "products: state fewer"),
    ],
    ids=["dot", "products"],
)
def test_formula_that_is_refused_says_what_to_do(tmp_path, capsys, formula, words):
    data = tmp_path / "ratings.csv"
    pd.DataFrame(simulated(1)).to_csv(data, index=False)
    assert main(["fit", "--data", str(data), "--formula", formula, "--random", "1 | therapist"]) == 2
    assert words in capsys.readouterr().err


def test_random_slope_without_intercept_is_written_as_in_lme4():
    assert RandomTerm.parse("-1 + time | g") == RandomTerm.parse("0 + time | g") == RandomTerm("g", ("time",))


def test_models_of_which_neither_contains_the_other_are_compared_by_aic_and_bic(tmp_path, capsys):
    data, out = tmp_path / "ratings.csv", tmp_path / "out.json"
    columns = simulated(1)
    pd.DataFrame({**columns, "z": columns["x"] ** 2}).to_csv(data, index=False)
    models = ["--formula", "y ~ time + x", "--formula2", "y ~ time + z", "--random", "1 + time | therapist"]
    assert main(["compare", "--data", str(data), *models, "--json", str(out)]) == 0
    values = json.loads(out.read_text())
    printed = capsys.readouterr().out

    assert "neither model contains the other" in values["message"]
    assert "statistic" not in values and "p" not in values
    assert values["aic_difference"] == pytest.approx(values["large"]["aic"] - values["small"]["aic"])
    assert "Likelihood ratio" not in printed and f"{values['aic_difference']:.2f}" in printed
    assert main(["compare", "--data", str(data), *models, "--method", "reml"]) == 2
    assert "refit both models with method ml" in capsys.readouterr().err


def test_limits_of_an_interval_stand_under_their_headings(tmp_path, capsys):
    data = tmp_path / "ratings.csv"
    pd.DataFrame(simulated(1)).to_csv(data, index=False)
    assert main(["fit", "--data", str(data), "--formula", "y ~ time", "--random", "1 | therapist"]) == 0
    lines = capsys.readouterr().out.splitlines()
    heading = next(line for line in lines if "Estimate" in line)
    row = next(line for line in lines if line.startswith("time"))
    lower, upper = row.split()[-2:]

    assert heading.split()[-4:] == ["2.5", "%", "97.5", "%"]
    assert float(lower) < float(row.split()[1]) < float(upper)
