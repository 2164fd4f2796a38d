"""What a browser, a script or a broken line may send to a form, and the right answer to each.

The numbers are those of the table of bad inputs that the project answers to. Whatever is refused stores
nothing and repeats no value.
"""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from unittest import mock
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from django.core.cache import cache
from django.db import connection
from django.http import HttpResponse
from django.http.request import UnreadablePostError
from django.test import Client
from django.utils import timezone

from surveys.models import Assignment, DraftAnswer, Opening, Response, Score
from surveys.services.invitations import link_issue
from tests import factories
from tests.conftest import Cast

FORM = "application/x-www-form-urlencoded"
CANARY = "canary6c1f"


@dataclass
class Sheet:
    """An opened form in a browser, and its fields as the page would send them."""

    client: Client
    assignment: Assignment
    fields: dict[str, str]
    token: str

    @property
    def url(self) -> str:
        return f"/f/{self.assignment.pk}/send/"

    def send(self, without: str = "", **changed: object) -> HttpResponse:
        fields = {name: value for name, value in {**self.fields, **changed}.items() if name != without}
        return self.raw(urlencode(fields, doseq=True))

    def raw(self, body: str | bytes, content_type: str = FORM, **extra: object) -> HttpResponse:
        return self.client.post(self.url, body, content_type=content_type, **extra)

    def shift(self, **hours: int) -> None:
        """Moves the closing time of the form by so many hours from now."""
        opens = timezone.now() - timedelta(days=9)
        closes = timezone.now() + timedelta(**hours)
        Assignment.objects.filter(pk=self.assignment.pk).update(opens_at=opens, closes_at=closes)


def open_sheet(cast: Cast, **client_options: object) -> Sheet:
    assignment = factories.form_of(factories.hold_session(cast.therapy), "patient")
    token = link_issue(assignment=assignment)
    client = Client(**client_options)
    with mock.patch("django.middleware.csrf.CsrfViewMiddleware._check_token"):
        client.post(f"/r/{token}/", headers={"origin": "http://testserver"})
    fields = {f"item_{number}": "6" for number in range(1, 13)}
    fields |= {
        "key": str(Opening.objects.get(assignment=assignment).client_key),
        "version": str(assignment.instrument_id),
        "sharing": "scores",
        "send": "send",
    }
    return Sheet(client, assignment, fields, token)


@pytest.fixture
def sheet(cast: Cast) -> Sheet:
    cache.clear()
    return open_sheet(cast)


Row = tuple[str, Callable[[Sheet], HttpResponse], int, str]

REFUSED: list[Row] = [
    *[
        (f"1 item {value}", lambda s, v=value: s.send(item_3=v), 400, "item_3")
        for value in ("0", "8", "-1", "-97", "-99", "-098")
    ],
    *[
        (f"2 number as {value}", lambda s, v=value: s.send(item_3=v), 400, "item_3")
        for value in ("3.5", "1e0", "0x3", "NaN")
    ],
    *[
        (f"3 digit as {value!a}", lambda s, v=value: s.send(item_3=v), 400, "item_3")
        for value in ("３", "٣", "+3", " 3 ", "3.0", "03", "")
    ],
    *[
        (f"4 {value} as answer", lambda s, v=value: s.send(item_3=v), 400, "item_3")
        for value in ("true", "[3]", '{"value": 3}', "null", CANARY)
    ],
    ("4 list in the name", lambda s: s.send(**{"item_3[]": "3"}), 400, "no form uses"),
    *[
        (f"5 unknown {name}", lambda s, n=name: s.send(**{n: "3"}), 400, name)
        for name in ("item_13", "item_0", "item_03", "item_999", "items_3", "started_at", "answers")
    ],
    ("5 item number in other digits", lambda s: s.send(**{"item_３": "3"}), 400, "no form uses"),
    ("6 other version", lambda s: s.send(version=str(uuid4())), 409, "older version"),
    (
        "6 other version with items of its own",
        lambda s: s.send(version=str(uuid4()), item_36="3"),
        409,
        "older version",
    ),
    ("6 no version", lambda s: s.send(without="version"), 400, "field version"),
    ("9 item twice", lambda s: s.send(item_3=["3", "3"]), 400, "item_3"),
    ("9 sharing twice", lambda s: s.send(sharing=["none", "answers"]), 400, "sharing"),
    ("9 key twice", lambda s: s.send(key=[s.fields["key"]] * 2), 400, "key"),
    # 10, 13 and 14 are about JSON, which no page takes: 415 makes them impossible.
    (
        "10 JSON, doubled keys",
        lambda s: s.raw('{"item_1": 1, "item_1": 2}', "application/json"),
        415,
        "forms only",
    ),
    ("11 too many fields", lambda s: s.send(**{f"x{n}": "1" for n in range(100)}), 400, "More fields"),
    (
        "11 beyond Django's limit",
        lambda s: s.send(**{f"x{n}": "1" for n in range(300)}),
        400,
        "could not be read",
    ),
    ("11 100,000 fields", lambda s: s.send(**{f"x{n}": "1" for n in range(100_000)}), 413, "More was sent"),
    ("12 NUL in a value", lambda s: s.send(item_3="3\x00"), 400, "item_3"),
    ("12 NUL in a name", lambda s: s.send(**{"item_3\x00": "3"}), 400, "no form uses"),
    ("12 NUL in the address", lambda s: s.client.post(f"{s.url}?x=%00", s.fields), 400, "no page uses"),
    (
        "13 JSON with NUL",
        lambda s: s.raw(json.dumps({"item_1": "\0"}), "application/json"),
        415,
        "forms only",
    ),
    (
        "14 JSON with a lone surrogate",
        lambda s: s.raw('{"item_1": "\\ud800"}', "application/json"),
        415,
        "forms only",
    ),
    # 15 to 17 need a field for text, and a form has none: such a field is unknown.
    ("15 marks that turn text", lambda s: s.send(comment="\u202eabc\u200b"), 400, "comment"),
    ("15 marks as an answer", lambda s: s.send(item_3="3\u200b"), 400, "item_3"),
    ("16 a megabyte of text", lambda s: s.send(comment="x" * 1_000_000), 413, "More was sent"),
    *[
        (f"17 {value}", lambda s, v=value: s.send(sharing=v), 400, "sharing")
        for value in ("<script>alert(1)</script>", "{{7*7}}", "${x}", "ALL")
    ],
    ("17 markup as a name", lambda s: s.send(**{"<b>canary6c1f</b>": "1"}), 400, "no form uses"),
    ("20 GET", lambda s: s.client.get(s.url), 405, ""),
    ("20 PUT", lambda s: s.client.put(s.url), 405, ""),
    ("key missing", lambda s: s.send(without="key"), 400, "field key"),
    ("key of another shape", lambda s: s.send(key="{" + s.fields["key"] + "}"), 400, "key"),
    ("a file", lambda s: s.client.post(s.url, {**s.fields, "item_3": _file()}), 400, "file"),
    ("28 broken multipart", lambda s: s.raw(b"--x\r\nbroken", "multipart/form-data; boundary="), 400, ""),
    ("28 form in UTF-16", lambda s: s.raw(urlencode(s.fields), f"{FORM}; charset=utf-16"), 400, ""),
    ("packed body", lambda s: s.raw(urlencode(s.fields), HTTP_CONTENT_ENCODING="gzip"), 415, "Packed"),
]


def _file() -> object:
    from django.core.files.uploadedfile import SimpleUploadedFile

    return SimpleUploadedFile("3.txt", b"3")


@pytest.mark.parametrize(
    ("call", "status", "words"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_refused_without_a_trace(
    sheet: Sheet, call: Callable[[Sheet], HttpResponse], status: int, words: str
) -> None:
    answer = call(sheet)
    page = answer.content.decode()
    assert answer.status_code == status
    assert words in page
    assert CANARY not in page
    assert "alert(1)" not in page
    assert not Response.objects.exists()
    assert not DraftAnswer.objects.exists()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ({"item_3": "8"}, 400),
        ({"item_3": "-97"}, 400),
        ({"item_3": "-99"}, 400),
        ({"item_3": "３"}, 400),
        ({"item_13": "3"}, 400),
        ({"item_3": ["3", "4"]}, 400),
        ({"item_3": "3", "sharing": "none"}, 400),
        ({"item_3": "3", "key": "x"}, 400),
        ({f"x{n}": "1" for n in range(100)}, 400),
    ],
)
def test_saving_one_answer_is_as_strict(sheet: Sheet, data: dict[str, object], status: int) -> None:
    assert sheet.client.post(f"/f/{sheet.assignment.pk}/answers/", data).status_code == status
    assert not DraftAnswer.objects.exists()


def test_row_7_all_missing_is_taken_as_declined_without_a_score(sheet: Sheet) -> None:
    fields = {name: value for name, value in sheet.fields.items() if not name.startswith("item_")}
    answer = sheet.raw(urlencode({**fields, "send": "anyway"}))
    assert answer.status_code == 303
    sheet.assignment.refresh_from_db()
    assert sheet.assignment.state == Assignment.State.DECLINED
    assert set(Response.objects.get().answers.values()) == {-99}
    assert set(Score.objects.values_list("mean", flat=True)) == {None}


def test_row_8_too_few_answers_for_a_scale_are_taken_and_that_scale_has_no_score(sheet: Sheet) -> None:
    fields = {
        n: v
        for n, v in sheet.fields.items()
        if not n.startswith("item_") or n in ("item_1", "item_2", "item_8")
    }
    assert sheet.raw(urlencode({**fields, "send": "anyway"})).status_code == 303
    means = dict(Score.objects.values_list("scale", "mean"))
    assert means == {"task": 6.0, "bond": None, "goal": None, "total": None}


@pytest.mark.parametrize("token", [None, "wrong" * 12 + "wxyz"], ids=["18 missing", "18 foreign"])
def test_row_18_a_form_without_its_token_comes_back_with_the_answers(cast: Cast, token: str | None) -> None:
    sheet = open_sheet(cast, enforce_csrf_checks=True)
    answer = sheet.send(**({"csrfmiddlewaretoken": token} if token else {}))
    assert answer.status_code == 403
    assert 'name="item_12" value="6"' in answer.content.decode()
    assert not Response.objects.exists()


@pytest.mark.parametrize("origin", ["null", "https://evil.example"])
def test_row_19_a_form_from_another_origin_is_refused(cast: Cast, origin: str) -> None:
    sheet = open_sheet(cast, enforce_csrf_checks=True)
    page = sheet.client.get(f"/f/{sheet.assignment.pk}/").content.decode()
    token = page.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
    body = urlencode({**sheet.fields, "csrfmiddlewaretoken": token})
    assert sheet.raw(body, headers={"origin": origin}).status_code == 403
    assert not Response.objects.exists()
    assert sheet.raw(body, headers={"origin": "http://testserver"}).status_code == 303


def test_row_18_markup_in_a_refused_form_is_not_offered_again(cast: Cast) -> None:
    sheet = open_sheet(cast, enforce_csrf_checks=True)
    page = sheet.send(item_1='"><script>', item_2=CANARY + " x", evil="1").content.decode()
    assert "<script>" not in page
    assert CANARY not in page
    assert "evil" not in page


def test_row_21_links_that_lead_nowhere_open_nothing(sheet: Sheet) -> None:
    """Each state has a page of its own (tests of the way of a form); none of them opens or stores."""
    n_openings = Opening.objects.count()
    sheet.shift(hours=-30)
    statuses = [Client().post(f"/r/{token}/").status_code for token in (sheet.token, "x", "A" * 43)]
    assert statuses == [410, 404, 404]
    assert Opening.objects.count() == n_openings


def test_row_22_link_of_a_withdrawn_patient_says_thank_you(sheet: Sheet) -> None:
    Assignment.objects.filter(pk=sheet.assignment.pk).update(state="withdrawn")
    answer = Client().get(f"/r/{sheet.token}/")
    assert answer.status_code == 200
    assert "nothing to do" in answer.content.decode()
    assert sheet.send().status_code == 409
    assert not Response.objects.exists()


def test_row_23_replay_after_success_leads_to_the_same_receipt(sheet: Sheet) -> None:
    first, second = sheet.send(), sheet.send()
    assert (first.status_code, first["Location"]) == (second.status_code, second["Location"])
    code = Response.objects.get().receipt_code
    page = sheet.client.get(second["Location"])
    assert page.status_code == 200
    assert code in page.content.decode()


def test_row_24_a_form_sent_25_hours_late_is_refused_with_the_clinics_contact(sheet: Sheet) -> None:
    sheet.shift(hours=-25)
    answer = sheet.send()
    assert answer.status_code == 409
    assert "Reception, 555 0100" in answer.content.decode()
    assert not Response.objects.exists()


@pytest.mark.parametrize("year", [1970, 2099])
def test_row_25_the_clock_of_the_device_plays_no_part(sheet: Sheet, year: int) -> None:
    """A page sends no time; a header with one is not read, a field with one is unknown."""
    date = f"Thu, 01 Jan {year} 00:00:00 GMT"
    assert sheet.send(submitted_at=f"{year}-01-01T00:00:00Z").status_code == 400
    assert sheet.raw(urlencode(sheet.fields), headers={"date": date}).status_code == 303
    assert abs(Response.objects.get().submitted_at - timezone.now()) < timedelta(minutes=1)


def test_row_26_the_cookie_of_one_patient_with_the_form_of_another_is_404(cast: Cast, sheet: Sheet) -> None:
    other = factories.form_of(factories.hold_session(cast.colleague_therapy), "patient")
    opening = factories.open_form(other, browser="somebody else")
    body = urlencode({**sheet.fields, "key": str(opening.client_key)})
    assert sheet.client.post(f"/f/{other.pk}/send/", body, content_type=FORM).status_code == 404
    assert not Response.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_row_27_ten_tabs_are_one_response(cast: Cast) -> None:
    sheet = open_sheet(cast)

    def tab(_: int) -> tuple[int, str]:
        client = Client()
        client.cookies = sheet.client.cookies
        answer = client.post(sheet.url, urlencode(sheet.fields), content_type=FORM)
        connection.close()
        return answer.status_code, answer["Location"]

    with ThreadPoolExecutor(10) as pool:
        answers = set(pool.map(tab, range(10)))
    assert answers == {(303, f"/f/{sheet.assignment.pk}/receipt/")}
    assert Response.objects.count() == 1


def test_row_28_a_body_cut_off_half_way_stores_nothing(sheet: Sheet) -> None:
    with mock.patch("django.http.HttpRequest.body", new_callable=mock.PropertyMock) as body:
        body.side_effect = UnreadablePostError("cut off")
        assert sheet.send().status_code == 400
        body.side_effect = None
        body.return_value = b"item_1=6&item_2"
        answer = sheet.send()
    assert answer.status_code == 400
    assert "cut off" in answer.content.decode()
    assert not Response.objects.exists()


# Row 29, one byte a second, is cut by the proxy after 30 seconds and never reaches a view; what arrives of
# it is a body that ended early, row 28.
