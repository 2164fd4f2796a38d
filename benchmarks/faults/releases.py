"""The schema of each release: the last migration of every app. The versions are those of CHANGELOG."""

from dataclasses import dataclass
from pathlib import Path

from alliance_site.folders import PROJECT


@dataclass(frozen=True)
class Release:
    """`commit` is the last one of the version; `stop` says why web processes of it must end before the
    migrations to the next one begin, empty where old and new may run side by side."""

    commit: str
    schema: dict[str, str]
    stop: str = ""


RELEASES = {
    "0.5.0": Release(
        "aeafc28bb4cc617679dc3322e9317ba57fe47ed1",
        {"surveys": "0016_find_forms_by_time", "analytics": "0011_sum_up_in_batches"},
        "its rows of the trace lack what 0.6.0 demands of each",
    ),
    "0.6.0": Release(
        "2f59eb97aa7f747b3b86ca43055b218e04847e7e",
        {"surveys": "0021_keep_what_backups_did", "analytics": "0014_approve_exports"},
    ),
}
# The one that a site of today may come from.
LAST = "0.6.0"


def schema_of(release: str) -> dict[str, str]:
    """By app, the later app first: the order in which migrations are taken back."""
    return dict(sorted(RELEASES[release].schema.items()))


def added_since(release: str) -> list[Path]:
    """The files of the migrations that came after a release."""
    return [
        path
        for app, last in RELEASES[release].schema.items()
        for path in sorted((PROJECT / app / "migrations").glob("0*.py"))
        if path.stem > last
    ]
