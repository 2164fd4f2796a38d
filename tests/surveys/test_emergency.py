"""An operator reads one patient's pages in an emergency, for half an hour, and is never alone with it."""

import smtplib
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.cache import cache
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

import surveys.tasks  # noqa: F401  registers the mails
from alliance_site.policy import EMERGENCY, POLICY
from surveys import jobs
from surveys.models import AuditEvent, Clinic, EmergencyAccess, Job, Patient, Role, Therapy, User
from surveys.services import notices
from tests import factories
from tests.conftest import Cast, signed_in
from tests.test_permissions import url_of

REASON = "The patient called the reception and nobody who treats them can be reached."
PAGE, END = "/emergency/", "/emergency/end/"


@pytest.fixture(autouse=True)
def mails_leave(settings: Any) -> None:
    settings.MAIL_STAYS_HERE = False


@pytest.fixture
def second_admin(cast: Cast) -> User:
    cache.clear()
    return factories.make_user("second@example.org", Role.CLINIC_ADMIN, clinic=cast.clinic)


@pytest.fixture
def town(cast: Cast) -> Cast:
    factories.hold_session(cast.therapy)
    return cast


def ask(client: Client, clinic: Clinic, code: str, reason: str = REASON) -> str:
    """The page that comes of it; empty where the pages were opened."""
    answer = client.post(PAGE, {"clinic": str(clinic.pk), "code": code, "reason": reason})
    return "" if answer.status_code == 302 else answer.content.decode()


def pages_of(therapy: Therapy) -> list[str]:
    return [reverse("therapy", args=[therapy.pk]), reverse("people-patient", args=[therapy.patient_id])]


def statuses(client: Client, therapy: Therapy) -> list[int]:
    return [client.get(page).status_code for page in pages_of(therapy)]


def test_it_opens_one_patient_s_pages_and_ends_after_half_an_hour(town: Cast, second_admin: User) -> None:
    client = signed_in(town.superuser)
    assert statuses(client, town.therapy) == [403, 403]
    assert ask(client, town.clinic, town.therapy.code.lower()) == ""
    assert statuses(client, town.therapy) == [200, 200]
    assert statuses(client, town.colleague_therapy) == [404, 404]
    assert statuses(client, town.stranger_therapy) == [404, 404]
    row = EmergencyAccess.objects.get()
    assert row.ends_at - row.began_at == timedelta(minutes=30)
    EmergencyAccess.objects.update(
        began_at=row.began_at - timedelta(minutes=30), ends_at=row.ends_at - timedelta(minutes=30)
    )
    assert statuses(client, town.therapy) == [403, 403]


def test_a_banner_is_on_every_page_and_its_button_ends_it(town: Cast, second_admin: User) -> None:
    client = signed_in(town.superuser)
    assert END not in client.get("/status/").content.decode()
    ask(client, town.clinic, town.therapy.patient.code)
    for page in ("/status/", "/accounts/sessions/", "/nowhere/", PAGE, *pages_of(town.therapy)):
        assert f'action="{END}"' in client.get(page).content.decode(), page
    other = factories.make_user("other-root@example.org", is_superuser=True)
    assert END not in signed_in(other).get("/status/").content.decode()
    client.post(END)
    assert statuses(client, town.therapy) == [403, 403]
    assert END not in client.get("/status/").content.decode()


def test_what_it_shows_is_what_the_therapist_sees_and_no_more(town: Cast, second_admin: User) -> None:
    forms = {
        rater: factories.form_of(town.therapy.sessions.get(), rater) for rater in ("patient", "therapist")
    }
    factories.give(forms["patient"], 6)
    client, page = signed_in(town.superuser), pages_of(town.therapy)[0]
    ask(client, town.clinic, town.therapy.code)
    before = client.get(page).content.decode()
    assert "6.00" not in before and "6.0" not in before, "the therapist has not rated yet"
    factories.give(forms["therapist"], 5)
    therapist = signed_in(town.therapist).get(page).context["trend"]
    operator = client.get(page).context["trend"]
    shown = [
        [trend.of(rater, "total") for rater in ("patient", "therapist")] for trend in (operator, therapist)
    ]
    assert shown[0] == shown[1] and shown[0][0]


def test_it_opens_these_pages_and_no_others() -> None:
    opened = {line for line, allowed in POLICY.items() if EMERGENCY in allowed}
    assert opened == {("therapy", "GET"), ("therapy-chart", "GET"), ("people-patient", "GET")}


@pytest.mark.parametrize("is_about_the_patient", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_everything_else_stays_closed_and_nothing_can_be_written(
    town: Cast, second_admin: User, is_about_the_patient: bool
) -> None:
    client, wrong, n = signed_in(town.superuser), [], 0
    ask(client, town.clinic, town.therapy.code)
    own = {"operator", "signed in", "anyone", EMERGENCY}
    keys = {str(town.therapy.pk), str(town.therapy.patient_id), str(town.therapy.sessions.get().pk)}
    for (name, method), allowed in POLICY.items():
        url = url_of(name, town)
        if allowed & own or is_about_the_patient != any(key in url for key in keys):
            continue
        n += 1
        status = client.generic(method, url).status_code
        if status not in (401, 403, 404, 405):
            wrong.append((name, method, status))
    assert wrong == [] and n > 20


def test_the_pages_that_it_opens_offer_nothing_to_change(town: Cast, second_admin: User) -> None:
    client = signed_in(town.superuser)
    ask(client, town.clinic, town.therapy.code)
    assert "Open to you in an emergency" in client.get(pages_of(town.therapy)[0]).content.decode()
    for page in pages_of(town.therapy):
        assert client.post(page).status_code in (403, 405)
    page = client.get(pages_of(town.therapy)[1]).content.decode()
    assert "Save" not in page and "/withdrawal/" not in page and "/therapy/" not in page
    assert (
        reverse("therapy-pdf", args=[town.therapy.pk])
        not in client.get(pages_of(town.therapy)[0]).content.decode()
    )


def test_two_people_are_told_at_once_without_the_patient_or_the_reason(
    town: Cast, second_admin: User
) -> None:
    mail.outbox.clear()
    ask(signed_in(town.superuser), town.clinic, town.therapy.code)
    jobs.run_due()
    letters = [letter for letter in mail.outbox if letter.subject.startswith("Emergency")]
    assert {letter.to[0] for letter in letters} == {town.clinic_admin.email, second_admin.email}
    assert all(town.superuser.email in letter.body for letter in letters)
    for secret in (town.therapy.code, town.therapy.patient.code, REASON):
        assert all(secret not in letter.body for letter in letters)


@pytest.fixture
def refused_mailboxes(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    refused: set[str] = set()

    def send(subject: str, text: str, sender: None, to: list[str]) -> None:
        if to[0] in refused:
            raise smtplib.SMTPRecipientsRefused({to[0]: (550, b"no such user")})
        mail.send_mail(subject, text, sender, to)

    monkeypatch.setattr(notices, "send_mail", send)
    mail.outbox.clear()
    return refused


def all_attempts() -> None:
    for _ in range(jobs.MAX_ATTEMPTS + 1):
        Job.objects.update(due_at=timezone.now() - timedelta(seconds=5))
        jobs.run_due()


def traced(act: str) -> list[dict[str, object]]:
    return list(AuditEvent.objects.filter(act=act).order_by("pk").values_list("detail", flat=True))


def test_a_refused_mailbox_keeps_nobody_else_from_being_told_and_is_tried_again(
    town: Cast, second_admin: User, refused_mailboxes: set[str]
) -> None:
    client = signed_in(town.superuser)
    ask(client, town.clinic, town.therapy.code)
    refused_mailboxes.add(town.clinic_admin.email)
    jobs.run_due()
    assert [letter.to for letter in mail.outbox] == [[second_admin.email]]
    waits = Job.objects.get(kind="emergency_mail", state="pending").due_at - timezone.now()
    assert waits > timedelta(minutes=4), "not all attempts within half a minute"
    refused_mailboxes.clear()
    all_attempts()
    assert [letter.to for letter in mail.outbox] == [[second_admin.email], [town.clinic_admin.email]]
    row = EmergencyAccess.objects.get()
    people = [str(second_admin.pk), str(town.clinic_admin.pk)]
    assert traced("emergency.told") == [{"emergency": str(row.pk), "person": key} for key in people]
    assert statuses(client, town.therapy) == [200, 200] and traced("emergency.untold") == []


def test_where_not_two_could_be_told_it_ends(
    town: Cast, second_admin: User, refused_mailboxes: set[str]
) -> None:
    client = signed_in(town.superuser)
    ask(client, town.clinic, town.therapy.code)
    refused_mailboxes.add(town.clinic_admin.email)
    all_attempts()
    row = EmergencyAccess.objects.get()
    assert row.ended_at and statuses(client, town.therapy) == [403, 403]
    assert traced("emergency.untold") == [{"emergency": str(row.pk), "told": [str(second_admin.pk)]}]


def test_two_of_three_who_were_told_are_enough(
    town: Cast, second_admin: User, refused_mailboxes: set[str]
) -> None:
    factories.make_user("third@example.org", Role.CLINIC_ADMIN, clinic=town.clinic)
    client = signed_in(town.superuser)
    ask(client, town.clinic, town.therapy.code)
    refused_mailboxes.add("third@example.org")
    all_attempts()
    assert len(mail.outbox) == 2 and traced("emergency.untold") == []
    assert statuses(client, town.therapy) == [200, 200]


def test_where_mails_stay_on_this_machine_it_opens_in_the_demonstration_alone(
    town: Cast, second_admin: User, settings: Any
) -> None:
    client, settings.MAIL_STAYS_HERE = signed_in(town.superuser), True
    assert "Name a mail server first" in ask(client, town.clinic, town.therapy.code)
    assert not EmergencyAccess.objects.exists() and statuses(client, town.therapy) == [403, 403]
    settings.DEMO = True
    assert ask(client, town.clinic, town.therapy.code) == ""


def test_for_a_day_it_stands_on_the_first_page_of_this_clinic(town: Cast, second_admin: User) -> None:
    home, client = reverse("admin-home"), signed_in(town.superuser)
    ask(client, town.clinic, town.therapy.code)
    client.post(END)
    page = signed_in(second_admin).get(home).content.decode()
    assert REASON in page and town.superuser.email in page
    assert f"{reverse('clinic-trace')}?code={town.therapy.patient.code}" in page
    stranger = town.stranger_therapy.patient.clinic
    other = factories.make_user("elsewhere@example.org", Role.CLINIC_ADMIN, clinic=stranger)
    assert REASON not in signed_in(other).get(home).content.decode()
    day = timedelta(hours=25)
    row = EmergencyAccess.objects.get()
    EmergencyAccess.objects.update(began_at=row.began_at - day, ends_at=row.ends_at - day)
    assert REASON not in signed_in(second_admin).get(home).content.decode()


def test_one_administrator_and_another_operator_are_two_people(town: Cast) -> None:
    client = signed_in(town.superuser)
    assert "there are not two" in ask(client, town.clinic, town.therapy.code)
    other = factories.make_user("other-root@example.org", is_superuser=True)
    User.objects.filter(pk=other.pk).update(is_active=False)
    assert "there are not two" in ask(client, town.clinic, town.therapy.code)
    assert not EmergencyAccess.objects.exists() and statuses(client, town.therapy) == [403, 403]
    User.objects.filter(pk=other.pk).update(is_active=True)
    assert ask(client, town.clinic, town.therapy.code) == ""
    assert set(EmergencyAccess.objects.get().told) == {str(town.clinic_admin.pk), str(other.pk)}


@pytest.mark.parametrize(
    ("code", "reason", "sentence"),
    [
        ("NOBODY", REASON, "has this code"),
        ("stranger", REASON, "has this code"),
        ("own", "because", "Say in a sentence why"),
        ("own", " " * 40, "Fill this in"),
    ],
)
def test_a_request_that_is_not_in_order_opens_nothing_and_loses_nothing(
    town: Cast,
    second_admin: User,
    code: str,
    reason: str,
    sentence: str,
) -> None:
    codes = {"own": town.therapy.code, "stranger": town.stranger_therapy.patient.code}
    page = ask(signed_in(town.superuser), town.clinic, codes.get(code, code), reason)
    assert sentence in page and codes.get(code, code) in page and reason.strip() in page
    assert not EmergencyAccess.objects.exists()


def test_it_is_for_operators_who_have_confirmed_and_for_one_patient_at_a_time(
    town: Cast, second_admin: User
) -> None:
    sent = {"clinic": str(town.clinic.pk), "code": town.therapy.code, "reason": REASON}
    for person in (town.clinic_admin, town.therapist):
        assert (
            signed_in(person).get(PAGE).status_code == signed_in(person).post(PAGE, sent).status_code == 403
        )
    late = signed_in(town.superuser, is_confirmed=False)
    assert late.get(PAGE).status_code == 302 and late.post(PAGE, sent).status_code == 401
    client = signed_in(town.superuser)
    assert ask(client, town.clinic, town.therapy.code) == ""
    assert "End that first" in ask(client, town.clinic, town.colleague_therapy.code)
    assert EmergencyAccess.objects.count() == 1


def test_every_reading_stands_in_the_trace_of_the_clinic_with_the_reason(
    town: Cast, second_admin: User
) -> None:
    client = signed_in(town.superuser)
    ask(client, town.clinic, town.therapy.code)
    for page in pages_of(town.therapy):
        client.get(page)
    client.post(END)
    rows = AuditEvent.objects.filter(actor=town.superuser, clinic=town.clinic).order_by("pk")
    assert [(row.act, row.role, row.fields, row.patient) for row in rows] == [
        ("emergency.open", "", "", town.therapy.patient_id),
        ("therapy.view", "emergency", "ratings", town.therapy.patient_id),
        ("patient.view", "emergency", "identity", town.therapy.patient_id),
        ("emergency.end", "", "", town.therapy.patient_id),
    ]
    assert REASON not in str([row.detail for row in rows]), "it stands in one place"
    page = signed_in(town.clinic_admin).get(reverse("clinic-trace")).content.decode()
    assert page.count(REASON) == 4 and page.count("Emergency</td>") == 2
    assert town.superuser.email in page


def test_the_database_takes_none_that_lasts_longer(town: Cast) -> None:
    now, patient = timezone.now(), Patient.objects.get(pk=town.therapy.patient_id)
    fine = {"by": town.superuser, "clinic": town.clinic, "patient": patient, "told": [], "began_at": now}
    with pytest.raises(IntegrityError), transaction.atomic():
        EmergencyAccess.objects.create(**fine, reason=REASON, ends_at=now + timedelta(minutes=31))
