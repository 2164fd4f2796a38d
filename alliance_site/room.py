"""Room on the disk. What takes much of it waits while there is little, so that answers find room."""

import shutil
from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from alliance_site.servers import EmbeddedPostgres
from surveys.api.refusals import FULL, api_refusal

# The free share of a disk from which on somebody is asked to make room, and that below which it is kept for
# answers.
LOW, LEAST = 0.2, 0.1
# RFC 4918: the server has no room for what was asked.
INSUFFICIENT_STORAGE = 507

# Files that are sent or built, frozen data, and what is computed from a frozen copy of its own.
LARGE = frozenset(
    {
        "api-exports",
        "api-snapshots",
        "clinic-request",
        "desk-analysis-ask-table",
        "desk-analysis-new",
        "desk-data",
        "desk-export-again",
        "desk-export-approve",
        "desk-snapshot",
        "import-check",
        "import-columns",
        "import-new",
        "import-store",
        "instrument-upload",
    }
)


def disks() -> dict[str, float]:
    """The share of each disk that is free, by what lies on it as this process sees it."""
    data = EmbeddedPostgres(settings.VAR / "pg").data if settings.EMBEDDED else settings.VAR
    return {name: _free(folder) for name, folder in {"data": data, "backups": settings.BACKUP_DIR}.items()}


def is_short(free: dict[str, float]) -> bool:
    """Whether large things are refused: the disk of the data is nearly full."""
    return free["data"] <= LEAST


def _free(folder: Path) -> float:
    # A folder that nothing was written to yet will lie on the disk of the one above it.
    there = next(part for part in (folder, *folder.parents) if part.exists())
    usage = shutil.disk_usage(there)
    # Of what this account may use: a file system keeps some for root, and may be smaller than its disk.
    return usage.free / (usage.used + usage.free)


class KeepRoom:
    """Refuses what takes much room while the disk of the data is nearly full; answers go on. What was typed
    is on the page that says so, to be sent again; a file is to be chosen again."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *view: object) -> HttpResponse | None:
        route = request.resolver_match.view_name if request.resolver_match else ""
        if request.method != "POST" or route not in LARGE or not is_short(disks()):
            return None
        if request.path.startswith("/api/"):
            return api_refusal(request, INSUFFICIENT_STORAGE, FULL)
        kept = [] if request.FILES else [pair for pair in _pairs(request) if pair[0] != "csrfmiddlewaretoken"]
        return render(request, "nearly_full.html", {"kept": kept}, status=INSUFFICIENT_STORAGE)


def _pairs(request: HttpRequest) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, values in request.POST.lists() for value in values]
