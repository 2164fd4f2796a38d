"""What may go wrong before a model can be stated; everything after that is a status of the result."""

from __future__ import annotations

from typing import Literal


class SpecError(ValueError):
    """The model is not well stated: a formula, a random term or an option cannot be understood."""


class DataError(ValueError):
    """The data do not fit the model as stated.

    `column` is the column at fault; `row` is the position of the row in the data as given, counted from 1
    without the header, or None where no single row is at fault.
    """

    def __init__(self, message: str, *, column: str | None = None, row: int | None = None) -> None:
        super().__init__(message)
        self.column = column
        self.row = row


class Unfittable(Exception):
    """Inside the engine: these data cannot support the model; `fit` turns it into a result with `status`."""

    def __init__(
        self, status: Literal["not_converged", "no_variation", "insufficient_data", "timed_out"], message: str
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
