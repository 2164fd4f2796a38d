"""Every row of the table of bad inputs has its right answer."""

import pytest

from tests.bad_inputs import addresses, api, exports, forms, imports, instruments, wire
from tests.bad_inputs.rows import ROWS, Row

pytestmark = pytest.mark.django_db
SECTIONS = (forms, api, imports, instruments, addresses, exports, wire)


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, id=row.id, marks=row.marks) for row in sorted(ROWS, key=lambda row: row.number)],
)
def test_the_answer_is_right(row: Row, request: pytest.FixtureRequest) -> None:
    row.check(**{name: request.getfixturevalue(name) for name in row.needs})


def test_no_row_is_missing_and_none_stands_twice() -> None:
    assert sorted(row.number for row in ROWS) == list(range(1, 83))
