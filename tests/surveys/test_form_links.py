"""The staff page of a patient's form: QR code, slip, e-mail and links, by whom and what the record keeps."""

import base64
import re
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import pytest
from django.core.mail import EmailMessage
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from surveys import jobs, tasks
from surveys.message_log import messages_to_look_at
from surveys.models import Assignment, AuditEvent, FormLink, Message, Patient
from surveys.services.patients import patient_contact_set
from tests import factories, mailbox
from tests.conftest import Cast, signed_in

ADDRESS = "ada.reader@mail.example"
assert tasks, "the handlers are registered"


@pytest.fixture(autouse=True)
def box(settings: Any) -> list[EmailMessage]:
    settings.EMAIL_BACKEND = mailbox.BACKEND
    settings.SITE_URL = "https://alliance.example"
    return mailbox.start()


def url(form: Assignment, what: str = "") -> str:
    return f"/forms/{form.pk}/links/{what}"


def page(response: HttpResponse) -> str:
    return " ".join(response.content.decode().split())


@pytest.mark.parametrize(("what", "via"), [("screen/", "screen"), ("paper/", "paper")])
@pytest.mark.parametrize("actor", ["therapist", "clinic_admin"])
def test_a_code_is_made_when_it_is_asked_for_and_the_record_keeps_by_whom(
    cast: Cast, patient_form: Assignment, what: str, via: str, actor: str
) -> None:
    user = getattr(cast, actor)
    answer = signed_in(user).post(url(patient_form, what))
    assert answer.status_code == 200
    assert re.search(r'<img class="qr" src="data:image/svg\+xml', page(answer))
    assert answer["Cache-Control"] == "no-store"
    assert patient_form.links.get().via == via
    event = AuditEvent.objects.get(act="link.issue")
    assert (event.actor, event.detail) == (user, {"via": via})


def test_the_code_holds_the_link(
    cast: Cast, patient_form: Assignment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text that is drawn opens the form; that a camera reads it is the library's promise."""
    drawn: list[str] = []

    def noted(text: str) -> str:
        drawn.append(text)
        return "data:,"

    monkeypatch.setattr("surveys.views.messages.qr_image", noted)
    signed_in(cast.therapist).post(url(patient_form, "screen/"))
    (link,) = drawn
    assert link.startswith("https://alliance.example/r/")
    assert Client().get(link.removeprefix("https://alliance.example")).status_code == 200


def test_no_page_of_staff_shows_the_token_in_letters(cast: Cast, patient_form: Assignment) -> None:
    client = signed_in(cast.therapist)
    for answer in (
        client.post(url(patient_form, "screen/")),
        client.post(url(patient_form, "paper/")),
        client.get(url(patient_form)),
    ):
        text = unquote(page(answer))
        for data in re.findall(r"base64,([A-Za-z0-9+/=]+)", text):
            text += base64.b64decode(data).decode(errors="replace")
        assert "/r/" not in text


@pytest.mark.parametrize("what", ["", "screen/", "paper/", "mail/", "revoke/"])
@pytest.mark.parametrize(
    ("actor", "status"), [("colleague", 404), ("stranger", 404), ("supervisor", 403), ("researcher", 403)]
)
def test_nobody_else_reaches_a_patient_s_links(
    cast: Cast, patient_form: Assignment, what: str, actor: str, status: int
) -> None:
    client = signed_in(getattr(cast, actor))
    answer = client.post(url(patient_form, what)) if what else client.get(url(patient_form))
    assert answer.status_code == status
    assert not FormLink.objects.exists()


def test_a_therapist_s_own_form_has_no_links(cast: Cast, patient_form: Assignment) -> None:
    own = Assignment.objects.get(session=patient_form.session, rater="therapist")
    assert signed_in(cast.therapist).get(url(own)).status_code == 404


def test_a_slip_speaks_the_patient_s_language_and_its_hint_that_of_staff(
    cast: Cast, patient_form: Assignment
) -> None:
    Patient.objects.update(language="de")
    text = page(signed_in(cast.therapist).post(url(patient_form, "paper/")))
    assert '<html lang="de"' in text
    assert re.search(r'screen-only" lang="en-gb" dir="auto"><p>This code is shown once', text)


def test_sending_by_e_mail_goes_through_the_worker_and_shows_in_the_log(
    cast: Cast, patient_form: Assignment, box: list[EmailMessage]
) -> None:
    patient_contact_set(patient=cast.therapy.patient, contact=ADDRESS)
    jobs.run_due()
    client = signed_in(cast.therapist)
    before = page(client.get(url(patient_form)))
    assert "Send again" in before and "a…@mail.example" in before and ADDRESS not in before
    assert client.post(url(patient_form, "mail/")).status_code == 303
    refused = client.post(url(patient_form, "mail/"))
    assert refused.status_code == 409 and "under way" in page(refused)
    # The page is shown again with all that is on it.
    assert AuditEvent.objects.latest("pk").act == "patient.view"
    assert len(box) == 1
    jobs.run_due()
    after = page(client.get(url(patient_form)))
    assert "Invitation 2" in after and "therapist@example.org" in after and "the plan" in after
    assert len(box) == 2


def test_ending_all_links_ends_them(cast: Cast, patient_form: Assignment) -> None:
    client = signed_in(cast.therapist)
    client.post(url(patient_form, "screen/"))
    assert "1 link leads to this form" in page(client.get(url(patient_form)))
    answer = client.post(url(patient_form, "revoke/"), follow=True)
    assert "1 link was ended." in page(answer)
    assert not patient_form.links.filter(revoked_at=None).exists()


@pytest.mark.parametrize("what", ["screen/", "paper/", "mail/"])
def test_a_form_that_is_over_is_neither_sent_nor_handed_over(
    cast: Cast, patient_form: Assignment, what: str
) -> None:
    factories.give(patient_form)
    answer = signed_in(cast.therapist).post(url(patient_form, what))
    assert answer.status_code == 409
    assert "not open any more" in page(answer)
    assert not FormLink.objects.exists() and not Message.objects.exists()


def test_a_site_that_does_not_know_its_address_says_so(
    cast: Cast, patient_form: Assignment, settings: Any
) -> None:
    settings.SITE_URL = ""
    client = signed_in(cast.therapist)
    assert "SITE_URL" in page(client.get(url(patient_form)))
    answer = client.post(url(patient_form, "screen/"))
    assert answer.status_code == 409 and "SITE_URL" in page(answer)


def test_a_site_without_a_mail_server_says_that_mails_reach_nobody(
    cast: Cast, patient_form: Assignment, settings: Any
) -> None:
    words = "reach nobody"
    for stays, shown in ((True, True), (False, False)):
        settings.MAIL_STAYS_HERE = stays
        assert (words in page(signed_in(cast.therapist).get(url(patient_form)))) is shown


def test_a_clinic_looks_at_what_was_not_sent_until_it_is(cast: Cast, patient_form: Assignment) -> None:
    mailbox.start(["breaks off", "no such address", "ok"])
    patient_contact_set(patient=cast.therapy.patient, contact=ADDRESS)
    client = signed_in(cast.clinic_admin)
    for state in ("unsure", "failed"):
        jobs.run_due()
        (message,) = messages_to_look_at(cast.clinic)
        assert message.state == state
        for seen in (url(patient_form), "/clinic/"):
            assert message.problem in page(client.get(seen)), seen
        client.post(url(patient_form, "mail/"))
        assert not messages_to_look_at(cast.clinic), "another one is on its way"
    jobs.run_due()
    assert not messages_to_look_at(cast.clinic)


def test_what_is_about_a_form_that_is_over_need_not_be_looked_at(
    cast: Cast, patient_form: Assignment
) -> None:
    mailbox.start(["no such address"])
    patient_contact_set(patient=cast.therapy.patient, contact=ADDRESS)
    jobs.run_due()
    assert messages_to_look_at(cast.clinic).count() == 1
    assert not messages_to_look_at(cast.stranger_study.clinic)
    past = timezone.now() - timedelta(minutes=1)
    Assignment.objects.filter(pk=patient_form.pk).update(opens_at=past - timedelta(days=3), closes_at=past)
    assert not messages_to_look_at(cast.clinic)


def test_a_page_of_a_form_says_that_its_time_is_over(cast: Cast, patient_form: Assignment) -> None:
    assert "due until" in page(signed_in(cast.clinic_admin).get(url(patient_form)))
    over = timezone.now() - timedelta(hours=1)
    Assignment.objects.filter(pk=patient_form.pk).update(opens_at=over - timedelta(days=2), closes_at=over)
    assert "not received in time" in page(signed_in(cast.clinic_admin).get(url(patient_form)))


def test_the_clinic_s_log_has_every_e_mail_with_what_became_of_it_and_no_address(
    cast: Cast, patient_form: Assignment, box: list[EmailMessage]
) -> None:
    patient_contact_set(patient=cast.therapy.patient, contact=ADDRESS)
    patient_contact_set(patient=cast.colleague_therapy.patient, contact="b@mail.example")
    other = factories.form_of(factories.hold_session(cast.colleague_therapy), "patient")
    stranger = factories.form_of(factories.hold_session(cast.stranger_therapy), "patient")
    Message.objects.create(assignment=stranger, kind="invitation", number=1, due_at=timezone.now())
    jobs.run_due()
    Message.objects.filter(assignment=other).update(state="failed", error="address")
    admin = signed_in(cast.clinic_admin)
    log = page(admin.get("/clinic/messages/"))
    assert "/clinic/messages/" in page(admin.get("/clinic/"))
    for form in (patient_form, other):
        assert url(form) in log
    assert url(stranger) not in log and "mail.example" not in log
    assert log.index(url(other)) < log.index(url(patient_form))
    assert "Sent" in log and "does not accept the patient’s address" in log and "the plan" in log
    found = page(admin.get(f"/clinic/messages/?code={cast.therapy.code}"))
    assert url(patient_form) in found and url(other) not in found


def test_the_log_of_a_clinic_asks_as_much_for_one_e_mail_as_for_many(
    cast: Cast, patient_form: Assignment
) -> None:
    admin = signed_in(cast.clinic_admin)
    counts = []
    for number in (1, 2, 3):
        Message.objects.create(assignment=patient_form, kind="reminder", number=number, due_at=timezone.now())
        with CaptureQueriesContext(connection) as queries:
            admin.get("/clinic/messages/")
        counts.append(len(queries))
    assert len(set(counts)) == 1
