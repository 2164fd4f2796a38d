"""Right-hand sides of model formulas: checked word by word, then handed to formulaic.

Formulas follow lme4 (Wilkinson & Rogers 1973): `+`, `:`, `*`, `I(x^2)`, `log(x)`, `C(x)`.  formulaic
evaluates what stands inside a function as Python, so nothing reaches it but numbers, operators, names and the
functions listed here: a formula typed by a user cannot run code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import formulaic
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .errors import SpecError

# Each `*` doubles the number of terms.
MAX_PRODUCTS = 10
FUNCTIONS = frozenset({"I", "C", "log", "log2", "log10", "exp"})

_TOKEN = re.compile(
    r"\s+|(?P<number>\d+(?:\.\d+)?(?![\w.]))|(?P<name>[^\W\d]\w*)|(?P<operator>\*\*|[-+*/^:(),<>=])"
)
_NAME = re.compile(r"[^\W\d]\w*")


def variables(expression: str) -> tuple[str, ...]:
    """Column names that a right-hand side uses, in order of appearance.

    Raises SpecError for anything that is not part of the formula language, named by its position.
    """
    tokens = _tokens(expression)
    names: dict[str, None] = {}
    for (kind, text), (_, following) in zip(tokens, [*tokens[1:], ("", "")], strict=True):
        if kind != "name":
            continue
        if following != "(":
            names[text] = None
        elif text not in FUNCTIONS:
            allowed = ", ".join(sorted(FUNCTIONS))
            raise SpecError(f"function {text!r} in {expression!r} is not available (available: {allowed})")
    return tuple(names)


def is_name(text: str) -> bool:
    """Whether `text` is one plain column name."""
    return _NAME.fullmatch(text) is not None


def split_formula(formula: str) -> tuple[str, str]:
    """`"y ~ time * x"` as outcome and right-hand side."""
    left, tilde, right = formula.partition("~")
    if not tilde or not right.strip():
        raise SpecError(f"formula {formula!r} must read 'outcome ~ terms'")
    return left.strip(), right.strip()


def model_columns(
    expression: str, columns: Mapping[str, NDArray[Any]]
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Names (p) and values (N, p) of the columns that a right-hand side stands for.

    `columns` holds each variable as an array of N floats or strings; strings are coded as treatment
    contrasts, as in R.  Names are lme4's, but `Intercept` without brackets.
    """
    frame = pd.DataFrame(
        {name: columns[name] for name in variables(expression)}, index=range(_length(columns))
    )
    try:
        with np.errstate(all="ignore"):
            matrix = formulaic.model_matrix(
                expression.replace("^", "**"), frame, context={}, na_action="ignore"
            )
    except Exception as error:
        # formulaic lets errors of many libraries through; all of them mean that the text is not a formula.
        raise SpecError(f"formula {expression!r} cannot be evaluated: {_plain(error)}") from error
    names = tuple(re.sub(r"\s*\*\*\s*", "^", str(name)) for name in matrix.columns)
    return names, np.asarray(matrix, dtype=np.float64).reshape(len(frame), len(names))


@lru_cache(maxsize=256)
def simple_terms(expression: str) -> tuple[tuple[str, ...], ...] | None:
    """The terms of a right-hand side that is made of products of plain columns; None of any other.

    The intercept is the empty product.  Names and order are those of `model_columns`.
    """
    variables(expression)
    try:
        terms = [
            [factor.expr for factor in term.factors]
            for term in formulaic.Formula(expression.replace("^", "**"))
        ]
    except Exception as error:
        raise SpecError(f"formula {expression!r} cannot be evaluated: {_plain(error)}") from error
    if not all(factor == "1" or is_name(factor) for term in terms for factor in term):
        return None
    return tuple(tuple(factor for factor in term if factor != "1") for term in terms)


def _plain(error: Exception) -> str:
    """The message without the colours of a terminal."""
    return re.sub(r"\x1b\[[0-9;]*m|[\u29db\u29da]", "", str(error))


def split_terms(expression: str) -> tuple[str, ...]:
    """Terms of a sum, split at each `+` outside brackets: `"1 + I(a + b)"` gives `("1", "I(a + b)")`."""
    terms, depth, current = [], 0, ""
    for character in expression:
        depth += (character == "(") - (character == ")")
        if character == "+" and depth == 0:
            terms.append(current.strip())
            current = ""
        else:
            current += character
    return (*terms, current.strip())


def _tokens(expression: str) -> list[tuple[str, str]]:
    if expression.count("*") > MAX_PRODUCTS:
        raise SpecError(f"{expression[:40]!r} ... has more than {MAX_PRODUCTS} products: state fewer")
    tokens: list[tuple[str, str]] = []
    position = 0
    while position < len(expression):
        match = _TOKEN.match(expression, position)
        if match is None:
            character = expression[position]
            hint = {
                "|": "; random terms are stated apart",
                ".": "; names are letters, digits and _: rename the column",
            }.get(character, "")
            raise SpecError(
                f"{character!r} at position {position + 1} of {expression!r} is not understood{hint}"
            )
        if match.lastgroup is not None:
            tokens.append((match.lastgroup, match.group()))
        position = match.end()
    for (kind, _), (_, operator), (_, exponent) in zip(tokens, tokens[1:], tokens[2:], strict=False):
        # Python would work out 9**9**9 digit by digit; models need no more than powers of columns.
        if operator in ("^", "**") and (kind == "number" or re.fullmatch("[1-9]", exponent) is None):
            raise SpecError(f"powers in {expression!r} must be of the form name^digit")
    return tokens


def _length(columns: Mapping[str, NDArray[Any]]) -> int:
    return len(next(iter(columns.values())))
