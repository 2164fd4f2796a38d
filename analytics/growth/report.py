"""A fit as plain text."""

from __future__ import annotations

from collections.abc import Sequence

from .results import FitResult


def text_report(result: FitResult) -> str:
    """Model, counts and, if there are any, estimates, as a table of fixed width."""
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
                (f"Fixed effects ({result.df_method})", "Estimate", "SE", "df", "t", "p", "2.5 %", "97.5 %"),
                *_fixed_rows(result),
            ]
        ),
    ]
    return "\n".join(lines)


def _random_rows(result: FitResult) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = []
    for level in result.random:
        for i, (term, sd) in enumerate(zip(level.terms, level.sd, strict=True)):
            corr = " ".join("-" if value is None else f"{value:.3f}" for value in level.corr[i][:i])
            rows.append((level.group if i == 0 else "", term, f"{sd:.5g}", corr))
    return [*rows, ("Residual", "", f"{result.sigma:.5g}", "")]


def _fixed_rows(result: FitResult) -> list[Sequence[str]]:
    return [
        (
            row.term,
            f"{row.estimate:.5g}",
            f"{row.se:.4g}",
            "-" if row.df is None else f"{row.df:.1f}",
            f"{row.t:.3f}",
            "<.0001" if row.p < 1e-4 else f"{row.p:.4f}",
            f"{row.lower:.5g}",
            f"{row.upper:.5g}",
        )
        for row in result.fixed
    ]


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
