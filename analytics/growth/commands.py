"""What each command does: files and options in, an answer out.

A truth file (JSON or TOML) states a cohort in the words of `simulate`: the fields of `Truth`, with those of
`Perspective` for each rater, and under `design` those of `StudyDesign`; a covariance matrix may be given as
SDs and correlations.  In TOML:

    therapist_cov = { sd = [0.4, 0.1], corr = [[1, -0.2], [-0.2, 1]] }
    patient_cov = [[0.49, -0.04], [-0.04, 0.04]]
    perspectives = [{ rater = "P", intercept = 5.2, time = 0.1, sigma = 0.5, effects = { x = [-0.2, 0.0] } }]
    design = { n_therapists = 40, n_patients = 6, sessions = [3, 12, 20, 40] }
"""

from __future__ import annotations

import argparse
import gzip
import json
import tomllib
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar, get_args

import pandas as pd

from .compare import bootstrap_comparison, compare, criteria, is_nested
from .data import LongData
from .engine import fit
from .errors import DataError, SpecError
from .joint import JointSpec, fit_joint
from .report import comparison_report, criteria_report, simulation_report, text_report
from .results import FitResult, Status
from .simulate import (
    Columns,
    Dropout,
    Form,
    Perspective,
    StudyDesign,
    Truth,
    covariance,
    rows_of,
    simulate,
)
from .spec import GrowthSpec, Method, RandomTerm

EXIT_DONE, EXIT_WRONG, EXIT_UNFITTED = 0, 2, 3

TRUTH = Truth(
    perspectives=(
        Perspective("P", intercept=5.2, time=0.10, sigma=0.50, effects={"x": (-0.20, -0.04)}),
        Perspective("T", intercept=4.9, time=0.15, sigma=0.40, effects={"x": (-0.05, 0.00)}),
    ),
    therapist_cov=covariance(
        (0.40, 0.10, 0.45, 0.12),
        [[1, -0.2, 0.3, 0.0], [-0.2, 1, 0.0, 0.4], [0.3, 0.0, 1, -0.2], [0.0, 0.4, -0.2, 1]],
    ),
    patient_cov=covariance(
        (0.65, 0.18, 0.45, 0.15),
        [[1, -0.3, 0.4, -0.1], [-0.3, 1, 0.0, 0.4], [0.4, 0.0, 1, -0.2], [-0.1, 0.4, -0.2, 1]],
    ),
    rho=0.25,
)
DESIGN = StudyDesign(n_therapists=40, n_patients=6)


@dataclass(frozen=True)
class Answer:
    """What a command has to say: as text, as values for JSON, and as exit code."""

    text: str
    values: dict[str, Any]
    exit_code: int


def run_fit(options: argparse.Namespace) -> Answer:
    """One growth model of one outcome."""
    spec = GrowthSpec.from_formula(options.formula, options.random, method=options.method, df=options.df)
    frame = read_table(options.data, spec.groups)
    return _of_result(fit(LongData.from_columns(frame, spec), spec, seconds=options.seconds))


def run_joint(options: argparse.Namespace) -> Answer:
    """The joint model of both raters."""
    spec = JointSpec(
        options.outcome,
        options.rater,
        options.session,
        options.time,
        _names(options.predictors),
        _names(options.levels),
        options.method,
        options.df,
    )
    frame = read_table(options.data, (*spec.levels, *spec.labels))
    _require_highest_first(frame, spec.levels)
    return _of_result(
        fit_joint(frame, spec, likelihood_ratio=options.likelihood_ratio, seconds=options.seconds)
    )


def run_compare(options: argparse.Namespace) -> Answer:
    """Likelihood ratio test of two nested models, from the data or from two stored results."""
    if options.results is not None:
        stated = (options.formula, options.random, options.formula2, options.random2, options.method)
        if any(stated) or options.bootstrap is not None:
            raise SpecError(
                "--results compares two fits as they are, without formulas, --method and --bootstrap: "
                "for these state --data and both models"
            )
        first, second = (_stored_result(path) for path in options.results)
        shared = first.fingerprints.keys() & second.fingerprints.keys()
        astray = sorted(name for name in shared if first.fingerprints[name] != second.fingerprints[name])
        if astray:
            raise SpecError(
                f"the two results are not of the same data ({astray[0].removeprefix('| ')} differs): state "
                "--data and both models, so that both are fitted to the rows that both can use"
            )
        return _of_comparison([(first, None), (second, None)], None, options)
    if options.formula is None or not options.random or not (options.formula2 or options.random2):
        raise SpecError(
            "state the first model by --formula and --random, and by --formula2 or --random2 what is "
            "different in the second"
        )
    method: Method = options.method or ("ml" if options.formula2 else "reml")
    specs = [
        GrowthSpec.from_formula(formula, random, method=method, df="wald")
        for formula, random in (
            (options.formula, options.random),
            (options.formula2 or options.formula, options.random2 or options.random),
        )
    ]
    whole = _of_both(*specs)
    data = LongData.from_columns(read_table(options.data, whole.groups), whole)
    return _of_comparison([(fit(data, spec), spec) for spec in specs], data, options)


def run_simulate(options: argparse.Namespace) -> Answer:
    """A cohort drawn from a stated truth, written as a table."""
    truth, design, seed = TRUTH, DESIGN, 0
    if options.truth is not None:
        truth, design, seed = _read_truth(options.truth)
    changes = {"n_therapists": options.therapists, "n_patients": options.patients}
    if options.sessions is not None:
        changes["sessions"] = _numbers(options.sessions)
    design = replace(design, **{name: value for name, value in changes.items() if value is not None})
    if options.missing is not None:
        views = tuple(replace(view, missing=options.missing) for view in truth.perspectives)
        truth = replace(truth, perspectives=views)
    seed = seed if options.seed is None else options.seed
    columns = simulate(truth, design, seed)
    if options.rater is not None:
        columns = rows_of(columns, options.rater)
    _write_table(options.out, columns)
    values = {**asdict(truth), "design": asdict(design), "seed": seed}
    return Answer(simulation_report(columns, truth, seed), values, EXIT_DONE)


def read_table(path: Path, labels: Sequence[str]) -> pd.DataFrame:
    """The file's columns, those of `labels` as they are written (007 is not 7).

    Raises DataError for a file that cannot be read, OSError for one that is not there.
    """
    try:
        if path.name.endswith((".csv", ".csv.gz")):
            return _read_csv(path, labels)
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
    except (ValueError, EOFError, zlib.error, gzip.BadGzipFile, pd.errors.ParserWarning) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    raise DataError(f"{path}: the name must end in .csv, .csv.gz or .parquet")


def _read_csv(path: Path, labels: Sequence[str]) -> pd.DataFrame:
    """Refuses what pandas would mend silently: rows longer than the header shift every column, and of two
    columns with one name only the first would be used."""
    names = pd.read_csv(path, header=None, nrows=1, dtype=str, encoding="utf-8-sig").iloc[0].tolist()
    if len(names) == 1 and ";" in str(names[0]):
        raise DataError(f"{path}: the columns are separated by ';': save the file with commas")
    doubled = sorted({str(name) for name in names if names.count(name) > 1})
    if doubled:
        raise DataError(f"{path}: column {doubled[0]!r} stands twice in the header", column=doubled[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            path,
            dtype=dict.fromkeys(labels, str),
            encoding="utf-8-sig",
            index_col=False,
            low_memory=False,
        )


def _write_table(path: Path, columns: Columns) -> None:
    frame = pd.DataFrame(columns)
    if path.name.endswith((".csv", ".csv.gz")):
        frame.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    else:
        raise DataError(f"{path}: the name must end in .csv, .csv.gz or .parquet")


def _of_result(result: FitResult) -> Answer:
    exit_code = EXIT_DONE if result.is_fitted else EXIT_UNFITTED
    return Answer(text_report(result), result.to_dict(), exit_code)


def _names(text: str) -> tuple[str, ...]:
    """`"a, b"` as names; nothing is no name."""
    return tuple(part.strip() for part in text.split(",")) if text.strip() else ()


def _numbers(text: str) -> tuple[float, ...]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise SpecError(f"--sessions {text!r} must be numbers with commas between them") from error
    return tuple(int(number) if number.is_integer() else number for number in numbers)


def _require_highest_first(frame: pd.DataFrame, levels: Sequence[str]) -> None:
    """Raises SpecError where levels are certainly the wrong way round: each unit of the first lies in one of
    the second, which holds several."""
    if len(levels) != 2 or not set(levels) <= set(frame.columns):
        return
    high, low = levels
    pairs = frame[[high, low]].dropna().drop_duplicates()
    if pairs[high].is_unique and not pairs[low].is_unique:
        raise SpecError(
            f"levels {high!r}, {low!r} are not nested in this order: each {high!r} lies in one {low!r}, so "
            f"state {low},{high}"
        )


def _of_both(first: GrowthSpec, second: GrowthSpec) -> GrowthSpec:
    """A spec of the columns and levels of both, so that both are fitted to the same rows."""
    if first.outcome != second.outcome:
        raise SpecError(f"the outcomes differ, {first.outcome!r} and {second.outcome!r}: compare within one")
    columns: dict[str, dict[str, None]] = {}
    for term in (*first.random, *second.random):
        columns.setdefault(term.group, {}).update(dict.fromkeys(term.columns))
    random = tuple(RandomTerm(group, tuple(names)) for group, names in columns.items())
    return GrowthSpec(first.outcome, f"{first.fixed} + {second.fixed}", random)


def _stored_result(path: Path) -> FitResult:
    try:
        result = FitResult.from_dict(json.loads(path.read_text(encoding="utf-8")))
        numbers = (result.loglik, result.deviance, result.aic, result.bic) if result.is_fitted else ()
        if result.status not in get_args(Status) or not all(isinstance(x, float) for x in numbers):
            raise ValueError("status or likelihood")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not a result that `fit --json` wrote") from error
    return result


def _of_comparison(
    models: list[tuple[FitResult, GrowthSpec | None]], data: LongData | None, options: argparse.Namespace
) -> Answer:
    """Answer for two fits in either order; their specs and data are needed for the bootstrap alone."""
    for result, _ in models:
        if not result.is_fitted:
            reason = {"status": result.status, "message": f"{result.formula}: {result.message}"}
            return Answer(text_report(result), reason, EXIT_UNFITTED)
    # The larger model has more parameters: those of the fixed effects, and theta.
    models = sorted(models, key=lambda model: len(model[0].fixed) + len(model[0].theta))
    (small, small_spec), (large, large_spec) = models
    if not is_nested(small, large) and options.bootstrap is None:
        found = criteria(small, large)
        why = "neither model contains the other: AIC and BIC alone can be compared"
        return Answer(
            criteria_report(found, why), {"status": "ok", "message": why, **found.to_dict()}, EXIT_DONE
        )
    comparison, bootstrap = compare(small, large), None
    if options.bootstrap is not None and data is not None and small_spec and large_spec:
        bootstrap = bootstrap_comparison(data, small_spec, large_spec, options.bootstrap, options.seed)
    values: dict[str, Any] = {"status": "ok", "message": "", **comparison.to_dict(), "bootstrap": None}
    if bootstrap is not None:
        values["bootstrap"] = {k: v for k, v in bootstrap.to_dict().items() if k != "comparison"}
    return Answer(comparison_report(comparison, bootstrap), values, EXIT_DONE)


Kind = TypeVar("Kind", Truth, Perspective, Form, StudyDesign, Dropout)


def _read_truth(path: Path) -> tuple[Truth, StudyDesign, int]:
    """Truth, design and seed of a truth file; raises DataError, with the place, where it states none."""
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except ValueError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise DataError(f"{path}: a truth is a table of names and values")
    seed = values.pop("seed", 0)
    if not _is_whole(seed) or seed < 0:
        raise DataError(f"{path}: seed must be a whole number from 0, not {seed!r}")
    design = _stated(StudyDesign, values.pop("design", asdict(DESIGN)), f"{path}: design")
    views = values.get("perspectives")
    if not isinstance(views, list):
        raise DataError(f"{path}: perspectives must be a list, one table a rater")
    values["perspectives"] = [
        _stated(Perspective, view, f"{path}: perspective {i + 1}") for i, view in enumerate(views)
    ]
    for name in ("therapist_cov", "patient_cov"):
        if isinstance(values.get(name), dict):
            try:
                values[name] = covariance(**values[name])
            except (TypeError, ValueError) as error:
                raise DataError(f"{path}: {name} must be a matrix, or sd and corr ({error})") from error
    return _stated(Truth, values, str(path)), design, seed


def _stated(kind: type[Kind], values: Any, where: str) -> Kind:
    """An object of the fields in `values`; raises DataError for fields that are not its own, or missing."""
    known = {field.name: field for field in fields(kind)}
    if not isinstance(values, dict):
        raise DataError(f"{where} must be a table of {', '.join(known)}")
    strange = [name for name in values if name not in known]
    if strange:
        raise DataError(f"{where}: {strange[0]!r} is not known there (known: {', '.join(known)})")
    missing = [
        name
        for name, field in known.items()
        if name not in values and field.default is MISSING and field.default_factory is MISSING
    ]
    if missing:
        raise DataError(f"{where}: {missing[0]!r} is missing")
    values = {name: _tuples(value) for name, value in values.items()}
    if values.get("form") is not None:
        values["form"] = _stated(Form, values["form"], f"{where}, form")
    if values.get("dropout") is not None:
        values["dropout"] = _stated(Dropout, values["dropout"], f"{where}, dropout")
    for name, value in values.items():
        _require_kind(name, value, where)
    try:
        return kind(**values)
    except SpecError as error:
        raise DataError(f"{where}: {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{where}: a value is not of the right kind ({error})") from error


def _require_kind(name: str, value: Any, where: str) -> None:
    """Raises DataError for a value that is no text, no whole number or no number, where it must be one."""
    if name in ("rater", "caseload"):
        right, what = value is None or isinstance(value, str), "a text"
    elif name in ("n_therapists", "n_items"):
        right, what = value is None or _is_whole(value), "a whole number"
    elif name == "n_patients" and isinstance(value, tuple):
        right, what = all(_is_whole(number) for number in value), "whole numbers"
    elif name == "effects":
        right = isinstance(value, dict) and all(
            isinstance(v, tuple) and _are_numbers(v) for v in value.values()
        )
        what = "a table of predictors, each with two numbers: level, growth"
    elif name in ("perspectives", "form", "dropout"):
        return
    else:
        right, what = value is None or _are_numbers(value), "a number, or numbers"
    if not right:
        raise DataError(f"{where}: {name} must be {what}, not {value!r}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_numbers(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(_are_numbers(item) for item in value)
    return _is_whole(value) or isinstance(value, float)


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _tuples(item) for name, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, (list, tuple)) else value
