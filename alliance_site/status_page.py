"""The state of the site in words, for operators and clinic administrators."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from alliance_site import room, status
from alliance_site.backups.kept import BACKUP, LIST, UNSEEN
from alliance_site.checks import CLOCK_OFF
from alliance_site.status import Figures, figures
from surveys.browsers import passed_on


@dataclass(frozen=True)
class Line:
    """One part of the site: how it is, since when, and what to do where it is not well."""

    part: str
    words: str
    at: datetime | None = None
    todo: str = ""
    kinds: tuple[tuple[str, int], ...] = ()


def status_page(request: HttpRequest) -> HttpResponse:
    found = figures()
    lines = [*_work(found), *_mail_and_disk(found), _clock(found), _proxies(request), *_safety(found)]
    context = {"lines": lines, "found": found, "n_todo": sum(bool(line.todo) for line in lines)}
    return render(request, "status.html", context)


def _work(found: Figures) -> Iterator[Line]:
    silent = found.worker_at is None or found.is_older(found.worker_at, status.WORKER_SILENT)
    yield Line(
        _("Worker"),
        _("None is at work. Answers are stored; models and mails wait.") if silent else _("It is at work."),
        found.worker_at,
        _("Start the worker and beat; their logs say why they stopped.") if silent else "",
    )
    late = found.is_older(found.due_since, status.JOB_LATE)
    waiting = ngettext("%(n)s job is due.", "%(n)s jobs are due.", found.n_due) % {"n": found.n_due}
    yield Line(
        _("Due jobs"),
        waiting if found.n_due else _("None waits."),
        found.due_since,
        _("More is asked for than done: look at the worker, or start another one.") if late else "",
    )
    n = sum(found.failed.values())
    failures = ngettext(
        "%(n)s failed and was not asked for again.", "%(n)s failed and were not asked for again.", n
    ) % {"n": n}
    yield Line(
        _("Failed jobs"),
        failures if n else _("None failed."),
        found.failed_at,
        _("The worker’s log has the reason of each.") if n else "",
        tuple(sorted(found.failed.items())),
    )
    yield Line(
        _("Models"),
        _("The last one was fitted well.") if found.refit_at else _("None was fitted yet."),
        found.refit_at,
    )


def _mail_and_disk(found: Figures) -> Iterator[Line]:
    late, n = found.is_older(found.mail_due_since, status.MAIL_LATE), found.n_mails_due
    due = ngettext("%(n)s is due and not sent.", "%(n)s are due and not sent.", n) % {"n": n}
    sent = _("All that were due are dealt with; the last one was sent:")
    yield Line(
        _("E-mails to patients"),
        due if n else sent if found.mail_sent_at else _("None was sent yet, and none is due."),
        found.mail_due_since or found.mail_sent_at,
        _("Look at the worker and at the mail server.") if late else "",
    )
    names = {"data": _("Disk of the data"), "backups": _("Disk of the backups")}
    for name, free in found.disks.items():
        todo = _("Make room before it is full: nothing can be stored then.") if free <= room.LOW else ""
        if name == "data" and room.is_short(found.disks):
            todo = _(
                "Make room. Until then files, imports, uploads and frozen data are refused, "
                "and answers are still taken."
            )
        yield Line(names[name], _("%(n)s %% free") % {"n": int(100 * free)}, None, todo)


def _clock(found: Figures) -> Line:
    n = abs(found.clock_offset)
    is_off = n >= CLOCK_OFF
    ahead = _("The web process’s is %(n)s s ahead of the database’s.")
    behind = _("The web process’s is %(n)s s behind the database’s.")
    words = (ahead if found.clock_offset > 0 else behind) % {"n": round(n)}
    return Line(
        _("Clocks"),
        words if n >= 1 else _("Web process and database agree."),
        None,
        _("Set the clocks of both machines by the same time server.") if is_off else "",
    )


def _proxies(request: HttpRequest) -> Line:
    """Whether TRUSTED_PROXIES is right for the way on which this page was asked for: no browser names
    addresses of its own accord."""
    n, trusted = len(passed_on(request)), settings.TRUSTED_PROXIES
    words = ngettext(
        "This page came through %(n)s proxy, and TRUSTED_PROXIES is %(trusted)s.",
        "This page came through %(n)s proxies, and TRUSTED_PROXIES is %(trusted)s.",
        n,
    ) % {"n": n, "trusted": trusted}
    hidden = _(
        "Set TRUSTED_PROXIES=%(n)s if all of them are yours. Until then all who come through the last one"
        " count as one address: the wrong passwords of one person stop the others."
    )
    invented = _(
        "Set TRUSTED_PROXIES=%(n)s, or let the proxies append to X-Forwarded-For. Until then people choose"
        " the address themselves under which their wrong passwords are counted."
    )
    todo = hidden if n > trusted else invented if n < trusted else ""
    return Line(_("Network addresses"), words, None, todo and todo % {"n": n})


def _safety(found: Figures) -> Iterator[Line]:
    words = _("The data in the last good one are of:") if found.backup_at else _("There is no good one yet.")
    old = found.backup_at is None or found.is_older(found.backup_at, status.BACKUP_OLD)
    todo = _("Make one a day: manage.py backup")
    if found.backup_missing in (BACKUP, LIST):
        yield _lost_backup(found)
    elif found.backup_missing == UNSEEN and found.is_backup_good and not old:
        unseen = _("Whether the last good one is still there cannot be seen from here. It was of:")
        yield Line(_("Backup"), unseen, found.backup_at, _("Mend BACKUP_DIR, or let web read that folder."))
    else:
        yield _run(_("Backup"), words, found.backup_at, found.is_backup_good, old, todo)
    if found.is_archiving:
        yield _archive(found)
    words = _("A backup was last restored well:") if found.drill_at else _("None was restored to try it yet.")
    old = found.drill_at is None or found.is_older(found.drill_at, status.DRILL_OLD)
    todo = _("Rehearse once a month: manage.py drill_restore")
    yield _run(_("Restore drill"), words, found.drill_at, found.is_drill_good, old, todo)
    yield _rows(found.n_unguarded)


def _lost_backup(found: Figures) -> Line:
    is_list = found.backup_missing == LIST
    return Line(
        _("Backup"),
        _("The list of withdrawals is not in the folder of the backups.")
        if is_list
        else _("The last good one is not in the folder of the backups, or not as it was written. It was of:"),
        None if is_list else found.backup_at,
        _("Fetch the copy from elsewhere, then make a backup: manage.py backup"),
    )


def _rows(n: int) -> Line:
    """Whether the second net is there for this process."""
    loose = ngettext(
        "Of %(n)s table the database shows web all rows: the application’s own rules alone hold.",
        "Of %(n)s tables the database shows web all rows: the application’s own rules alone hold.",
        n,
    ) % {"n": n}
    return Line(
        _("Clinics kept apart"),
        loose if n else _("By the application’s rules, and once more by the database."),
        None,
        _("Run web, worker and beat under the role of manage.py app_role, then call manage.py rows_guard.")
        if n
        else "",
    )


def _archive(found: Figures) -> Line:
    """Of PostgreSQL's log, where it is archived as it grows."""
    words = _("The last piece was archived:") if found.archived_at else _("No piece was archived yet.")
    if found.is_archive_failing:
        words = _("The last one failed. %(words)s") % {"words": words}
    late = found.archived_at is None or found.is_older(found.archived_at, status.ARCHIVE_OLD)
    todo = _("PostgreSQL’s log says why archive_command does not work.")
    return Line(
        _("Archive of the database’s log"),
        words,
        found.archived_at,
        todo if late or found.is_archive_failing else "",
    )


def _run(part: str, words: str, at: datetime | None, is_good: bool | None, old: bool, todo: str) -> Line:
    """`words` and `at` are of the last good one; `is_good` is whether the last of all was."""
    if is_good is False:
        words = _("The last one failed. %(words)s") % {"words": words}
    return Line(part, words, at, todo if old or not is_good else "")
