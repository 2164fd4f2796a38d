"""The middle half of the others' values."""

import numpy as np
import pytest

from analytics.practice_bands import LEAST_BASIS, LEAST_OTHERS, Band, NoBand, band


def test_it_is_made_of_five_others_at_least_and_the_reader_makes_six() -> None:
    assert (LEAST_OTHERS, LEAST_BASIS) == (5, 6)
    assert band([1, 2, 3, 4]) is NoBand.TOO_FEW
    assert isinstance(band([1, 2, 3, 4, 5]), Band)


@pytest.mark.parametrize("n", [5, 6, 7, 12, 70])
def test_its_ends_are_the_median_unbiased_quartiles_to_one_decimal(n: int) -> None:
    values = np.random.default_rng(n).normal(3, 1, n)
    lower, upper = np.quantile(values, [0.25, 0.75], method="median_unbiased")
    assert band(list(values)) == Band(round(float(lower), 1), round(float(upper), 1), n)


def test_no_end_is_one_person_s_value() -> None:
    """With values a hundred apart an end that is no multiple of a hundred lies between two of them."""
    for n in range(5, 300):
        found = band([100 * at for at in range(n)])
        assert isinstance(found, Band)
        assert found.lower % 100 > 1
        assert found.upper % 100 > 1


def test_a_range_without_width_is_not_told() -> None:
    assert band([2.0] * 9) is NoBand.TOO_CLOSE
    assert band([0.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 5.0]) is NoBand.TOO_CLOSE
    assert band([2.0, 2.01, 2.02, 2.03, 2.04]) is NoBand.TOO_CLOSE
