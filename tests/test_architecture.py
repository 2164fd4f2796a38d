"""The direction of every import, and the measures of the house, read from the code itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("alliance_site", "surveys", "analytics")
FILES = [
    path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    if "migrations" not in path.parts
]


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> Iterator[str]:
    """Full names of the modules and members that a file imports."""
    package = name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [base])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


IMPORTS = {name_of(path): sorted(set(imports_of(path))) for path in FILES}

# What a module (by prefix) may import of the project, and whether it may import Django.
PURE = {
    "surveys.scope": (),
    "alliance_site.backups.stream": (),
    "analytics.growth": ("analytics.growth",),
    "analytics.charts": ("analytics.wording", "analytics.look"),
    "analytics.look": ("analytics.wording",),
    "analytics.wording": (),
    "analytics.dips": (),
    "analytics.disclosure": (),
    "analytics.selection": ("surveys.ids",),
    "analytics.research.plan": ("analytics.growth",),
    "analytics.anonymity": ("analytics.disclosure",),
    "analytics.export.cells": (),
    "analytics.export.fhir": ("analytics.export.tables", "surveys.fhir", "surveys.packs"),
    "analytics.export.tiers": (
        "analytics.anonymity",
        "analytics.disclosure",
        "analytics.frozen",
        "analytics.selection",
        "surveys.ids",
    ),
    "analytics.frozen": ("surveys.packs",),
    "analytics.research": (
        "analytics.frozen",
        "analytics.growth",
        "analytics.look",
        "analytics.wording",
        "surveys.composites",
        "surveys.packs",
    ),
    "analytics.completion_chart": (
        "analytics.disclosure",
        "analytics.look",
        "analytics.wording",
    ),
    "analytics.dip_words": ("analytics.dips", "analytics.wording"),
    "analytics.agreement": ("analytics.growth",),
    "analytics.agreement_words": ("analytics.agreement", "analytics.growth", "analytics.wording"),
    "analytics.agreement_chart": (
        "analytics.agreement",
        "analytics.agreement_words",
        "analytics.charts",
        "analytics.look",
        "analytics.wording",
    ),
    "analytics.sparkline": (),
    "analytics.plan_words": ("analytics.wording",),
    "analytics.power_chart": ("analytics.look", "analytics.plan_words", "analytics.wording"),
    "surveys.board": (),
    "analytics.practice_bands": (),
    "analytics.practice_words": ("analytics.practice_bands", "analytics.wording"),
    "analytics.practice_chart": ("analytics.practice_bands", "analytics.look", "analytics.wording"),
    "surveys.sealing": (),
    "surveys.sentences": (),
    "surveys.tables": ("surveys.sentences",),
    "surveys.packs": ("surveys.tables", "surveys.sentences"),
    "surveys.scoring": ("surveys.packs",),
    "surveys.composites": ("surveys.packs", "surveys.tables", "surveys.sentences"),
    "surveys.planning": ("surveys.packs",),
    "surveys.fhir": ("surveys.packs", "surveys.scoring"),
    "surveys.tokens": (),
    "surveys.user_agents": (),
    "surveys.ids": (),
    "surveys.hindrances": ("surveys.sentences",),
    "surveys.imports": ("surveys.packs", "surveys.scoring", "surveys.sentences"),
    "surveys.demo.cohort": (
        "surveys.demo.parameters",
        "surveys.packs",
        "surveys.scoring",
        "surveys.planning",
    ),
    "surveys.demo.parameters": ("surveys.packs",),
    "alliance_site.headers": (),
    "alliance_site.kit.documents": (),
    "surveys.retention": (),
}
# The pure rooms of surveys may be called from anywhere.
BRIDGE = (
    "surveys.scoring",
    "surveys.fhir",
    "surveys.composites",
    "surveys.packs",
    "surveys.board",
    "surveys.selectors",
    "surveys.worklist",
    "surveys.completion",
    "surveys.session_plan",
    "surveys.text_fields",
    "surveys.fields",
    "surveys.access",
    "surveys.scope",
    "surveys.clinic_access",
    "surveys.practice_access",
    "surveys.sharing_access",
    "surveys.models",
    "surveys.jobs",
    "surveys.progress",
    "surveys.hindrances",
    "surveys.echoes",
    "surveys.sentences",
    "surveys.audit",
    "surveys.clock",
    "surveys.ids",
    # What the views of one API have in common.
    "surveys.api.base",
    "surveys.api.schema",
    "surveys.api.strict",
)


def within(name: str, *prefixes: str) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


@pytest.mark.parametrize("room", PURE)
def test_a_pure_room_imports_no_django_and_no_other_room(room: str) -> None:
    modules = [name for name in IMPORTS if within(name, room)]
    assert modules, f"{room} is gone"
    wrong = [
        (module, imported)
        for module in modules
        for imported in IMPORTS[module]
        if within(imported, "django", "rest_framework", "celery")
        or (within(imported, *PACKAGES) and not within(imported, room, *PURE[room]))
    ]
    assert wrong == []


def test_surveys_never_imports_analytics() -> None:
    wrong = [
        (m, i)
        for m, names in IMPORTS.items()
        if within(m, "surveys")
        for i in names
        if within(i, "analytics")
    ]
    assert wrong == []


def test_analytics_reaches_surveys_through_the_bridge_alone() -> None:
    wrong = [
        (module, imported)
        for module, names in IMPORTS.items()
        if within(module, "analytics")
        for imported in names
        if within(imported, "surveys") and not within(imported, *BRIDGE)
    ]
    assert wrong == []


def test_the_apps_know_the_site_not() -> None:
    """The site is put together in alliance_site; the apps do not know in which site they are."""
    wrong = [
        (module, imported)
        for module, names in IMPORTS.items()
        if within(module, "surveys", "analytics")
        for imported in names
        if within(imported, "alliance_site")
    ]
    assert wrong == []


def test_rows_are_reached_through_access_and_selectors_only() -> None:
    """No view, API class or template tag queries a model."""
    wrong = []
    for path in FILES:
        module = name_of(path)
        if ".views" in module or module.endswith("api") or "templatetags" in module:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute) and node.attr == "objects":
                    wrong.append((module, node.lineno))
    assert wrong == []


def test_services_never_import_tasks_and_models_never_services() -> None:
    wrong = [
        (module, imported)
        for module, names in IMPORTS.items()
        for imported in names
        if (".services" in module and imported.split(".")[1:2] == ["tasks"])
        or (within(module, "surveys.models", "analytics.models") and ".services" in imported)
    ]
    assert wrong == []


# Leaves with a bundle and runs there alone: one file, whatever its length.
WHOLE = ("analytics.export.scripts.reproduce",)


def test_modules_and_functions_keep_to_the_measure() -> None:
    wrong = []
    for path in FILES:
        text = path.read_text()
        limit = 80 if within(name_of(path), "analytics.growth") else 60
        if text.count("\n") > 400 and name_of(path) not in WHOLE:
            wrong.append((name_of(path), f"{text.count(chr(10))} lines"))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                if length > limit:
                    wrong.append((name_of(path), f"{node.name}: {length} lines"))
                if node.returns is None:
                    wrong.append((name_of(path), f"{node.name}: no return type"))
    assert wrong == []


def test_no_signal_receivers() -> None:
    assert [name for name, names in IMPORTS.items() if any("django.dispatch" in i for i in names)] == []
