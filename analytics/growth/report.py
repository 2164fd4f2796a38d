"""Results as plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .compare import FEW_UNITS, BootstrapComparison, Comparison, Criteria
from .results import Contrast, DifferenceTest, FitResult, FixedEffect, JointResult
from .simulate import Columns, Truth


def text_report(result: FitResult) -> str:
    """Model, counts and, if there are any, estimates and tests, as tables of fixed width."""
    counts = ", ".join(f"{name} {count}" for name, count in result.n.items())
    lines = [result.formula, f"n: {counts}", f"status: {result.status}"]
    if result.message:
        lines.append(f"        {result.message}")
    if not result.is_fitted:
        return "\n".join(lines)
    lines += [
        f"{result.method.upper()}: logLik {result.loglik:.4f}, deviance {result.deviance:.4f}, "
        f"AIC {result.aic:.2f}, BIC {result.bic:.2f}",
        "",
        *_table([("Random effects", "", "SD", "Corr"), *_random_rows(result)]),
        "",
        *_table(
            [
                (f"Fixed effects ({result.df_method})", *_TEST_COLUMNS),
                *((row.term, *_test_cells(row)) for row in result.fixed),
            ]
        ),
    ]
    if isinstance(result, JointResult) and result.contrasts:
        lines += _difference_lines(result)
    return "\n".join(lines)


def comparison_report(comparison: Comparison, bootstrap: BootstrapComparison | None) -> str:
    """The two models, their likelihood ratio test, and the notes on it."""
    tails = " and ".join(f"chi2({df})" for df in comparison.mixture_of_df)
    lines = [
        *_model_lines(comparison),
        "",
        f"Likelihood ratio {comparison.statistic:.4f}: p {_p(comparison.p)} by "
        + (f"the mixture of {tails}" if len(comparison.mixture_of_df) > 1 else tails),
    ]
    if len(comparison.mixture_of_df) > 1:
        lines.append(f"Without the mixture, by chi2({comparison.df}): p {_p(comparison.p_naive)}")
    if bootstrap is not None:
        n = len(bootstrap.statistics)
        lines.append(
            f"Parametric bootstrap: p {_p(bootstrap.p)} from {n} of "
            f"{n + bootstrap.n_unusable} simulated data sets (seed {bootstrap.seed})"
        )
    return "\n".join([*lines, *(f"Note: {note}" for note in comparison.notes)])


def criteria_report(found: Criteria, reason: str) -> str:
    """The two models with AIC and BIC, and why there is no test."""
    return "\n".join([*_model_lines(found), "", f"Note: {reason}"])


def _model_lines(found: Comparison | Criteria) -> list[str]:
    models = (found.small, found.large)
    a, b = models
    return [
        *(f"{name}: {model.formula}" for name, model in zip("AB", models, strict=True)),
        "",
        *_table(
            [
                (found.method.upper(), "Parameters", "Deviance", "AIC", "BIC"),
                *(
                    (name, str(m.n_parameters), f"{m.deviance:.4f}", f"{m.aic:.2f}", f"{m.bic:.2f}")
                    for name, m in zip("AB", models, strict=True)
                ),
                (
                    "B - A",
                    str(b.n_parameters - a.n_parameters),
                    f"{b.deviance - a.deviance:.4f}",
                    f"{found.aic_difference:.2f}",
                    f"{found.bic_difference:.2f}",
                ),
            ]
        ),
    ]


def simulation_report(columns: Columns, truth: Truth, seed: int) -> str:
    """How many units and ratings a cohort has, beside the truth they were drawn from."""
    therapists, patients = (len(np.unique(columns[name])) for name in ("therapist", "patient"))
    lines = [
        f"{therapists} therapists, {patients} patients, {len(columns['y'])} planned ratings, seed {seed}"
    ]
    rows: list[Sequence[str]] = [("Rater", "Intercept", "time", "sigma", "Recorded", "Mean", "SD")]
    for view in truth.perspectives:
        own = columns["y"][columns["rater"] == view.rater]
        if len(own):
            recorded = own[~np.isnan(own)]
            mean = f"{recorded.mean():.3f}" if len(recorded) else "-"
            sd = f"{recorded.std(ddof=1):.3f}" if len(recorded) > 1 else "-"
            stated = (f"{view.intercept:g}", f"{view.time:g}", f"{view.sigma:g}")
            rows.append((view.rater, *stated, f"{len(recorded)} of {len(own)}", mean, sd))
    return "\n".join([*lines, "", *_table(rows)])


_TEST_COLUMNS = ("Estimate", "SE", "df", "t", "p", "2.5 %", "97.5 %")


def _test_cells(row: FixedEffect | Contrast) -> tuple[str, ...]:
    return (
        f"{row.estimate:.5g}",
        f"{row.se:.4g}",
        _df(row.df),
        f"{row.t:.3f}",
        _p(row.p),
        f"{row.lower:.5g}",
        f"{row.upper:.5g}",
    )


def _random_rows(result: FitResult) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = []
    for level in result.random:
        for i, (term, sd) in enumerate(zip(level.terms, level.sd, strict=True)):
            corr = " ".join("-" if value is None else f"{value:.3f}" for value in level.corr[i][:i])
            rows.append((level.group if i == 0 else "", term, f"{sd:.5g}", corr))
    if isinstance(result, JointResult) and result.residual is not None:
        return [*rows, *_residual_rows(result.residual.sd, result.residual.rho)]
    return [*rows, ("Residual", "", f"{result.sigma:.5g}", "")]


def _residual_rows(sd: Mapping[str, float], rho: float) -> list[Sequence[str]]:
    return [
        ("" if i else "Residual", rater, f"{value:.5g}", f"{rho:.3f}" if i else "")
        for i, (rater, value) in enumerate(sd.items())
    ]


def _difference_lines(result: JointResult) -> list[str]:
    first, second = result.residual.sd if result.residual is not None else ("", "")
    adjusted = [
        (f"{row.predictor}, {row.effect}", *_test_cells(row), _p(row.p_holm), _p(row.p_bh))
        for row in result.contrasts
    ]
    tests = [_difference_cells(row) for row in result.tests]
    return [
        "",
        *_table([(f"Effects on {first} minus {second}", *_TEST_COLUMNS, "p Holm", "p BH"), *adjusted]),
        "",
        *_table([("Level and growth at once, p not adjusted", "F", "df", "p", "LR", "p (LR)"), *tests]),
        *_few_units_lines(result),
    ]


def _few_units_lines(result: JointResult) -> list[str]:
    n_high = min(count for name, count in result.n.items() if name not in ("rows", "dropped"))
    if n_high >= FEW_UNITS or all(test.lr is None for test in result.tests):
        return []
    return [f"p (LR) holds for many units and comes out too small with {n_high}: take F"]


def _difference_cells(test: DifferenceTest) -> tuple[str, ...]:
    return (
        test.predictor,
        _statistic(test.F),
        f"{test.q}, {_df(test.df)}",
        _p(test.p),
        _statistic(test.lr),
        _p(test.lr_p),
    )


def _df(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _statistic(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _p(value: float | None) -> str:
    if value is None:
        return "-"
    return "<.0001" if value < 1e-4 else f"{value:.4f}"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
            ]
        ).rstrip()
        for row in rows
    ]
