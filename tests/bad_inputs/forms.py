"""Rows 1 to 28: what a browser, a script or a broken line may send to a form."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from unittest import mock
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.http.request import UnreadablePostError
from django.test import Client
from django.utils import timezone

from surveys.models import Assignment, Clinic, DraftAnswer, Response, Score
from tests import factories
from tests.bad_inputs.conftest import FORM, JSON, Api, OpenSheet, Sheet
from tests.bad_inputs.rows import CANARY, nothing_stored, refused, row
from tests.conftest import Cast


def no_answer(sheet: Sheet, *values: str) -> None:
    """Refused when the form is sent, and when one answer is saved."""
    with nothing_stored():
        for value in values:
            refused(sheet.send(item_3=value), 400, "The field item_3")
            refused(sheet.save(item_3=value), 400, "The field item_3")


@row(1, "item 0, 8, -1")
def out_of_range(sheet: Sheet) -> None:
    no_answer(sheet, "0", "8", "-1", "-97", "-99", "-098")


@row(2, "3.5, 1e0, 0x3, NaN")
def other_numbers(sheet: Sheet) -> None:
    no_answer(sheet, "3.5", "1e0", "0x3", "NaN")


@row(3, "full-width or Arabic digit, +3, ' 3 ', 3.0")
def other_digits(sheet: Sheet) -> None:
    no_answer(sheet, "３", "٣", "+3", " 3 ", "3.0", "03", "")


@row(4, "true, list, object as answer")
def no_number(sheet: Sheet) -> None:
    no_answer(sheet, "true", "[3]", '{"value": 3}', "null", CANARY)
    with nothing_stored():
        refused(sheet.send(**{"item_3[]": "3"}), 400, "A field with a name that no form uses")


@row(5, "unknown item id")
def unknown_item(sheet: Sheet) -> None:
    with nothing_stored():
        for name in ("item_13", "item_0", "item_03", "item_999", "items_3", "started_at", "answers"):
            refused(sheet.send(**{name: CANARY}), 400, f"The field {name} is not part of this form")
        refused(sheet.send(**{"item_３": "3"}), 400, "no form uses")
        refused(sheet.save(item_13="3"), 400, "item_13")
        for name in ("sharing", "key"):
            refused(sheet.save(item_3="3", **{name: CANARY}), 400, name)


@row(6, "item of another instrument version")
def other_version(sheet: Sheet) -> None:
    with nothing_stored():
        for more in ({}, {"item_36": "3"}):
            refused(sheet.send(version=str(uuid4()), **more), 409, "older version")
        refused(sheet.send(without="version"), 400, "The field version")


@row(7, "all missing")
def all_missing(sheet: Sheet) -> None:
    fields = {name: value for name, value in sheet.fields.items() if not name.startswith("item_")}
    assert sheet.raw(urlencode({**fields, "send": "anyway"})).status_code == 303
    sheet.assignment.refresh_from_db()
    assert sheet.assignment.state == Assignment.State.DECLINED
    assert set(Response.objects.get().answers.values()) == {-99}
    assert set(Score.objects.values_list("mean", flat=True)) == {None}


@row(8, "below the instrument's minimum")
def too_few_answers(sheet: Sheet) -> None:
    """The reason of a missing score are the numbers of answered and of all items beside it."""
    kept = ("item_1", "item_2", "item_8")
    fields = {name: text for name, text in sheet.fields.items() if "item" not in name or name in kept}
    assert sheet.raw(urlencode({**fields, "send": "anyway"})).status_code == 303
    found = {score.scale: (score.mean, score.n_answered, score.n_items) for score in Score.objects.all()}
    assert found == {"task": (6.0, 3, 4), "bond": (None, 0, 4), "goal": (None, 0, 4), "total": (None, 3, 12)}


@row(9, "same field twice")
def twice(sheet: Sheet) -> None:
    values = {"item_3": ["3", "3"], "sharing": ["none", "answers"], "key": [sheet.fields["key"]] * 2}
    with nothing_stored():
        for name, both in values.items():
            refused(sheet.send(**{name: both}), 400, f"The field {name} was sent more than once")
        refused(sheet.save(item_3=["3", "4"]), 400, "item_3")


@row(10, "JSON duplicate keys")
def doubled_keys(sheet: Sheet, api: Api) -> None:
    """No page takes JSON; the API takes no name twice, at any depth."""
    with nothing_stored():
        refused(sheet.raw('{"item_1": 1, "item_1": 2}', JSON), 415, "This page accepts forms only")
        for body in (f'{{"language": "en", "language": "{CANARY}"}}', '{"contact": {"a": 1, "a": 1}}'):
            refused(api.post(body), 400, "a name stands twice in one object")


@row(11, "36 items + 100,000 extra keys")
def too_many_keys(sheet: Sheet, api: Api) -> None:
    with nothing_stored():
        for n, status, words in (
            (100, 400, "More fields were sent than this form has"),
            (300, 400, "could not be read"),
            (100_000, 413, "More was sent than this page accepts"),
        ):
            refused(sheet.send(**{f"x{k}": CANARY[:6] for k in range(n)}), status, words)
        refused(sheet.save(**{f"x{k}": "1" for k in range(100)}), 400, "More fields")
        refused(api.post({f"x{k}": 1 for k in range(5_000)}), 400, "There is no such field")
        refused(api.post({f"x{k}": 1 for k in range(30_000)}), 413, "More was sent")


@row(12, "NUL in text")
def nul_in_text(sheet: Sheet, admin: Client) -> None:
    with nothing_stored():
        refused(
            sheet.send(item_3=f"3\x00{CANARY}"), 400, "The field item_3 holds a character that is no text"
        )
        refused(sheet.send(**{"item_3\x00": "3"}), 400, "no form uses")
        refused(sheet.save(item_3="3\x00"), 400, "item_3")
        # A page whose field a database would refuse, and one whose form reads nothing but the name.
        for url, name in (("/clinic/contact/", "contact"), ("/accounts/login/", "login")):
            refused(admin.post(url, {name: f"a\x00{CANARY}"}), 400, f"The field {name}")


@row(13, "NUL in JSON value or key")
def nul_in_json(sheet: Sheet, api: Api) -> None:
    with nothing_stored():
        refused(sheet.raw(json.dumps({"item_1": "\0"}), JSON), 415)
        for body in (
            f'{{"language": "en", "contact": "{CANARY}\\u0000"}}',
            '{"language": "en", "\\u0000": 1}',
            '{"language": "en", "contact": ["\\u0000"]}',
        ):
            refused(api.post(body), 400, "a character that is no text")


@row(14, "lone surrogate in JSON")
def half_character(sheet: Sheet, api: Api) -> None:
    with nothing_stored():
        refused(sheet.raw('{"item_1": "\\ud800"}', JSON), 415)
        for body in ('{"language": "en", "contact": "\\ud800"}', '{"\\udfff": 1}'):
            refused(api.post(body), 400, "a character that is no text")
        # Whole, the pair is a character; it is no address all the same.
        refused(api.post('{"language": "en", "contact": "\\ud83d\\ude00"}'), 400, '"contact"')


@row(15, "right-to-left marks, zero-width, combining flood")
def odd_marks(sheet: Sheet, admin: Client, cast: Cast) -> None:
    """A form of a patient has no field for text. Words of staff are kept in one spelling, shown apart from
    those around them, and no longer than their field, in characters: a flood of marks counts as well."""
    with nothing_stored():
        refused(sheet.send(comment=f"\u202e{CANARY}\u200b"), 400, "comment")
        refused(sheet.send(item_3="3\u200b"), 400, "item_3")
        flood = admin.post("/clinic/contact/", {"name": "e" + "\u0301" * 200, "contact": "Reception"})
        assert flood.status_code == 422 and "at most 120 characters" in flood.content.decode()
    name = "Cafe\u0301 \u202eclinic\u200b"
    assert admin.post("/clinic/contact/", {"name": name, "contact": "Reception"}).status_code == 302
    kept = Clinic.objects.get(pk=cast.clinic.pk).name
    assert kept == "Caf\u00e9 \u202eclinic\u200b"
    assert f"<bdi>{kept}</bdi>" in admin.get("/clinic/").content.decode()


@row(16, "1 MB free text")
def too_much_text(sheet: Sheet, admin: Client, api: Api) -> None:
    text = CANARY + "x" * 1_000_000
    with nothing_stored():
        refused(sheet.send(comment=text), 413, "More was sent")
        refused(admin.post("/clinic/contact/", {"contact": text}), 413, "More was sent")
        refused(api.post({"language": "en", "contact": text}), 413, "More was sent")


@row(17, "<script>, {{7*7}}, ${x}")
def markup(sheet: Sheet, admin: Client, cast: Cast) -> None:
    with nothing_stored():
        for value in ("<script>alert(1)</script>", "{{7*7}}", "${x}", "ALL"):
            refused(sheet.send(sharing=value), 400, "The field sharing")
        refused(sheet.send(**{f"<b>{CANARY}</b>": "1"}), 400, "no form uses")
    name = "<script>alert(1)</script> {{777*777}} ${x}"
    admin.post("/clinic/contact/", {"name": name, "contact": name})
    assert Clinic.objects.get(pk=cast.clinic.pk).name == name
    page = admin.get("/clinic/").content.decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt; {{777*777}} ${x}" in page
    assert "<script>alert" not in page and "603729" not in page


@row(18, "missing or foreign CSRF token")
def without_token(open_sheet: OpenSheet) -> None:
    sheet = open_sheet(enforce_csrf_checks=True)
    with nothing_stored():
        for token in ({}, {"csrfmiddlewaretoken": "wrong" * 12 + "wxyz"}):
            assert 'name="item_12" value="6"' in refused(sheet.send(**token), 403)
        # What is no answer is not offered again.
        page = refused(sheet.send(item_1='"><script>', item_2=CANARY + " x", evil="1"), 403)
        assert "<script>" not in page and "evil" not in page


@row(19, "Origin: null")
def other_origin(open_sheet: OpenSheet) -> None:
    sheet = open_sheet(enforce_csrf_checks=True)
    page = sheet.client.get(f"/f/{sheet.assignment.pk}/").content.decode()
    token = page.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
    body = urlencode({**sheet.fields, "csrfmiddlewaretoken": token})
    with nothing_stored():
        for origin in ("null", "https://evil.example"):
            refused(sheet.raw(body, headers={"origin": origin}), 403)
    assert sheet.raw(body, headers={"origin": "http://testserver"}).status_code == 303


@row(20, "GET on submit")
def other_method(sheet: Sheet) -> None:
    with nothing_stored():
        for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE"):
            answer = sheet.client.generic(method, sheet.url)
            assert (answer.status_code, answer["Allow"]) == (405, "POST")


@row(21, "used, expired, revoked, malformed link")
def dead_links(sheet: Sheet) -> None:
    """Each state has a page of its own, which says what to do (tests of the way of a form). They tell nothing
    about a form or a patient, and open nothing."""
    sheet.shift(hours=-30)
    with nothing_stored():
        for token, status in ((sheet.token, 410), (CANARY, 404), ("A" * 43, 404)):
            for answer in (Client().get(f"/r/{token}/"), Client().post(f"/r/{token}/")):
                assert 'name="item_' not in refused(answer, status)


@row(22, "link of a withdrawn patient")
def withdrawn(sheet: Sheet) -> None:
    Assignment.objects.filter(pk=sheet.assignment.pk).update(state="withdrawn")
    with nothing_stored():
        answer = Client().get(f"/r/{sheet.token}/")
        assert answer.status_code == 200 and "nothing to do" in answer.content.decode()
        refused(sheet.send(), 409)


@row(23, "replay after success")
def replay(sheet: Sheet) -> None:
    first = sheet.send()
    with nothing_stored():
        second = sheet.send()
    assert (first.status_code, first["Location"]) == (second.status_code, second["Location"])
    page = sheet.client.get(second["Location"])
    assert page.status_code == 200 and Response.objects.get().receipt_code in page.content.decode()


@row(24, "submit 25 h late")
def too_late(sheet: Sheet) -> None:
    sheet.shift(hours=-25)
    with nothing_stored():
        refused(sheet.send(), 409, "Reception, 555 0100")


@row(25, "client time year 1970/2099")
def other_time(open_sheet: OpenSheet) -> None:
    """A page sends no time; a header with one is not read, a field with one is unknown."""
    for year in (1970, 2099):
        sheet, date = open_sheet(), f"Thu, 01 Jan {year} 00:00:00 GMT"
        with nothing_stored():
            refused(sheet.send(submitted_at=f"{year}-01-01T00:00:00Z"), 400, "submitted_at")
        assert sheet.raw(urlencode(sheet.fields), headers={"date": date}).status_code == 303
        sent = Response.objects.get(assignment=sheet.assignment)
        assert abs(sent.submitted_at - timezone.now()) < timedelta(minutes=1)
        Assignment.objects.filter(pk=sheet.assignment.pk).update(closes_at=timezone.now())


@row(26, "cookie of patient A, form id of B")
def other_patient(cast: Cast, sheet: Sheet) -> None:
    other = factories.form_of(factories.hold_session(cast.colleague_therapy), "patient")
    opening = factories.open_form(other, browser="somebody else")
    body = urlencode({**sheet.fields, "key": str(opening.client_key)})
    with nothing_stored():
        for url in (f"/f/{other.pk}/send/", f"/f/{other.pk}/answers/", f"/f/{other.pk}/restart/"):
            refused(sheet.client.post(url, body, content_type=FORM), 404)
        refused(sheet.client.get(f"/f/{other.pk}/"), 404)


@row(27, "10 tabs", pytest.mark.django_db(transaction=True))
def ten_tabs(sheet: Sheet) -> None:
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


@row(28, "body cut off half way")
def cut_off(sheet: Sheet) -> None:
    with nothing_stored():
        with mock.patch("django.http.HttpRequest.body", new_callable=mock.PropertyMock) as body:
            body.side_effect = UnreadablePostError("cut off")
            refused(sheet.send(), 400, "cut off on the way")
            body.side_effect, body.return_value = None, b"item_1=6&item_2"
            refused(sheet.send(), 400, "cut off on the way")
        # Not what a form looks like, though it came as a whole.
        refused(sheet.raw(b"--x\r\nbroken", "multipart/form-data; boundary="), 400)
        refused(sheet.raw(urlencode(sheet.fields), f"{FORM}; charset=utf-16"), 400)
        file = SimpleUploadedFile(f"{CANARY}.txt", b"3")
        refused(sheet.client.post(sheet.url, {**sheet.fields, "item_3": file}), 400, "A file was sent")
        refused(sheet.send(without="key"), 400, "The field key")
        refused(sheet.send(key="{" + sheet.fields["key"] + "}"), 400, "The field key")
    assert not DraftAnswer.objects.exists()
