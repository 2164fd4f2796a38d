"""The list of doors that may be a little wider is about doors that there are, and a mutant takes something
away from the code that runs."""

import importlib
import inspect
from types import FunctionType

from tools import mutants
from tools.mutate_policy import equivalent


def test_each_mutant_said_to_make_no_difference_is_made_and_has_a_reason() -> None:
    made = {mutant.name for mutant in (*mutants.of_policy(), *mutants.of_doors())}
    listed = equivalent()
    assert listed.keys() <= made
    assert all(listed.values())


def test_a_mutant_of_a_door_changes_its_code_beneath_every_decorator_and_gives_it_back() -> None:
    for mutant in mutants.of_doors():
        module, _, name = mutant.part.rpartition(".")
        function = inspect.unwrap(getattr(importlib.import_module(module), name))
        if isinstance(function, FunctionType):
            before = function.__code__
            undo = mutant.apply()
            assert function.__code__ != before, mutant.name
            undo()
            assert function.__code__ is before, mutant.name
