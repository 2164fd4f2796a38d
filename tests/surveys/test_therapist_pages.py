"""The therapist's to-do list, caseload and session log, and a supervisor's overview."""

from datetime import timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from surveys.models import Assignment, Session
from tests import factories
from tests.conftest import Cast, signed_in


def local(moment: object) -> str:
    """A moment as the browser's date and time field writes it."""
    return timezone.localtime(moment).strftime("%Y-%m-%dT%H:%M")


def log_url(cast: Cast) -> str:
    return f"/therapies/{cast.therapy.pk}/sessions/"


def test_todo_lists_the_own_forms_that_are_due_and_begins_them(cast: Cast) -> None:
    form = factories.form_of(factories.hold_session(cast.therapy), "therapist")
    foreign = factories.form_of(factories.hold_session(cast.colleague_therapy), "therapist")
    client = signed_in(cast.therapist)
    page = client.get("/caseload/").content.decode()
    assert f'action="/forms/{form.pk}/start/"' in page
    assert str(foreign.pk) not in page
    assert f"Therapy {cast.therapy.code} · session 1" in page
    client.post(f"/forms/{form.pk}/start/")
    assert "Continue" in client.get("/caseload/").content.decode()


def test_todo_is_empty_after_sending_and_says_so(cast: Cast) -> None:
    form = factories.form_of(factories.hold_session(cast.therapy), "therapist")
    factories.give(form, user=cast.therapist)
    page = signed_in(cast.therapist).get("/caseload/").content.decode()
    assert "No form is waiting for you" in page
    assert "1 of 1 received" in page


def test_a_form_can_be_begun_by_post_only(cast: Cast) -> None:
    form = factories.form_of(factories.hold_session(cast.therapy), "therapist")
    assert signed_in(cast.therapist).get(f"/forms/{form.pk}/start/").status_code == 405
    form.refresh_from_db()
    assert form.state == Assignment.State.DUE


def test_caseload_shows_own_therapies_in_words_with_their_links(cast: Cast) -> None:
    factories.hold_session(cast.therapy)
    page = signed_in(cast.therapist).get("/caseload/").content.decode()
    assert f'href="/therapies/{cast.therapy.pk}/"' in page
    assert f'href="/therapies/{cast.therapy.pk}/sessions/"' in page
    assert "Running, 1 session<" in page
    assert cast.colleague_therapy.code not in page
    assert cast.stranger_therapy.code not in page


def test_caseload_of_nobody_explains_itself(cast: Cast) -> None:
    cast.therapy.therapist.user = cast.colleague
    newcomer = factories.make_user("new@example.org", "therapist", clinic=cast.clinic)
    assert "You have no therapies yet" in signed_in(newcomer).get("/caseload/").content.decode()


def test_supervision_shows_progress_and_no_ratings(cast: Cast) -> None:
    session = factories.hold_session(cast.therapy)
    factories.give(factories.form_of(session, "therapist"), 3, user=cast.therapist)
    factories.give(factories.form_of(session, "patient"), 4)
    page = signed_in(cast.supervisor).get("/supervision/").content.decode()
    assert cast.therapy.code in page
    assert page.count("1 of 1 received") == 2
    assert cast.colleague_therapy.code not in page
    assert "/sessions/" not in page
    assert f"/therapies/{cast.therapy.pk}/" not in page


@pytest.mark.parametrize(("who", "path"), [("therapist", "/caseload/"), ("supervisor", "/supervision/")])
def test_overviews_bear_the_name_of_the_clinic(cast: Cast, who: str, path: str) -> None:
    page = signed_in(getattr(cast, who)).get(path).content.decode()
    assert f"– {cast.clinic.name}</title>" in page
    assert f'<a class="masthead-name" href="/"><bdi>{cast.clinic.name}</bdi></a>' in page


@pytest.mark.parametrize("path", ["/caseload/", "/supervision/", "/therapies/{}/sessions/"])
def test_number_of_queries_does_not_grow_with_rows(cast: Cast, path: str) -> None:
    client = signed_in(cast.supervisor if "supervision" in path else cast.therapist)
    address = path.format(cast.therapy.pk)

    def n_queries() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert client.get(address).status_code == 200
        return len(queries)

    factories.hold_session(cast.therapy)
    few = n_queries()
    for number in range(2, 12):
        factories.hold_session(cast.therapy, timezone.now() - timedelta(days=number))
        factories.hold_session(factories.make_therapy(cast.study, cast.therapist))
    assert n_queries() == few


@pytest.mark.parametrize("who", ["colleague", "stranger"])
def test_session_log_of_a_therapy_of_somebody_else_does_not_exist(cast: Cast, who: str) -> None:
    client = signed_in(getattr(cast, who))
    data = {"held_at": local(timezone.now() - timedelta(hours=2)), "status": "held"}
    assert client.get(log_url(cast)).status_code == 404
    assert client.post(log_url(cast), data).status_code == 404
    assert client.get(f"/therapies/{uuid4()}/sessions/").status_code == 404
    assert not Session.objects.exists()


@pytest.mark.parametrize("who", ["supervisor", "clinic_admin", "researcher", "superuser"])
def test_the_caseload_is_for_therapists(cast: Cast, who: str) -> None:
    assert signed_in(getattr(cast, who)).get("/caseload/").status_code == 403


def test_signed_out_is_led_to_sign_in(cast: Cast) -> None:
    answer = Client().get(log_url(cast))
    assert (answer.status_code, answer["Location"].split("?")[0]) == (302, "/accounts/login/")


def test_a_held_session_is_numbered_and_the_page_says_what_became_due(cast: Cast) -> None:
    client = signed_in(cast.therapist)
    data = {"held_at": local(timezone.now() - timedelta(hours=2)), "status": "held"}
    answer = client.post(log_url(cast), data)
    session = Session.objects.get()
    assert answer.status_code == 303
    assert answer["Location"].startswith(f"{log_url(cast)}?change=")
    assert (session.number, session.closed_by) == (1, cast.therapist)
    page = client.get(answer["Location"]).content.decode()
    assert "Session 1," in page
    assert "You, <bdi>WAI-S</bdi> · session 1: due until" in page
    assert "Patient, <bdi>WAI-S</bdi> · session 1: due until" in page
    assert "/r/" not in page


def test_a_cancelled_session_has_no_number_and_asks_for_no_form(cast: Cast) -> None:
    client = signed_in(cast.therapist)
    data = {"held_at": local(timezone.now() - timedelta(hours=2)), "status": "cancelled"}
    page = client.get(client.post(log_url(cast), data)["Location"]).content.decode()
    assert Session.objects.get().number is None
    assert "No form is due or taken back because of it" in page


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"held_at": timedelta(hours=1), "status": "held"}, "This time is still to come"),
        ({"held_at": timedelta(days=-400), "status": "held"}, "The therapy began on"),
        ({"held_at": "12 May at two", "status": "held"}, "Enter the date and time like this"),
        ({"held_at": "", "status": "held"}, "Enter the date and time of the session"),
        ({"held_at": timedelta(hours=-2), "status": "split"}, "Choose one of the three"),
        ({"held_at": timedelta(hours=-2)}, "Choose what happened"),
    ],
)
def test_a_wrong_entry_is_refused_in_a_sentence_and_stays_in_the_field(
    cast: Cast, data: dict[str, object], sentence: str
) -> None:
    typed = data["held_at"]
    held_at = local(timezone.now() + typed) if isinstance(typed, timedelta) else typed
    answer = signed_in(cast.therapist).post(log_url(cast), {**data, "held_at": held_at})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert sentence in page
    assert not held_at or f'value="{held_at}"' in page
    assert not Session.objects.exists()


def test_a_session_after_the_end_of_the_therapy_is_refused(cast: Cast) -> None:
    cast.therapy.ended_on, cast.therapy.end_reason = timezone.localdate() - timedelta(days=10), "completed"
    cast.therapy.save()
    data = {"held_at": local(timezone.now() - timedelta(days=2)), "status": "held"}
    assert "The therapy ended on" in signed_in(cast.therapist).post(log_url(cast), data).content.decode()
    assert not Session.objects.exists()


def test_a_wrong_entry_after_a_right_one_shows_only_what_is_wrong(cast: Cast) -> None:
    client = signed_in(cast.therapist)
    data = {"held_at": local(timezone.now() - timedelta(hours=2)), "status": "held"}
    entered = client.post(log_url(cast), data)["Location"]
    assert "is in the log" in client.get(entered).content.decode()
    for wrong in ({**data, "held_at": ""}, {**data, "status": "cancelled"}):
        page = client.post(entered, wrong).content.decode()
        assert "Nothing was entered yet" in page
        assert "is in the log" not in page


def test_the_same_session_twice_is_refused_and_the_first_kept(cast: Cast) -> None:
    client = signed_in(cast.therapist)
    data = {"held_at": local(timezone.now() - timedelta(hours=2)), "status": "held"}
    client.post(log_url(cast), data)
    again = client.post(log_url(cast), {**data, "status": "cancelled"})
    assert again.status_code == 422
    assert "The log already has a session at this time" in again.content.decode()
    assert Session.objects.get().status == "held"


def test_times_are_those_of_the_clinic(cast: Cast, settings: object) -> None:
    settings.TIME_ZONE = "America/New_York"
    with timezone.override(ZoneInfo(settings.TIME_ZONE)):
        typed = timezone.localtime() - timedelta(days=3)
        client = signed_in(cast.therapist)
        client.post(log_url(cast), {"held_at": typed.strftime("%Y-%m-%dT%H:%M"), "status": "held"})
        assert "America/New_York" in client.get(log_url(cast)).content.decode()
    assert Session.objects.get().held_at == typed.replace(second=0, microsecond=0)


def test_an_hour_that_the_clocks_skipped_is_refused(cast: Cast) -> None:
    cast.therapy.started_on = "2026-01-01"
    cast.therapy.save()
    with timezone.override(ZoneInfo("Europe/Berlin")):
        answer = signed_in(cast.therapist).post(
            log_url(cast), {"held_at": "2026-03-29T02:30", "status": "held"}
        )
    assert answer.status_code == 422
    assert not Session.objects.exists()


def test_session_log_shows_the_state_of_each_form(cast: Cast) -> None:
    session = factories.hold_session(cast.therapy)
    factories.give(factories.form_of(session, "patient"), 2)
    Assignment.objects.filter(session=session, rater="therapist").update(
        opens_at=timezone.now() - timedelta(days=3), closes_at=timezone.now() - timedelta(days=1)
    )
    page = signed_in(cast.therapist).get(log_url(cast)).content.decode()
    assert "Patient, <bdi>WAI-S</bdi>: received" in page
    assert "You, <bdi>WAI-S</bdi>: not received in time" in page
