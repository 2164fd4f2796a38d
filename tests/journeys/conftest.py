"""A whole site as an operator starts it: `manage.py up` with real Postgres, Valkey, web, worker and beat,
and a real browser in front of it."""

import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright
from playwright.sync_api import Error as PlaywrightError

ROOT = Path(__file__).resolve().parent.parent.parent
# Parallel test workers have a site each.
VAR = ROOT / "var" / f"journey-{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: str, condition: Callable[[], Any], seconds: float) -> Any:
    """The first true answer; fails with `what` when there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.2)
    pytest.fail(f"not within {seconds:.0f} s: {what}")


def environment(var: Path) -> dict[str, str]:
    """Of a demonstration with its data under `var`, whatever the tests' own cluster has set."""
    own = ("DATABASE_URL", "CELERY_BROKER_URL", "SECRET_KEY", "FIELD_KEY", "PSEUDONYM_KEY", "ALLOWED_HOSTS")
    kept = {key: value for key, value in os.environ.items() if key not in own}
    return kept | {"ALLIANCE_DEMO": "1", "VAR": str(var)}


@dataclass
class Site:
    """The running site; `links` hands out each patient link once."""

    base_url: str
    process: subprocess.Popen[bytes]
    manifest: dict[str, Any]
    var: Path
    links: Iterator[str] = field(init=False)

    def __post_init__(self) -> None:
        self.links = self._links()

    def _links(self) -> Iterator[str]:
        """When the links of the demonstration are used up: those of the sessions that it adds then."""
        known: set[str] = set()
        links = self.manifest["patient_links"]
        while fresh := [link for link in links if link not in known]:
            known.update(fresh)
            # Tests that find a form by themselves may have filled one of these.
            yield from filter(self._leads_to_an_untouched_form, fresh)
            links = self.refill()["patient_links"]
        pytest.fail("the demonstration added no forms to fill")

    def _leads_to_an_untouched_form(self, link: str) -> bool:
        from surveys.tokens import token_hash

        query = (
            "SELECT state FROM surveys_assignment form JOIN surveys_formlink link"
            " ON link.assignment_id = form.id WHERE link.token_hash = %s"
        )
        return self.sql(query, token_hash(link.rstrip("/").rsplit("/", 1)[-1])) == [("due",)]

    def refill(self) -> dict[str, Any]:
        """Sessions of this week with forms that nobody has begun; the manifest as it is then."""
        ready = [sys.executable, "manage.py", "demo_ready", "--base-url", self.base_url]
        subprocess.run(ready, cwd=ROOT, env=environment(self.var), check=True, timeout=120)
        manifest: dict[str, Any] = json.loads((self.var / "demo.json").read_text())
        return manifest

    def api(self, role: str, path: str) -> Any:
        token = self.manifest["accounts"][role]["api_token"]
        answer = httpx.get(self.base_url + path, headers={"Authorization": f"Token {token}"}, timeout=30)
        answer.raise_for_status()
        return answer.json() if "json" in answer.headers["content-type"] else answer.text

    def health(self) -> int:
        try:
            return httpx.get(f"{self.base_url}/health/", timeout=10).status_code
        except httpx.TransportError:
            return 0

    def processes(self, *words: str) -> list[psutil.Process]:
        """Processes of this site whose command line holds all words."""
        own = [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"]]
        family = {p.pid for p in psutil.Process(self.process.pid).children(recursive=True)}
        return [
            p
            for p in own
            if all(word in " ".join(p.info["cmdline"]) for word in words)
            and (p.pid in family or str(self.var) in " ".join(p.info["cmdline"]))
        ]

    def sql(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Rows straight from the site's database, as an auditor would ask."""
        import psycopg2

        from alliance_site.embedded import urls

        connection = psycopg2.connect(urls(self.var)[0])
        try:
            with connection.cursor() as cursor:
                cursor.execute(query, parameters)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def change(self, statement: str, *parameters: object) -> None:
        """What no page does, time passing for example."""
        import psycopg2

        from alliance_site.embedded import urls

        connection = psycopg2.connect(urls(self.var)[0])
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement, parameters)
        finally:
            connection.close()


def new_link(site: Site, form: str, days_open: int = 0) -> str:
    """One more link to a patient's form; `days_open` gives a form that was missed time from now on."""
    token = secrets.token_urlsafe(32)
    if days_open:
        until = "UPDATE surveys_assignment SET closes_at = now() + %s * interval '1 day' WHERE id = %s"
        site.change(until, days_open, form)
    site.change(
        "INSERT INTO surveys_formlink (assignment_id, token_hash, via, issued_at)"
        " VALUES (%s, %s, 'command', now())",
        form,
        hashlib.sha256(token.encode()).hexdigest(),
    )
    return f"{site.base_url}/r/{token}/"


@contextmanager
def running_site(var: Path) -> Iterator[Site]:
    """A small demonstration site with its data under `var`, which is emptied before and after."""
    port = free_port()
    env = environment(var)
    clear = [sys.executable, "-m", "alliance_site.embedded", "clear", str(var)]
    subprocess.run(clear, cwd=ROOT, env=env, check=True)
    log = var.with_suffix(".log").open("wb")
    up = [sys.executable, "manage.py", "up", "--port", str(port), "--demo", "small"]
    process = subprocess.Popen(
        up, cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )
    manifest = var / "demo.json"

    def ready() -> bool:
        assert process.poll() is None, Path(log.name).read_text()
        return manifest.exists()

    try:
        wait_for(f"the demo is up (see {var.with_suffix('.log')})", ready, 300)
        content = json.loads(manifest.read_text())
        yield Site(content["base_url"], process, content, var)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        log.close()
        subprocess.run(clear, cwd=ROOT, env=env, check=True)
        shutil.rmtree(var, ignore_errors=True)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A new one for each file: what a journey adds, ends and erases would be in the way of others, in an
    order that two workers share out anew each time."""
    with running_site(VAR) as running:
        yield running


# What browsers refused under a page's content security policy, since the test began.
violations: list[str] = []


def _note_violation(message: ConsoleMessage) -> None:
    if "Content Security Policy" in message.text:
        violations.append(f"{message.page.url if message.page else ''}: {message.text}")


@contextmanager
def chromium(**launch: Any) -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.fail("The browser tests need Chromium: apt-get install chromium (or the like).")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS, **launch)
        browser.on("context", lambda context: context.on("console", _note_violation))
        yield browser
        browser.close()


# Per module: while it runs, its event loop keeps Django's database calls out of this process.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What failed where nobody was looking: the pages that were open, as they could be read."""
    report = yield
    shown = getattr(item, "funcargs", {}).get("browser")
    if report.failed and isinstance(shown, Browser):
        for context in shown.contexts[-2:]:
            for page in context.pages:
                report.sections.append((f"Open page {page.url}", words_on(page)))
    return report


def words_on(page: Page) -> str:
    try:
        return page.locator("body").inner_text(timeout=2000)[:4000]
    except PlaywrightError as error:
        return f"cannot be read: {error}"


@pytest.fixture(autouse=True)
def no_page_breaks_its_content_security_policy() -> Iterator[None]:
    violations.clear()
    yield
    assert violations == []
