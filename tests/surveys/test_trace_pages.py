"""Who reads the trace: administrators that of their clinic, everybody their own acts, patients who looked at
their answers."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format

from surveys.models import Assignment, AuditEvent, Fields, Response, User
from surveys.services.paper import Sheet, paper_enter
from surveys.services.people import patient_add
from surveys.trace_access import reading_days
from surveys.views import trace
from tests import factories
from tests.conftest import Cast, signed_in
from tests.surveys.test_your_data import enter, sent  # noqa: F401  a fixture

pytestmark = pytest.mark.django_db
CLINIC, OWN = "/clinic/trace/", "/accounts/trace/"


def open_therapy(cast: Cast, user: User) -> int:
    return signed_in(user).get(reverse("therapy", args=[cast.therapy.pk])).status_code


def rows(user: User, address: str = CLINIC) -> list[str]:
    """Each row of the table as its words."""
    page = signed_in(user).get(address)
    body = page.content.decode().partition("<tbody>")[2].partition("</tbody>")[0]
    return [" ".join(re.sub("<[^>]+>", " ", row).split()) for row in body.split("</tr>")[:-1]]


def test_an_administrator_sees_who_read_what_about_whom(cast: Cast) -> None:
    assert open_therapy(cast, cast.therapist) == 200
    (row,) = rows(cast.clinic_admin)
    assert "therapist@example.org Read : Ratings and answers therapy.view" in row.replace("Read:", "Read :")
    assert row.endswith(f"{cast.therapy.patient.code} Therapist")


def test_and_that_looking_at_it_leaves_a_row_too(cast: Cast) -> None:
    open_therapy(cast, cast.therapist)
    rows(cast.clinic_admin, f"{CLINIC}?kind=read")
    event = AuditEvent.objects.get(act="trace.view")
    assert (event.actor, event.clinic, event.fields) == (cast.clinic_admin, cast.clinic, Fields.TRACE)
    assert event.detail["query"] == {"kind": "read"}
    assert "admin@example.org Read: This trace trace.view" in rows(cast.clinic_admin)[0]


def test_another_clinic_s_rows_are_not_there_and_whoever_knocked_from_outside_has_no_name(cast: Cast) -> None:
    factories.hold_session(cast.stranger_therapy)
    signed_in(cast.stranger).get(reverse("therapy", args=[cast.stranger_therapy.pk]))
    assert open_therapy(cast, cast.stranger) == 404
    (row,) = rows(cast.clinic_admin)
    assert "somebody outside of the clinic Refused : Ratings and answers" in row.replace(
        "Refused:", "Refused :"
    )
    assert "stranger@example.org" not in row
    open_therapy(cast, cast.researcher)
    assert "researcher@example.org Refused" in rows(cast.clinic_admin)[0]


def test_a_patient_is_found_in_rows_that_name_them_though_their_subject_is_gone(cast: Cast) -> None:
    of_patient = {"clinic": cast.clinic, "patient": cast.therapy.patient_id}
    AuditEvent.objects.create(act="answers.view", fields="ratings", subject="response:gone", **of_patient)
    assert len(shown(cast, f"code={cast.therapy.patient.code}")) == 1


def test_an_act_is_told_from_reading(cast: Cast) -> None:
    factories.hold_session(cast.therapy)
    (row,) = rows(cast.clinic_admin)
    assert "Changed session.close" in row and "Read" not in row


def test_no_code_of_another_clinic_s_patient_is_shown(cast: Cast) -> None:
    patient = cast.stranger_therapy.patient
    AuditEvent.objects.create(act="therapy.view", fields="ratings", clinic=cast.clinic, patient=patient.pk)
    (row,) = rows(cast.clinic_admin)
    assert "therapy.view" in row and patient.code not in row


@pytest.mark.parametrize("who", ["therapist", "supervisor", "researcher", "superuser"])
def test_nobody_else_opens_it(cast: Cast, who: str) -> None:
    assert signed_in(getattr(cast, who)).get(CLINIC).status_code == 403


def test_an_administrator_does_not_learn_of_possible_dips(cast: Cast) -> None:
    for act, fields in (("dip.view", "ratings"), ("dip.review", "")):
        AuditEvent.objects.create(
            act=act,
            fields=fields,
            actor=cast.therapist,
            clinic=cast.clinic,
            subject=f"therapy:{cast.therapy.pk}",
        )
    (row,) = rows(cast.clinic_admin)
    assert "therapy.view" in row and "dip" not in row
    assert [re.findall(r"dip\.\w+", row) for row in rows(cast.therapist, OWN)] == [
        ["dip.review"],
        ["dip.view"],
    ]


def test_filters_choose_person_kind_patient_and_days(cast: Cast) -> None:
    session = factories.hold_session(cast.therapy)
    factories.give(factories.form_of(session, "patient"))
    open_therapy(cast, cast.therapist)
    open_therapy(cast, cast.researcher)
    other = patient_add(clinic=cast.clinic, actor=cast.clinic_admin, language="en", contact="")
    found = {
        query: [row.act for row in AuditEvent.objects.filter(pk__in=shown(cast, query)).order_by("pk")]
        for query in (
            f"person={cast.researcher.pk}",
            "kind=refused",
            "kind=changed",
            f"code={cast.therapy.patient.code.lower()}&kind=read",
            f"code={cast.therapy.code}&kind=changed",
            f"code={other.code}",
            "code=ZZZZ",
            f"until={timezone.localdate() - timedelta(days=1)}",
            f"since={timezone.localdate() + timedelta(days=1)}",
        )
    }
    assert list(found.values()) == [
        ["therapy.view"],
        ["therapy.view"],
        ["session.close", "response.submit", "patient.add"],
        ["therapy.view"],
        ["session.close", "response.submit"],
        ["patient.add"],
        [],
        [],
        [],
    ]
    assert len(shown(cast, f"since={timezone.localdate()}&until={timezone.localdate()}&kind=changed")) == 3
    assert len(shown(cast, "since=0001-01-01&until=9999-12-31&kind=changed")) == 3


def shown(cast: Cast, query: str) -> list[int]:
    page = signed_in(cast.clinic_admin).get(f"{CLINIC}?{query}")
    return [line.event.pk for line in page.context["part"].lines if line.event.act != "trace.view"]


def test_a_choice_that_is_not_understood_is_said_and_shows_nothing(cast: Cast) -> None:
    open_therapy(cast, cast.therapist)
    for query in ("since=yesterday", "kind=secret", f"person={cast.stranger.pk}", f"before={2**63}"):
        page = signed_in(cast.clinic_admin).get(f"{CLINIC}?{query}")
        assert page.status_code == 422 and "<tbody>" not in page.content.decode(), query
    assert "like 2026-05-26" in signed_in(cast.clinic_admin).get(f"{CLINIC}?since=x").content.decode()


def test_long_traces_have_parts_that_a_new_row_does_not_shift(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace, "PAGE_ROWS", 3)
    for _ in range(7):
        open_therapy(cast, cast.therapist)
    expected = list(AuditEvent.objects.order_by("-pk").values_list("pk", flat=True))
    seen, query = [], f"person={cast.therapist.pk}"
    client = signed_in(cast.clinic_admin)
    while query and len(seen) <= len(expected):
        page = client.get(f"{CLINIC}?{query}")
        seen += [line.event.pk for line in page.context["part"].lines]
        query = page.context["older"]
    assert seen == expected


def test_people_see_their_own_acts_and_nobody_else_s(cast: Cast) -> None:
    open_therapy(cast, cast.therapist)
    signed_in(cast.therapist).get(reverse("therapy", args=[cast.stranger_therapy.pk]))
    open_therapy(cast, cast.researcher)
    lost = {"patient": cast.therapy.patient_id, "status": 404}
    AuditEvent.objects.create(act="therapy.view", fields="ratings", actor=cast.therapist, **lost)
    once_read, refused, read = rows(cast.therapist, OWN)
    assert cast.therapy.patient.code in read and cast.therapy.patient.code not in once_read
    assert "Refused" in refused and cast.stranger_therapy.patient.code not in refused
    assert Client().get(OWN).status_code == 302
    assert OWN in signed_in(cast.therapist).get(reverse("account_change_password")).content.decode()
    assert CLINIC in signed_in(cast.clinic_admin).get(reverse("admin-home")).content.decode()


def test_the_pages_ask_as_often_for_many_rows_as_for_one(cast: Cast) -> None:
    def n_queries(user: User, address: str) -> int:
        client = signed_in(user)
        with CaptureQueriesContext(connection) as queries:
            assert client.get(address).status_code == 200
        return len(queries)

    pages = [
        (cast.clinic_admin, CLINIC),
        (cast.clinic_admin, f"{CLINIC}?code={cast.therapy.patient.code}"),
        (cast.therapist, OWN),
    ]
    open_therapy(cast, cast.therapist)
    before = [n_queries(*page) for page in pages]
    for _ in range(20):
        open_therapy(cast, cast.therapist)
        open_therapy(cast, cast.colleague)
    for n in range(5):
        patient_add(clinic=cast.clinic, actor=cast.clinic_admin, language="en", contact="")
        factories.hold_session(cast.therapy, timezone.now() - timedelta(days=n))
    assert [n_queries(*page) for page in pages] == before
    assert max(before) < 26


def test_a_patient_sees_on_which_days_who_looked_at_their_answers(
    cast: Cast,
    sent: tuple[str, Response],  # noqa: F811
) -> None:
    token, response = sent
    client = enter(token, response.receipt_code)
    page = client.get("/your-data/").content.decode()
    assert "Nobody has opened a page with your answers yet." in page
    assert open_therapy(cast, cast.therapist) == 200
    assert open_therapy(cast, cast.researcher) == 403
    signed_in(cast.clinic_admin).get(reverse("people-patient", args=[cast.therapy.patient_id]))
    today = timezone.localdate()
    assert reading_days(cast.therapy.patient) == [("therapist", [today])]
    page = client.get("/your-data/").content.decode()
    assert re.search(rf"<dt>\s*Your therapist\s*</dt>\s*<dd>{date_format(today)}</dd>", page)
    assert "@example.org" not in page


def test_reading_that_was_written_before_rows_named_the_patient_counts(cast: Cast) -> None:
    for act in ("therapy.view", "therapy.begin"):
        AuditEvent.objects.create(
            act=act, actor=cast.therapist, clinic=cast.clinic, subject=f"therapy:{cast.therapy.pk}"
        )
    assert reading_days(cast.therapy.patient) == [("", [timezone.localdate()])]
    assert reading_days(cast.colleague_therapy.patient) == []


def test_who_typed_a_form_in_from_paper_saw_it(cast: Cast, patient_form: Assignment) -> None:
    sheet = Sheet(
        patient_form.instrument, timezone.localdate(patient_form.opens_at), dict.fromkeys(range(1, 13), 6)
    )
    paper_enter(assignment=patient_form, sheet=sheet, actor=cast.clinic_admin)
    assert reading_days(cast.therapy.patient) == [("paper", [timezone.localdate()])]
