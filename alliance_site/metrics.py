"""The figures of the site for Prometheus, for who has the token of the settings. For everybody else there is
no such page."""

import secrets
from collections.abc import Iterator, Mapping
from datetime import datetime

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse

from alliance_site.backups.kept import UNSEEN
from alliance_site.room import is_short
from alliance_site.status import Figures, figures

TYPE = "text/plain; version=0.0.4; charset=utf-8"
Sample = tuple[Mapping[str, str], float]


def metrics(request: HttpRequest) -> HttpResponse:
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    known = settings.METRICS_TOKEN
    if not known or not secrets.compare_digest(given.encode(), known.encode()):
        raise Http404("There is nothing here.")
    return HttpResponse(written(figures()), content_type=TYPE)


def written(found: Figures) -> str:
    """The text format of Prometheus. What never happened has no sample: none is better than a false one."""
    lines = []
    for name, kind, words, samples in _families(found):
        lines += [f"# HELP alliance_{name} {words}", f"# TYPE alliance_{name} {kind}"]
        for labels, value in samples:
            inside = ",".join(f'{label}="{text}"' for label, text in labels.items())
            shown = f"{{{inside}}}" if inside else ""
            lines.append(f"alliance_{name}{shown} {value:.15g}")
    return "\n".join(lines) + "\n"


def _families(found: Figures) -> Iterator[tuple[str, str, str, list[Sample]]]:
    def age(at: datetime | None) -> list[Sample]:
        return [] if at is None else [({}, max((found.now - at).total_seconds(), 0))]

    def waits(at: datetime | None) -> list[Sample]:
        return age(at) or [({}, 0)]

    def one(value: float) -> list[Sample]:
        return [({}, value)]

    def each(label: str, values: Mapping[str, float]) -> list[Sample]:
        return [({label: name}, value) for name, value in sorted(values.items())]

    sent = age(found.mail_sent_at)
    yield "info", "gauge", "The version that runs.", [({"version": settings.VERSION}, 1)]
    yield "worker_silence_seconds", "gauge", "Since a worker was last heard.", age(found.worker_at)
    yield "jobs", "gauge", "Rows of the job list by state.", each("state", found.jobs)
    yield "jobs_due", "gauge", "Jobs that are due and wait.", one(found.n_due)
    yield "oldest_due_job_seconds", "gauge", "For how long a due job has waited.", waits(found.due_since)
    failed = "Failed jobs whose work was not asked for again since, by kind."
    yield "jobs_failed", "gauge", failed, each("kind", found.failed) or one(0)
    yield "last_refit_age_seconds", "gauge", "Since a model was last fitted well.", age(found.refit_at)
    yield "mails_due", "gauge", "Mails to patients that are due and not sent.", one(found.n_mails_due)
    yield "oldest_due_mail_seconds", "gauge", "For how long a due mail waits.", waits(found.mail_due_since)
    yield (
        "last_mail_age_seconds",
        "gauge",
        "Since a mail was last sent to a patient.",
        sent,
    )
    yield "disk_free_ratio", "gauge", "Free share of the disk, by what lies on it.", each("of", found.disks)
    refusing = "Whether exports, imports and uploads are refused for want of room."
    yield "disk_refusing", "gauge", refusing, one(is_short(found.disks))
    offset = "By how much the clock of this web process is ahead of the database's."
    yield "clock_offset_seconds", "gauge", offset, one(found.clock_offset)
    yield "database_bytes", "gauge", "Size of the database.", one(found.database_bytes)
    good = found.is_backup_good and not found.backup_missing
    if found.is_backup_good and found.backup_missing == UNSEEN:
        good = None
    yield "backup_age_seconds", "gauge", "Age of the data in the last good backup.", age(found.backup_at)
    yield "backup_good", "gauge", "Whether the last backup went well and is there.", _flag(good)
    archived = found.archived_at if found.is_archiving else None
    yield "wal_archive_age_seconds", "gauge", "Since a piece of the log was archived.", age(archived)
    works = not found.is_archive_failing if found.is_archiving else None
    yield "wal_archive_good", "gauge", "Whether the last piece of the log was archived.", _flag(works)
    yield "drill_age_seconds", "gauge", "Since a backup was last restored to try it.", age(found.drill_at)
    yield "drill_good", "gauge", "Whether the last restore drill went well.", _flag(found.is_drill_good)
    yield "withdrawals_total", "counter", "Withdrawals by choice.", each("choice", found.withdrawals)
    yield "responses_erased_total", "counter", "Received forms that were erased.", one(found.n_erased)


def _flag(value: bool | None) -> list[Sample]:
    return [] if value is None else [({}, int(value))]
