"""The pages of the session log, for therapists and for reception, and what is left to do."""

from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from surveys.models import Assignment, AuditEvent, Response, Role, Session, Therapy
from surveys.services.sessions import Entry, session_close, sessions_close
from surveys.worklist import clinic_caseload
from tests import factories
from tests.conftest import Cast, signed_in

pytestmark = pytest.mark.django_db


def local(moment: datetime) -> str:
    return timezone.localtime(moment).strftime("%Y-%m-%dT%H:%M")


def ago(**span: int) -> datetime:
    return (timezone.now() - timedelta(**span)).replace(second=0, microsecond=0)


def expire(*forms: Assignment) -> None:
    Assignment.objects.filter(pk__in=[form.pk for form in forms]).update(
        opens_at=ago(days=9), closes_at=ago(days=7)
    )


@pytest.mark.parametrize("who", ["therapist", "clinic_admin"])
def test_a_session_held_today_is_two_taps_from_the_first_page(cast: Cast, who: str) -> None:
    client = signed_in(getattr(cast, who))
    home = client.get("/", follow=True).content.decode()
    first = f"/therapies/{cast.therapy.pk}/sessions/today/"
    assert f'href="{first}"' in home
    page = client.get(first)
    typed = local(page.context["form"].initial["held_at"])
    assert f'value="{typed}"' in page.content.decode()
    answer = client.post(first, {"held_at": typed})
    assert answer.status_code == 303
    session = Session.objects.get()
    assert (session.status, session.number, session.closed_by) == ("held", 1, getattr(cast, who))
    assert "Session 1" in client.get(answer["Location"]).content.decode()


def test_the_time_of_a_session_held_today_can_be_edited_and_is_checked(cast: Cast) -> None:
    client = signed_in(cast.therapist)
    url = f"/therapies/{cast.therapy.pk}/sessions/today/"
    answer = client.post(url, {"held_at": local(ago(hours=-2))})
    assert answer.status_code == 422
    assert "still to come" in answer.content.decode()
    client.post(url, {"held_at": local(ago(hours=5))})
    assert Session.objects.get().held_at == ago(hours=5)


def test_two_taps_enter_a_session_once_and_both_tell_it(cast: Cast) -> None:
    client = signed_in(cast.therapist)
    url = f"/therapies/{cast.therapy.pk}/sessions/today/"
    first, second = [client.post(url, {"held_at": local(ago(hours=5))}) for _ in range(2)]
    assert first["Location"] == second["Location"]
    assert "Asked for because of it" in client.get(second["Location"]).content.decode()
    assert Session.objects.count() == 1
    assert AuditEvent.objects.filter(act="session.close").count() == 1
    # Somebody else's entry is not told as their own.
    other = signed_in(cast.clinic_admin).post(url, {"held_at": local(ago(hours=5))})
    assert other.status_code == 422
    assert "already has a session at this time" in other.content.decode()


def test_the_log_of_a_therapy_that_has_ended_says_so(cast: Cast) -> None:
    client = signed_in(cast.therapist)
    url = f"/therapies/{cast.therapy.pk}/sessions/"
    assert "The therapy ended on" not in client.get(url).content.decode()
    Therapy.objects.filter(pk=cast.therapy.pk).update(
        ended_on=timezone.localdate(), end_reason=Therapy.EndReason.COMPLETED
    )
    page = client.get(url)
    assert "The therapy ended on" in page.content.decode()
    assert page.context["form"].initial["held_at"] is None


def test_the_prefilled_time_is_never_still_to_come(cast: Cast) -> None:
    for path in ("", "today/"):
        page = signed_in(cast.therapist).get(f"/therapies/{cast.therapy.pk}/sessions/{path}")
        assert page.context["form"].initial["held_at"] < timezone.now()


def test_a_cancelled_session_keeps_its_reason(cast: Cast) -> None:
    client = signed_in(cast.clinic_admin)
    url = f"/therapies/{cast.therapy.pk}/sessions/"
    data = {"held_at": local(ago(hours=2)), "status": "cancelled", "reason": "illness"}
    page = client.get(client.post(url, data)["Location"]).content.decode()
    assert Session.objects.get().reason == "illness"
    assert "Illness" in page
    held = client.post(url, {**data, "held_at": local(ago(hours=5)), "status": "held"})
    assert held.status_code == 422
    assert "A session that was held has no such reason" in held.content.decode()
    wrong = client.post(url, {**data, "reason": "bored"})
    assert "Choose one of the reasons" in wrong.content.decode()
    assert Session.objects.count() == 1


def test_a_late_entry_says_which_numbers_moved_and_what_became_due(cast: Cast) -> None:
    factories.replan(cast.study, sessions=[2], window_hours=24 * 60)
    sessions_close(therapy=cast.therapy, entries=[Entry(ago(days=n), "held") for n in (20, 13, 6)])
    client = signed_in(cast.therapist)
    url = f"/therapies/{cast.therapy.pk}/sessions/"
    answer = client.post(url, {"held_at": local(ago(days=27)), "status": "held"})
    page = client.get(answer["Location"]).content.decode()
    assert "Sessions 1 to 3 are now sessions 2 to 4." in page
    asked, _, rest = page.partition("No longer needed")
    for who in ("You", "Patient"):
        assert f"{who}, <bdi>WAI-S</bdi> · session 2: due until" in asked
        assert f"{who}, <bdi>WAI-S</bdi> · session 3" in rest.partition("</div>")[0]


def test_a_cancelled_session_moves_no_number_and_the_page_says_so(cast: Cast) -> None:
    sessions_close(therapy=cast.therapy, entries=[Entry(ago(days=n), "held") for n in (20, 13)])
    client = signed_in(cast.therapist)
    answer = client.post(
        f"/therapies/{cast.therapy.pk}/sessions/", {"held_at": local(ago(days=16)), "status": "cancelled"}
    )
    page = client.get(answer["Location"]).content.decode()
    assert "is now session" not in page
    assert "No form is due or taken back because of it" in page
    assert list(cast.therapy.sessions.order_by("held_at").values_list("number", flat=True)) == [1, None, 2]


@pytest.mark.parametrize("who", ["therapist", "clinic_admin"])
def test_a_session_is_corrected_and_the_page_says_what_followed(cast: Cast, who: str) -> None:
    first, _ = sessions_close(
        therapy=cast.therapy, entries=[Entry(ago(days=n), "held") for n in (20, 13)]
    ).sessions
    client = signed_in(getattr(cast, who))
    page = client.get(f"/therapies/{cast.therapy.pk}/sessions/").content.decode()
    assert f'href="/sessions/{first.pk}/"' in page
    form = client.get(f"/sessions/{first.pk}/").content.decode()
    assert f'value="{local(first.held_at)}"' in form
    answer = client.post(
        f"/sessions/{first.pk}/",
        {"held_at": local(first.held_at), "status": "cancelled", "reason": "mistake"},
    )
    told = client.get(answer["Location"]).content.decode()
    assert "The session was corrected." in told
    assert "Session 2 is now session 1." in told
    first.refresh_from_db()
    assert (first.status, first.reason, first.number) == ("cancelled", "mistake", None)
    assert AuditEvent.objects.get(act="session.correct").actor == getattr(cast, who)


def test_a_correction_that_cannot_be_is_refused_and_keeps_what_was_typed(cast: Cast) -> None:
    session = factories.hold_session(cast.therapy)
    factories.give(factories.form_of(session, "patient"))
    client = signed_in(cast.therapist)
    data = {"held_at": local(session.held_at), "status": "no_show", "reason": "no_word"}
    answer = client.post(f"/sessions/{session.pk}/", data)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "was received, so it stays held" in page
    assert answer.context["form"]["status"].value() == "no_show"
    assert '<option value="no_word" selected>' in page
    session.refresh_from_db()
    assert session.status == "held"
    assert Response.objects.count() == 1


def test_saving_a_correction_without_a_change_changes_nothing(cast: Cast) -> None:
    moment = timezone.now() - timedelta(hours=3)
    session = session_close(therapy=cast.therapy, held_at=moment, status="held").session
    answer = signed_in(cast.therapist).post(
        f"/sessions/{session.pk}/", {"held_at": local(moment), "status": "held", "reason": ""}
    )
    assert answer["Location"] == f"/therapies/{cast.therapy.pk}/sessions/"
    session.refresh_from_db()
    assert session.held_at == moment
    assert not AuditEvent.objects.filter(act="session.correct").exists()


@pytest.mark.parametrize("who", ["therapist", "clinic_admin"])
@pytest.mark.parametrize(
    "path", ["/therapies/{therapy}/sessions/", "/therapies/{therapy}/sessions/today/", "/sessions/{session}/"]
)
def test_the_log_of_another_clinic_does_not_exist(cast: Cast, who: str, path: str) -> None:
    session = factories.hold_session(cast.stranger_therapy)
    url = path.format(therapy=cast.stranger_therapy.pk, session=session.pk)
    client = signed_in(getattr(cast, who))
    assert client.get(url).status_code == 404
    assert client.post(url, {"held_at": local(ago(hours=5)), "status": "held"}).status_code == 404
    assert Session.objects.count() == 1


def test_a_change_of_another_therapy_is_not_told(cast: Cast) -> None:
    change = session_close(therapy=cast.colleague_therapy, held_at=ago(days=3), status="held")
    page = signed_in(cast.therapist).get(f"/therapies/{cast.therapy.pk}/sessions/?change={change.event.pk}")
    assert "The session is in the log" not in page.content.decode()


# Reception.


def test_reception_sees_all_therapies_of_the_clinic_and_progress_only(cast: Cast) -> None:
    session = factories.hold_session(cast.therapy)
    factories.give(factories.form_of(session, "therapist"), 3, user=cast.therapist)
    factories.give(factories.form_of(session, "patient"), 4)
    client = signed_in(cast.clinic_admin)
    page = client.get("/reception/").content.decode()
    for therapy in (cast.therapy, cast.colleague_therapy):
        assert therapy.code in page
        assert therapy.patient.code in page
    assert cast.stranger_therapy.code not in page
    assert page.count("1 of 1 received") == 2
    for path in (f"/therapies/{cast.therapy.pk}/", f"/api/v1/therapies/{cast.therapy.pk}/trend/"):
        assert client.get(path).status_code == 403
    log = client.get(f"/therapies/{cast.therapy.pk}/sessions/").content.decode()
    assert f'href="/therapies/{cast.therapy.pk}/"' not in log
    assert "Therapist, <bdi>WAI-S</bdi>: received" in log
    assert "I give no rating" not in log


def test_reception_finds_a_therapy_by_any_code_and_ended_ones_on_request(cast: Cast) -> None:
    client = signed_in(cast.clinic_admin)
    for code in (cast.therapy.code, cast.therapy.patient.code.lower(), cast.therapy.therapist.code[:4]):
        page = client.get("/reception/", {"code": f" {code} "}).content.decode()
        assert cast.therapy.code in page
        assert cast.colleague_therapy.code not in page
    Therapy.objects.filter(pk=cast.therapy.pk).update(ended_on=timezone.localdate(), end_reason="completed")
    assert cast.therapy.code not in client.get("/reception/").content.decode()
    ended = client.get("/reception/", {"all": "on"}).content.decode()
    assert cast.therapy.code in ended
    assert f"/therapies/{cast.therapy.pk}/sessions/today/" not in ended
    nothing = client.get("/reception/", {"code": "ZZZZZ", "page": "nine"})
    assert "No therapy has this code" in nothing.content.decode()


def test_the_pages_of_reception_hold_each_therapy_once_in_one_order(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surveys.views.session_log.PAGE_ROWS", 2)
    for days in (1, 3):
        therapy = factories.make_therapy(cast.study)
        session_close(therapy=therapy, held_at=ago(days=days), status="held")
    client = signed_in(cast.clinic_admin)
    pages = [client.get("/reception/", {"page": number}) for number in (1, 2)]
    shown = [row.pk for page in pages for row in page.context["therapies"]]
    assert shown == [row.pk for row in clinic_caseload(cast.clinic_admin, cast.clinic)]
    assert len(set(shown)) == 4
    assert all("of 4" in page.content.decode() for page in pages)


def test_number_of_queries_of_reception_does_not_grow_with_rows(cast: Cast) -> None:
    client = signed_in(cast.clinic_admin)

    def n_queries() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert client.get("/reception/").status_code == 200
        return len(queries)

    few = n_queries()
    for _ in range(8):
        factories.hold_session(factories.make_therapy(cast.study))
    assert n_queries() == few


# What is left to do.


def test_therapies_without_a_line_in_the_log_for_a_week_are_to_be_entered(cast: Cast) -> None:
    client = signed_in(cast.therapist)
    silent = factories.make_therapy(cast.study, cast.therapist)
    session_close(therapy=silent, held_at=ago(days=8), status="cancelled")
    fresh = factories.make_therapy(cast.study, cast.therapist)
    session_close(therapy=fresh, held_at=ago(days=6), status="no_show")
    ended = factories.make_therapy(cast.study, cast.therapist)
    Therapy.objects.filter(pk=ended.pk).update(ended_on=timezone.localdate(), end_reason="completed")
    new = factories.make_therapy(cast.study, cast.therapist)
    Therapy.objects.filter(pk=new.pk).update(started_on=timezone.localdate())
    listed = list(client.get("/caseload/").context["to_close"])
    assert listed == [silent, cast.therapy]
    page = client.get("/caseload/").content.decode()
    assert "2 therapies with nothing in their logs" in page


def test_a_therapist_may_say_that_they_give_no_rating_also_when_the_time_is_over(cast: Cast) -> None:
    session = factories.hold_session(cast.therapy)
    response = factories.give(factories.form_of(session, "patient"))
    expire(factories.form_of(session, "therapist"))
    client = signed_in(cast.therapist)
    home = client.get("/caseload/").content.decode()
    assert "1 session without your rating" in home
    log = client.get(f"/therapies/{cast.therapy.pk}/sessions/").content.decode()
    url = f"/sessions/{session.pk}/no-rating/"
    assert f'href="{url}"' in log
    page = client.get(url).content.decode()
    assert "The patient’s rating of this session then shows" in page
    response.refresh_from_db()
    assert response.reveal_at is None, "looking at the page declines nothing"
    answer = client.post(url, follow=True)
    assert "You give no rating of session 1." in answer.content.decode()
    response.refresh_from_db()
    assert response.reveal_at is not None
    assert "without your rating" not in client.get("/caseload/").content.decode()
    again = client.post(url, follow=True).content.decode()
    assert "Nothing has changed" in again
    assert "There is nothing to do" in client.get(url).content.decode()


@pytest.mark.parametrize("visibility", ["blind", "delayed"])
def test_where_the_patient_s_rating_never_waits_nothing_is_said_about_it(cast: Cast, visibility: str) -> None:
    factories.set_visibility(cast.study, visibility)
    session = factories.hold_session(cast.therapy)
    client = signed_in(cast.therapist)
    page = client.get(f"/sessions/{session.pk}/no-rating/").content.decode()
    assert "rating of this session then shows" not in page
    expire(factories.form_of(session, "therapist"))
    assert "without your rating" not in client.get("/caseload/").content.decode()


def test_nobody_else_declines_a_therapist_s_rating(cast: Cast) -> None:
    session = factories.hold_session(cast.therapy)
    for who, status in (("colleague", 404), ("stranger", 404), ("clinic_admin", 403), ("supervisor", 403)):
        client = signed_in(getattr(cast, who))
        assert client.get(f"/sessions/{session.pk}/no-rating/").status_code == status
        assert client.post(f"/sessions/{session.pk}/no-rating/").status_code == status
    assert factories.form_of(session, "therapist").state == "due"


def test_an_administrator_who_treats_has_their_own_forms_in_their_own_log_only(cast: Cast) -> None:
    both = factories.make_user("both@example.org", Role.THERAPIST, Role.CLINIC_ADMIN, clinic=cast.clinic)
    own = factories.make_therapy(cast.study, both)
    for therapy in (own, cast.therapy):
        factories.hold_session(therapy)
    client = signed_in(both)
    assert "I give no rating" in client.get(f"/therapies/{own.pk}/sessions/").content.decode()
    other = client.get(f"/therapies/{cast.therapy.pk}/sessions/").content.decode()
    assert "I give no rating" not in other
    assert client.get(f"/therapies/{cast.therapy.pk}/").status_code == 404


def test_forms_about_practice_say_in_words_which_they_are(cast: Cast) -> None:
    for period in ("entry", "year-1", "year-3", "2026"):
        factories.form_about_practice(cast.therapy.therapist, cast.study, "dpccq-difficulties", period)
    page = signed_in(cast.therapist).get("/caseload/").content.decode()
    for words in ("on joining the study", "after 1 year<", "after 3 years<", "general · 2026<"):
        assert words in page
