"""A tablet of the clinic: enrolment, start codes, the lock page, and what is left when a patient is done."""

from datetime import timedelta

import pytest
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from surveys.models import Assignment, AuditEvent, DraftAnswer, Opening, Response, StartCode, Tablet
from surveys.services.tablets import (
    WrongCode,
    start_code_issue,
    start_code_use,
    tablet_enrol,
    tablet_revoke,
)
from tests import factories
from tests.conftest import Cast, signed_in

PIN = "730915"
NOTHING_OPENS = "No form opens with this code. Check the six digits, or ask for a new code."
COOKIES = {"__Host-browser", "__Host-receipt", "__Host-session", "__Host-language"}


def enrol(cast: Cast, name: str = "Waiting room", client: Client | None = None) -> Client:
    """A browser that the administrator has just made a tablet."""
    client = client or signed_in(cast.clinic_admin)
    answer = client.post("/tablets/", {"name": name, "pin": PIN})
    assert (answer.status_code, answer["Location"]) == (303, "/tablet/")
    return client


def issue(cast: Cast, form: Assignment) -> str:
    return start_code_issue(assignment=form, actor=cast.therapist)[0]


def type_code(tablet: Client, code: str) -> HttpResponse:
    return tablet.post("/tablet/", {"code": code})


def begin(cast: Cast, tablet: Client, form: Assignment) -> None:
    answer = type_code(tablet, issue(cast, form))
    assert (answer.status_code, answer["Location"]) == (303, f"/f/{form.pk}/begin/")


def fields(form: Assignment, **others: str) -> dict[str, str]:
    key = Opening.objects.filter(assignment=form).latest("pk").client_key
    answers = {f"item_{number}": "6" for number in range(1, 13)}
    return {
        **answers,
        "sharing": "scores",
        "key": key,
        "version": form.instrument_id,
        "send": "send",
        **others,
    }


def cookies(client: Client) -> set[str]:
    return {name for name, morsel in client.cookies.items() if morsel.value}


@pytest.fixture
def tablet(cast: Cast) -> Client:
    return enrol(cast)


def test_enrolment_signs_the_administrator_out_and_keeps_only_hashes(cast: Cast) -> None:
    client = signed_in(cast.clinic_admin)
    client.cookies["__Host-browser"] = "B" * 43
    client.cookies["__Host-language"] = "de"
    enrol(cast, client=client)
    secret = client.cookies["__Host-tablet"]
    assert len(secret.value) == 43
    assert (secret["httponly"], secret["samesite"], secret["path"], secret["domain"]) == (
        True,
        "Lax",
        "/",
        "",
    )
    assert secret["max-age"] >= 365 * 24 * 3600
    assert not cookies(client) & COOKIES
    row = Tablet.objects.get()
    assert (row.clinic, row.name, row.enrolled_by) == (cast.clinic, "Waiting room", cast.clinic_admin)
    assert secret.value not in str(vars(row))
    assert PIN not in str(vars(row))
    assert "Harbour Clinic" in client.get("/tablet/").content.decode()
    event = AuditEvent.objects.get(act="tablet.enrol")
    assert (event.actor, event.subject, event.detail) == (cast.clinic_admin, f"tablet:{row.pk}", {})


@pytest.mark.parametrize("pin", ["", "12345", "123456", "111111", "987654", "12345a", "7309151234567"])
def test_a_short_or_simple_pin_is_refused_and_the_name_kept(cast: Cast, pin: str) -> None:
    answer = signed_in(cast.clinic_admin).post("/tablets/", {"name": "Waiting room", "pin": pin})
    assert answer.status_code == 422
    assert 'value="Waiting room"' in answer.content.decode()
    assert not Tablet.objects.exists()


def test_the_list_shows_the_tablets_of_one_s_own_clinics_and_when_they_were_used(
    cast: Cast, tablet: Client, patient_form: Assignment
) -> None:
    tablet_enrol(clinic=cast.stranger_study.clinic, name="Elsewhere", pin=PIN, actor=cast.stranger)
    page = signed_in(cast.clinic_admin).get("/tablets/").content.decode()
    assert "Waiting room" in page and "Elsewhere" not in page and "never" in page
    begin(cast, tablet, patient_form)
    assert "never" not in signed_in(cast.clinic_admin).get("/tablets/").content.decode()


def test_revocation_acts_at_once_and_leaves_nothing_on_the_device(
    cast: Cast, tablet: Client, patient_form: Assignment
) -> None:
    begin(cast, tablet, patient_form)
    code = issue(cast, patient_form)
    row = Tablet.objects.get()
    answer = signed_in(cast.clinic_admin).post(f"/tablets/{row.pk}/revoke/")
    assert answer.status_code == 303
    for path in (f"/f/{patient_form.pk}/", f"/f/{patient_form.pk}/begin/", "/tablet/done/"):
        assert tablet.get(path)["Location"] == "/tablet/"
    assert tablet.post(f"/f/{patient_form.pk}/send/", fields(patient_form))["Location"] == "/tablet/"
    refused = type_code(tablet, code)
    assert refused.status_code == 404
    assert NOTHING_OPENS in refused.content.decode()
    assert not cookies(tablet) & {"__Host-tablet", "__Host-browser"}
    assert tablet.get(f"/f/{patient_form.pk}/").status_code == 404
    assert not Response.objects.exists()
    assert AuditEvent.objects.get(act="tablet.revoke").actor == cast.clinic_admin


def test_another_clinic_s_tablet_cannot_be_revoked(cast: Cast) -> None:
    other, _ = tablet_enrol(clinic=cast.stranger_study.clinic, name="Elsewhere", pin=PIN, actor=cast.stranger)
    assert signed_in(cast.clinic_admin).post(f"/tablets/{other.pk}/revoke/").status_code == 404
    other.refresh_from_db()
    assert other.revoked_at is None


@pytest.mark.parametrize("actor", ["therapist", "clinic_admin"])
def test_staff_get_a_code_of_six_digits_that_is_stored_as_a_keyed_hash(
    cast: Cast, tablet: Client, patient_form: Assignment, actor: str
) -> None:
    page = signed_in(getattr(cast, actor)).post(f"/forms/{patient_form.pk}/start-code/")
    shown = page.content.decode().split('<bdi dir="ltr">')[1].split("</bdi>")[0]
    row = StartCode.objects.get()
    assert type_code(tablet, shown).status_code == 303
    assert row.issued_by == getattr(cast, actor)
    assert row.expires_at - row.issued_at == timedelta(minutes=10)
    code = shown.replace(" ", "")
    assert len(code) == 6 and code.isdecimal()
    stored = str([vars(event) for event in AuditEvent.objects.all()]) + str(vars(row))
    assert code not in stored
    assert AuditEvent.objects.get(act="start_code.use").detail == {"tablet": str(Tablet.objects.get().pk)}


@pytest.mark.parametrize("actor", ["colleague", "stranger", "supervisor", "researcher", "superuser"])
def test_nobody_else_gets_a_code(cast: Cast, patient_form: Assignment, actor: str) -> None:
    answer = signed_in(getattr(cast, actor)).post(f"/forms/{patient_form.pk}/start-code/")
    assert answer.status_code in (403, 404)
    assert not StartCode.objects.exists()


def test_a_therapist_s_own_form_has_no_code(cast: Cast, patient_form: Assignment) -> None:
    own = factories.form_of(patient_form.session, "therapist")
    assert signed_in(cast.therapist).post(f"/forms/{own.pk}/start-code/").status_code == 404
    with pytest.raises(ValueError, match="therapist signs in"):
        start_code_issue(assignment=own, actor=cast.therapist)


def test_a_code_is_not_offered_without_a_tablet_or_for_a_form_that_is_over(
    cast: Cast, patient_form: Assignment
) -> None:
    url = f"/forms/{patient_form.pk}/start-code/"
    assert "The clinic has no tablet yet" in signed_in(cast.therapist).post(url).content.decode()
    enrol(cast)
    factories.give(patient_form)
    assert "can no longer be begun" in signed_in(cast.therapist).post(url).content.decode()
    assert not StartCode.objects.exists()


def test_a_form_goes_from_the_code_to_the_thanks_and_leaves_nothing(
    cast: Cast, tablet: Client, patient_form: Assignment
) -> None:
    begin(cast, tablet, patient_form)
    start = tablet.get(f"/f/{patient_form.pk}/begin/").content.decode()
    assert "Harbour Clinic" in start and ">Start<" in start and 'href="/"' not in start
    assert tablet.post(f"/f/{patient_form.pk}/begin/")["Location"] == f"/f/{patient_form.pk}/"
    form = tablet.get(f"/f/{patient_form.pk}/").content.decode()
    assert 'data-tablet="/tablet/"' in form
    assert "data-seal" not in form and "data-worker" not in form
    sent = tablet.post(f"/f/{patient_form.pk}/send/", fields(patient_form))
    assert (sent.status_code, sent["Location"]) == (303, "/tablet/done/")
    assert not cookies(tablet) & (COOKIES - {"__Host-receipt"})
    response = Response.objects.get()
    assert (response.channel, response.device, response.sharing) == ("tablet", "tablet", "scores")
    assert response.with_staff_session is False
    done = tablet.get("/tablet/done/").content.decode()
    assert "Please hand back the tablet" in done and response.receipt_code in done
    assert "<a " not in done.split("<main")[1]
    tablet.get("/tablet/")
    assert not cookies(tablet) & COOKIES
    for path in ("/tablet/done/", f"/f/{patient_form.pk}/", f"/f/{patient_form.pk}/receipt/"):
        assert tablet.get(path)["Location"] == "/tablet/"


def test_a_send_that_is_repeated_is_one_response_and_the_same_thanks(
    cast: Cast, tablet: Client, patient_form: Assignment
) -> None:
    begin(cast, tablet, patient_form)
    sent = fields(patient_form)
    before = tablet.cookies["__Host-browser"].value
    tablet.post(f"/f/{patient_form.pk}/send/", sent)
    # As if the answer had been lost on the way, and the browser tried again.
    tablet.cookies["__Host-browser"] = before
    assert tablet.post(f"/f/{patient_form.pk}/send/", sent)["Location"] == "/tablet/done/"
    assert Response.objects.count() == 1


def test_the_opening_is_worth_nothing_without_its_tablet(
    cast: Cast, tablet: Client, patient_form: Assignment
) -> None:
    begin(cast, tablet, patient_form)
    thief = Client()
    thief.cookies["__Host-browser"] = tablet.cookies["__Host-browser"].value
    assert thief.get(f"/f/{patient_form.pk}/").status_code == 404
    other = enrol(cast, "Second floor")
    other.cookies["__Host-browser"] = tablet.cookies["__Host-browser"].value
    assert other.get(f"/f/{patient_form.pk}/").status_code == 404


def test_a_later_code_continues_with_the_open_items_and_shows_no_answer(
    cast: Cast, tablet: Client, patient_form: Assignment
) -> None:
    begin(cast, tablet, patient_form)
    tablet.post(f"/f/{patient_form.pk}/answers/", {"item_1": "7", "item_2": "3"})
    first = tablet.cookies["__Host-browser"].value
    tablet.get("/tablet/")
    assert not cookies(tablet) & COOKIES
    assert DraftAnswer.objects.filter(assignment=patient_form).count() == 2
    begin(cast, tablet, patient_form)
    assert tablet.cookies["__Host-browser"].value != first
    page = tablet.get(f"/f/{patient_form.pk}/").content.decode()
    assert 'name="item_1"' not in page and 'name="item_3"' in page
    assert " checked" not in page
    rest = {name: value for name, value in fields(patient_form).items() if name not in ("item_1", "item_2")}
    tablet.post(f"/f/{patient_form.pk}/send/", rest)
    answers = Response.objects.get().answers
    assert (answers["1"], answers["2"], answers["3"]) == (7, 3, 6)


def late(code: StartCode) -> None:
    StartCode.objects.filter(pk=code.pk).update(
        issued_at=timezone.now() - timedelta(minutes=11), expires_at=timezone.now() - timedelta(minutes=1)
    )


@pytest.mark.parametrize("why", ["unknown", "late", "used", "replaced", "of another clinic", "received"])
def test_every_code_that_opens_nothing_is_refused_in_the_same_words(
    cast: Cast, tablet: Client, patient_form: Assignment, why: str
) -> None:
    code = issue(cast, patient_form)
    if why == "unknown":
        code = f"{(int(code) + 1) % 10**6:06d}"
    elif why == "late":
        late(StartCode.objects.get())
    elif why == "used":
        type_code(tablet, code)
    elif why == "replaced":
        new = issue(cast, patient_form)
        while new == code:
            new = issue(cast, patient_form)
    elif why == "of another clinic":
        theirs = factories.form_of(factories.hold_session(cast.stranger_therapy), "patient")
        other = start_code_issue(assignment=theirs, actor=cast.stranger)[0]
        code, taken = other, code
        assert code != taken
    else:
        factories.give(patient_form)
    before = Opening.objects.count()
    answer = type_code(tablet, code)
    assert answer.status_code == 422
    page = answer.content.decode()
    assert NOTHING_OPENS in page
    assert code not in page
    assert Opening.objects.count() == before
    assert not cookies(tablet) & COOKIES


def test_what_is_not_six_digits_is_said_and_does_not_count(cast: Cast, tablet: Client) -> None:
    for code in ("", "12345", "1234567", "12345a"):
        assert type_code(tablet, code).status_code == 422
    assert Tablet.objects.get().code_misses == 0


def test_a_code_may_be_typed_in_groups_and_in_other_digits(
    cast: Cast, tablet: Client, patient_form: Assignment
) -> None:
    arabic = issue(cast, patient_form).translate(str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩"))
    assert type_code(tablet, f"{arabic[:3]} {arabic[3:]}").status_code == 303


def wrong_of(code: str, count: int) -> list[str]:
    return [f"{(int(code) + step) % 10**6:06d}" for step in range(1, count + 1)]


def over(field: str) -> None:
    """As if the cool-down were over."""
    Tablet.objects.update(**{field: timezone.now() - timedelta(seconds=1)})


def test_five_wrong_codes_cool_down_for_a_minute_then_for_two(
    cast: Cast, tablet: Client, patient_form: Assignment
) -> None:
    code = issue(cast, patient_form)
    statuses = [type_code(tablet, wrong).status_code for wrong in wrong_of(code, 5)]
    assert statuses == [422, 422, 422, 422, 429]
    waiting = type_code(tablet, code)
    assert (waiting.status_code, 55 <= int(waiting["Retry-After"]) <= 60) == (429, True)
    assert "Please wait" in waiting.content.decode()
    # The right code was not looked at, so it is still good.
    over("code_wait_until")
    assert [type_code(tablet, wrong).status_code for wrong in wrong_of(code, 5)][-1] == 429
    assert 115 <= int(type_code(tablet, code)["Retry-After"]) <= 120
    over("code_wait_until")
    assert type_code(tablet, code).status_code == 303
    row = Tablet.objects.get()
    assert (row.code_misses, row.code_wait_until) == (0, None)
    events = AuditEvent.objects.filter(act="tablet.wait").order_by("id")
    assert [event.detail for event in events] == [
        {"wrong": "code", "misses": 5},
        {"wrong": "code", "misses": 10},
    ]


def test_the_cool_down_ends_at_a_quarter_of_an_hour(cast: Cast, tablet: Client) -> None:
    Tablet.objects.update(code_misses=4999)
    answer = type_code(tablet, "123457")
    assert 895 <= int(answer["Retry-After"]) <= 900
    assert "15 minutes" in answer.content.decode()


def test_another_tablet_is_not_slowed_down(cast: Cast, tablet: Client, patient_form: Assignment) -> None:
    code = issue(cast, patient_form)
    for wrong in wrong_of(code, 5):
        type_code(tablet, wrong)
    assert type_code(enrol(cast, "Second floor"), code).status_code == 303


@pytest.mark.parametrize(
    "path", ["/", "/caseload/", "/accounts/login/", "/tablets/", "/r/nothing/", "/f/worker.js", "/f/offline/"]
)
def test_a_tablet_opens_no_other_page(tablet: Client, path: str) -> None:
    answer = tablet.get(path)
    assert (answer.status_code, answer["Location"]) == (302, "/tablet/")


def test_a_form_link_does_not_open_on_a_tablet_and_a_form_not_without_a_code(
    cast: Cast, tablet: Client, patient_form: Assignment
) -> None:
    assert tablet.get(f"/f/{patient_form.pk}/")["Location"] == "/tablet/"
    assert tablet.post(f"/f/{patient_form.pk}/send/", {"send": "send"})["Location"] == "/tablet/"


def test_the_pin_ends_tablet_mode_and_five_wrong_ones_cool_down(cast: Cast, tablet: Client) -> None:
    statuses = [tablet.post("/tablet/leave/", {"pin": f"73091{n}"}).status_code for n in (0, 1, 2, 3, 4)]
    assert statuses == [422, 422, 422, 422, 429]
    assert tablet.post("/tablet/leave/", {"pin": PIN}).status_code == 429
    assert Tablet.objects.get().revoked_at is None
    over("pin_wait_until")
    answer = tablet.post("/tablet/leave/", {"pin": PIN})
    assert (answer.status_code, answer["Location"]) == (303, "/accounts/login/")
    assert "__Host-tablet" not in cookies(tablet)
    assert tablet.get("/accounts/login/").status_code == 200
    assert Tablet.objects.get().revoked_at is not None
    assert AuditEvent.objects.get(act="tablet.leave").actor is None


def test_a_browser_that_is_no_tablet_has_no_lock_page(cast: Cast) -> None:
    page = Client().get("/tablet/")
    assert page.status_code == 404
    assert "not a tablet of a clinic" in page.content.decode()
    assert Client().get("/tablet/leave/")["Location"] == "/tablet/"
    unknown = Client()
    unknown.cookies["__Host-tablet"] = "A" * 43
    assert unknown.get("/caseload/")["Location"] == "/tablet/"
    unknown.get("/tablet/")
    assert "__Host-tablet" not in cookies(unknown)


def test_the_session_log_offers_a_code_for_an_open_form_of_the_patient_only(
    cast: Cast, patient_form: Assignment
) -> None:
    log = f"/therapies/{cast.therapy.pk}/sessions/"
    page = signed_in(cast.therapist).get(log).content.decode()
    assert page.count("/start-code/") == 1
    assert f"/forms/{patient_form.pk}/start-code/" in page
    factories.give(patient_form)
    assert "/start-code/" not in signed_in(cast.therapist).get(log).content.decode()


def test_a_revoked_tablet_uses_no_code_even_in_the_same_moment(cast: Cast, patient_form: Assignment) -> None:
    row, _ = tablet_enrol(clinic=cast.clinic, name="Waiting room", pin=PIN, actor=cast.clinic_admin)
    code = issue(cast, patient_form)
    tablet_revoke(tablet=row, actor=cast.clinic_admin)
    with pytest.raises(WrongCode):
        start_code_use(tablet=row, code=code, browser_hash="x")
    assert StartCode.objects.get().used_at is None
