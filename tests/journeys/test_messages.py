"""Mails to patients with the real worker and a real mail server: they arrive, once, and the token is in them
alone. The secrets of a tablet, its start codes and of a visit are nowhere but in their browsers."""

import base64
import hashlib
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest
import redis

from alliance_site.embedded import urls
from tests.journeys.conftest import ROOT, VAR, Site, environment, running_site, wait_for
from tests.journeys.mail_sink import Sink
from tests.journeys.test_faults import begin, filled
from tests.totp import code_of

pytestmark = pytest.mark.slow

LINK = re.compile(r"http://127\.0\.0\.1:\d+/r/([A-Za-z0-9_-]{43})/")
RUN = re.compile(rb"[A-Za-z0-9_-]{43,}")
PIN = "917305824"
MAIL_VAR = VAR.with_name(f"{VAR.name}-mail")
# What a page does for reception: an address, and a session that was held just now; prints the patient's form.
ASK = """
import sys
from datetime import timedelta
from django.utils import timezone
from surveys.models import Patient, Therapist, Therapy, Study
from surveys.services.patients import patient_contact_set
from surveys.services.sessions import session_close
study = Study.objects.get(code="DEMO")
therapist = Therapist.objects.get(user__email="therapist@demo.example")
patient = Patient.objects.create(clinic=study.clinic)
patient_contact_set(patient=patient, contact="{address}")
therapy = Therapy.objects.create(patient=patient, therapist=therapist, study=study, arm="every",
    started_on=timezone.localdate())
session_close(therapy=therapy, held_at=timezone.now() - timedelta(minutes=5), status="held")
print("FORM", therapy.sessions.get().assignments.filter(rater="patient").first().pk)
"""


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    server = Sink()
    server.open()
    yield server
    server.is_mute = False
    server.close()


@pytest.fixture(scope="module")
def mailing(sink: Sink) -> Iterator[Site]:
    own = {"EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": str(sink.port), "EMAIL_USE_TLS": "0"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in own.items():
            patch.setenv(name, value)
        with running_site(MAIL_VAR) as site:
            yield site


@pytest.fixture(scope="module")
def overheard(mailing: Site) -> Iterator[list[str]]:
    """Every command that the broker gets while the tests of this file run."""
    words: list[str] = []
    client = redis.Redis.from_url(urls(mailing.var)[1].replace("redis+socket://", "unix://"))

    def listen() -> None:
        with suppress(redis.ConnectionError), client.monitor() as monitor:
            for command in monitor.listen():
                words.append(str(command["command"]))

    threading.Thread(target=listen, daemon=True).start()
    return words


def ask(site: Site, address: str) -> str:
    """A new patient with this address whose form has just become due; the id of the form."""
    shell = [sys.executable, "manage.py", "shell", "-c", ASK.replace("{address}", address)]
    done = subprocess.run(shell, cwd=ROOT, env=environment(site.var), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return re.findall(r"FORM (\S+)", done.stdout)[0]


def states(site: Site, form: str, kind: str = "invitation") -> list[str]:
    rows = site.sql(
        "SELECT state FROM surveys_message WHERE assignment_id = %s AND kind = %s ORDER BY id", form, kind
    )
    return [str(state) for (state,) in rows]


def hurry(site: Site) -> None:
    """The time for which jobs of messages wait has passed, and the leases of dead workers have run out."""
    site.change("UPDATE surveys_job SET due_at = now() WHERE kind = 'message' AND state = 'pending'")
    site.change(
        "UPDATE surveys_job SET lease_until = now() - interval '1 second'"
        " WHERE kind = 'message' AND state = 'running'"
    )


def token_of(sink: Sink, address: str, index: int = 0) -> str:
    return LINK.findall(sink.to(address)[index].get_content())[0]


def answer(link: str) -> None:
    client, url, fields = begin(link)
    assert client.post(f"{url}send/", data=filled(fields), headers={"Referer": url}).status_code == 200


def staff(site: Site, role: str) -> httpx.Client:
    client = httpx.Client(base_url=site.base_url, follow_redirects=True, timeout=30)
    client.get("/accounts/login/")
    account = site.manifest["accounts"][role]
    data = {"login": account["email"], "password": account["password"]}
    post(client, "/accounts/login/", **data)
    page = post(client, "/accounts/2fa/authenticate/", code=code_of(account["totp_secret"]))
    assert "/accounts/" not in str(page.url), page.text
    return client


def post(client: httpx.Client, path: str, **data: str) -> httpx.Response:
    token = client.cookies["csrf"]
    headers = {"Referer": f"{client.base_url}{path}"}
    return client.post(path, data={"csrfmiddlewaretoken": token, **data}, headers=headers)


def test_an_invitation_arrives_and_opens_the_form_and_only_the_silent_are_reminded(
    mailing: Site, sink: Sink, overheard: list[str]
) -> None:
    silent, prompt = ask(mailing, "silent@mail.example"), ask(mailing, "prompt@mail.example")
    wait_for("both mails", lambda: sink.to("silent@mail.example") and sink.to("prompt@mail.example"), 30)
    answer(f"{mailing.base_url}/r/{token_of(sink, 'prompt@mail.example')}/")
    wait_for("reminders are planned", lambda: states(mailing, silent, "reminder") == ["waiting"], 10)
    hurry(mailing)
    wait_for("the reminder", lambda: states(mailing, silent, "reminder") == ["sent"], 30)
    wait_for("no reminder", lambda: states(mailing, prompt, "reminder") == ["not_needed"], 30)
    assert len(sink.to("silent@mail.example")) == 2
    assert len(sink.to("prompt@mail.example")) == 1
    first, second = (token_of(sink, "silent@mail.example", index) for index in (0, 1))
    assert first != second
    answer(f"{mailing.base_url}/r/{second}/")


@pytest.mark.slow
def test_a_worker_killed_while_it_sends_sends_once_and_staff_see_that_it_is_unsure(
    mailing: Site, sink: Sink
) -> None:
    sink.is_mute = True
    try:
        form = ask(mailing, "unlucky@mail.example")
        wait_for("the mail has been heard", lambda: sink.to("unlucky@mail.example"), 30)
        assert states(mailing, form) == ["sending"]
        for worker in mailing.processes("celery", "worker"):
            worker.send_signal(signal.SIGKILL)
    finally:
        sink.is_mute = False
    wait_for("the site is whole again", lambda: mailing.health() == 200, 60)
    hurry(mailing)
    wait_for("it is called unsure", lambda: states(mailing, form) == ["unsure"], 90)
    hurry(mailing)
    assert len(sink.to("unlucky@mail.example")) == 1
    page = staff(mailing, "clinic_admin").get(f"/forms/{form}/links/").text
    assert "Perhaps sent" in page


def test_a_server_that_is_down_is_tried_three_times_and_then_it_is_said(mailing: Site, sink: Sink) -> None:
    sink.close()
    try:
        form = ask(mailing, "later@mail.example")

        def job() -> tuple[str, int]:
            latest = "SELECT state, attempts FROM surveys_job WHERE kind = 'message' ORDER BY id DESC LIMIT 1"
            return mailing.sql(latest)[0]

        for attempt in (1, 2):
            wait_for(f"attempt {attempt}", lambda n=attempt: job() == ("pending", n), 30)
            assert states(mailing, form) == ["waiting"]
            hurry(mailing)
        wait_for("attempt 3", lambda: job() == ("failed", 3), 30)
        wait_for("it is given up", lambda: states(mailing, form) == ["failed"], 10)
    finally:
        sink.open()
    client = staff(mailing, "therapist")
    assert "Not sent" in client.get(f"/forms/{form}/links/").text
    post(client, f"/forms/{form}/links/mail/")
    wait_for("sent when asked", lambda: states(mailing, form) == ["failed", "sent"], 30)


def test_a_form_that_closes_is_not_reminded_of_and_its_link_says_so(mailing: Site, sink: Sink) -> None:
    form = ask(mailing, "slow@mail.example")
    wait_for("the mail", lambda: sink.to("slow@mail.example"), 30)
    wait_for("a reminder waits", lambda: states(mailing, form, "reminder") == ["waiting"], 10)
    mailing.change(
        "UPDATE surveys_assignment SET opens_at = now() - interval '9 days',"
        " closes_at = now() - interval '2 days' WHERE id = %s",
        form,
    )
    hurry(mailing)
    wait_for("no reminder", lambda: states(mailing, form, "reminder") == ["not_needed"], 30)
    page = httpx.get(f"{mailing.base_url}/r/{token_of(sink, 'slow@mail.example')}/")
    assert page.status_code == 410
    assert len(sink.to("slow@mail.example")) == 1


def test_no_token_of_any_link_is_anywhere_but_in_the_mails(
    mailing: Site, sink: Sink, overheard: list[str]
) -> None:
    """Tokens that were only drawn as QR codes are unknown even to this test. So it looks for every run of
    letters that could be a token, and asks whether the database keeps its hash."""
    form = ask(mailing, "handed@mail.example")
    client = staff(mailing, "therapist")
    for what in ("screen/", "paper/"):
        assert 'class="qr"' in post(client, f"/forms/{form}/links/{what}").text
    wait_for("the mail", lambda: sink.to("handed@mail.example"), 30)
    hashes = {row[0] for row in mailing.sql("SELECT token_hash FROM surveys_formlink")}
    assert {via for (via,) in mailing.sql("SELECT via FROM surveys_formlink")} >= {"mail", "screen", "paper"}
    mails = "".join(mail.get_content() for mail in sink.mails).encode()
    assert len(tokens_in(mails, hashes)) == len(sink.mails) >= 6, "the search finds what there is"

    places = everywhere(mailing, overheard)
    known = {token.encode() for token in tokens_in(mails, hashes)}
    found = {
        place
        for place, content in places.items()
        if any(token in content for token in known) or ("/pg/" not in place and tokens_in(content, hashes))
    }
    assert found == set()
    addresses = [b"@mail.example"]
    assert [
        place
        for place in ("log", "broker", "surveys_message", "surveys_auditevent", "surveys_job")
        if any(word in places[place] for word in addresses)
    ] == []


def test_no_secret_of_a_tablet_or_a_visit_is_anywhere_but_in_its_browser(
    mailing: Site, sink: Sink, overheard: list[str]
) -> None:
    form = ask(mailing, "room@mail.example")
    wait_for("the mail", lambda: sink.to("room@mail.example"), 30)
    tablet, therapist = staff(mailing, "clinic_admin"), staff(mailing, "therapist")
    post(tablet, "/tablets/", name="Waiting room", pin=PIN)
    codes = start_codes(therapist, form)
    for wrong in codes[:-1]:
        assert post(tablet, "/tablet/", code=wrong).status_code == 422, "a later code ended it"
    assert post(tablet, "/tablet/leave/", pin=PIN[::-1]).status_code == 422
    assert str(post(tablet, "/tablet/", code=codes[-1]).url).endswith(f"/f/{form}/begin/")
    secrets = [tablet.cookies["tablet"], tablet.cookies["browser"]]

    other = ask(mailing, "phone@mail.example")
    wait_for("the mail", lambda: sink.to("phone@mail.example"), 30)
    link = f"{mailing.base_url}/r/{token_of(sink, 'phone@mail.example')}/"
    phone, url, fields = begin(link)
    phone.post(f"{url}send/", data=filled(fields), headers={"Referer": url})
    sent = "SELECT receipt_code FROM surveys_response WHERE assignment_id = %s"
    ((receipt,),) = mailing.sql(sent, other)
    phone.get(f"{link}your-data/")
    data = {"csrfmiddlewaretoken": phone.cookies["csrf"], "code": receipt}
    seen = phone.post(f"{link}your-data/", data=data, headers={"Referer": link})
    assert receipt in seen.text
    secrets += [phone.cookies["browser"], phone.cookies["your-data"]]

    places = everywhere(mailing, overheard)
    assert [len(secret) for secret in secrets] == [43] * 4
    hashed = "SELECT count(*) FROM surveys_tablet WHERE secret_hash = %s"
    assert mailing.sql(hashed, hashlib.sha256(secrets[0].encode()).hexdigest()) == [(1,)], (
        "what is looked for"
    )
    assert [
        place for place, content in places.items() if any(secret.encode() in content for secret in secrets)
    ] == []
    # Six digits turn up by chance in a file of numbers; all the codes in one place do not.
    words = [re.compile(rb"(?<![\w.])%s(?![\w.])" % code.encode()) for code in codes]
    pins = re.compile(rb"(?<![\w.])%s(?![\w.])" % PIN.encode())
    texts = {place: content for place, content in places.items() if "/pg/" not in place}
    assert [
        place
        for place, content in texts.items()
        if all(word.search(content) for word in words) or pins.search(content)
    ] == []


def start_codes(client: httpx.Client, form: str) -> list[str]:
    """Each ends the one before; above what the rows of a table are numbered to."""
    codes: list[str] = []
    while len(codes) < 3:
        page = post(client, f"/forms/{form}/start-code/").text
        code = re.findall(r'<bdi dir="ltr">(\d{3}) (\d{3})</bdi>', page)[0]
        codes += ["".join(code)] if code[0] >= "500" else []
    return codes


def everywhere(site: Site, overheard: list[str]) -> dict[str, bytes]:
    """What the broker heard, the log, every table as text and every file of the site, by name."""
    assert len(overheard) > 100 and any("run_due_jobs" in line for line in overheard)
    places = {"broker": "\n".join(overheard).encode(), "broker, packed": unpacked("\n".join(overheard))}
    places["log"] = site.var.with_suffix(".log").read_bytes()
    for (name,) in site.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
        rows = site.sql(f'SELECT row::text FROM "{name}" row')
        places[name] = "\n".join(text for (text,) in rows).encode()
    for path in site.var.rglob("*"):
        if path.is_file() and path.name != "demo.json" and "static" not in path.parts:
            places[str(path)] = path.read_bytes()
    assert len(places) > 100
    return places


def tokens_in(content: bytes, hashes: set[str]) -> set[str]:
    windows = {run[start : start + 43] for run in set(RUN.findall(content)) for start in range(len(run) - 42)}
    return {w.decode() for w in windows if hashlib.sha256(w).hexdigest() in hashes}


def unpacked(text: str) -> bytes:
    """What Celery packs in base64 inside its messages."""
    packed = re.findall(r"[A-Za-z0-9+/]{16,}={0,2}", text)
    return b"\n".join(
        base64.b64decode(part + "=" * (-len(part) % 4)) for part in packed if len(part) % 4 != 1
    )
