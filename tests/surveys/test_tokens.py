"""Link tokens, start codes, and until when a link leads to an open form."""

from datetime import timedelta

import pytest
from django.utils import timezone

from surveys.access import SEND_GRACE, form_state
from surveys.models import Assignment
from surveys.tokens import new_start_code, new_token, start_code_hash, token_hash


@pytest.mark.slow
def test_a_million_tokens_are_all_different_and_as_long_as_256_bits_are() -> None:
    tokens = {new_token() for _ in range(10**6)}
    assert len(tokens) == 10**6
    assert {len(token) for token in tokens} == {43}


def test_what_is_stored_of_a_start_code_needs_the_key_of_the_site() -> None:
    codes = {new_start_code() for _ in range(1000)}
    assert all(len(code) == 6 and code.isdecimal() for code in codes)
    assert len({start_code_hash("123456", "one key"), start_code_hash("123456", "other key")}) == 2
    assert start_code_hash("123456", "") != token_hash("123456")


SECOND = timedelta(seconds=1)
TIMES = [-SECOND, timedelta(0), SECOND, SEND_GRACE, SEND_GRACE + SECOND]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("due", ["open", "open", "expired", "expired", "expired"]),
        ("opened", ["open", "open", "open", "open", "expired"]),
        ("submitted", ["received"] * 5),
        ("declined", ["received"] * 5),
        ("withdrawn", ["withdrawn"] * 5),
    ],
)
def test_what_a_link_leads_to_by_state_and_time(state: str, expected: list[str]) -> None:
    closes = timezone.now()
    form = Assignment(state=state, opens_at=closes - timedelta(days=2), closes_at=closes)
    assert [form_state(form, closes + after).value for after in TIMES] == expected
