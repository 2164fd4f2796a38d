"""Rows 30 to 48: what a program may send to the API."""

from datetime import timedelta
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from surveys.models import ImportBatch, Patient, Session
from tests import factories
from tests.bad_inputs.conftest import JSON, Api, Sheet
from tests.bad_inputs.rows import CANARY, nothing_stored, refused, row
from tests.conftest import Cast
from tests.surveys.test_import_pages import send
from tests.surveys.test_import_store import form, table


def not_taken(answer: HttpResponse, status: int, *words: str) -> None:
    refused(answer, status, *words)
    assert answer["Content-Type"] == JSON


def held(**changed: object) -> dict[str, object]:
    at = (timezone.now() - timedelta(hours=1)).isoformat(timespec="seconds")
    return {"held_at": at, "status": "held", **changed}


@row(30, "depth 1,500 arrays")
def deep(api: Api) -> None:
    with nothing_stored():
        not_taken(api.post('{"language": "en", "contact": ' + "[" * 7 + "]" * 7 + "}"), 400, '"contact"')
        for depth in (8, 1500, 100_000):
            body = '{"contact": ' + "[" * depth + "]" * depth + "}"
            not_taken(api.post(body), 400, "nested too deeply")
        not_taken(api.post('{"a":' * 1500 + "1" + "}" * 1500), 400, "nested too deeply")


@row(31, "integer of 5,000 digits")
def long_number(api: Api) -> None:
    with nothing_stored():
        not_taken(api.post('{"language": "en", "contact": ' + "9" * 5000 + "}"), 400)
        not_taken(api.post('{"language": "en", "contact": 7}'), 400, '"contact"')


@row(32, "1e999, Infinity")
def no_number(api: Api) -> None:
    with nothing_stored():
        for number in ("Infinity", "-Infinity", "NaN"):
            not_taken(api.post(f'{{"contact": {number}}}'), 400, "is no number")
        not_taken(api.post('{"language": "en", "contact": 1e999}'), 400, '"contact"')


@row(33, "bad UTF-8, UTF-16 body")
def other_bytes(api: Api) -> None:
    with nothing_stored():
        not_taken(api.post(b'{"language": "\xff' + CANARY.encode() + b'"}'), 400, "not valid JSON")
        for code in ("utf-16", "utf-16-le", "utf-8-sig"):
            not_taken(api.post('{"language": "en"}'.encode(code)), 400, "not valid JSON")


@row(34, "wrong or bogus content type / charset")
def other_kind(api: Api) -> None:
    kinds = (
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/json; charset=utf-16",
        "application/json; charset=bogus",
        f"{CANARY}/{CANARY}",
        "",
    )
    with nothing_stored():
        for kind in kinds:
            not_taken(api.post(b'{"language": "en"}', content_type=kind), 415)
    quoted = 'application/json; charset="UTF-8"'
    assert api.post(b'{"language": "en"}', content_type=quoted).status_code == 201


@row(35, "empty body on create")
def empty(api: Api) -> None:
    with nothing_stored():
        for body in ("", "{}", "[]", "null", '"text"', "{"):
            not_taken(api.post(body), 400)


@row(36, "extra clinic, role, is_staff, owner field")
def extra_field(api: Api, cast: Cast) -> None:
    with nothing_stored():
        for name in ("role", "is_staff", "owner", "code", "id"):
            not_taken(api.post({"language": "en", name: CANARY}), 400, f'"{name}"', "There is no such field")
        not_taken(api.post({"language": "en", "clinic": str(cast.stranger_study.clinic_id)}), 400, '"clinic"')
        for name in ("number", "therapy", "clinic", "reason"):
            not_taken(api.post(held(**{name: CANARY}), api.log), 400, f'"{name}"')


@row(37, "PATCH of a locked response")
def change_what_is_kept(api: Api, cast: Cast) -> None:
    """Nothing that the API shows can be changed by it."""
    session = factories.hold_session(cast.therapy)
    response = factories.give(factories.form_of(session, "patient"))
    with nothing_stored():
        for url in (
            f"/api/v1/sessions/{session.pk}/",
            f"/api/v1/fhir/QuestionnaireResponse/{response.pk}",
            api.patients,
        ):
            for method in ("PATCH", "PUT", "DELETE"):
                answer = api.client.generic(method, url, '{"status": "cancelled"}', content_type=JSON)
                assert answer.status_code == 405 and "PATCH" not in answer["Allow"]


@row(38, "?id=abc in a hand-written filter")
def odd_filter(api: Api, cast: Cast) -> None:
    forms = "/api/v1/fhir/Questionnaire"
    for url, query in (
        (api.patients, f"id={CANARY}"),
        (api.patients, f"code={CANARY * 2}"),
        (api.therapies, "patient=" + CANARY * 2),
        (api.log, f"session={CANARY}"),
        (forms, f"_id={CANARY}"),
        (forms, f"_count={CANARY}"),
        (f"/api/v1/patients/{cast.therapy.patient_id}/", f"code={CANARY}"),
    ):
        refused(api.get(query, url), 400)
    for url in (f"/api/v1/patients/{CANARY}/", "/api/v1/patients/0/"):
        not_taken(api.get("", url), 404)
    # Pages go on without what they do not know, and with the first or the last of their parts.
    send(api.client, cast, table(form()))
    columns = f"/clinic/imports/{ImportBatch.objects.get().pk}/columns/"
    for url, name in ((columns, "kept"), ("/clinic/patients/", "page")):
        for value in ("²", "-1", "9" * 400, CANARY):
            assert api.get(urlencode({name: value}), url).status_code == 200, (url, value)


@row(39, "?q=%00")
def nul_in_query(api: Api) -> None:
    for query in ("q=%00", "code=%00", f"code={CANARY}%00", "%00=1", "code=%ed%a0%80"):
        not_taken(api.get(query), 400)


@row(40, "?ordering=password, ?fields=token_hash")
def unknown_parameter(api: Api) -> None:
    for name in ("ordering", "fields", "expand", "clinic__name", "id__gt"):
        not_taken(api.get(f"{name}={CANARY}"), 400, f'"{name}"', "There is no such field")
    not_taken(api.post({"language": "en"}, f"{api.patients}?x=1"), 400, '"x"')


@row(41, "?page=0|-1|1e9, ?limit=10000000")
def odd_part(api: Api) -> None:
    """500 rows at the most, and no part that is none."""
    odd = ("0", "501", "-1", "1e2", "10000000", "٣", "", "9" * 400)
    for query in (*(f"limit={value}" for value in odd), "offset=-1", "offset=1e9", "limit=1&limit=2"):
        not_taken(api.get(query), 400)
    not_taken(api.get("page=0"), 400, '"page"')
    assert api.get("limit=500").status_code == 200


@row(42, "date 10000-01-01, 0001-01-01+14:00")
def odd_day(api: Api, cast: Cast) -> None:
    therapy = {
        "patient": Patient.objects.create(clinic=cast.clinic).code,
        "therapist": cast.therapy.therapist.code,
        "study": cast.study.code,
    }
    with nothing_stored():
        for at in ("10000-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "2026-02-30T14:00:00Z", CANARY):
            not_taken(api.post(held(held_at=at), api.log), 400, '"held_at"')
        for at in ("2999-05-12T14:00:00+02:00", "2001-05-12T14:00:00Z", 1_700_000_000, [CANARY], None):
            not_taken(api.post(held(held_at=at), api.log), 400, '"held_at"')
        for day in ("10000-01-01", "0001-01-01+14:00", "2026-1-1", "20260101", 20260101, "2999-01-01"):
            sent = {**therapy, "started_on": day}
            not_taken(api.post(sent, api.therapies), 400, '"started_on"')


@row(43, "local time in the DST gap, or no offset")
def no_such_time(api: Api, admin: Client, cast: Cast, settings: object) -> None:
    cast.therapy.started_on = "2020-01-01"
    cast.therapy.save(update_fields=["started_on"])
    settings.TIME_ZONE = "Europe/Berlin"  # type: ignore[attr-defined]
    page = reverse("session-log", args=[cast.therapy.pk])
    with nothing_stored():
        not_taken(api.post(held(held_at="2026-03-29T02:30:00"), api.log), 400, '"held_at"', "offset")
        # Typed by a person, without one: an hour that the clinic's clock skips, and one that it has twice.
        for at in ("2026-03-29T02:30", "2026-10-25T02:30"):
            answer = admin.post(page, {"held_at": at, "status": "held"})
            assert answer.status_code == 422
            assert 'aria-invalid="true"' in answer.content.decode()
    assert admin.post(page, {"held_at": "2026-03-29T03:30", "status": "held"}).status_code == 303
    assert Session.objects.get().held_at.isoformat() == "2026-03-29T01:30:00+00:00"


@row(44, "X-HTTP-Method-Override")
def other_method(api: Api) -> None:
    with nothing_stored():
        for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
            answer = api.client.get(api.patients, headers={name: "POST"})
            assert answer.status_code == 200 and isinstance(answer.json(), list)
            assert api.get("_method=POST").status_code == 400
    answer = api.post({"language": "en"}, headers={"X-HTTP-Method-Override": "DELETE"})
    assert answer.status_code == 201


@row(45, "?format=api, browsable API")
def browsable(api: Api) -> None:
    """There is none: the parameter is as unknown as any other, and only JSON is answered."""
    for query in ("format=api", "format=json"):
        not_taken(api.get(query), 400, '"format"')
    not_taken(api.client.get(api.patients, headers={"accept": "text/html"}), 406)
    not_taken(api.client.get("/api/v1/nothing/"), 404)
    assert settings.REST_FRAMEWORK["DEFAULT_RENDERER_CLASSES"] == ["rest_framework.renderers.JSONRenderer"]


@row(46, "HEAD/OPTIONS/TRACE on everything")
def quiet_methods(api: Api, sheet: Sheet, cast: Cast) -> None:
    """Every route with every method: tests/doors. Here, what comes back."""
    pages = ("/", "/clinic/", "/accounts/login/", f"/r/{sheet.token}/", f"/therapies/{cast.therapy.pk}/")
    for url in (*pages, api.patients, api.log, "/api/v1/schema/", "/health/"):
        for method in ("TRACE", "OPTIONS"):
            answer = api.client.generic(method, url, headers={"x-secret": CANARY})
            assert CANARY not in refused(answer, 405) and answer["Allow"]
        assert api.client.head(url).content == b""


@row(47, "bulk of 10,001")
def bulk(api: Api) -> None:
    """Nothing takes more than one row: a list is refused, one of this length before it is read."""
    with nothing_stored():
        not_taken(api.post([{"language": "en"}] * 2), 400)
        rows = [{"language": "en", "contact": f"{CANARY}@example.org"}] * 10_001
        not_taken(api.post(rows), 413, "More was sent")


@row(48, "If-Match stale")
def stale(api: Api) -> None:
    with nothing_stored():
        for tag in ('"abc"', 'W/"abc"', f'"{CANARY}", "b"', ""):
            answer = api.post({"language": "en"}, headers={"If-Match": tag})
            not_taken(answer, 412, "If-Match")
    assert api.post({"language": "en"}, headers={"If-Match": "*"}).status_code == 201
    assert api.client.get(api.patients, headers={"If-Match": '"abc"'}).status_code == 200
