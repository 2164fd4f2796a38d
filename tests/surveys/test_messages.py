"""Invitations and reminders: who gets one and when, and that none is ever sent twice."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.core.mail import EmailMessage
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from surveys import jobs, tasks
from surveys.models import (
    Assignment,
    AuditEvent,
    FormLink,
    Job,
    Message,
    Patient,
    Session,
    Therapy,
    User,
)
from surveys.services import messages as service
from surveys.services.invitations import links_revoke
from surveys.services.messages import MessageRefused, message_request
from surveys.services.patients import ContactRefused, patient_contact_set
from surveys.services.sessions import session_correct
from surveys.tokens import token_hash
from tests import factories, mailbox
from tests.conftest import Cast

ADDRESS = "ada.reader@mail.example"
LINK = re.compile(r"https://alliance\.example/r/([A-Za-z0-9_-]{43})/")
assert tasks, "the handlers are registered"


@pytest.fixture(autouse=True)
def box(settings: Any) -> list[EmailMessage]:
    settings.EMAIL_BACKEND = mailbox.BACKEND
    settings.SITE_URL = "https://alliance.example"
    return mailbox.start()


@pytest.fixture
def therapy(cast: Cast) -> Therapy:
    """Of a patient with an e-mail address, in a study that reminds after 24 and after 30 hours."""
    factories.replan(cast.study, reminder_hours=[30, 24])
    patient_contact_set(patient=cast.therapy.patient, contact=ADDRESS)
    return cast.therapy


def asked(therapy: Therapy) -> Assignment:
    return factories.form_of(factories.hold_session(therapy), "patient")


def work() -> None:
    """As the worker does once every job that waits is due."""
    Job.objects.filter(state="pending").update(due_at=timezone.now() - timedelta(seconds=1))
    jobs.run_due()


def work_now() -> None:
    """As the worker does at this moment."""
    jobs.run_due()


def states(form: Assignment) -> list[tuple[str, int, str]]:
    return list(form.messages.order_by("pk").values_list("kind", "number", "state"))


def token_of(mail: EmailMessage) -> str:
    (token,) = LINK.findall(mail.body)
    return token


def test_a_form_that_becomes_due_is_sent_to_the_patient_at_once(
    therapy: Therapy, box: list[EmailMessage]
) -> None:
    form = asked(therapy)
    assert states(form) == [("invitation", 1, "waiting")]
    work_now()
    (mail,) = box
    assert mail.to == [ADDRESS]
    assert Client().get(f"/r/{token_of(mail)}/").status_code == 200
    assert states(form) == [
        ("invitation", 1, "sent"),
        ("reminder", 1, "waiting"),
        ("reminder", 2, "waiting"),
    ]
    sent = form.messages.get(kind="invitation")
    waits = [row.due_at - sent.sent_at for row in form.messages.filter(kind="reminder").order_by("number")]
    assert waits == [timedelta(hours=24), timedelta(hours=30)]


def test_a_mail_names_no_clinic_no_therapist_and_nothing_clinical(
    therapy: Therapy, box: list[EmailMessage]
) -> None:
    form = asked(therapy)
    work_now()
    work()
    until = timezone.localtime(form.closes_at)
    assert len(box) >= 2
    for mail in box:
        text = f"{mail.subject}\n{mail.body}"
        assert "Reception, 555 0100" in text
        assert f"{until:%A %-d %B, %H:%M}" in text
        for word in ("therap", "session", "psych", "alliance ", "clinic", therapy.code, "Harbour"):
            assert word.lower() not in LINK.sub("", text).lower(), word
        assert "{" not in text and "&" not in text


def test_a_mail_speaks_the_patient_s_language(therapy: Therapy, box: list[EmailMessage]) -> None:
    Patient.objects.update(language="de")
    form = asked(therapy)
    work_now()
    until = timezone.localtime(form.closes_at)
    assert until.strftime("%H:%M") in box[0].body
    days = ["Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"]
    assert days[until.weekday()] in box[0].body


def test_the_link_is_stored_as_a_hash_and_nowhere_else(therapy: Therapy, box: list[EmailMessage]) -> None:
    form = asked(therapy)
    work_now()
    token = token_of(box[0])
    assert form.links.get().token_hash == token_hash(token)
    assert form.links.get().via == "mail"
    for model in (Job, Message, AuditEvent):
        for row in model.objects.values():
            assert token not in str(row) and ADDRESS not in str(row)


def test_reminders_reach_those_alone_who_have_not_answered(
    therapy: Therapy, cast: Cast, box: list[EmailMessage]
) -> None:
    silent = asked(therapy)
    patient_contact_set(patient=cast.colleague_therapy.patient, contact="other@mail.example")
    answered = asked(cast.colleague_therapy)
    work_now()
    factories.give(answered)
    box.clear()
    work()
    assert {mail.to[0] for mail in box} == {ADDRESS}
    assert len(box) == 2
    assert states(silent)[1:] == [("reminder", 1, "sent"), ("reminder", 2, "sent")]
    assert states(answered)[1:] == [("reminder", 1, "not_needed"), ("reminder", 2, "not_needed")]
    assert len({token_of(mail) for mail in box}) == 2


def test_a_reminder_that_would_come_after_the_time_is_over_is_not_planned(
    therapy: Therapy, box: list[EmailMessage]
) -> None:
    factories.replan(therapy.study, reminder_hours=[24, 400])
    form = asked(therapy)
    work_now()
    assert form.messages.filter(kind="reminder").count() == 1


@pytest.mark.parametrize(
    "change", ["no address", "stopped", "expired", "withdrawn", "received"], ids=lambda name: name
)
def test_what_is_needed_no_more_is_not_sent(therapy: Therapy, box: list[EmailMessage], change: str) -> None:
    form = asked(therapy)
    if change == "no address":
        Patient.objects.filter(pk=therapy.patient_id).update(contact="")
    if change == "stopped":
        Therapy.objects.filter(pk=therapy.pk).update(stopped_at=timezone.now())
    if change == "expired":
        past = timezone.now() - timedelta(minutes=1)
        Assignment.objects.filter(pk=form.pk).update(opens_at=past - timedelta(days=3), closes_at=past)
    if change == "withdrawn":
        Assignment.objects.filter(pk=form.pk).update(state="withdrawn")
    if change == "received":
        factories.give(form)
    work_now()
    assert box == []
    assert states(form) == [("invitation", 1, "not_needed")]


def test_a_patient_without_an_address_or_who_stopped_is_not_invited(cast: Cast) -> None:
    asked(cast.therapy)
    patient_contact_set(patient=cast.colleague_therapy.patient, contact=ADDRESS)
    Therapy.objects.filter(pk=cast.colleague_therapy.pk).update(stopped_at=timezone.now())
    factories.hold_session(cast.colleague_therapy)
    assert not Message.objects.exists()


def test_a_session_entered_late_whose_time_is_over_invites_nobody(therapy: Therapy) -> None:
    factories.hold_session(therapy, timezone.now() - timedelta(days=9))
    assert Assignment.objects.filter(rater="patient").exists()
    assert not Message.objects.exists()


def test_a_session_whose_time_is_corrected_into_the_open_window_invites(
    therapy: Therapy, box: list[EmailMessage]
) -> None:
    old = factories.hold_session(therapy, timezone.now() - timedelta(days=9))
    session_correct(session=old, held_at=timezone.now() - timedelta(hours=1), status="held")
    work_now()
    assert len(box) == 1


def test_a_form_that_no_plan_asks_for_any_more_is_not_sent_and_one_that_comes_back_is(
    therapy: Therapy, box: list[EmailMessage]
) -> None:
    form = asked(therapy)
    session = Session.objects.get()
    session_correct(session=session, held_at=session.held_at, status="cancelled")
    work_now()
    assert (box, states(form)) == ([], [("invitation", 1, "not_needed")])
    session_correct(session=session, held_at=session.held_at, status="held")
    work_now()
    assert len(box) == 1
    assert states(form)[:2] == [("invitation", 1, "not_needed"), ("invitation", 2, "sent")]


def test_a_form_that_went_and_came_back_before_the_worker_looked_is_sent_once(
    therapy: Therapy, box: list[EmailMessage]
) -> None:
    asked(therapy)
    session = Session.objects.get()
    for status in ("cancelled", "held"):
        session_correct(session=session, held_at=session.held_at, status=status)
    work_now()
    assert len(box) == 1


def test_a_server_that_is_away_is_asked_three_times_and_then_it_is_said(
    therapy: Therapy, box: list[EmailMessage]
) -> None:
    mailbox.start(["away"] * 9)
    form = asked(therapy)
    for attempt in (1, 2):
        work()
        message = form.messages.get()
        assert (message.state, message.error) == ("waiting", "no_server")
        wait = Job.objects.get(kind="message").due_at - timezone.now()
        assert abs(wait - attempt * timedelta(minutes=5)) < timedelta(seconds=5)
    work()
    message = form.messages.get()
    assert (message.state, message.problem[:15]) == ("failed", "The mail server")
    assert len(mailbox.told) == 6, "no fourth attempt"
    work()
    assert len(mailbox.told) == 6
    assert not form.links.filter(revoked_at=None).exists()


@pytest.mark.parametrize("word", ["away", "not now", "not now, address"])
def test_a_server_that_comes_back_gets_the_mail(therapy: Therapy, box: list[EmailMessage], word: str) -> None:
    mailbox.start([word])
    form = asked(therapy)
    work()
    work()
    assert len(box) == 1
    assert states(form)[0] == ("invitation", 1, "sent")
    assert form.messages.get(number=1, kind="invitation").error == ""
    assert form.links.filter(revoked_at=None).get().token_hash == token_hash(token_of(box[0]))


def test_an_address_that_does_not_exist_fails_at_once_and_is_not_repeated_anywhere(
    therapy: Therapy, caplog: pytest.LogCaptureFixture
) -> None:
    mailbox.start(["no such address"])
    form = asked(therapy)
    work_now()
    message = form.messages.get()
    assert (message.state, message.error) == ("failed", "address")
    assert ADDRESS not in caplog.text
    assert not form.links.filter(revoked_at=None).exists()


@pytest.mark.parametrize("word", ["breaks off", "breaks off late"])
def test_a_connection_that_breaks_leaves_a_mail_that_was_perhaps_sent(
    therapy: Therapy, box: list[EmailMessage], word: str
) -> None:
    mailbox.start([word])
    form = asked(therapy)
    for _ in range(4):
        work()
    assert states(form) == [("invitation", 1, "unsure")]
    assert len(box) <= 1
    assert form.links.filter(revoked_at=None).count() == 1, "it may have arrived"


def test_without_an_address_of_the_site_nothing_is_sent_and_it_is_said(
    therapy: Therapy, box: list[EmailMessage], settings: Any
) -> None:
    settings.SITE_URL = ""
    form = asked(therapy)
    work_now()
    message = form.messages.get()
    assert (box, message.state) == ([], "failed")
    assert "SITE_URL" in message.problem
    with pytest.raises(MessageRefused, match="SITE_URL"):
        message_request(form=form, actor=User.objects.first())


def test_an_error_of_ours_ends_as_a_failed_message(
    therapy: Therapy, box: list[EmailMessage], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> EmailMessage:
        raise ValueError("a template that cannot be read")

    monkeypatch.setattr(service, "compose", broken)
    form = asked(therapy)
    for _ in range(3):
        work()
    assert (box, form.messages.get().state, form.messages.get().error) == ([], "failed", "broken")


@hypothesis(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(st.sampled_from([*mailbox.DEATHS, *mailbox.ANSWERS, "dies at the end"]), max_size=4))
def test_no_order_of_deaths_and_answers_sends_a_mail_twice_or_says_what_is_not_so(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    Patient.objects.update(contact=ADDRESS)
    if not cast.therapy.sessions.exists():
        factories.hold_session(cast.therapy)
    for model in (Message, Job, FormLink):
        model.objects.all().delete()
    form = Assignment.objects.get(rater="patient")
    box = mailbox.start()
    message_request(form=form, actor=cast.clinic_admin)
    for word in [*words, "ok", "ok", "ok", "ok"]:
        mailbox.told[:] = [word]
        Job.objects.filter(state="pending").update(due_at=timezone.now() - timedelta(seconds=1))
        Job.objects.filter(state="running").update(lease_until=timezone.now() - timedelta(seconds=1))
        with monkeypatch.context() as patch:
            if word == "dies before it begins":
                patch.setattr(service, "compose", killed)
            if word == "dies at the end":
                patch.setattr(service, "_end", killed)
            try:
                jobs.run_due()
            except mailbox.Killed:
                continue
    message = form.messages.get(kind="invitation")
    assert len(box) <= 1
    assert message.state in ("sent", "unsure", "failed")
    assert (message.state == "sent") <= (len(box) == 1)
    assert (message.state == "failed") <= (len(box) == 0)
    assert not Job.objects.filter(kind="message", scope=message.pk, state__in=["pending", "running"]).exists()
    alive = {row.token_hash for row in form.links.filter(revoked_at=None)}
    assert {token_hash(token_of(mail)) for mail in box} <= alive, "what may have arrived works"
    if message.state == "failed":
        assert alive == set()


def killed(*_: object, **__: object) -> None:
    raise mailbox.Killed


def test_a_worker_that_was_thought_dead_and_has_sent_it_says_so(
    therapy: Therapy, box: list[EmailMessage]
) -> None:
    """It finds its message called unsure by an attempt that came between, and holds the last fence."""
    form = asked(therapy)
    write = service.message_send(str(form.messages.get().pk))
    service.message_send(str(form.messages.get().pk))()
    assert states(form) == [("invitation", 1, "unsure")]
    write()
    assert states(form)[0] == ("invitation", 1, "sent")
    assert len(box) == 1


def test_somebody_may_send_again_and_a_second_click_sends_nothing(
    therapy: Therapy, cast: Cast, box: list[EmailMessage]
) -> None:
    form = asked(therapy)
    with pytest.raises(MessageRefused, match="under way"):
        message_request(form=form, actor=cast.clinic_admin)
    work_now()
    message = message_request(form=form, actor=cast.clinic_admin)
    assert (message.number, message.requested_by) == (2, cast.clinic_admin)
    with pytest.raises(MessageRefused, match="under way"):
        message_request(form=form, actor=cast.clinic_admin)
    work_now()
    assert len(box) == 2
    assert [Client().get(f"/r/{token_of(mail)}/").status_code for mail in box] == [200, 200]
    assert form.messages.filter(kind="reminder").count() == 2, "reminded as often as before"
    event = AuditEvent.objects.get(act="message.request")
    assert event.actor == cast.clinic_admin


def test_a_form_that_is_over_cannot_be_sent_again(therapy: Therapy, cast: Cast) -> None:
    form = asked(therapy)
    factories.give(form)
    with pytest.raises(MessageRefused, match="not open any more"):
        message_request(form=form, actor=cast.clinic_admin)


def test_revoking_ends_every_link_and_every_mail_that_waits(
    therapy: Therapy, cast: Cast, box: list[EmailMessage]
) -> None:
    form = asked(therapy)
    work_now()
    assert links_revoke(form=form, actor=cast.therapist) == 1
    assert Client().get(f"/r/{token_of(box[0])}/").status_code == 404
    work()
    assert len(box) == 1, "no reminder brings a new link"
    event = AuditEvent.objects.get(act="link.revoke")
    assert (event.actor, event.detail) == (cast.therapist, {"n_links": 1, "n_messages": 2})


def test_a_new_address_gets_the_open_forms_and_the_old_one_s_links_end(
    therapy: Therapy, box: list[EmailMessage]
) -> None:
    asked(therapy)
    work_now()
    patient_contact_set(patient=therapy.patient, contact="new@mail.example")
    work_now()
    assert [mail.to for mail in box] == [[ADDRESS], ["new@mail.example"]]
    assert [Client().get(f"/r/{token_of(mail)}/").status_code for mail in box] == [404, 200]


def test_a_first_address_gets_the_forms_that_are_open_already(cast: Cast, box: list[EmailMessage]) -> None:
    asked(cast.therapy)
    patient_contact_set(patient=cast.therapy.patient, contact=f"  {ADDRESS} ")
    work_now()
    assert [mail.to for mail in box] == [[ADDRESS]]


def test_an_address_that_is_set_anew_to_the_same_sends_nothing(
    therapy: Therapy, box: list[EmailMessage]
) -> None:
    asked(therapy)
    work_now()
    patient_contact_set(patient=therapy.patient, contact=ADDRESS)
    work_now()
    assert len(box) == 1


@pytest.mark.parametrize("text", ["ada", "ada@", "a b@mail.example", "a@b.example, c@d.example", "a" * 300])
def test_what_is_no_address_is_refused(therapy: Therapy, text: str) -> None:
    with pytest.raises(ContactRefused):
        patient_contact_set(patient=therapy.patient, contact=text)
    assert Patient.objects.get(pk=therapy.patient_id).contact == ADDRESS


def test_the_trace_of_an_address_says_that_it_changed_and_not_what_it_is(
    therapy: Therapy, cast: Cast
) -> None:
    patient_contact_set(patient=therapy.patient, contact="", actor=cast.clinic_admin)
    event = AuditEvent.objects.filter(act="patient.contact").latest("pk")
    assert (event.actor, event.detail) == (cast.clinic_admin, {"before": True, "after": False})
