"""P7: web process and worker two hours ahead of the database, or behind it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import timedelta

from django.db import connections
from django.utils import timezone

from alliance_site.folders import PROJECT
from benchmarks.faults.patient import Browser, Opened, Patients
from benchmarks.faults.run import Figures, Run
from benchmarks.faults.seed import Form
from benchmarks.faults.site import faketime, wait_until
from surveys.models import Patient, Study, Therapist, Therapy

OFFSETS = ("+2h", "-2h")
# Beside its time a form is asked for; the clocks may be wrong by a minute at most.
MARGIN = 45
NO_FAKETIME = "the program faketime is not installed (Debian: apt-get install faketime)"

CLOSES = """
UPDATE surveys_assignment SET opens_at = now() - interval '9 days',
       closes_at = now() + make_interval(secs => %s) WHERE id = %s RETURNING 1
"""
DAY = 24 * 3600
# What the staff does, by services, in a process with the other clock.
CLOSE_SESSIONS = """
from datetime import datetime
from surveys.models import Therapy
from surveys.services.sessions import session_close
for key in {therapies!r}:
    session_close(therapy=Therapy.objects.get(pk=key), held_at=datetime.fromisoformat({held_at!r}),
                  status="held")
"""
INVITED = """
SELECT count(*), count(*) FILTER (WHERE m.state = 'sent'),
       max(abs(extract(epoch FROM m.due_at - %s::timestamptz))),
       max(extract(epoch FROM clock_timestamp() - m.sent_at)), min(extract(epoch FROM m.sent_at - m.due_at))
FROM surveys_message m JOIN surveys_assignment a ON a.id = m.assignment_id
JOIN surveys_session s ON s.id = a.session_id
WHERE m.kind = 'invitation' AND s.therapy_id = ANY(%s::uuid[])
"""


def apart(run: Run) -> Figures:
    """P7: forms open and close by the database's clock alone, and every patient is invited once, in time."""
    if not faketime():
        return {"skipped": NO_FAKETIME}
    return {offset: _with_clock(run, offset) for offset in OFFSETS}


def _with_clock(run: Run, offset: str) -> Figures:
    n = run.sizes.of(20, 4)
    with run.site.with_other_clock(offset) as port:
        patients = run.patients([port])
        seconds = _offset_shown(run, port)
        hours = 3600 * int(offset.removesuffix("h"))
        run.expect(abs(seconds - hours) < MARGIN, f"/metrics says that the clock is off by {seconds:.0f} s")
        return {
            "links": _links(run, patients, n),
            "sent_late": _sent_late(run, patients, n),
            "invitations": _invitations(run, offset, n),
            **run.met(patients),
        }


def _offset_shown(run: Run, port: int) -> float:
    page = Browser(run.patients([port]).balance).request("GET", "/metrics", token=os.environ["METRICS_TOKEN"])
    found = re.search(r"^alliance_clock_offset_seconds (\S+)$", page.body, re.MULTILINE)
    return float(found[1]) if found else 0.0


def _links(run: Run, patients: Patients, n: int) -> dict[str, int]:
    """Links a little before and after their time, opened by the web process with the other clock."""
    opened = 0
    for form in run.forms.take(n):
        _closes_in(run, form, MARGIN)
        patients.fill(form, run.rng)
        opened += 1
    for form in run.forms.take(n):
        _closes_in(run, form, -MARGIN)
        status = Browser(patients.balance).get(f"/r/{form.token}/").status
        run.expect(status == 410, f"a link was answered {status} after its time")
    return {"open_in_time": opened, "closed_after": n}


def _sent_late(run: Run, patients: Patients, n: int) -> dict[str, int]:
    """Forms that were begun in time may be sent a day later, and no minute more."""
    in_time = [(form, patients.begin(form, run.rng)) for form in run.forms.take(n)]
    too_late = [(form, patients.begin(form, run.rng)) for form in run.forms.take(n)]
    for form, opened in in_time:
        _closes_in(run, form, MARGIN - DAY)
        patients.send(opened)
    statuses = [_too_late(run, patients, *pair) for pair in too_late]
    run.expect(set(statuses) <= {409, 410}, f"forms sent too late were answered {sorted(set(statuses))}")
    return {"sent_within_the_day": n, "refused_after": n}


def _too_late(run: Run, patients: Patients, form: Form, opened: Opened) -> int:
    _closes_in(run, form, -MARGIN - DAY)
    return patients.click(opened).status


def _closes_in(run: Run, form: Form, seconds: int) -> None:
    run.site.sql(CLOSES, seconds, form.id)


def _invitations(run: Run, offset: str, n: int) -> Figures:
    """Sessions that are entered with the other clock; the worker with the other clock sends the mails."""
    keys = _asked_by_mail(n, offset)
    ((now,),) = run.site.sql("SELECT clock_timestamp()")
    script = CLOSE_SESSIONS.format(therapies=keys, held_at=(now - timedelta(minutes=30)).isoformat())
    argv = [faketime(), "-m", "-f", offset, sys.executable, "manage.py", "shell", "-c", script]
    done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=False)
    run.expect(done.returncode == 0, f"sessions could not be entered: {done.stderr.strip()[-200:]}")
    wait_until("all are invited", lambda: run.site.sql(INVITED, now, keys)[0][1] >= n, 120)
    n_all, n_sent, off, age, wait = run.site.sql(INVITED, now, keys)[0]
    run.expect((n_all, n_sent) == (n, n), f"{n} patients had {n_all} invitations, {n_sent} of them sent")
    late = max(float(off), abs(float(min(age, 0))), -float(min(wait, 0)))
    run.expect(late < 60, f"an invitation was due or sent {late:.0f} s beside its time")
    return {"patients": n, "invitations": n_all, "sent": n_sent, "most_seconds_beside": round(late, 1)}


def _asked_by_mail(n: int, offset: str) -> list[str]:
    """New therapies of patients with an address; their ids."""
    study, therapist = Study.objects.get(code="FAULT-0"), Therapist.objects.get()
    keys = []
    for number in range(n):
        code = f"{'A' if offset.startswith('+') else 'B'}{number}"
        patient = Patient.objects.create(
            clinic_id=therapist.clinic_id, code=f"PM{code}", contact=f"{code}@faults.example"
        )
        therapy = Therapy.objects.create(
            code=f"TM{code}",
            patient=patient,
            therapist=therapist,
            study=study,
            started_on=(timezone.now() - timedelta(days=30)).date(),
        )
        keys.append(str(therapy.pk))
    connections.close_all()
    return keys
