"""A patient's own page: what opens it, what it shows, and what can be done there."""

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from surveys import visits
from surveys.models import Assignment, AuditEvent, FormLink, Response, Withdrawal
from surveys.services.consent import consent_give
from surveys.services.invitations import link_issue
from surveys.services.responses import Paradata, response_submit
from surveys.services.withdrawals import withdrawal_enter
from surveys.tokens import new_token, token_hash
from surveys.visits import read_code
from tests import factories
from tests.conftest import Cast

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _empty_cache(db: None) -> None:
    cache.clear()


@pytest.fixture
def sent(patient_form: Assignment) -> tuple[str, Response]:
    """The token of a link, and the response that came by it."""
    token = link_issue(assignment=patient_form)
    answers = {**dict.fromkeys(range(1, 12), 7), 2: -98}
    return token, factories.give(patient_form, answers, sharing="answers")


def enter(token: str, code: str, client: Client | None = None) -> Client:
    client = client or Client()
    answer = client.post(f"/r/{token}/your-data/", {"code": code})
    assert (answer.status_code, answer["Location"]) == (303, "/your-data/")
    return client


def test_the_link_of_a_received_form_offers_the_page_and_shows_no_answer(
    sent: tuple[str, Response], cast: Cast
) -> None:
    token, response = sent
    page = Client().get(f"/r/{token}/").content.decode()
    assert f'href="/r/{token}/your-data/"' in page
    form = Client().get(f"/r/{token}/your-data/")
    assert form.status_code == 200
    assert response.receipt_code not in form.content.decode()
    other = link_issue(
        assignment=factories.form_of(
            factories.hold_session(cast.therapy, timezone.now() - timedelta(minutes=2)), "patient"
        )
    )
    assert "your-data" not in Client().get(f"/r/{other}/").content.decode()
    answer = Client().post(f"/r/{other}/your-data/", {"code": response.receipt_code})
    assert (answer.status_code, answer["Location"]) == (303, f"/r/{other}/")
    assert not answer.cookies


def test_links_that_lead_nowhere_are_counted_here_as_well(sent: tuple[str, Response]) -> None:
    token, response = sent
    statuses = [Client().post(f"/r/wrong{n}/your-data/", {"code": "x"}).status_code for n in range(31)]
    assert statuses == [404] * 30 + [429]
    enter(token, response.receipt_code)


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("ABCD-2345", "ABCD-2345"),
        (" abcd2345 ", "ABCD-2345"),
        ("ab cd – 23 45", "ABCD-2345"),
        ("ABCD٢٣٤٥", "ABCD-2345"),
        ("ＡＢＣＤ２３４５", "ABCD-2345"),
        ("ABCD-234", ""),
        ("ABCD-23456", ""),
        ("OBCD-2345", ""),
        ("", ""),
        ("ABCD\x002345", "ABCD-2345"),
        ("ß" * 40, ""),
    ],
)
def test_a_code_is_read_however_it_is_typed(typed: str, code: str) -> None:
    assert read_code(typed) == code


def test_the_code_opens_the_page_of_own_answers_in_words(sent: tuple[str, Response], cast: Cast) -> None:
    token, response = sent
    client = enter(token, response.receipt_code.lower().replace("-", ""))
    cookie = client.cookies["__Host-your-data"]
    assert cookie["httponly"] and cookie["samesite"] == "Lax" and cookie["max-age"] == 900
    answer = client.get("/your-data/")
    page = answer.content.decode()
    assert answer["Cache-Control"] == "no-store"
    assert token not in page
    form = response.instrument.form
    for item in form.items:
        assert item.text.replace("'", "&#x27;") in page
    label = next(option.label for option in form.options if option.value == 7)
    assert page.count(f">{label}</td>") == 10
    assert page.count(">Prefer not to answer</td>") == 1
    assert page.count(">Left out</td>") == 1
    assert "Session 1 on" in page
    assert response.receipt_code in page
    assert "Your therapist will see your result and each answer once they have given" in page
    assert AuditEvent.objects.filter(act="your-data.open", actor=None).count() == 1


def test_each_code_opens_its_form_and_no_code_one_of_somebody_else(
    sent: tuple[str, Response], cast: Cast
) -> None:
    token, response = sent
    later = factories.hold_session(cast.therapy, timezone.now() - timedelta(minutes=9))
    second = factories.give(factories.form_of(later, "patient"), 2, sharing="none")
    other = factories.give(
        factories.form_of(factories.hold_session(cast.colleague_therapy), "patient"), 1, browser="other"
    )
    client = enter(token, second.receipt_code)
    page = client.get("/your-data/").content.decode()
    assert second.receipt_code in page and response.receipt_code not in page
    answer = client.post("/your-data/", {"code": response.receipt_code})
    assert (answer.status_code, answer["Location"]) == (303, f"/your-data/#form-{response.pk}")
    page = client.get("/your-data/").content.decode()
    assert page.index(second.receipt_code) < page.index(response.receipt_code)
    assert "2 forms, the latest first" in page
    statuses = [client.post("/your-data/", {"code": other.receipt_code}).status_code for _ in range(5)]
    assert statuses == [422, 422, 422, 422, 429]
    assert client.post("/your-data/", {"code": response.receipt_code}).status_code == 429
    assert other.receipt_code not in client.get("/your-data/").content.decode()


def test_who_sends_a_form_with_somebody_s_link_reads_nothing_that_they_did_not_answer(cast: Cast) -> None:
    """A link can be forwarded, or read off a QR code by whoever made it; sending its form gives a code."""
    before = factories.hold_session(cast.therapy, timezone.now() - timedelta(hours=3))
    earlier = factories.give(factories.form_of(before, "patient"), 7, sharing="none", browser="phone")
    form = factories.form_of(factories.hold_session(cast.therapy), "patient")
    token = link_issue(assignment=form)
    phone, thief = Client(), Client()
    phone.post(f"/r/{token}/")
    phone.post(f"/f/{form.pk}/answers/", {"item_1": "2"})
    thief.post(f"/r/{token}/")
    fields = {"key": form.openings.latest("pk").client_key, "version": form.instrument_id, "item_2": "7"}
    assert thief.post(f"/f/{form.pk}/send/", {**fields, "send": "anyway"}).status_code == 303
    forged = Response.objects.get(assignment=form)
    assert (forged.answers["1"], forged.elsewhere) == (2, [1])
    enter(token, forged.receipt_code, thief)
    page = thief.get("/your-data/").content.decode()
    labels = {option.value: option.label for option in form.instrument.form.options}
    assert page.count(f">{labels[7]}</td>") == 1
    assert f">{labels[2]}</td>" not in page
    assert page.count("Answered on another device") == 1
    assert earlier.receipt_code not in page
    # Nor by sending again: the answer to every guess is the same.
    guesses = [{**fields, "item_1": str(value), "send": "anyway"} for value in range(1, 8)]
    assert {thief.post(f"/f/{form.pk}/send/", guess).status_code for guess in guesses} == {422}
    # Nor later, by the code of the form that was forged.
    after = factories.hold_session(cast.therapy, timezone.now() - timedelta(minutes=2))
    later = factories.give(factories.form_of(after, "patient"), 7, browser="phone")
    assert later.receipt_code not in thief.get("/your-data/").content.decode()


def test_wrong_codes_say_nothing_and_five_of_them_make_the_link_wait(
    sent: tuple[str, Response], cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, response = sent
    foreign = factories.give(
        factories.form_of(factories.hold_session(cast.colleague_therapy), "patient"), 1, browser="other"
    )
    stranger = factories.give(
        factories.form_of(factories.hold_session(cast.stranger_therapy), "patient"), 1, browser="third"
    )
    url = f"/r/{token}/your-data/"
    pages = []
    for code in (foreign.receipt_code, stranger.receipt_code, "2222-2222", ""):
        answer = Client().post(url, {"code": code})
        assert answer.status_code == 422
        assert not answer.cookies.get("__Host-your-data")
        pages.append(answer.content.decode())
    assert ["4 tries are left" in pages[0], "1 try is left" in pages[3]] == [True, True]
    # A slip can be looked for.
    assert 'value="2222-2222"' in pages[2]
    last = Client().post(url, {"code": "nonsense"})
    assert last.status_code == 429
    assert 0 < int(last["Retry-After"]) <= 901
    # The right code is not looked at now, by nobody; other links are none the worse for it.
    assert Client().post(url, {"code": response.receipt_code}).status_code == 429
    assert Client().get(url).status_code == 429
    assert AuditEvent.objects.filter(act="your-data.refuse").count() == 5
    own = link_issue_of_received(foreign)
    enter(own, foreign.receipt_code)
    now = visits.time.time()
    monkeypatch.setattr(visits.time, "time", lambda: now + 901)
    monkeypatch.setattr(cache, "get", lambda key, default=None: default if "wrong" in key else None)
    enter(token, response.receipt_code)


def link_issue_of_received(response: Response) -> str:
    """A link that was issued while the form was open."""
    token = new_token()
    FormLink.objects.create(
        assignment=response.assignment, token_hash=token_hash(token), via="mail", issued_at=timezone.now()
    )
    return token


@pytest.mark.parametrize("name", ["your-data", "your-data-end", "your-data-ended", "your-data-sharing"])
def test_without_the_cookie_the_page_is_closed(sent: tuple[str, Response], cast: Cast, name: str) -> None:
    arguments = [cast.study.pk] if "end" in name else []
    method = "POST" if name == "your-data-sharing" else "GET"
    strange = Client()
    strange.cookies["__Host-your-data"] = "x" * 43
    for client in (Client(), strange):
        answer = client.generic(method, reverse(name, args=arguments))
        assert answer.status_code == 410
        assert "This page is closed" in answer.content.decode()


def test_closing_the_page_ends_the_visit_in_every_window(sent: tuple[str, Response]) -> None:
    token, response = sent
    client = enter(token, response.receipt_code)
    other_window = Client()
    other_window.cookies["__Host-your-data"] = client.cookies["__Host-your-data"].value
    assert other_window.get("/your-data/").status_code == 200
    assert client.post("/your-data/close/").status_code == 410
    assert client.cookies["__Host-your-data"].value == ""
    assert other_window.get("/your-data/").status_code == 410


def test_a_page_left_open_leaves_the_screen_by_itself(sent: tuple[str, Response]) -> None:
    token, response = sent
    answer = enter(token, response.receipt_code).get("/your-data/")
    assert answer["Refresh"] == "905"


def test_sharing_is_narrowed_from_the_page_and_never_widened(sent: tuple[str, Response], cast: Cast) -> None:
    token, response = sent
    other = factories.give(
        factories.form_of(factories.hold_session(cast.colleague_therapy), "patient"),
        1,
        sharing="answers",
        browser="other",
    )
    client = enter(token, response.receipt_code)
    page = client.get("/your-data/").content.decode()
    assert 'value="scores"' in page and 'value="answers"' not in page
    sharing = reverse("your-data-sharing")
    answer = client.post(sharing, {"form": str(response.pk), "sharing": "scores"})
    assert (answer.status_code, answer["Location"]) == (303, "/your-data/?changed=1")
    client.post(sharing, {"form": str(other.pk), "sharing": "none"})
    client.post(sharing, {"form": str(response.pk), "sharing": "answers"})
    assert client.post(sharing, {"form": "x", "sharing": "none"}).status_code == 404
    response.refresh_from_db()
    other.refresh_from_db()
    assert (response.sharing, other.sharing) == ("scores", "answers")
    client.post(sharing, {"sharing": "none"})
    response.refresh_from_db()
    assert response.sharing == "none"
    assert 'name="sharing"' not in client.get("/your-data/").content.decode()


def test_the_end_asks_twice_and_says_when_it_was(sent: tuple[str, Response], cast: Cast) -> None:
    token, response = sent
    client = enter(token, response.receipt_code)
    url = reverse("your-data-end", args=[cast.study.pk])
    assert url in client.get("/your-data/").content.decode()
    choices = client.get(url).content.decode()
    assert choices.count('name="choice"') == 3 and "checked" not in choices
    assert client.post(url, {"choice": "all"}).status_code == 422
    assert "Nothing is changed yet" in client.post(url).content.decode()
    asked = client.post(url, {"choice": "erase"}).content.decode()
    today = f"{timezone.localdate():%-d %B %Y}"
    assert today in asked and "It cannot be taken back" in asked
    assert not Withdrawal.objects.exists()
    answer = client.post(url, {"choice": "erase", "confirm": "yes"})
    assert answer["Location"] == reverse("your-data-ended", args=[cast.study.pk])
    page = client.get(answer["Location"]).content.decode()
    assert today in page and "1 form with all its answers" in page
    assert Withdrawal.objects.get().patient == cast.therapy.patient
    assert "There is nothing here that you sent" in client.get("/your-data/").content.decode()
    # A double tap, and a step back to choices that are over.
    for again in (client.post(url, {"choice": "erase", "confirm": "yes"}), client.get(url)):
        assert (again.status_code, again["Location"]) == (303, answer["Location"])
    assert Withdrawal.objects.count() == 1
    assert "Thank you, there is nothing to do" in Client().get(f"/r/{token}/").content.decode()


def test_who_ends_their_part_learns_of_how_many_forms_whichever_codes_were_entered(
    sent: tuple[str, Response], cast: Cast
) -> None:
    token, response = sent
    others = [
        factories.give(
            factories.form_of(factories.hold_session(cast.therapy, timezone.now() - ago), "patient"), 2
        )
        for ago in (timedelta(minutes=9), timedelta(minutes=8))
    ]
    client = enter(token, response.receipt_code)
    page = client.get("/your-data/").content.decode()
    assert "1 of the 3 forms that you sent" in page
    url = reverse("your-data-end", args=[cast.study.pk])
    choices = client.get(url).content.decode()
    assert choices.count("It concerns all 3 forms that you sent in this study.") == 2
    asked = client.post(url, {"choice": "erase"}).content.decode()
    assert "It concerns all 3 forms that you sent in this study." in asked
    for shown in (page, choices, asked):
        assert not any(other.receipt_code in shown or str(other.pk) in shown for other in others)
    client.post(url, {"choice": "erase", "confirm": "yes"})
    ended = client.get(reverse("your-data-ended", args=[cast.study.pk])).content.decode()
    assert "3 forms with all their answers" in ended


def test_after_a_stop_only_the_stronger_choices_are_offered(sent: tuple[str, Response], cast: Cast) -> None:
    token, response = sent
    withdrawal_enter(patient=cast.therapy.patient, study=cast.study, choice="stop")
    client = enter(token, response.receipt_code)
    page = client.get("/your-data/").content.decode()
    assert "You ended it on" in page and "Go further" in page
    choices = client.get(reverse("your-data-end", args=[cast.study.pk])).content.decode()
    assert 'value="stop"' not in choices and choices.count('name="choice"') == 2


def test_a_study_in_which_the_patient_has_no_therapy_cannot_be_ended(
    sent: tuple[str, Response], cast: Cast
) -> None:
    token, response = sent
    client = enter(token, response.receipt_code)
    url = reverse("your-data-end", args=[cast.stranger_study.pk])
    assert client.post(url, {"choice": "stop", "confirm": "yes"}).status_code == 404
    assert not Withdrawal.objects.exists()


def test_the_page_shows_what_was_agreed_to_and_when(sent: tuple[str, Response], cast: Cast) -> None:
    token, response = sent
    text = factories.ask_consent(cast.study, declaration="My answers may be read under a code.")
    consent_give(patient=cast.therapy.patient, text=text, agreed=True)
    page = enter(token, response.receipt_code).get("/your-data/").content.decode()
    assert "you agreed to this" in page and "My answers may be read under a code." in page


@pytest.mark.parametrize(
    ("visibility", "sharing", "words"),
    [
        ("blind", "none", "Your therapist never sees your answers."),
        ("delayed", "scores", "in numbers after the therapy has ended"),
        ("feedback", "none", "nothing of your answers"),
        ("feedback", "scores", "in numbers once they have given their own rating"),
    ],
)
def test_every_form_says_who_sees_it(cast: Cast, visibility: str, sharing: str, words: str) -> None:
    factories.set_visibility(cast.study, visibility)
    form = factories.form_of(factories.hold_session(cast.therapy), "patient")
    response = factories.give(form, 5, sharing=sharing)
    page = enter(link_issue_of_received(response), response.receipt_code).get("/your-data/").content.decode()
    assert words in page
    assert ('name="sharing"' in page) == (sharing != "none")


def test_a_revealed_form_says_since_when(cast: Cast) -> None:
    session = factories.hold_session(cast.therapy)
    response = factories.give(factories.form_of(session, "patient"), 5, sharing="answers")
    factories.give(factories.form_of(session, "therapist"), 5, user=cast.therapist)
    page = enter(link_issue_of_received(response), response.receipt_code).get("/your-data/").content.decode()
    assert (
        f"Your therapist can see your result and each answer since {timezone.localdate():%-d %B %Y}" in page
    )


def test_the_page_speaks_the_language_in_which_the_last_form_was_sent(cast: Cast) -> None:
    form = factories.form_of(factories.hold_session(cast.therapy), "patient")
    opening = factories.open_form(form)
    response = response_submit(
        opening=opening,
        answers={1: 5},
        sharing="none",
        client_key=opening.client_key,
        paradata=Paradata(device="phone", channel="link"),
        instrument=factories.instrument("wai-s", "patient", "ar"),
    )
    token = link_issue_of_received(response)
    assert '<html lang="ar" dir="rtl">' in Client().get(f"/r/{token}/your-data/").content.decode()
    page = enter(token, response.receipt_code).get("/your-data/").content.decode()
    assert '<html lang="ar" dir="rtl">' in page
