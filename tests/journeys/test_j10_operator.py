"""J10: an operator installs the site by the commands of the README, sees how it is, loses everything and
brings it back; then models of a demonstration get old, and its trace is read and altered.

That a worker which is killed leaves no half a model and no second mail is in test_faults and test_messages.
"""

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg2
import pytest

from alliance_site.embedded import urls
from tests.journeys.conftest import ROOT, VAR, Site, environment, free_port, running_site, wait_for
from tests.journeys.test_messages import post, staff
from tests.totp import code_of

pytestmark = pytest.mark.slow

OWN = VAR.with_name(f"{VAR.name}-j10")
OPERATOR, ADMIN = "operator@clinic.example", "admin@clinic.example"
PASSWORD = "a long password of the journey"


def settings(**more: str) -> dict[str, str]:
    """Of a clinic's own site on this machine, which has nothing but the defaults."""
    env = environment(OWN)
    del env["ALLIANCE_DEMO"]
    env.pop("BACKUP_KEY", None)
    return env | {"HTTPS": "0", "LOG_LEVEL": "WARNING"} | more


def manage(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "manage.py", *words]
    return subprocess.run(argv, cwd=ROOT, env=settings(**more), capture_output=True, text=True, timeout=300)


def done(*words: str, **more: str) -> str:
    ran = manage(*words, **more)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@contextmanager
def running() -> Iterator[str]:
    """`manage.py up`, until the block ends; its address."""
    port = free_port()
    base_url = f"http://127.0.0.1:{port}"
    with OWN.with_suffix(".log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "up", "--port", str(port)],
            cwd=ROOT,
            env=settings(),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def healthy() -> bool:
        assert process.poll() is None, Path(log.name).read_text()
        try:
            return httpx.get(f"{base_url}/health/", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    try:
        wait_for("health", healthy, 300)
        yield base_url
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


@pytest.fixture(scope="module")
def clean() -> Iterator[None]:
    """No site, and none left behind."""
    shutil.rmtree(OWN, ignore_errors=True)
    yield
    shutil.rmtree(OWN, ignore_errors=True)


def signed_in(base_url: str, email: str, apps: dict[str, str]) -> httpx.Client:
    """By password and the code of an app, which is set up at the first time; `apps` keeps the keys."""
    client = httpx.Client(base_url=base_url, follow_redirects=True, timeout=30)
    client.get("/accounts/login/")
    page = post(client, "/accounts/login/", login=email, password=PASSWORD)
    if email in apps:
        page = post(client, "/accounts/2fa/authenticate/", code=code_of(apps[email]))
    else:
        assert "Set up a second factor" in page.text
        apps[email] = re.sub(r"\s", "", re.findall(r'<code class="token"[^>]*>([^<]+)</code>', page.text)[0])
        page = post(client, "/accounts/2fa/totp/activate/", code=code_of(apps[email]))
        assert "Recovery codes" in page.text
    assert "/accounts/login/" not in str(page.url), page.text
    return client


def asking(operator: httpx.Client) -> set[str]:
    """The parts of the page about the status that need somebody."""
    page = operator.get("/status/").text
    rows = page.partition("<tbody>")[2].partition("</tbody>")[0].split("</tr>")[:-1]
    assert len(rows) >= 10
    parts = [re.findall(r'<th scope="row">(.*?)</th>', row)[0] for row in rows if "<strong>" in row]
    assert (not parts) == ("Everything is at work." in page)
    return set(parts)


def counts() -> dict[str, int]:
    """Rows by table, but for sign-ins, counters and what the worker writes by itself."""
    left_out = (
        "django_session",
        "surveys_signin",
        "cache",
        "surveys_heartbeat",
        "surveys_job",
        "surveys_backuprun",
    )
    line = psycopg2.connect(urls(OWN)[0])
    try:
        with line.cursor() as cursor:
            cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            tables = [name for (name,) in cursor.fetchall() if name not in left_out]
            found = {}
            for name in tables:
                cursor.execute(f'SELECT count(*) FROM "{name}"')
                found[name] = int(cursor.fetchone()[0])
            return found
    finally:
        line.close()


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"DEBUG": "1"}, "DEBUG shows private data on error pages."),
        ({"SECRET_KEY": "changeme"}, "SECRET_KEY (or SECRET_KEY_FILE) needs at least 50 random characters."),
        ({"ALLOWED_HOSTS": "*"}, "ALLOWED_HOSTS may not be * outside demo mode."),
    ],
)
def test_an_unsafe_start_is_refused_in_one_line(clean: None, more: dict[str, str], sentence: str) -> None:
    ran = manage("up", "--port", str(free_port()), **more)
    assert ran.returncode == 1
    lines = [line for line in (ran.stdout + ran.stderr).splitlines() if line]
    assert len(lines) == 1, lines
    assert sentence in lines[0]
    assert not (OWN / "pg").exists()


def test_from_an_empty_folder_to_a_green_page_and_back_after_a_loss(clean: None) -> None:
    apps: dict[str, str] = {}
    with running() as base_url:
        first = ("--contact", "Reception, 555 0100", "--admin", ADMIN, "--base-url", base_url)
        said = done("clinic_create", "Lake Clinic", *first)
        for words in (said, done("role_grant", OPERATOR, "superuser", "--base-url", base_url)):
            chosen = httpx.Client(follow_redirects=True, timeout=30)
            page = chosen.get(re.findall(r"http\S+", words)[-1])
            token = {"csrfmiddlewaretoken": chosen.cookies["csrf"]}
            fields = token | {"password1": PASSWORD, "password2": PASSWORD}
            page = chosen.post(str(page.url), data=fields, headers={"Referer": str(page.url)})
            assert page.status_code == 200
        assert "Lake Clinic" in signed_in(base_url, ADMIN, apps).get("/clinic/").text
        operator = signed_in(base_url, OPERATOR, apps)
        assert asking(operator) >= {"Backup", "Restore drill"}
        done("backup")
        done("drill_restore")
        # How full the disk of this machine is the test does not say.
        assert asking(operator) <= {"Disk of the data", "Disk of the backups"}
    (file,) = (OWN / "backups").glob("*.alliance")

    # The servers run for a command as long as it needs them.
    before = counted()
    (OWN / "pg").rename(OWN / "pg.lost")
    said = done("restore", str(file))
    assert "FAIL" not in said
    after = counted()
    grown = {name for name in after if after[name] != before[name]}
    # A restoration is an act of its own, and leaves its row.
    assert grown <= {"surveys_auditevent", "surveys_auditseal"}, grown
    with running() as base_url:
        assert signed_in(base_url, ADMIN, apps).get("/clinic/").status_code == 200
        assert signed_in(base_url, OPERATOR, apps).get("/status/").status_code == 200


def counted() -> dict[str, int]:
    """With the servers up for as long as it takes."""
    script = "import json; from tests.journeys.test_j10_operator import counts; print(json.dumps(counts()))"
    words = done("shell", "-c", script).splitlines()
    found: dict[str, int] = json.loads(words[-1])
    return found


@pytest.fixture(scope="module")
def demo() -> Iterator[Site]:
    with running_site(VAR.with_name(f"{VAR.name}-j10-demo")) as site:
        yield site


def command(site: Site, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "manage.py", *words]
    env = environment(site.var)
    return subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)


def test_therapists_are_told_that_models_are_not_made_up_to_date(demo: Site) -> None:
    therapist = staff(demo, "therapist")
    assert "Models have not been worked on" not in therapist.get("/caseload/").text
    stopped = [*demo.processes("celery", "worker"), *demo.processes("celery", "beat")]
    for process in stopped:
        process.suspend()
    try:
        demo.change("UPDATE surveys_heartbeat SET at = at - interval '10 minutes'")
        page = therapist.get("/caseload/").text
        assert "Models have not been worked on since" in page
        assert demo.health() == 503
    finally:
        for process in stopped:
            process.resume()
    wait_for("the worker is heard", lambda: demo.health() == 200, 60)


def test_the_trace_is_read_by_patient_and_an_altered_row_is_found(demo: Site) -> None:
    ((key, code),) = demo.sql(
        "SELECT t.id, p.code FROM surveys_therapy t JOIN surveys_patient p ON p.id = t.patient_id"
        " JOIN surveys_therapist th ON th.id = t.therapist_id JOIN surveys_user u ON u.id = th.user_id"
        " WHERE u.email = 'therapist@demo.example' LIMIT 1"
    )
    staff(demo, "therapist").get(f"/therapies/{key}/").raise_for_status()
    page = staff(demo, "clinic_admin").get("/clinic/trace/", params={"code": code, "kind": "read"}).text
    body = page.partition("<tbody>")[2].partition("</tbody>")[0]
    rows = body.split("</tr>")[:-1]
    assert rows
    assert all(code in row for row in rows)
    assert any("therapist@demo.example" in row for row in rows)

    script = "from surveys.services.seals import seals_add; seals_add()"
    assert command(demo, "shell", "-c", script).returncode == 0
    good = command(demo, "audit_check")
    assert good.returncode == 0, good.stdout + good.stderr
    assert "are as they were sealed" in good.stdout
    ((row,),) = demo.sql("SELECT min(id) FROM surveys_auditevent WHERE act = 'response.submit'")
    demo.change(
        "ALTER TABLE surveys_auditevent DISABLE TRIGGER USER;"
        " UPDATE surveys_auditevent SET subject = subject || 'x' WHERE id = %s;"
        " ALTER TABLE surveys_auditevent ENABLE TRIGGER USER",
        row,
    )
    bad = command(demo, "audit_check")
    assert bad.returncode == 1
    assert str(row) in bad.stderr.replace(",", "")
