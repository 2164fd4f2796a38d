"""The list of doors that may be a little wider is about doors that there are."""

from tools import mutants
from tools.mutate_policy import equivalent


def test_each_mutant_said_to_make_no_difference_is_made_and_has_a_reason() -> None:
    made = {mutant.name for mutant in (*mutants.of_policy(), *mutants.of_doors())}
    listed = equivalent()
    assert listed.keys() <= made
    assert all(listed.values())
