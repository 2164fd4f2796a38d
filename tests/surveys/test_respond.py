"""The way of a form in the browser: link, start, answers, sending, receipt."""

import re
from collections.abc import Callable
from datetime import timedelta
from unittest import mock
from uuid import uuid4

import psycopg2
import pytest
from django.core.cache import cache
from django.db import DatabaseError, Error, IntegrityError, InterfaceError, OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from surveys.models import Assignment, DraftAnswer, Opening, Response
from surveys.selectors import FormProgress, form_progress
from surveys.services.invitations import link_issue
from surveys.wordings import instrument_of
from tests import factories
from tests.conftest import Cast
from tests.sign_in import sign_in_fully

PHONE = "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36"
COOKIE = "__Host-browser"
ITEMS = range(1, 13)


@pytest.fixture(autouse=True)
def _empty_cache(db: None) -> None:
    cache.clear()


def phone(**options: object) -> Client:
    return Client(headers={"user-agent": PHONE}, **options)


def started(assignment: Assignment, token: str = "") -> Client:
    """A patient's browser after the Start button."""
    client = phone()
    answer = client.post(f"/r/{token or link_issue(assignment=assignment)}/")
    assert (answer.status_code, answer["Location"]) == (303, f"/f/{assignment.pk}/")
    return client


def hidden(client: Client, assignment: Assignment) -> dict[str, str]:
    page = client.get(f"/f/{assignment.pk}/").content.decode()
    return dict(re.findall(r'type="hidden" name="(key|version)" value="([^"]+)"', page))


def filled(client: Client, assignment: Assignment, items: object = ITEMS, **fields: str) -> dict[str, str]:
    answers = {f"item_{number}": "6" for number in items}
    return {**hidden(client, assignment), **answers, "sharing": "scores", "send": "send", **fields}


def send(client: Client, assignment: Assignment, **fields: str) -> object:
    return client.post(f"/f/{assignment.pk}/send/", filled(client, assignment, **fields))


def test_start_gives_the_browser_a_secret_of_its_own_and_leads_to_a_clean_address(
    patient_form: Assignment,
) -> None:
    client = started(patient_form)
    cookie = client.cookies[COOKIE]
    assert len(cookie.value) == 43
    assert cookie["httponly"]
    assert cookie["secure"]
    assert (cookie["samesite"], cookie["path"], cookie["domain"], cookie["max-age"]) == (
        "Lax",
        "/",
        "",
        72 * 3600,
    )
    opening = Opening.objects.get()
    assert opening.device == "phone"
    assert cookie.value not in opening.browser_hash


def test_a_browser_keeps_its_secret_for_the_next_form(cast: Cast, patient_form: Assignment) -> None:
    client = started(patient_form)
    secret = client.cookies[COOKIE].value
    later = factories.form_of(
        factories.hold_session(cast.therapy, timezone.now() - timedelta(minutes=5)), "patient"
    )
    client.post(f"/r/{link_issue(assignment=later)}/")
    assert client.cookies[COOKIE].value == secret
    assert client.get(f"/f/{patient_form.pk}/").status_code == 200
    assert client.get(f"/f/{later.pk}/").status_code == 200


def test_the_secret_lives_as_long_as_the_last_form_that_was_begun_may_be_sent(
    cast: Cast, patient_form: Assignment
) -> None:
    Assignment.objects.filter(pk=patient_form.pk).update(closes_at=timezone.now() + timedelta(days=9))
    client = started(patient_form)
    assert client.cookies[COOKIE]["max-age"] == pytest.approx(10 * 86400, abs=60)
    later = factories.form_of(
        factories.hold_session(cast.therapy, timezone.now() - timedelta(minutes=5)), "patient"
    )
    client.post(f"/r/{link_issue(assignment=later)}/")
    assert client.cookies[COOKIE]["max-age"] == pytest.approx(10 * 86400, abs=60)


def test_a_cookie_that_is_not_of_our_making_is_replaced(patient_form: Assignment) -> None:
    client = phone()
    client.cookies[COOKIE] = "chosen-by-somebody-else"
    client.post(f"/r/{link_issue(assignment=patient_form)}/")
    assert len(client.cookies[COOKIE].value) == 43


def test_form_is_one_fieldset_of_radios_per_item_with_nothing_chosen(patient_form: Assignment) -> None:
    page = started(patient_form).get(f"/f/{patient_form.pk}/").content.decode()
    for number in ITEMS:
        assert len(re.findall(rf'<input type="radio" name="item_{number}" value="[1-7]"', page)) == 7
    assert re.findall(r'name="sharing" value="(\w+)"', page) == ["none", "scores", "answers"]
    assert page.count("<fieldset") == page.count("<legend") == 13
    assert "Nothing: only that I have sent the form" in page
    assert 'id="sharing-hint">This choice is kept when you send the form.</p>' in page
    assert "checked" not in page
    assert page.count('name="send"') == 1
    assert page.rindex('name="send"') > page.rindex('name="sharing"')
    assert "Demonstration wording, not the licensed questionnaire" in page
    assert "<nav" not in page
    assert "<style" not in page
    assert "style=" not in page


def test_a_whole_form_is_stored_and_leads_to_the_receipt(patient_form: Assignment) -> None:
    client = started(patient_form)
    answer = send(client, patient_form)
    assert (answer.status_code, answer["Location"]) == (303, f"/f/{patient_form.pk}/receipt/")
    response = Response.objects.get()
    assert response.answers == {str(number): 6 for number in ITEMS}
    assert (response.sharing, response.device, response.channel) == ("scores", "phone", "link")
    assert response.with_staff_session is False
    page = client.get(answer["Location"]).content.decode()
    assert f"Received on {timezone.localdate():%-d %B}" in page
    assert response.receipt_code in page
    assert "Reception, 555 0100" in page
    assert "<nav" not in page


def test_answers_are_kept_one_by_one_and_shown_again_in_the_same_browser(patient_form: Assignment) -> None:
    client = started(patient_form)
    for number in (1, 2, 3):
        assert (
            client.post(f"/f/{patient_form.pk}/answers/", {f"item_{number}": str(number)}).status_code == 204
        )
    page = client.get(f"/f/{patient_form.pk}/").content.decode()
    assert "3</span> of 12 answered" in page
    chosen = re.findall(r'name="item_(\d+)" value="(\d+)"\s+(?:id="\w+"\s+)?checked', page)
    assert chosen == [("1", "1"), ("2", "2"), ("3", "3")]


def test_a_changed_answer_replaces_the_earlier_one(patient_form: Assignment) -> None:
    client = started(patient_form)
    for value in ("2", "5"):
        client.post(f"/f/{patient_form.pk}/answers/", {"item_1": value})
    assert list(DraftAnswer.objects.values_list("item", "value")) == [(1, 5)]


def test_another_browser_goes_on_with_the_open_items_and_sees_no_answer(patient_form: Assignment) -> None:
    token = link_issue(assignment=patient_form)
    first, second = started(patient_form, token), started(patient_form, token)
    first.post(f"/f/{patient_form.pk}/answers/", {f"item_{number}": "7" for number in range(1, 10)})
    opening = Opening.objects.exclude(drafts__isnull=False).get()
    assert form_progress(opening) == FormProgress(here={}, elsewhere=frozenset(range(1, 10)))
    page = second.get(f"/f/{patient_form.pk}/").content.decode()
    assert "9 of 12 were answered on another device" in page
    assert "9</span> of 12 answered" in page
    assert re.findall(r'id="card_(\d+)"', page) == ["10", "11", "12"]
    assert "checked" not in page
    answer = second.post(f"/f/{patient_form.pk}/send/", filled(second, patient_form, range(10, 13)))
    assert answer["Location"].endswith("/receipt/")
    assert Response.objects.get().answers == {str(n): 7 if n < 10 else 6 for n in ITEMS}


def test_start_again_forgets_the_answers_of_every_browser(patient_form: Assignment) -> None:
    token = link_issue(assignment=patient_form)
    first, second = started(patient_form, token), started(patient_form, token)
    first.post(f"/f/{patient_form.pk}/answers/", {"item_1": "7"})
    assert f'action="/f/{patient_form.pk}/restart/"' in second.get(f"/f/{patient_form.pk}/").content.decode()
    answer = second.post(f"/f/{patient_form.pk}/restart/")
    assert (answer.status_code, answer["Location"]) == (303, f"/f/{patient_form.pk}/")
    assert not DraftAnswer.objects.exists()
    assert second.get(f"/f/{patient_form.pk}/").content.decode().count('id="card_') == 13


def test_open_items_bring_the_page_back_with_a_list_of_them(patient_form: Assignment) -> None:
    client = started(patient_form)
    data = filled(client, patient_form, range(1, 11), sharing="answers")
    answer = client.post(f"/f/{patient_form.pk}/send/", data)
    assert (answer.status_code, answer["Location"]) == (303, f"/f/{patient_form.pk}/?open=1")
    assert not Response.objects.exists()
    assert DraftAnswer.objects.count() == 10
    page = client.get(answer["Location"]).content.decode()
    assert "2 of 12" in page
    assert re.findall(r'href="#(\w+)"', page) == ["main", "item_11", "item_12"]
    assert 'id="item_11"' in page
    assert re.search(r'name="sharing" value="answers"[^>]*checked', page)
    assert re.findall(r'name="send" value="(\w+)"', page) == ["anyway", "send"]
    # What the Enter key presses comes before, and is neither a language nor "Send anyway".
    first = re.search(r"<button ([^>]*)>", page)[1]
    assert first == 'class="visually-hidden" tabindex="-1" aria-hidden="true"'


def test_open_items_may_be_sent_anyway_and_count_as_skipped(patient_form: Assignment) -> None:
    client = started(patient_form)
    data = filled(client, patient_form, range(1, 11), send="anyway")
    assert client.post(f"/f/{patient_form.pk}/send/", data)["Location"].endswith("/receipt/")
    stored = Response.objects.get().answers
    assert (stored["10"], stored["11"], stored["12"]) == (6, -99, -99)


def test_an_item_may_be_declined_and_that_is_neither_an_answer_nor_open(patient_form: Assignment) -> None:
    client = started(patient_form)
    page = client.get(f"/f/{patient_form.pk}/").content.decode()
    for number in ITEMS:
        values = re.findall(rf'<input type="radio" name="item_{number}" value="(-?\d+)"', page)
        assert values == ["1", "2", "3", "4", "5", "6", "7", "-98"]
    client.post(f"/f/{patient_form.pk}/answers/", {"item_3": "-98"})
    client.post(f"/f/{patient_form.pk}/answers/", {"item_4": "2"})
    page = client.get(f"/f/{patient_form.pk}/").content.decode()
    assert re.search(r'name="item_3" value="-98"\s+checked', page)
    assert re.search(
        r'1</span> of 12 answered<span id="left-out" >,\s+<span id="n-left-out">1</span> left out', page
    )
    data = filled(client, patient_form, range(4, 13), item_1="-98")
    answer = client.post(f"/f/{patient_form.pk}/send/", data)
    assert re.findall(r'href="#item_(\d+)"', client.get(answer["Location"]).content.decode()) == ["2"]
    client.post(f"/f/{patient_form.pk}/send/", {**data, "send": "anyway"})
    stored = Response.objects.get()
    assert [stored.answers[str(number)] for number in (1, 2, 3, 4)] == [-98, -99, -98, 6]
    assert stored.scores.get(scale="total").n_answered == 9


def test_a_form_of_declined_items_alone_is_complete_and_declined(patient_form: Assignment) -> None:
    client = started(patient_form)
    data = filled(client, patient_form, (), **{f"item_{number}": "-98" for number in ITEMS})
    assert client.post(f"/f/{patient_form.pk}/send/", data)["Location"].endswith("/receipt/")
    patient_form.refresh_from_db()
    assert patient_form.state == Assignment.State.DECLINED


def test_an_open_sharing_choice_is_asked_once_more_and_then_means_nothing_is_shared(
    patient_form: Assignment,
) -> None:
    client = started(patient_form)
    data = filled(client, patient_form)
    del data["sharing"]
    answer = client.post(f"/f/{patient_form.pk}/send/", data)
    assert "?open=1" in answer["Location"]
    assert (
        "What your therapist may see</a> is not chosen yet" in client.get(answer["Location"]).content.decode()
    )
    sent = client.post(f"/f/{patient_form.pk}/send/", {**data, "send": "anyway"})
    assert Response.objects.get().sharing == "none"
    receipt = client.get(sent["Location"]).content.decode()
    assert "Your therapist sees that you sent the form, and nothing of your answers." in receipt


@pytest.mark.parametrize(
    ("visibility", "sentence"),
    [
        ("blind", "Your therapist will never see your answers."),
        ("delayed", "After its end they see what you allow on the form."),
        ("feedback", "once they have given their own rating of the same session."),
    ],
)
def test_start_page_and_form_say_who_will_see_it(
    cast: Cast, patient_form: Assignment, visibility: str, sentence: str
) -> None:
    factories.set_visibility(cast.study, visibility)
    token = link_issue(assignment=patient_form)
    assert sentence in Client().get(f"/r/{token}/").content.decode()
    assert sentence in started(patient_form, token).get(f"/f/{patient_form.pk}/").content.decode()


def test_in_a_blind_study_there_is_no_choice_and_nothing_is_shared(
    cast: Cast, patient_form: Assignment
) -> None:
    factories.set_visibility(cast.study, "blind")
    client = started(patient_form)
    assert 'name="sharing"' not in client.get(f"/f/{patient_form.pk}/").content.decode()
    send(client, patient_form, sharing="answers")
    assert Response.objects.get().sharing == "none"


def test_same_form_sent_again_gives_the_same_receipt(patient_form: Assignment) -> None:
    client = started(patient_form)
    data = filled(client, patient_form)
    answers = [client.post(f"/f/{patient_form.pk}/send/", data) for _ in range(3)]
    assert {(answer.status_code, answer["Location"]) for answer in answers} == {
        (303, f"/f/{patient_form.pk}/receipt/")
    }
    assert Response.objects.count() == 1


def test_an_incomplete_form_sent_anyway_again_gives_the_same_receipt(patient_form: Assignment) -> None:
    client = started(patient_form)
    data = filled(client, patient_form, range(1, 4), send="anyway")
    client.post(f"/f/{patient_form.pk}/send/", data)
    again = client.post(f"/f/{patient_form.pk}/send/", {**data, "send": "send"})
    assert again["Location"] == f"/f/{patient_form.pk}/receipt/"


def test_other_answers_after_sending_are_refused_and_the_first_kept(patient_form: Assignment) -> None:
    client = started(patient_form)
    data = filled(client, patient_form)
    client.post(f"/f/{patient_form.pk}/send/", data)
    answer = client.post(f"/f/{patient_form.pk}/send/", {**data, "item_1": "1"})
    assert answer.status_code == 422
    assert Response.objects.get().answers["1"] == 6


def test_a_second_device_learns_that_the_form_was_received(patient_form: Assignment) -> None:
    token = link_issue(assignment=patient_form)
    first, second = started(patient_form, token), started(patient_form, token)
    data = filled(second, patient_form)
    send(first, patient_form)
    answer = second.post(f"/f/{patient_form.pk}/send/", data)
    assert answer.status_code == 409
    page = answer.content.decode()
    assert f"It came in on {timezone.localdate():%-d %B %Y}" in page
    assert Response.objects.get().receipt_code not in page


def test_who_sent_second_is_told_what_became_of_the_answers_that_were_saved_before(
    patient_form: Assignment,
) -> None:
    token = link_issue(assignment=patient_form)
    first, second = started(patient_form, token), started(patient_form, token)
    data = filled(first, patient_form)
    first.post(f"/f/{patient_form.pk}/answers/", {"item_3": "1"})
    second.post(
        f"/f/{patient_form.pk}/send/",
        filled(second, patient_form, [n for n in ITEMS if n != 3], send="anyway"),
    )
    page = first.post(f"/f/{patient_form.pk}/send/", data).content.decode()
    assert Response.objects.get().answers["3"] == 1
    assert "Answers that this page had saved before are part of it" in page
    assert "The answers of this page were not stored" not in page


def test_after_sending_the_form_shows_the_receipt_and_no_answers(patient_form: Assignment) -> None:
    client = started(patient_form)
    send(client, patient_form)
    answer = client.get(f"/f/{patient_form.pk}/")
    assert (answer.status_code, answer["Location"]) == (303, f"/f/{patient_form.pk}/receipt/")
    assert "item_" not in client.get(answer["Location"]).content.decode()


def test_receipt_of_an_unsent_form_leads_back_to_the_form(patient_form: Assignment) -> None:
    answer = started(patient_form).get(f"/f/{patient_form.pk}/receipt/")
    assert (answer.status_code, answer["Location"]) == (303, f"/f/{patient_form.pk}/")


def test_the_cookie_of_one_form_opens_no_other(cast: Cast, patient_form: Assignment) -> None:
    client = started(patient_form)
    other = factories.form_of(factories.hold_session(cast.colleague_therapy), "patient")
    factories.open_form(other)
    for path in ("", "receipt/"):
        assert client.get(f"/f/{other.pk}/{path}").status_code == 404
    for path in ("answers/", "restart/", "send/"):
        assert client.post(f"/f/{other.pk}/{path}", {"item_1": "1"}).status_code == 404
    assert client.get(f"/f/{uuid4()}/").status_code == 404


def test_a_form_opened_in_time_may_be_sent_a_day_late_and_no_later(patient_form: Assignment) -> None:
    client = started(patient_form)
    data = filled(client, patient_form)
    rows = Assignment.objects.filter(pk=patient_form.pk)
    rows.update(opens_at=timezone.now() - timedelta(days=3), closes_at=timezone.now() - timedelta(hours=25))
    late = client.post(f"/f/{patient_form.pk}/send/", data)
    assert late.status_code == 409
    assert "Reception, 555 0100" in late.content.decode()
    assert client.post(f"/f/{patient_form.pk}/answers/", {"item_1": "1"}).status_code == 409
    assert client.get(f"/f/{patient_form.pk}/").status_code == 410
    rows.update(closes_at=timezone.now() - timedelta(hours=23))
    assert client.post(f"/f/{patient_form.pk}/send/", data).status_code == 303


def test_page_of_an_earlier_opening_is_refused(patient_form: Assignment) -> None:
    client = started(patient_form)
    answer = send(client, patient_form, key=str(uuid4()))
    assert answer.status_code == 409
    assert not Response.objects.exists()


def test_staff_signed_in_beside_a_patient_are_noted(cast: Cast, patient_form: Assignment) -> None:
    client = started(patient_form)
    sign_in_fully(client, cast.colleague)
    page = client.get(f"/f/{patient_form.pk}/").content.decode()
    assert "<nav" not in page
    send(client, patient_form)
    assert Response.objects.get().with_staff_session is True


def ended_in_a_query() -> DatabaseError:
    """As the driver says it where the server ended in the middle of an answer: without a code."""
    error = DatabaseError("server closed the connection unexpectedly")
    error.__cause__ = psycopg2.DatabaseError(str(error))
    return error


LOST = [OperationalError("gone"), InterfaceError("connection already closed"), ended_in_a_query()]


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
def test_a_lost_database_keeps_the_answers_on_the_page(patient_form: Assignment, error: Error) -> None:
    client = started(patient_form)
    data = filled(client, patient_form)
    with mock.patch("surveys.views.respond.response_submit", side_effect=error):
        answer = client.post(f"/f/{patient_form.pk}/send/", data)
    assert answer.status_code == 503
    assert int(answer["Retry-After"]) > 0
    page = answer.content.decode()
    kept = dict(re.findall(r'type="hidden" name="(key|version|sharing|item_\d+)" value="([^"]+)"', page))
    assert kept == {name: value for name, value in data.items() if name != "send"}
    assert client.post(f"/f/{patient_form.pk}/send/", {**kept, "send": "send"}).status_code == 303
    assert Response.objects.count() == 1


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
def test_a_page_without_the_database_says_so_and_when_to_come_back(
    patient_form: Assignment, error: Error
) -> None:
    client = started(patient_form)
    with mock.patch("surveys.views.respond.form_progress", side_effect=error):
        answer = client.get(f"/f/{patient_form.pk}/")
    assert answer.status_code == 503
    assert int(answer["Retry-After"]) > 0


@pytest.mark.parametrize("error", [DatabaseError("Save did not affect any rows."), IntegrityError("twice")])
def test_an_error_of_our_own_is_not_taken_for_a_lost_database(patient_form: Assignment, error: Error) -> None:
    client = started(patient_form)
    client.raise_request_exception = False
    with mock.patch("surveys.views.respond.form_progress", side_effect=error):
        assert client.get(f"/f/{patient_form.pk}/").status_code == 500
    data = {**filled(client, patient_form)}
    with mock.patch("surveys.views.respond.response_submit", side_effect=error):
        assert client.post(f"/f/{patient_form.pk}/send/", data).status_code == 500


def test_a_form_the_browser_does_not_vouch_for_comes_back_with_its_answers(patient_form: Assignment) -> None:
    token = link_issue(assignment=patient_form)
    client = phone(enforce_csrf_checks=True)
    page = client.get(f"/r/{token}/").content.decode()
    csrf = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[1]
    client.post(
        f"/r/{token}/", {"csrfmiddlewaretoken": csrf}, secure=True, headers={"referer": "https://testserver/"}
    )
    data = filled(client, patient_form)
    refused = client.post(f"/f/{patient_form.pk}/send/", data)
    assert refused.status_code == 403
    page = refused.content.decode()
    kept = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]+)"', page))
    assert kept["item_12"] == "6"
    assert not Response.objects.exists()
    again = client.post(f"/f/{patient_form.pk}/send/", {**kept, "send": "send"})
    assert again.status_code == 303


def test_a_corrected_sharing_choice_is_not_taken_for_the_same_form(patient_form: Assignment) -> None:
    """The patient goes back, narrows the choice and sends again: no receipt may say that it was kept."""
    client = started(patient_form)
    data = filled(client, patient_form)
    client.post(f"/f/{patient_form.pk}/send/", {**data, "sharing": "answers"})
    answer = client.post(f"/f/{patient_form.pk}/send/", {**data, "sharing": "none"})
    assert answer.status_code == 422
    assert Response.objects.get().sharing == "answers"


def test_the_sharing_choice_comes_back_from_the_server_and_never_from_the_address(
    patient_form: Assignment,
) -> None:
    client = started(patient_form)
    data = filled(client, patient_form)
    del data["item_2"]
    answer = client.post(f"/f/{patient_form.pk}/send/", {**data, "sharing": "scores", "send": "send"})
    assert answer["Location"] == f"/f/{patient_form.pk}/?open=1"
    page = client.get(answer["Location"]).content.decode()
    assert re.search(r'name="sharing" value="scores"[^>]*checked', page)
    fresh = started(patient_form).get(f"/f/{patient_form.pk}/?sharing=answers").content.decode()
    assert not re.search(r'name="sharing" value="[a-z]+"[^>]*checked', fresh)


def test_a_form_sent_after_the_sitting_ended_keeps_what_was_typed(patient_form: Assignment) -> None:
    data = filled(started(patient_form), patient_form)
    answer = Client().post(f"/f/{patient_form.pk}/send/", data)
    assert answer.status_code == 403
    page = answer.content.decode()
    assert "Send again" in page
    assert f'name="item_1" value="{data["item_1"]}"' in page
    assert not Response.objects.exists()


def test_a_browser_that_forgot_its_cookies_is_told_once_what_to_do(patient_form: Assignment) -> None:
    """With the cookies the proof that the form came from our page is gone as well."""
    data = filled(started(patient_form), patient_form)
    client = Client(enforce_csrf_checks=True)
    page = client.post(f"/f/{patient_form.pk}/send/", data).content.decode()
    assert "Open your link again" in page and "did not show that" not in page
    kept = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]+)"', page))
    assert kept["item_12"] == "6"
    # The link again, in another tab; then the form in the first one, at one press.
    token, there = link_issue(assignment=patient_form), {"referer": "https://testserver/"}
    start = client.get(f"/r/{token}/", secure=True).content.decode()
    csrf = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', start)[1]
    client.post(f"/r/{token}/", {"csrfmiddlewaretoken": csrf}, secure=True, headers=there)
    # As the script of the page does.
    kept["key"] = hidden(client, patient_form)["key"]
    sent = client.post(f"/f/{patient_form.pk}/send/", {**kept, "send": "send"}, secure=True, headers=there)
    assert sent.status_code == 303, sent.content.decode()


@pytest.mark.parametrize("page", ["send", "answers", "restart"])
def test_an_address_that_only_takes_a_form_leads_back_to_the_form(
    patient_form: Assignment, page: str
) -> None:
    client = started(patient_form)
    answer = client.get(f"/f/{patient_form.pk}/{page}/")
    assert (answer.status_code, answer["Allow"]) == (405, "POST")
    assert "Nothing was sent just now" in answer.content.decode()
    assert f'href="/f/{patient_form.pk}/"' in answer.content.decode()
    other = client.put(f"/f/{patient_form.pk}/{page}/")
    assert (other.status_code, other.content) == (405, b"")


def test_the_extra_day_is_not_for_a_new_beginning(patient_form: Assignment) -> None:
    token = link_issue(assignment=patient_form)
    first = started(patient_form, token)
    Assignment.objects.filter(pk=patient_form.pk).update(
        opens_at=timezone.now() - timedelta(days=3), closes_at=timezone.now() - timedelta(hours=1)
    )
    assert first.get(f"/f/{patient_form.pk}/").status_code == 200
    assert Client().post(f"/r/{token}/").status_code == 410


def n_statements(act: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as queries:
        act()
    return len(queries)


def test_each_step_of_the_way_asks_the_database_no_more_than_it_must(patient_form: Assignment) -> None:
    """Twelve answers are saved for each form that is sent: what they cost is what the site costs. At most one
    of the statements of a step asks for the time."""
    token = link_issue(assignment=patient_form)
    other = started(patient_form, token)
    hidden(other, patient_form)
    browser, place = phone(), f"/f/{patient_form.pk}/"
    fields = {}
    found = {
        "link": n_statements(lambda: browser.get(f"/r/{token}/")),
        "start": n_statements(lambda: browser.post(f"/r/{token}/")),
        "form": n_statements(lambda: fields.update(filled(browser, patient_form))),
        "answer": n_statements(lambda: browser.post(f"{place}answers/", {"item_1": "6"})),
        "send": n_statements(lambda: browser.post(f"{place}send/", fields)),
        "receipt": n_statements(lambda: browser.get(f"{place}receipt/")),
    }
    assert Response.objects.count() == 1
    assert found == {"link": 4, "start": 11, "form": 5, "answer": 5, "send": 11, "receipt": 4}


def test_a_form_that_came_back_after_it_was_declined_is_received_once(patient_form: Assignment) -> None:
    """A session was taken out of the log and put in again: the form is due, and its answers are there."""
    client = started(patient_form)
    assert client.post(f"/f/{patient_form.pk}/send/", filled(client, patient_form)).status_code == 303
    Assignment.objects.update(state=Assignment.State.OPENED)
    again = client.post(f"/f/{patient_form.pk}/send/", filled(client, patient_form))
    assert (again.status_code, Response.objects.count()) == (303, 1)


def test_a_questionnaire_that_is_kept_is_each_time_a_copy_of_one_s_own(patient_form: Assignment) -> None:
    first, second = instrument_of(patient_form.instrument_id), instrument_of(patient_form.instrument_id)
    assert first == second == patient_form.instrument
    assert first is not second
    assert first.form is second.form, "it is parsed once"
