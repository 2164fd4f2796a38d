"""What nobody but its owner should read is planted through the site, errors are provoked around it, and then
it is looked for wherever it has no business to be: 0 hits."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from secrets import token_hex
from typing import Any

import httpx
import pytest
import redis

from alliance_site.embedded import servers, urls
from tests.journeys.conftest import ROOT, VAR, Site, environment, running_site, wait_for
from tests.journeys.mail_sink import Sink
from tests.journeys.test_faults import begin, filled
from tests.journeys.test_messages import ask, hurry, post, staff, token_of, unpacked

pytestmark = pytest.mark.slow

METRICS_TOKEN = "a token of the canaries, long enough"
# Values in an order that no other form has.
VALUES = [2, 7, 1, 6, 3, 5, 4, 7, 2, 6, 1, 5]
HEAD = "from surveys.services.seals import head_tell, seals_add; seals_add(); head_tell()"
FULL = """
CREATE FUNCTION canary_full() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
CREATE TRIGGER canary_full BEFORE INSERT ON surveys_response EXECUTE FUNCTION canary_full()
"""


class Planted:
    """Canaries by what they are, as they were typed or handed out."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}

    def new(self, what: str, pattern: str = "{}") -> str:
        self.words[what] = pattern.format(f"canary{token_hex(8)}")
        return self.words[what]

    def add(self, what: str, word: str) -> None:
        assert len(word) > 12, what
        self.words[what] = word


@pytest.fixture(scope="module", params=["line", "json"])
def canary_site(request: pytest.FixtureRequest) -> Iterator[tuple[Site, Sink, list[str]]]:
    sink = Sink()
    sink.open()
    own = {
        "AUDIT_HEAD_TO": "auditor@mail.example",
        "EMAIL_HOST": "127.0.0.1",
        "EMAIL_PORT": str(sink.port),
        "EMAIL_USE_TLS": "0",
        "LOG_FORMAT": request.param,
        "LOG_LEVEL": "INFO",
        "METRICS_TOKEN": METRICS_TOKEN,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in own.items():
            patch.setenv(name, value)
        with running_site(VAR.with_name(f"{VAR.name}-canaries")) as site:
            yield site, sink, overheard(site)
    sink.close()


def overheard(site: Site) -> list[str]:
    """Every command that the broker gets from now on."""
    words: list[str] = []
    client = redis.Redis.from_url(
        urls(site.var)[1].replace("redis+socket://", "unix://"), socket_timeout=None
    )

    def listen() -> None:
        with suppress(redis.ConnectionError), client.monitor() as monitor:
            for command in monitor.listen():
                words.append(str(command["command"]))

    threading.Thread(target=listen, daemon=True).start()
    return words


@contextmanager
def broken(site: Site, statement: str, mended: str) -> Iterator[None]:
    site.change(statement)
    try:
        yield
    finally:
        site.change(mended)


def refusing(site: Site, table: str) -> Any:
    """Inside the block the table takes no row, and Postgres quotes each that it refuses."""
    rule = f'ALTER TABLE "{table}" ADD CONSTRAINT canary CHECK (false) NOT VALID'
    return broken(site, rule, f'ALTER TABLE "{table}" DROP CONSTRAINT canary')


def manage(site: Site, *words: str) -> None:
    argv = [sys.executable, "manage.py", *words]
    env = environment(site.var)
    env.pop("BACKUP_KEY", None)
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def send(client: httpx.Client, url: str, data: dict[str, str]) -> int:
    headers = {"Referer": url}
    return client.post(f"{url}send/", data=data, headers=headers, follow_redirects=False).status_code


def plant_with_staff(site: Site, planted: Planted) -> None:
    """Passwords, sessions, tokens and words of the people who work there; a page that fails on the latter."""
    wrong = planted.new("password that was mistyped")
    client = httpx.Client(base_url=site.base_url, follow_redirects=True, timeout=30)
    client.get("/accounts/login/")
    accounts = site.manifest["accounts"]
    post(client, "/accounts/login/", login=accounts["therapist"]["email"], password=wrong)
    planted.add("password", accounts["clinic_admin"]["password"])
    planted.add("key of a second factor", accounts["clinic_admin"]["totp_secret"])
    admin = staff(site, "clinic_admin")
    planted.add("session of the staff", admin.cookies["session"])
    planted.add("csrf secret", admin.cookies["csrf"])
    text = planted.new("free text")
    with refusing(site, "surveys_tablet"):
        assert post(admin, "/tablets/", name=text, pin="917305824").status_code == 500
    admin.get("/clinic/patients/", params={"q": planted.new("what was searched for")})
    token = accounts["therapist"]["api_token"]
    planted.add("API token", token)
    for given in (token, planted.new("API token that is wrong")):
        headers = {"Authorization": f"Token {given}"}
        httpx.post(f"{site.base_url}/api/v1/sessions/", headers=headers, json={"held_at": text})
        httpx.get(f"{site.base_url}/api/v1/therapies/", headers=headers)


def plant_with_patient(site: Site, sink: Sink, planted: Planted) -> None:
    """An address, a link, a browser's secret and answers; sending fails in three ways before it succeeds."""
    address = planted.new("address of the patient", "{}@mail.example")
    ask(site, address)
    wait_for("the mail", lambda: sink.to(address), 30)
    token = token_of(sink, address)
    planted.add("link", token)
    client, url, fields = begin(f"{site.base_url}/r/{token}/")
    planted.add("secret of the patient's browser", client.cookies["browser"])
    data = filled(fields) | {f"item_{n}": str(value) for n, value in enumerate(VALUES, start=1)}
    with refusing(site, "surveys_response"):
        assert send(client, url, data) == 500
    with broken(
        site,
        "ALTER TABLE surveys_score RENAME TO canary_score",
        "ALTER TABLE canary_score RENAME TO surveys_score",
    ):
        assert send(client, url, data) == 500
    with broken(site, FULL, "DROP FUNCTION canary_full CASCADE"):
        assert send(client, url, data) == 503
    with refusing(site, "analytics_growthfit"):
        assert send(client, url, data) == 303
        failed = "SELECT error FROM surveys_job WHERE kind = 'refit' ORDER BY id DESC LIMIT 1"
        wait_for("the refit fails", lambda: site.sql(failed)[0][0], 60)
    ((answers, receipt),) = site.sql(
        "SELECT answers::text, receipt_code FROM surveys_response ORDER BY submitted_at DESC LIMIT 1"
    )
    assert list(json.loads(answers).values()) == VALUES
    planted.add("answers as stored", answers)
    planted.add(
        "answers as sent", "&".join(f"item_{n}={value}" for n, value in enumerate(VALUES[:3], start=1))
    )
    client.get(f"{site.base_url}/r/{token}/your-data/")
    # Twelve characters at least, so that it is found only where it is meant.
    planted.add("receipt", f"{receipt}".ljust(13))


def plant_in_mail(site: Site, sink: Sink, planted: Planted) -> None:
    """A mail server that names whom it does not know."""
    sink.is_refusing = True
    form = ask(site, planted.new("address that is refused", "{}@mail.example"))
    state = "SELECT state FROM surveys_message WHERE assignment_id = %s"
    hurry(site)
    wait_for("it is not sent", lambda: site.sql(state, form) == [("failed",)], 60)
    sink.is_refusing = False


def places(site: Site, sink: Sink, broker: list[str]) -> dict[str, bytes]:
    """All that is read by somebody who runs the machine, or leaves it."""
    found = {"log": site.var.with_suffix(".log").read_bytes()}
    found["broker, heard"] = "\n".join(broker).encode()
    found["broker, unpacked"] = unpacked("\n".join(broker))
    database, valkey = servers_of(site)
    found["database's log"] = database.log.read_bytes()
    for path in valkey.home.rglob("*"):
        if path.is_file():
            found[f"broker, {path.name}"] = path.read_bytes()
    manage(site, "backup")
    for path in (site.var / "backups").iterdir():
        found[path.name] = path.read_bytes()
    for table in ("surveys_job", "surveys_heartbeat", "surveys_backuprun", "surveys_auditevent", "cache"):
        rows = site.sql(f'SELECT row::text FROM "{table}" row')
        found[table] = "\n".join(text for (text,) in rows).encode()
    headers = {"Authorization": f"Bearer {METRICS_TOKEN}"}
    found["metrics"] = httpx.get(f"{site.base_url}/metrics", headers=headers).content
    found["health"] = httpx.get(f"{site.base_url}/health/", timeout=10).content
    found["status"] = staff(site, "clinic_admin").get("/status/").content
    manage(site, "shell", "-c", HEAD)
    others = [mail.as_bytes() for mail in sink.mails if not str(mail["To"]).startswith("canary")]
    found["mails to others"] = b"\n".join(others)
    return found


def servers_of(site: Site) -> list[Any]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DATABASE_URL", "CELERY_BROKER_URL"):
            patch.delenv(name, raising=False)
        return servers(site.var)


def test_no_canary_is_in_any_log_queue_mail_or_backup(
    canary_site: tuple[Site, Sink, list[str]],
) -> None:
    site, sink, broker = canary_site
    planted = Planted()
    plant_with_staff(site, planted)
    plant_with_patient(site, sink, planted)
    plant_in_mail(site, sink, planted)
    wait_for("the site is whole again", lambda: site.health() == 200, 60)
    found = places(site, sink, broker)

    sent = b"".join(mail.as_bytes() for mail in sink.mails)
    assert planted.words["link"].encode() in sent, "the search finds what there is"
    empty = {place for place, content in found.items() if not content}
    assert empty <= {"withdrawals.jsonl"}, "each place holds something"
    log = found["log"].decode()
    for error in ("CheckViolation", "UndefinedTable", "DiskFull"):
        assert error in log, "the errors were met"
    hits = {
        (what, place)
        for what, word in planted.words.items()
        for place, content in found.items()
        if word.strip().encode() in content
    }
    assert hits == set()
    assert not re.search(r"item_\d+", log)
    assert len(planted.words) == 16, "all were planted"
    assert os.environ["METRICS_TOKEN"] not in log
