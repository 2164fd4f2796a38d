"""A patient with a phone: link, Start, form, Send. Sends again, under the same key, until told it is in."""

from __future__ import annotations

import http.client
import itertools
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from urllib.parse import urlencode

from benchmarks.faults.ledger import Acknowledged, Journal
from benchmarks.faults.seed import Form, Seed

HOST = "127.0.0.1"
TIMEOUT = 30.0
# How long a patient goes on trying; the site may be without a database for some seconds.
PATIENCE = 120.0
LONGEST_PAUSE = 1.0
DOUBLE_CLICK, AUTOSAVE, READ_RECEIPT = 0.3, 0.3, 0.25
SHARINGS = ("none", "scores", "answers")

_FIELD = re.compile(r'name="(csrfmiddlewaretoken|key|version)" value="([^"]+)"')
_RECEIPT = re.compile(r'class="code-large"><bdi>([^<]+)</bdi>')


class NoAnswer(Exception):
    """The connection was refused or broke before the whole answer was there."""


class Unexpected(Exception):
    """An answer that no patient should get; the text names status and step."""


@dataclass(frozen=True)
class Answer:
    status: int
    location: str
    body: str
    retry_after: str
    cookies: dict[str, str]

    def hidden(self, name: str) -> str:
        """The hidden field of this name."""
        return dict(_FIELD.findall(self.body))[name]


@dataclass
class Tally:
    """What patients met on their way, all threads together."""

    retried: Counter[str] = field(default_factory=Counter)
    unexpected: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    n_double_clicks: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count(self, counter: Counter[str], what: str) -> None:
        with self.lock:
            counter[what] += 1


class Balance:
    """Which web process is asked next: all by turns, as a proxy does; the list may change meanwhile."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.ports = ports
        self._turns = itertools.count()
        self._lock = threading.Lock()

    def port(self) -> int:
        with self._lock:
            turn, ports = next(self._turns), tuple(self.ports)
        return ports[turn % len(ports)]

    @contextmanager
    def line(self) -> Iterator[http.client.HTTPConnection]:
        """A connection to the next one that takes it. Raises OSError where none does."""
        for left in range(len(self.ports) - 1, -1, -1):
            line = http.client.HTTPConnection(HOST, self.port(), timeout=TIMEOUT)
            try:
                line.connect()
                break
            except ConnectionRefusedError:
                if not left:
                    raise
        try:
            yield line
        finally:
            line.close()


class Browser:
    """Cookies and one request after another; redirects are not followed."""

    def __init__(self, balance: Balance, cookies: dict[str, str] | None = None) -> None:
        self.balance = balance
        self.cookies = dict(cookies or {})

    def get(self, path: str) -> Answer:
        return self.keep(self.request("GET", path))

    def post(self, path: str, fields: dict[str, str]) -> Answer:
        return self.keep(self.request("POST", path, fields))

    def keep(self, answer: Answer) -> Answer:
        self.cookies |= answer.cookies
        return answer

    def request(
        self, method: str, path: str, fields: dict[str, str] | None = None, token: str = ""
    ) -> Answer:
        """Changes nothing here, so that several may be on their way at once. Raises NoAnswer."""
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if fields is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            with self.balance.line() as line:
                line.request(method, path, urlencode(fields) if fields is not None else None, headers)
                answer = line.getresponse()
                body = answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswer(type(error).__name__) from error
        cookies = SimpleCookie()
        for text in answer.headers.get_all("Set-Cookie") or ():
            cookies.load(text)
        return Answer(
            answer.status,
            answer.headers.get("Location", ""),
            body,
            answer.headers.get("Retry-After", ""),
            {name: morsel.value for name, morsel in cookies.items()},
        )


@dataclass(frozen=True)
class Opened:
    """A form that is open in a browser, with what the patient will send."""

    browser: Browser
    path: str
    fields: dict[str, str]
    told: Acknowledged

    @property
    def is_received(self) -> str:
        return f"{self.path}receipt/"


def keeps_all(answer: Answer, form: Opened) -> bool:
    """Whether the page that came back holds everything that was sent, to be sent again."""
    kept = (name for name in form.fields if name != "csrfmiddlewaretoken")
    return all(f'name="{name}" value="{form.fields[name]}"' in answer.body for name in kept)


class Patients:
    """All patients of one phase; safe to use from many threads."""

    def __init__(self, seed: Seed, balance: Balance, journal: Journal, tally: Tally) -> None:
        self.seed, self.balance, self.journal, self.tally = seed, balance, journal, tally
        self._clicks = ThreadPoolExecutor(32)

    def fill(self, form: Form, rng: random.Random) -> None:
        """The whole way. Raises Unexpected, also when nothing helped for as long as a patient tries."""
        opened = self.begin(form, rng)
        if rng.random() < AUTOSAVE:
            some = {name: value for name, value in opened.fields.items() if name.startswith("item_")}
            some["csrfmiddlewaretoken"] = opened.fields["csrfmiddlewaretoken"]
            self.insist("autosave", lambda: opened.browser.post(f"{opened.path}answers/", some), 204)
        self.send(opened, is_doubled=rng.random() < DOUBLE_CLICK)
        if rng.random() < READ_RECEIPT:
            self.journal.acknowledge(opened.told.with_receipt(self.receipt(opened)))

    def begin(self, form: Form, rng: random.Random) -> Opened:
        browser, path = Browser(self.balance), f"/r/{form.token}/"
        start = self.insist("link", lambda: browser.get(path), 200)
        token = {"csrfmiddlewaretoken": start.hidden("csrfmiddlewaretoken")}
        begun = self.insist("start", lambda: browser.post(path, token), 303)
        page = self.insist("form", lambda: browser.get(begun.location), 200)
        fields = dict(_FIELD.findall(page.body))
        answers = {item: rng.randint(self.seed.lowest, self.seed.highest) for item in self.seed.items}
        sharing = rng.choice(SHARINGS)
        fields |= {f"item_{item}": str(value) for item, value in answers.items()}
        fields |= {"sharing": sharing, "send": "send"}
        told = Acknowledged(fields["key"], form.id, answers, sharing)
        return Opened(browser, begun.location, fields, told)

    def send(self, opened: Opened, *, is_doubled: bool = False) -> None:
        """Until it is in; a double click is two requests at the same time."""
        if is_doubled:
            with self.tally.lock:
                self.tally.n_double_clicks += 1
            second = self._clicks.submit(self._send_until_in, opened)
            self._send_until_in(opened)
            second.result()
        else:
            self._send_until_in(opened)

    def _send_until_in(self, opened: Opened) -> None:
        began = time.monotonic()
        answer = self.insist("send", lambda: self.click(opened), 303)
        if answer.location != opened.is_received:
            self.tally.count(self.tally.unexpected, "send: not led to the receipt")
            raise Unexpected("send: not led to the receipt")
        self.journal.acknowledge(opened.told)
        with self.tally.lock:
            self.tally.seconds.append(time.monotonic() - began)

    def click(self, opened: Opened) -> Answer:
        """Send once. Raises NoAnswer."""
        return opened.browser.request("POST", f"{opened.path}send/", opened.fields)

    def receipt(self, opened: Opened) -> str:
        """The code on the page that follows."""
        page = self.insist("receipt", lambda: opened.browser.get(opened.is_received), 200)
        found = _RECEIPT.search(page.body)
        return found[1] if found else "missing"

    def insist(self, step: str, ask: Callable[[], Answer], wanted: int) -> Answer:
        """Asks again after no answer, a 502, a 503 or a 504, with growing pauses. A 500 is never excused."""
        deadline, pause = time.monotonic() + PATIENCE, 0.05
        while True:
            try:
                answer = ask()
                if answer.status == wanted:
                    return answer
                excuse = str(answer.status)
            except NoAnswer as error:
                excuse = str(error)
            if excuse.isdigit() and excuse not in ("502", "503", "504"):
                self.tally.count(self.tally.unexpected, f"{step}: {excuse}")
                # A page without a hint of its own is a failure of the site, which a person would reload.
                if excuse != "500":
                    raise Unexpected(f"{step}: {excuse}")
            if time.monotonic() > deadline:
                self.tally.count(self.tally.unexpected, f"{step}: {excuse} to the end")
                raise Unexpected(f"{step}: {excuse} to the end")
            self.tally.count(self.tally.retried, f"{step}: {excuse}")
            time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311
            pause = min(2 * pause, LONGEST_PAUSE)
