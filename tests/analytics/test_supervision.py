"""What a supervisor sees of their supervisees' therapies: what the therapist sees of the patient's ratings
where the study is open to supervisors, and the therapist's own ratings while these are shared."""

from collections.abc import Callable

import pytest
from django.http import HttpResponse
from django.test import Client

from analytics.services.dips import dip_review, dip_rules_choose
from surveys.access import visible_caseload_scores, visible_scores, visible_supervised_scores
from surveys.models import AuditEvent, Membership, PlanLine, Response, Therapist, Therapy, User
from surveys.services.invitations import link_issue
from surveys.services.studies import draft_begin, visibility_set
from surveys.services.testruns import test_run_begin as begin_test_run
from surveys.sharing_access import sharing_therapists
from surveys.views.your_data import who_sees
from tests import factories
from tests.analytics.clinics import follow
from tests.conftest import Cast, signed_in

pytestmark = pytest.mark.django_db


def share(cast: Cast, with_whom: object = "supervisor") -> Therapist:
    """The therapist shares their own ratings with the supervisor of the cast, or with somebody else."""
    therapist = cast.therapy.therapist
    therapist.ratings_shared_with = cast.supervisor if with_whom == "supervisor" else with_whom
    therapist.save(update_fields=["ratings_shared_with"])
    return therapist


def rate(cast: Cast, sharing: str = "scores") -> None:
    session = factories.hold_session(cast.therapy)
    factories.give(factories.form_of(session, "therapist"), 3, user=cast.therapist)
    factories.give(factories.form_of(session, "patient"), 6, sharing=sharing)


def open_up(cast: Cast, visibility: str = "feedback") -> None:
    factories.set_visibility(cast.study, visibility, is_open_to_supervisors=True)


def seen(cast: Cast) -> set[str]:
    """Whose ratings the supervisor sees, by the one therapy and by the whole list alike."""
    rows = visible_scores(cast.supervisor, cast.therapy)
    raters = set(rows.values_list("response__assignment__rater", flat=True))
    scores = visible_supervised_scores(cast.supervisor)
    assert set(scores.values_list("response__assignment__rater", flat=True)) == raters
    return raters


def trend(cast: Cast, who: str = "supervisor") -> HttpResponse:
    return signed_in(getattr(cast, who)).get(f"/api/v1/therapies/{cast.therapy.pk}/trend/")


def page(cast: Cast, query: str = "") -> HttpResponse:
    return signed_in(cast.supervisor).get(f"/therapies/{cast.therapy.pk}/{query}")


def test_with_nothing_open_the_therapy_does_not_exist_for_the_supervisor(cast: Cast) -> None:
    rate(cast)
    assert seen(cast) == set()
    assert page(cast).status_code == trend(cast).status_code == 404
    chart = f"/therapies/{cast.therapy.pk}/chart.svg"
    assert signed_in(cast.supervisor).get(chart).status_code == 404


def test_in_an_open_study_the_supervisor_sees_what_the_therapist_sees_of_the_patient(cast: Cast) -> None:
    rate(cast)
    open_up(cast)
    assert seen(cast) == {"patient"}
    found = page(cast)
    assert found.status_code == 200
    text = found.content.decode()
    assert f"A therapy of your supervisee <bdi>{cast.therapy.therapist.code}</bdi>" in text
    assert "/sessions/" not in text and "/caseload/" not in text
    ratings = trend(cast).json()["ratings"]
    assert ratings and {row["perspective"] for row in ratings} == {"patient"}
    reads = AuditEvent.objects.filter(act="therapy.view", actor=cast.supervisor)
    assert set(reads.values_list("subject", flat=True)) == {f"therapy:{cast.therapy.pk}"}
    assert reads.count() == 2


def test_a_form_asked_for_under_a_version_that_was_not_open_stays_closed(cast: Cast) -> None:
    rate(cast)
    before = list(cast.study.assignments.values_list("pk", flat=True))
    old = cast.study.current
    open_up(cast)
    cast.study.assignments.filter(pk__in=before).update(version=old)
    assert seen(cast) == set()
    factories.give(factories.form_of(factories.hold_session(cast.therapy), "patient"), 6)
    assert seen(cast) == set(), "before the therapist's own rating nobody sees it"


@pytest.mark.parametrize(
    ("visibility", "sharing"), [("feedback", "none"), ("delayed", "scores"), ("delayed", "none")]
)
def test_policy_and_sharing_narrow_the_supervisor_as_they_narrow_the_therapist(
    cast: Cast, visibility: str, sharing: str
) -> None:
    rate(cast, sharing)
    open_up(cast, visibility)
    assert seen(cast) == set()
    assert trend(cast).json()["ratings"] == []
    cast.therapy.ended_on, cast.therapy.end_reason = cast.therapy.started_on, "completed"
    Therapy.objects.filter(pk=cast.therapy.pk).update(
        ended_on=cast.therapy.ended_on, end_reason=cast.therapy.end_reason
    )
    assert seen(cast) == ({"patient"} if (visibility, sharing) == ("delayed", "scores") else set())


def test_before_the_therapist_has_rated_the_supervisor_sees_nothing(cast: Cast) -> None:
    open_up(cast)
    session = factories.hold_session(cast.therapy)
    cast.study.assignments.update(version=cast.study.current)
    factories.give(factories.form_of(session, "patient"), 6)
    assert seen(cast) == set()


def test_own_ratings_show_only_while_they_are_shared_with_this_supervisor(cast: Cast) -> None:
    rate(cast)
    share(cast)
    assert seen(cast) == {"therapist"}
    ratings = trend(cast).json()["ratings"]
    assert ratings and {row["perspective"] for row in ratings} == {"therapist"}
    assert "supervisors see no ratings of patients" in page(cast).content.decode()
    share(cast, None)
    assert seen(cast) == set()
    assert page(cast).status_code == 404


def test_the_page_says_whether_the_therapist_shares_their_own_ratings(cast: Cast) -> None:
    open_up(cast)
    rate(cast)
    assert "The therapist does not share their own ratings with you." in page(cast).content.decode()
    share(cast)
    assert "The therapist shares their own ratings with you." in page(cast).content.decode()


def test_what_is_shared_of_the_alliance_is_not_the_form_about_feelings(cast: Cast) -> None:
    factories.replan(
        cast.study, extra=[{"instrument": factories.instrument("dpccq-feelings", "therapist"), "every": 1}]
    )
    session = factories.hold_session(cast.therapy)
    for form in session.assignments.filter(rater="therapist"):
        factories.give(form, 2, user=cast.therapist)
    share(cast)
    shown = visible_scores(cast.supervisor, cast.therapy).values_list("response__instrument__code", flat=True)
    assert set(shown) == {"wai-s"}


def other_supervisor(cast: Cast) -> None:
    other = factories.make_user("other@example.org", "supervisor", clinic=cast.clinic)
    Therapist.objects.filter(pk=cast.therapy.therapist.pk).update(supervisor=other)


def no_role(cast: Cast) -> None:
    Membership.objects.filter(user=cast.supervisor).delete()


def role_elsewhere(cast: Cast) -> None:
    Membership.objects.filter(user=cast.supervisor).update(clinic=cast.stranger_study.clinic)


@pytest.mark.parametrize("change", [other_supervisor, no_role, role_elsewhere])
def test_a_supervisor_who_is_one_no_more_sees_nothing(cast: Cast, change: Callable[[Cast], None]) -> None:
    rate(cast)
    open_up(cast)
    share(cast)
    assert seen(cast) == {"patient", "therapist"}
    change(cast)
    assert seen(cast) == set()
    assert page(cast).status_code in (403, 404)


def test_a_choice_for_the_supervisor_before_is_none_for_the_next(cast: Cast) -> None:
    rate(cast)
    share(cast)
    other_supervisor(cast)
    other = cast.therapy.therapist.__class__.objects.get(pk=cast.therapy.therapist.pk).supervisor
    assert not visible_scores(other, cast.therapy).exists()


def test_supervised_ratings_never_enter_one_s_own_caseload(cast: Cast) -> None:
    Membership.objects.create(user=cast.supervisor, clinic=cast.clinic, role="therapist")
    rate(cast)
    open_up(cast)
    share(cast)
    assert seen(cast) == {"patient", "therapist"}
    assert not visible_caseload_scores(cast.supervisor).exists()
    client = signed_in(cast.supervisor)
    assert cast.therapy.code not in client.get("/caseload/").content.decode()
    assert cast.therapy.code not in client.get("/api/v1/therapies/").content.decode()
    assert client.get(f"/therapies/{cast.therapy.pk}/sessions/").status_code == 404
    assert client.get("/caseload/agreement/").context["found"].forms == ()


def test_a_supervisor_reads_a_possible_dip_and_what_became_of_it_but_not_the_words(cast: Cast) -> None:
    study = factories.make_study(cast.clinic, code="DIPS", sessions=tuple(range(1, 13)))
    factories.set_visibility(study, "feedback", is_open_to_supervisors=True)
    dip_rules_choose(study=study, rules=["within-1"], actor=cast.clinic_admin)
    therapy = follow(study, cast.therapist, [5, 6, 5, 6, 2])
    low = Response.objects.filter(assignment__session__therapy=therapy, assignment__rater="patient").latest(
        "submitted_at"
    )
    text = signed_in(cast.supervisor).get(f"/therapies/{therapy.pk}/").content.decode()
    assert "Session 5: possible dip, worth asking about" in text
    assert "Something to bring up in supervision" in text
    dip_url = f"/therapies/{therapy.pk}/dips/{low.pk}/"
    assert dip_url not in text
    assert signed_in(cast.supervisor).post(dip_url, {"state": "seen"}).status_code == 403
    # Patients of one's own make nobody else's one's own.
    Membership.objects.create(user=cast.supervisor, clinic=cast.clinic, role="therapist")
    factories.make_therapy(study, cast.supervisor)
    assert signed_in(cast.supervisor).post(dip_url, {"state": "seen"}).status_code == 404
    dip_review(
        response_id=low.pk, rules=["within-1"], state="acted", reason="We spoke of it.", actor=cast.therapist
    )
    text = signed_in(cast.supervisor).get(f"/therapies/{therapy.pk}/").content.decode()
    assert "Acted on," in text and "We spoke of it." not in text
    assert f"A therapy of your supervisee <bdi>{therapy.therapist.code}</bdi>" in text
    assert "We spoke of it." in signed_in(cast.therapist).get(f"/therapies/{therapy.pk}/").content.decode()


def test_a_blind_study_is_blind_for_supervisors_whatever_is_chosen(cast: Cast) -> None:
    draft = draft_begin(study=cast.study)
    visibility_set(version=draft, visibility="delayed", is_open_to_supervisors=True, actor=cast.clinic_admin)
    draft.refresh_from_db()
    assert draft.is_open_to_supervisors
    event = AuditEvent.objects.filter(act="study.visibility").latest("id")
    assert event.detail == {"visibility": "delayed", "is_open_to_supervisors": True}
    visibility_set(version=draft, visibility="blind", is_open_to_supervisors=True, actor=cast.clinic_admin)
    draft.refresh_from_db()
    assert (draft.visibility, draft.is_open_to_supervisors) == ("blind", False)


def test_a_new_draft_and_a_test_run_take_over_what_supervisors_may_see(cast: Cast) -> None:
    open_up(cast)
    draft = draft_begin(study=cast.study)
    assert draft.is_open_to_supervisors
    test = begin_test_run(version=draft, actor=cast.clinic_admin)
    assert test.current is not None and test.current.is_open_to_supervisors


def test_the_set_up_asks_what_supervisors_see_and_sums_it_up(cast: Cast) -> None:
    draft = draft_begin(study=cast.study)
    admin, base = signed_in(cast.clinic_admin), f"/clinic/studies/{cast.study.pk}/draft"
    text = admin.get(f"{base}/visibility/").content.decode()
    assert "Supervisors may see what the therapist sees" in text
    assert "A person who supervises your therapist can see the same." in text
    admin.post(f"{base}/visibility/", {"visibility": "feedback", "is_open_to_supervisors": "on"})
    draft.refresh_from_db()
    assert draft.is_open_to_supervisors
    summary = admin.get(f"{base}/check/").content.decode()
    assert "Supervisors may see what the therapist sees." in summary
    assert "same session. A person who supervises your therapist can see the same." in summary
    admin.post(f"{base}/visibility/", {"visibility": "feedback"})
    assert "Supervisors see no ratings of patients." in admin.get(f"{base}/check/").content.decode()
    assert PlanLine.objects.filter(version=draft).exists()


TOLD = "A person who supervises your therapist can see the same."


@pytest.mark.parametrize("is_open", [True, False])
def test_patients_are_told_wherever_it_says_who_sees_the_answers(cast: Cast, is_open: bool) -> None:
    factories.set_visibility(cast.study, "feedback", is_open_to_supervisors=is_open)
    form = factories.form_of(factories.hold_session(cast.therapy), "patient")
    link, patient = f"/r/{link_issue(assignment=form)}/", Client()
    assert (TOLD in patient.get(link).content.decode()) is is_open
    begun = patient.post(link, follow=True).content.decode()
    assert begun.count(TOLD) == (2 if is_open else 0), "over the form and beside the choice"
    sheet = signed_in(cast.therapist).get(f"/forms/{form.pk}/paper/").content.decode()
    assert sheet.count(TOLD) == (2 if is_open else 0)
    sent = factories.give(form)
    assert (TOLD in who_sees(sent)) is is_open


def test_the_codebook_and_the_list_of_studies_say_whether_supervisors_see_ratings(cast: Cast) -> None:
    client, codebook = signed_in(cast.researcher), f"/studies/{cast.study.pk}/codebook/"
    for address in ("/studies/", codebook):
        assert "Supervisors see no ratings of patients." in client.get(address).content.decode()
    open_up(cast)
    for address in ("/studies/", codebook):
        assert "Supervisors may see what the therapist sees." in client.get(address).content.decode()
    (study,) = client.get("/api/v1/studies/").json()
    assert (study["visibility"], study["is_open_to_supervisors"]) == ("feedback", True)


@pytest.mark.parametrize("end", ["left", "closed"])
def test_who_cannot_take_it_back_shares_no_ratings(cast: Cast, end: str) -> None:
    rate(cast)
    therapist = share(cast)
    assert seen(cast) == {"therapist"}
    if end == "left":
        Membership.objects.filter(user=cast.therapist).delete()
    else:
        User.objects.filter(pk=cast.therapist.pk).update(is_active=False)
    assert seen(cast) == set()
    assert page(cast).status_code == trend(cast).status_code == 404
    assert not sharing_therapists(cast.supervisor, "practice_shared_with").exists()
    assert therapist.shares_ratings, "the choice itself stands, for when they come back"
