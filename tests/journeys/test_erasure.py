"""A patient has everything erased: nothing of it is left in the database, in files, in the broker, or in the
next backup, and the models were fitted without it."""

import json
import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest
import redis

from alliance_site.backups import make, programs, stream
from alliance_site.embedded import urls
from tests.journeys.conftest import ROOT, VAR, Site, environment, running_site, wait_for

pytestmark = pytest.mark.slow

KEY = "a key of fifty characters and more, for this site alone"
ADDRESS = "kanarienvogel@example.org"
OWN = (
    " FROM surveys_response response JOIN surveys_assignment form ON form.id = response.assignment_id"
    " JOIN surveys_session session ON session.id = form.session_id"
    " JOIN surveys_therapy therapy ON therapy.id = session.therapy_id"
    " WHERE form.rater = 'patient' AND therapy.patient_id = %s"
)


def manage(site: Site, *words: str) -> str:
    command = [sys.executable, "manage.py", *words]
    env = environment(site.var) | {"BACKUP_KEY": KEY, "BACKUP_DIR": str(site.var / "backups")}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def chosen(site: Site) -> tuple[str, str]:
    """A patient with the most answers in a study, and the study."""
    ((patient, study),) = site.sql(
        "SELECT therapy.patient_id::text, therapy.study_id::text FROM surveys_response response"
        " JOIN surveys_assignment form ON form.id = response.assignment_id AND form.rater = 'patient'"
        " JOIN surveys_session session ON session.id = form.session_id"
        " JOIN surveys_therapy therapy ON therapy.id = session.therapy_id"
        " GROUP BY 1, 2 ORDER BY count(*) DESC LIMIT 1"
    )
    return patient, study


def in_shell(site: Site, patient: str, study: str, code: str) -> None:
    names = "from surveys.models import *; from surveys.services.withdrawals import withdrawal_enter; "
    known = f"patient = Patient.objects.get(pk='{patient}'); study = Study.objects.get(pk='{study}'); "
    manage(site, "shell", "-v0", "-c", names + known + code)


def plant(site: Site, patient: str, study: str) -> list[bytes]:
    """What stands in the rows of this patient alone, as it is stored: receipt codes, keys of their browsers,
    and their address, in clear and encrypted."""
    in_shell(site, patient, study, f"Patient.objects.filter(pk=patient.pk).update(contact='{ADDRESS}')")
    ((stored,),) = site.sql("SELECT contact FROM surveys_patient WHERE id = %s", patient)
    codes = site.sql(f"SELECT response.receipt_code, response.client_key::text{OWN}", patient)
    assert codes and ADDRESS not in stored
    return [ADDRESS.encode(), stored.encode(), *(word.encode() for row in codes for word in row)]


def dumped(site: Site) -> bytes:
    """The whole database as SQL."""
    address = urls(site.var)[0]
    with psycopg2.connect(address) as connection:
        version = connection.server_version // 10000
    program = programs.find("pg_dump", version)
    return subprocess.run([program, "--inserts", "-d", address], capture_output=True, check=True).stdout


def backed_up(site: Site, folder: Path) -> bytes:
    """A backup made now, opened with its key, as SQL."""
    path = folder / "next.alliance"
    manage(site, "backup", "--out", str(path))
    with path.open("rb") as file:
        content = b"".join(stream.opened(file, KEY))
    length = make.LENGTH + int.from_bytes(content[: make.LENGTH], "big")
    (folder / "dump").write_bytes(content[length:])
    program = programs.find("pg_restore", int(json.loads(content[make.LENGTH : length])["server"]))
    return subprocess.run([program, "-f", "-", folder / "dump"], capture_output=True, check=True).stdout


def in_broker(site: Site) -> bytes:
    broker = redis.Redis.from_url(urls(site.var)[1].replace("redis+socket://", "unix://"))
    return b"\n".join(key + (broker.dump(key) or b"") for key in broker.scan_iter())


def in_files(site: Site) -> bytes:
    """Every file beside the database's own, which keeps deleted rows until it vacuums."""
    files = [
        path
        for path in site.var.rglob("*")
        if path.is_file() and "pg" not in path.relative_to(site.var).parts
    ]
    log = site.var.with_suffix(".log")
    return b"\n".join(path.read_bytes() for path in [*files, log])


def found(planted: list[bytes], place: bytes) -> list[bytes]:
    return [word for word in planted if word in place]


def fitted_without(site: Site, study: str) -> bool:
    """No work on the study is left, and a model was fitted after the withdrawal."""
    ((n_open, is_new),) = site.sql(
        "SELECT (SELECT count(*) FROM surveys_job WHERE state IN ('pending', 'running')"
        " AND kind IN ('refit', 'list_withdrawals')),"
        " (SELECT max(read_at) FROM analytics_growthfit WHERE study_id = %s AND perspective = 'patient')"
        " > (SELECT max(at) FROM surveys_withdrawal)",
        study,
    )
    return n_open == 0 and bool(is_new)


def test_nothing_of_an_erased_patient_is_left_anywhere(tmp_path: Path) -> None:
    with running_site(VAR.with_name(f"{VAR.name}-erasure")) as site:
        patient, study = chosen(site)
        planted = plant(site, patient, study)
        assert len(found(planted, dumped(site))) == len(planted) - 1, "all but the address in clear is there"
        ((before,),) = site.sql("SELECT sum(n) FROM analytics_ratingcount WHERE study_id = %s", study)
        in_shell(site, patient, study, "withdrawal_enter(patient=patient, study=study, choice='erase')")
        wait_for("the models are fitted again", lambda: fitted_without(site, study), 120)
        ((after,),) = site.sql("SELECT sum(n) FROM analytics_ratingcount WHERE study_id = %s", study)
        assert after < before
        assert found(planted, dumped(site)) == []
        assert found(planted, in_files(site)) == []
        assert found(planted, in_broker(site)) == []
        assert found(planted, backed_up(site, tmp_path)) == []
