"""Mutants of the doors, in memory: one condition, filter or guard less at a time.

A mutant replaces the code of a function that every caller holds already, the value of a constant, or a line
of the policy; undoing it puts the old one back. No file is written.
"""

import ast
import copy
import importlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType
from typing import Any

from alliance_site.policy import ANYONE, POLICY, SIGNED_IN
from surveys import compiled

DOORS = (
    "surveys.access",
    "surveys.api_access",
    "surveys.clinic_access",
    "surveys.practice_access",
    "surveys.sharing_access",
    "surveys.trace_access",
    "analytics.access",
)
Undo = Callable[[], None]
SEEN = "_seen_by_the_mutation_script"


@dataclass(frozen=True)
class Mutant:
    """`part`: the function or constant it is in, or the route; `method` of a line of the policy."""

    name: str
    part: str
    apply: Callable[[], Undo]
    method: str = ""


def of_policy() -> Iterator[Mutant]:
    """Each line without one of its roles, without all, and open to more."""
    for (route, method), allowed in list(POLICY.items()):
        line = f"POLICY {method} {route}"
        wider = [] if ANYONE in allowed else [ANYONE] if SIGNED_IN in allowed else [ANYONE, SIGNED_IN]
        changed = {f"without {role}": allowed - {role} for role in sorted(allowed)}
        changed |= {f"open to {more}": allowed | {more} for more in wider}
        for what, new in changed.items():
            yield Mutant(f"{line}: {what}", route, _line(route, method, new), method)


def _line(route: str, method: str, new: frozenset[str]) -> Callable[[], Undo]:
    def apply() -> Undo:
        old = POLICY[route, method]
        POLICY[route, method] = new
        return lambda: POLICY.__setitem__((route, method), old)

    return apply


def of_doors() -> Iterator[Mutant]:
    for name in DOORS:
        module = importlib.import_module(name)
        for node in ast.parse(inspect.getsource(module)).body:
            if isinstance(node, ast.FunctionDef):
                part = f"{name}.{node.name}"
                for what, changed in variants(node):
                    yield Mutant(f"{part}: {what}", part, _function(module, changed))
            elif isinstance(node, ast.Assign) and "Q(" in ast.unparse(node.value):
                part = f"{name}.{node.targets[0].id}"
                for what, changed in variants(node):
                    yield Mutant(f"{part}: {what}", part, _constant(module, changed))


def functions() -> Iterator[tuple[str, FunctionType, ModuleType, ast.FunctionDef]]:
    for name in DOORS:
        module = importlib.import_module(name)
        for node in ast.parse(inspect.getsource(module)).body:
            if isinstance(node, ast.FunctionDef):
                yield f"{name}.{node.name}", getattr(module, node.name), module, node


def watch(seen: Callable[[str], None]) -> Undo:
    """From now on each of the functions says its name when it is called, those that `compiled` asks
    once in a process as well."""
    undo = [_plain_questions()]
    for name, _, module, node in functions():
        changed = copy.deepcopy(node)
        changed.body.insert(0, ast.parse(f"{SEEN}({name!r})").body[0])
        setattr(module, SEEN, seen)
        undo.append(_function(module, changed)())
    return lambda: [one() for one in undo] and None


def _plain_questions() -> Undo:
    ours = compiled.first

    def put(first: Callable[..., Any]) -> None:
        compiled.first = first  # type: ignore[assignment]

    put(lambda rows, *values: rows(*values).first())
    return lambda: put(ours)


def _function(module: ModuleType, node: ast.FunctionDef) -> Callable[[], Undo]:
    def apply() -> Undo:
        function = _innermost(getattr(module, node.name))
        old = function.__code__
        function.__code__ = _code(module, node)
        return lambda: setattr(function, "__code__", old)

    return apply


def _code(module: ModuleType, node: ast.FunctionDef) -> CodeType:
    tree = ast.fix_missing_locations(ast.Module(body=[node], type_ignores=[]))
    made = dict(vars(module))
    exec(compile(tree, str(module.__file__), "exec"), made)  # noqa: S102  our own source, changed by us
    return _innermost(made[node.name]).__code__


def _innermost(function: Any) -> FunctionType:
    """Without its decorators, whose code is not of the door."""
    found: FunctionType = inspect.unwrap(function)
    return found


def _constant(module: ModuleType, node: ast.Assign) -> Callable[[], Undo]:
    name = ast.unparse(node.targets[0])

    def apply() -> Undo:
        old = getattr(module, name)
        tree = ast.fix_missing_locations(ast.Expression(node.value))
        setattr(module, name, eval(compile(tree, name, "eval"), vars(module)))  # noqa: S307
        return lambda: setattr(module, name, old)

    return apply


def variants(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Copies of a function or constant, each with one thing less, and what it is. Two that are alike are told
    apart by their number."""
    said: dict[str, int] = {}
    for place, part in enumerate(_parts(node)):
        is_truth = (
            isinstance(node, ast.FunctionDef) and ast.unparse(node.returns or ast.Constant(0)) == "bool"
        )
        for what, edit in _edits(part, is_truth):
            changed = copy.deepcopy(node)
            target = _parts(changed)[place]
            changed = _Replace(target, edit).visit(changed)
            said[what] = said.get(what, 0) + 1
            yield (what if said[what] == 1 else f"{what} [{said[what]}]"), changed


def _parts(node: ast.AST) -> list[ast.AST]:
    """What is done, without the words about what it takes and gives."""
    done = node.body if isinstance(node, ast.FunctionDef) else [node]
    return [part for one in done for part in ast.walk(one)]


class _Replace(ast.NodeTransformer):
    def __init__(self, target: ast.AST, edit: Callable[[ast.AST], ast.AST]) -> None:
        self.target, self.edit = target, edit

    def visit(self, node: ast.AST) -> ast.AST:
        return self.edit(node) if node is self.target else self.generic_visit(node)


Edit = Callable[[ast.AST], ast.AST]
NARROWS = ("filter", "Q", "get_object_or_404")


def _edits(node: ast.AST, is_truth: bool) -> Iterator[tuple[str, Edit]]:
    if isinstance(node, ast.Call):
        yield from _less_arguments(node)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr):
        for side, other in (("left", "right"), ("right", "left")):
            yield f"without {ast.unparse(getattr(node, other))}", lambda one, side=side: getattr(one, side)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert | ast.Not):
        yield f"turned round: {ast.unparse(node)}", lambda one: one.operand
    elif isinstance(node, ast.BoolOp):
        for place, value in enumerate(node.values):
            yield f"without {ast.unparse(value)}", lambda one, place=place: _without(one, place)
    elif isinstance(node, ast.If) and not node.orelse:
        yield f"never: if {ast.unparse(node.test)}", lambda one: ast.Pass()
    elif isinstance(node, ast.IfExp):
        yield f"always: {ast.unparse(node.body)}", lambda one: one.body
        yield f"always: {ast.unparse(node.orelse)}", lambda one: one.orelse
    elif isinstance(node, ast.comprehension) and node.ifs:
        yield f"for each, without if {ast.unparse(node.ifs[0])}", _without_ifs
    elif isinstance(node, ast.Return) and is_truth:
        for truth in {True, False} - {getattr(node.value, "value", None)}:
            yield f"{ast.unparse(node)} as {truth}", lambda one, truth=truth: ast.Return(ast.Constant(truth))


def _without(one: ast.BoolOp, place: int) -> ast.AST:
    left = [value for number, value in enumerate(one.values) if number != place]
    return left[0] if len(left) == 1 else ast.BoolOp(one.op, left)


def _without_ifs(one: ast.comprehension) -> ast.comprehension:
    return ast.comprehension(one.target, one.iter, [], one.is_async)


def _less_arguments(node: ast.Call) -> Iterator[tuple[str, Edit]]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
    if name == "exclude" and isinstance(node.func, ast.Attribute):
        yield f"without {ast.unparse(node)[len(ast.unparse(node.func.value)) :]}", lambda one: one.func.value
    if name not in NARROWS:
        return
    for place in range(1 if name == "get_object_or_404" else 0, len(node.args)):
        yield f"{name} without {ast.unparse(node.args[place])}", lambda one, place=place: _drop(one, place)
    for place, keyword in enumerate(node.keywords):
        if keyword.arg is not None:
            what = f"{keyword.arg}={ast.unparse(keyword.value)}"
            yield f"{name} without {what}", lambda one, place=place: _drop_keyword(one, place)
        elif isinstance(keyword.value, ast.Dict):
            for key in range(len(keyword.value.keys)):
                what = f"{ast.unparse(keyword.value.keys[key])}: {ast.unparse(keyword.value.values[key])}"
                yield (
                    f"{name} without {what}",
                    lambda one, place=place, key=key: _drop_key(one, place, key),
                )
        else:
            what = f"**{ast.unparse(keyword.value)}"
            yield f"{name} without {what}", lambda one, place=place: _drop_keyword(one, place)


def _drop(one: ast.Call, place: int) -> ast.Call:
    del one.args[place]
    return one


def _drop_keyword(one: ast.Call, place: int) -> ast.Call:
    del one.keywords[place]
    return one


def _drop_key(one: ast.Call, place: int, key: int) -> ast.Call:
    found = one.keywords[place].value
    assert isinstance(found, ast.Dict)
    del found.keys[key], found.values[key]
    return one
