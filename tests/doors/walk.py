"""Knocks at every address with every method as everybody, and judges each answer: its status by
`tests.doors.addresses`, and what stands in body, headers, cookies and mails by the marks of the town."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from http.cookies import SimpleCookie
from typing import Any
from unittest import mock
from urllib.parse import urlencode
from uuid import UUID, uuid4

from django.core import mail
from django.db import transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, reverse
from django.utils import timezone

from tests.doors.addresses import DOORS, ON_TABLETS, Door
from tests.doors.town import ACTORS, HALF, NOBODY, Kwargs, Place, Town
from tests.files import pdf_words
from tests.headers import wrong_headers
from tests.test_permissions import ROUTES

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
BY_NAME: dict[str, URLPattern] = {str(route.name): route for route in ROUTES}
API = frozenset(name for name, route in BY_NAME.items() if hasattr(route.callback, "cls"))
MISSING = "missing"
# For who has given the password and no second factor.
ON_THE_WAY = frozenset(
    {
        "mfa_activate_totp",
        "mfa_add_webauthn",
        "account_change_password",
        "account_reauthenticate",
        "account_logout",
    }
)
# Of who finds the thing, where the table says nothing else.
USUAL = {
    "GET": frozenset({200}),
    "POST": frozenset({200, 201, 204, 302, 303, 400, 409, 410, 422}),
}


@dataclass(frozen=True)
class Knock:
    route: str
    method: str
    actor: str
    at: str

    def __str__(self) -> str:
        return f"{self.method} {self.route} ({self.at or 'no object'}) as {self.actor}"


@dataclass
class Report:
    n: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seen: dict[str, set[str]] = field(default_factory=dict)

    def __str__(self) -> str:
        figures = " ".join(f"{name}={count}" for name, count in sorted(self.n.items()))
        return f"{figures} unexpected={len(self.wrong)}"


def knocks(
    town: Town,
    routes: Collection[str] = (),
    methods: Collection[str] = METHODS,
    actors: Collection[str] = ACTORS,
) -> Iterator[Knock]:
    """By actor, so that one browser serves. What has no object in its address is asked once."""
    for actor in actors:
        for route in routes or sorted(BY_NAME):
            for method in methods:
                door = _door(route, method)
                for at in places(town, route, door):
                    yield Knock(route, method, actor, at)


def _door(route: str, method: str) -> Door | None:
    return DOORS.get((route, "GET" if method == "HEAD" else method))


def kind_of(route: str, door: Door | None) -> str:
    """Also for a method that nobody may use: the kind of the route's other methods."""
    return door.kind if door else next((row.kind for (name, _), row in DOORS.items() if name == route), "")


def places(town: Town, route: str, door: Door | None) -> list[str]:
    kind = kind_of(route, door)
    if not kind:
        return [""]
    at = list(town.objects[kind])
    return (
        [*at, MISSING] if any(kwargs for kwargs, _ in town.objects[kind].values()) and kind != "key" else at
    )


def thing(town: Town, knock: Knock) -> tuple[Kwargs, Place | None]:
    kind = kind_of(knock.route, _door(knock.route, knock.method))
    if not kind:
        return {}, Place("")
    if knock.at != MISSING:
        return town.objects[kind][knock.at]
    kwargs = dict(next(iter(town.objects[kind].values()))[0])
    first = next(iter(kwargs))
    kwargs[first] = _unlike(kwargs[first])
    return kwargs, None


def _unlike(value: object) -> object:
    if isinstance(value, UUID | int):
        return uuid4() if isinstance(value, UUID) else 2**40
    text = str(value)
    return "-" * 43 if len(text) == 43 else "0" * 15 if len(text) == 15 else "nothing-here"


def expected(town: Town, knock: Knock, place: Place | None) -> frozenset[int]:
    door, is_api = _door(knock.route, knock.method), knock.route in API
    if knock.actor == "tablet" and knock.route not in ON_TABLETS:
        return frozenset({302})
    if door is None:
        return frozenset({405})
    if knock.actor == HALF and not door.admits(HALF):
        # On the way in there are the pages that set a factor up, and the way out.
        return frozenset({200, 302, 404} if knock.route in ON_THE_WAY else {403} if is_api else {302})
    if not door.admits(knock.actor):
        return frozenset({403} if knock.actor not in NOBODY else {401} if is_api else {302})
    if place is None or not door.is_found_by(knock.actor, place):
        has_key = any(door.is_found_by(knock.actor, other) for _, other in town.objects[door.kind].values())
        return frozenset({door.lost if has_key else door.without_key or door.lost})
    usual = USUAL["GET" if knock.method == "HEAD" else knock.method]
    return door.answers or usual


def walk(
    town: Town,
    which: Iterator[Knock],
    until_wrong: bool = False,
    note: Callable[[Knock], None] | None = None,
) -> Report:
    """Every request in a savepoint of its own that is rolled back: none changes what the next one finds."""
    report, clients = Report(), {}
    with mock.patch("django.db.transaction.on_commit"):
        for knock in which:
            if knock.actor not in clients:
                clients[knock.actor] = town.client(knock.actor)
            _once(town, clients[knock.actor], knock, report)
            if note is not None:
                note(knock)
            if until_wrong and report.wrong:
                break
    return report


def _once(town: Town, client: Client, knock: Knock, report: Report) -> None:
    kwargs, place = thing(town, knock)
    url, options = _request(town, knock, kwargs)
    kept, n_mails = {name: morsel.value for name, morsel in client.cookies.items()}, len(mail.outbox)
    with transaction.atomic():
        answer = client.generic(knock.method, url, secure=True, **options)
        text = text_of(answer)
        transaction.set_rollback(True)
    client.cookies = SimpleCookie(kept)
    report.n["requests"] += 1
    allowed = expected(town, knock, place)
    if answer.status_code not in allowed or _is_to_login(answer, knock, allowed):
        words = "/".join(map(str, sorted(allowed)))
        report.wrong.append(f"{knock}: {answer.status_code} {answer.get('Location', '')}, not {words}")
    if knock.method == "HEAD" and not answer.streaming and answer.content:
        report.wrong.append(f"{knock}: a body")
    if headers := wrong_headers(answer):
        report.wrong.append(f"{knock}: headers {headers}")
    # What was sent may be said back: who wrote it there knows it. So may what a link leads to.
    known = town.canaries.seen(f"{url} {options.get('data', '')}") | town.behind.get(
        kwargs.get("token", ""), set()
    )
    _judge(town, knock.actor, town.canaries.seen(text) - known, str(knock), report)
    for message in mail.outbox[n_mails:]:
        words = f"{message.subject} {message.body} {message.extra_headers} {message.alternatives}"
        for to in message.to:
            _judge(
                town,
                town.mail_of.get(to, to),
                town.canaries.seen(words) - town.canaries.seen(to),
                f"{knock}: mail to {to}",
                report,
            )
    del mail.outbox[n_mails:]


def _is_to_login(answer: HttpResponse, knock: Knock, allowed: frozenset[int]) -> bool:
    """Who is sent to sign in did not get in; who is not admitted is sent nowhere else."""
    if answer.status_code != 302:
        return False
    is_refused = allowed == {302} and knock.actor in NOBODY
    target = {"tablet": "/tablet/", HALF: "/accounts/2fa/totp/activate/"}.get(knock.actor, "/accounts/login/")
    door = _door(knock.route, knock.method)
    if is_refused and (knock.actor == "tablet" or (door is not None and not door.admits(knock.actor))):
        return not answer["Location"].startswith(target)
    is_for_all = door is not None and door.admits("anonymous")
    return (
        not is_for_all
        and answer["Location"].startswith("/accounts/login/")
        and knock.route not in ("account_logout", "mfa_reauthenticate_webauthn")
    )


def _request(town: Town, knock: Knock, kwargs: Kwargs) -> tuple[str, dict[str, Any]]:
    """The address, and the body where the method may be used; what the address has no place for goes into the
    query or the body."""
    pattern = BY_NAME[knock.route].pattern
    named = set(pattern.converters) or set(pattern.regex.groupindex)
    url = reverse(knock.route, kwargs={name: value for name, value in kwargs.items() if name in named})
    rest = {name: str(value) for name, value in kwargs.items() if name not in named}
    if knock.method in ("GET", "HEAD"):
        return (f"{url}?{urlencode(rest)}" if rest else url), {}
    if knock.method != "POST" or _door(knock.route, "POST") is None:
        return url, {}
    body = BODIES.get(knock.route, lambda town, at: {})(town, knock.at) | rest
    if knock.route in API:
        key = {"HTTP_IDEMPOTENCY_KEY": str(uuid4())}
        return url, {"data": json.dumps(body), "content_type": "application/json", **key}
    form = "application/x-www-form-urlencoded"
    return url, {"data": urlencode(body, doseq=True), "content_type": form}


def text_of(answer: HttpResponse) -> str:
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    kind = answer.headers.get("Content-Type", "")
    text = pdf_words(content) if kind == "application/pdf" and content else content.decode(errors="replace")
    headers = " ".join(f"{name}: {value}" for name, value in answer.headers.items() if name != "X-Request-ID")
    return f"{headers}\n{answer.cookies.output()}\n{text}"


def _judge(town: Town, actor: str, found: Collection[str], where: str, report: Report) -> None:
    for word in found:
        report.n["marks"] += 1
        report.seen.setdefault(word, set()).add(actor)
        if actor not in town.canaries.readers[word]:
            report.wrong.append(f"{where}: shows {word}")


Body = Callable[[Town, str], Mapping[str, Any]]


def _session(town: Town, at: str) -> dict[str, str]:
    held = timezone.now() - timedelta(hours=1)
    return {"held_at": held.isoformat(timespec="seconds"), "status": "held"}


def _typed_session(town: Town, at: str) -> dict[str, str]:
    return {"held_at": (timezone.now() - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M"), "status": "held"}


def _export(town: Town, at: str) -> dict[str, str]:
    found = town.objects["snapshot"].get(at) or town.objects["snapshot"]["own"]
    return {"snapshot": str(found[0]["snapshot_id"]), "tier": "scores", "purpose": "A thesis"}


BODIES: dict[str, Body] = {
    "set-language": lambda town, at: {"language": "de"},
    "account_login": lambda town, at: {
        "login": town.users["therapist"].email,
        "password": "nothing that fits",
    },
    "account_reset_password": lambda town, at: {"email": town.users["therapist"].email},
    "link": lambda town, at: {"language": "en"},
    "session-log": _typed_session,
    "session-today": _typed_session,
    "session-correct": _typed_session,
    "tablets": lambda town, at: {"name": "Door", "pin": "482913"},
    "people-patient-new": lambda town, at: {"language": "en", "contact": ""},
    "people-staff-new": lambda town, at: {
        "name": "Kim",
        "email": "kim@example.org",
        "roles": ["therapist"],
    },
    "people-account": lambda town, at: {"roles": ["therapist"], "supervisor": ""},
    "setup-study-new": lambda town, at: {"code": "NEW", "name": "New"},
    "your-data": lambda town, at: {"code": "2345-6789"},
    "your-data-enter": lambda town, at: {"code": "2345-6789"},
    "your-data-sharing": lambda town, at: {"sharing": "none"},
    "your-data-end": lambda town, at: {"choice": "stop", "confirm": "1"},
    "withdrawal-enter": lambda town, at: {"choice": "stop", "confirm": "1"},
    "practice-sharing": lambda town, at: {"supervisor": "", "ratings": "1"},
    "import-find": lambda town, at: {"code": "qzxoldown"},
    "clinic-request": lambda town, at: {"decision": "approved"},
    "desk-table-withdraw": lambda town, at: {"reason": "It was wrong."},
    "api-patients": lambda town, at: {"language": "en"},
    "api-sessions": _session,
    "api-exports": _export,
    "api-snapshots": lambda town, at: {},
}
