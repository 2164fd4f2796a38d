"""A site with a million responses, by one command: the demonstration clinic, whose people without an
account are copied in a few statements until there are so many (`benchmarks/pages.py`), with a row of the
trace for each.

The folder is that of a demo: `make demo VAR=...` opens it afterwards.
"""

from __future__ import annotations

import os
import sys
import time
from io import StringIO
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.db import connection

import analytics.tasks  # noqa: F401  registers the refit
from alliance_site import embedded
from benchmarks.pages import fill
from surveys import jobs

TRACE = """
INSERT INTO surveys_auditevent (at, act, role, clinic_id, subject, fields, request, detail)
SELECT r.submitted_at, 'response.submit', '', study.clinic_id, 'response:' || r.id, '', gen_random_uuid(),
'{}' FROM surveys_response r
JOIN surveys_assignment form ON form.id = r.assignment_id
JOIN surveys_study study ON study.id = form.study_id
WHERE NOT EXISTS (SELECT 1 FROM surveys_auditevent e WHERE e.subject = 'response:' || r.id)
ORDER BY r.submitted_at
"""
COUNTED = ("therapist", "patient", "therapy", "session", "assignment", "response", "score", "auditevent")


def seed(var: Path, n_responses: int) -> dict[str, Any]:
    """How many rows there are now, and seconds."""
    began = time.monotonic()
    (var / embedded.DEMO_MARK).touch()
    with embedded.hold(var):
        call_command("migrate", interactive=False, verbosity=0)
        call_command("instruments_load", verbosity=0, stdout=StringIO())
        call_command("demo_clinic", size="small", verbosity=0, stdout=StringIO())
        while jobs.run_due(60):
            pass
        _say("the clinic that is copied", began)
        with connection.cursor() as cursor:
            fill(cursor, n_responses)
            _say("responses", began)
            cursor.execute(TRACE)
            # What an autovacuum does within the hour: counts then read an index alone.
            cursor.execute("VACUUM ANALYZE")
            rows = {}
            for name in COUNTED:
                cursor.execute(f"SELECT count(*) FROM surveys_{name}")  # noqa: S608
                rows[name] = cursor.fetchone()[0]
            cursor.execute("SELECT pg_database_size(current_database())")
            size = cursor.fetchone()[0]
        connection.close()
    return {
        "name": "a site with many responses",
        "rows": rows,
        "gb": round(size / 1e9, 1),
        "seconds": round(time.monotonic() - began),
        "cores": os.cpu_count(),
    }


def _say(what: str, began: float) -> None:
    print(f"{what}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
