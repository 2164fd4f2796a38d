"""Possible dips on the page of a therapy, what is done about them, and the choice of the rules."""

import pytest
from django.db import connection, transaction
from django.db.utils import DatabaseError
from django.test import Client
from django.test.utils import CaptureQueriesContext

import analytics.tasks  # noqa: F401  registers the jobs
from analytics import selectors
from analytics.dip_selectors import dip_rules, therapy_dips
from analytics.dips import DEFAULT, RULES, Silence
from analytics.models import DipReview, DipRules
from analytics.services.dips import dip_review, dip_rules_choose
from surveys import jobs
from surveys.models import AuditEvent, Response, Study, Therapy, User
from surveys.services.withdrawals import withdrawal_enter
from tests import factories
from tests.analytics.clinics import follow, rated_clinic
from tests.conftest import Cast, signed_in

pytestmark = pytest.mark.django_db

STEADY, DIPPED = [5, 6, 5, 6, 6], [5, 6, 5, 6, 2]
# Ten items at 2 and two reversed ones at 6, and the same of 6: what the page prints.
LOW, BEFORE = "2.67", "5.33"


@pytest.fixture
def study(cast: Cast) -> Study:
    """Of the cast's clinic, with a form at each of twelve sessions, and a rule that needs no model."""
    study = factories.make_study(cast.clinic, code="DIPS", sessions=tuple(range(1, 13)))
    dip_rules_choose(study=study, rules=["within-1"], actor=cast.clinic_admin)
    return study


@pytest.fixture
def therapy(cast: Cast, study: Study) -> Therapy:
    return follow(study, cast.therapist, DIPPED)


def page_of(user: User, therapy: Therapy, query: str = "") -> str:
    answer = signed_in(user).get(f"/therapies/{therapy.pk}/{query}")
    assert answer.status_code == 200
    return answer.content.decode()


def low_response(therapy: Therapy) -> Response:
    return Response.objects.filter(assignment__session__therapy=therapy, assignment__rater="patient").latest(
        "submitted_at"
    )


def dip_url(therapy: Therapy) -> str:
    return f"/therapies/{therapy.pk}/dips/{low_response(therapy).pk}/"


def test_a_possible_dip_says_what_changed_by_which_rule_and_what_to_do(cast: Cast, therapy: Therapy) -> None:
    page = page_of(cast.therapist, therapy)
    assert "Session 5: possible dip, worth asking about" in page
    assert f"The rating of session 5 is {LOW}; the one before, of session 4, is {BEFORE}." in page
    assert "1 × 0.38, the SD of this patient’s 4 earlier ratings" in page
    assert "ask the patient how the last sessions were for them" in page
    assert "Of 5 patient ratings that you may see, 1 could be compared" in page
    assert "rupture" not in page.lower()
    assert "None of them is low enough" not in page


def test_without_a_dip_the_page_does_not_say_that_nothing_happened(cast: Cast, study: Study) -> None:
    page = page_of(cast.therapist, follow(study, cast.therapist, STEADY))
    assert "worth asking about</h3>" not in page
    assert "That does not mean that nothing happened" in page


def test_the_sessions_of_dips_are_plain_data_of_the_page(cast: Cast, therapy: Therapy) -> None:
    answer = signed_in(cast.therapist).get(f"/therapies/{therapy.pk}/")
    assert answer.context["dips"]["found"].sessions == (5,)


def test_therapist_ratings_have_no_possible_dips(cast: Cast, therapy: Therapy) -> None:
    assert "Possible dips" in page_of(cast.therapist, therapy)
    assert "Possible dips" not in page_of(cast.therapist, therapy, "?perspective=therapist")


def test_a_rating_that_the_patient_does_not_share_is_no_dip_and_is_not_counted(
    cast: Cast, study: Study
) -> None:
    therapy = follow(study, cast.therapist, DIPPED, sharing="none")
    page = page_of(cast.therapist, therapy)
    assert "There is no patient rating to look at yet." in page
    assert signed_in(cast.therapist).get(dip_url(therapy)).status_code == 404


def test_a_rating_before_the_therapist_s_own_is_no_dip(cast: Cast, study: Study) -> None:
    therapy = follow(study, cast.therapist, STEADY)
    session = factories.hold_session(therapy)
    factories.give(factories.form_of(session, "patient"), 2)
    assert therapy_dips(cast.therapist, therapy).rows == ()
    assert signed_in(cast.therapist).get(dip_url(therapy)).status_code == 404
    factories.give(factories.form_of(session, "therapist"), 5, user=cast.therapist)
    assert [row.rating.session for row in therapy_dips(cast.therapist, therapy).rows] == [6]
    assert signed_in(cast.therapist).get(dip_url(therapy)).status_code == 200


def test_under_a_blind_policy_there_is_nothing_not_even_a_count(cast: Cast, study: Study) -> None:
    therapy = follow(study, cast.therapist, DIPPED)
    factories.set_visibility(study, "blind")
    page = page_of(cast.therapist, therapy)
    assert "therapists never see patients’ ratings, so no possible dip is shown either" in page
    assert "that you may see" not in page.split('id="dips-title"')[1].split("</section>")[0]
    assert signed_in(cast.therapist).get(dip_url(therapy)).status_code == 404


def test_under_a_delayed_policy_dips_show_after_the_end(cast: Cast, study: Study) -> None:
    therapy = follow(study, cast.therapist, DIPPED)
    factories.set_visibility(study, "delayed")
    therapy.study.refresh_from_db()
    assert therapy_dips(cast.therapist, therapy).n_ratings == 0
    Therapy.objects.filter(pk=therapy.pk).update(ended_on=therapy.started_on, end_reason="regular")
    assert len(therapy_dips(cast.therapist, therapy).rows) == 1


def test_a_dip_is_seen_by_a_button_and_not_by_reading(cast: Cast, therapy: Therapy) -> None:
    client = signed_in(cast.therapist)
    client.get(f"/therapies/{therapy.pk}/")
    client.get(dip_url(therapy))
    assert not DipReview.objects.exists()
    answer = client.post(dip_url(therapy), {"state": "seen"})
    assert (answer.status_code, answer["Location"]) == (302, f"/therapies/{therapy.pk}/#dips-title")
    review = DipReview.objects.get()
    assert (review.state, review.rule, review.by, review.reason) == ("seen", "within-1", cast.therapist, "")
    assert "Seen, I decide later" not in page_of(cast.therapist, therapy)


@pytest.mark.parametrize("state", ["acted", "dismissed"])
def test_acting_and_dismissing_need_words_and_a_refusal_keeps_the_form(
    cast: Cast, therapy: Therapy, state: str
) -> None:
    client = signed_in(cast.therapist)
    answer = client.post(dip_url(therapy), {"state": state, "reason": "  "})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "Say in a few words what you did or why it needs nothing." in page
    checked = page.split(f'value="{state}"')[1].split(">")[0]
    assert "checked" in checked
    long = "x" * 1001
    answer = client.post(dip_url(therapy), {"state": state, "reason": long})
    assert (answer.status_code, long in answer.content.decode()) == (422, True)
    assert not DipReview.objects.exists()
    assert client.post(dip_url(therapy), {"state": state, "reason": "Asked <b>today</b>"}).status_code == 302
    page = page_of(cast.therapist, therapy)
    assert "<details>" in page
    assert "Asked &lt;b&gt;today&lt;/b&gt;" in page
    assert therapy_dips(cast.therapist, therapy).rows[0].state == state


def test_without_a_choice_nothing_is_written(cast: Cast, therapy: Therapy) -> None:
    client = signed_in(cast.therapist)
    answer = client.post(dip_url(therapy), {"reason": "Typed already"})
    assert answer.status_code == 422
    assert "Typed already" in answer.content.decode()
    assert client.post(dip_url(therapy), {"state": "solved", "reason": "x"}).status_code == 422
    assert not DipReview.objects.exists()


def test_what_was_done_is_kept_in_order_and_the_last_counts(cast: Cast, therapy: Therapy) -> None:
    client = signed_in(cast.therapist)
    for data in (
        {"state": "seen"},
        {"state": "dismissed", "reason": "Was ill"},
        {"state": "dismissed", "reason": "Was ill"},
        {"state": "seen"},
        {"state": "acted", "reason": "Asked after all"},
    ):
        client.post(dip_url(therapy), data)
    assert list(DipReview.objects.order_by("id").values_list("state", flat=True)) == [
        "seen",
        "dismissed",
        "acted",
    ]
    (row,) = therapy_dips(cast.therapist, therapy).rows
    assert (row.state, row.is_open) == ("acted", False)


def test_every_review_leaves_a_trace_without_rating_or_reason(cast: Cast, therapy: Therapy) -> None:
    signed_in(cast.therapist).post(dip_url(therapy), {"state": "acted", "reason": "Asked"})
    event = AuditEvent.objects.get(act="dip.review")
    assert (event.actor, event.clinic) == (cast.therapist, cast.clinic)
    assert event.detail == {"rule": "within-1", "state": "acted"}


@pytest.mark.parametrize("who", ["colleague", "stranger"])
def test_another_therapist_s_dip_does_not_exist(cast: Cast, therapy: Therapy, who: str) -> None:
    client = signed_in(getattr(cast, who))
    assert client.get(dip_url(therapy)).status_code == 404
    assert client.post(dip_url(therapy), {"state": "seen"}).status_code == 404
    assert not DipReview.objects.exists()


def test_a_rating_that_no_rule_points_at_has_no_page(cast: Cast, therapy: Therapy) -> None:
    first = Response.objects.filter(
        assignment__session__therapy=therapy, assignment__rater="patient"
    ).earliest("submitted_at")
    client = signed_in(cast.therapist)
    url = f"/therapies/{therapy.pk}/dips/{first.pk}/"
    assert client.get(url).status_code == 404
    assert client.post(url, {"state": "seen"}).status_code == 404
    assert client.get(dip_url(therapy)).status_code == 200


def test_a_dip_of_another_therapy_is_not_reached_through_one_s_own(cast: Cast, study: Study) -> None:
    own, foreign = follow(study, cast.therapist, DIPPED), follow(study, cast.colleague, DIPPED)
    url = f"/therapies/{own.pk}/dips/{low_response(foreign).pk}/"
    assert signed_in(cast.therapist).post(url, {"state": "seen"}).status_code == 404


def test_several_rules_are_one_card_and_one_answer(cast: Cast, study: Study) -> None:
    therapy = follow(study, cast.therapist, [6, 5, 6, 5, 6, 5, 6, 5, 6, 5, 6, 2])
    dip_rules_choose(study=study, rules=["within-1", "within-2", "chart"], actor=cast.clinic_admin)
    (row,) = [row for row in therapy_dips(cast.therapist, therapy).rows if row.rating.session == 12]
    assert {found.rule.code for found in row.judgements} == {"within-1", "within-2", "chart"}
    signed_in(cast.therapist).post(dip_url(therapy), {"state": "acted", "reason": "Asked"})
    assert DipReview.objects.filter(state="acted").count() == 3


def test_a_rule_that_is_chosen_later_makes_the_dip_new_again(cast: Cast, therapy: Therapy) -> None:
    signed_in(cast.therapist).post(dip_url(therapy), {"state": "acted", "reason": "Asked"})
    dip_rules_choose(study=therapy.study, rules=["within-1", "within-2"], actor=cast.clinic_admin)
    (row,) = therapy_dips(cast.therapist, therapy).rows
    assert (row.state, row.is_open, len(row.reviews)) == ("new", True, 1)


def test_what_was_done_stays_on_the_page_when_no_rule_points_there_any_more(
    cast: Cast, therapy: Therapy
) -> None:
    signed_in(cast.therapist).post(dip_url(therapy), {"state": "acted", "reason": "Asked gently"})
    dip_rules_choose(study=therapy.study, rules=[], actor=cast.clinic_admin)
    page = page_of(cast.therapist, therapy)
    assert "Your clinic has chosen no rule for this study" in page
    assert "no longer pointed at" in page and "Asked gently" in page


def test_sessions_3_12_20_and_40_are_said_to_be_too_far_apart(cast: Cast) -> None:
    study = factories.make_study(cast.clinic, code="FOUR", sessions=(3, 12, 20, 40))
    therapy = follow(study, cast.therapist, [7] * 3 + [6] * 9 + [5] * 8 + [1] * 20)
    found = therapy_dips(cast.therapist, therapy)
    assert (found.rows, found.n_ratings, found.silence) == ((), 4, Silence.TOO_FAR)
    assert "as in a plan of sessions 3, 12, 20 and 40" in page_of(cast.therapist, therapy)


def test_a_study_begins_with_the_stricter_rule_and_says_so_where_it_has_no_model(cast: Cast) -> None:
    study = factories.make_study(cast.clinic, code="NEW", sessions=tuple(range(1, 13)))
    therapy = follow(study, cast.therapist, DIPPED)
    assert dip_rules(study.pk) == (DEFAULT,)
    page = page_of(cast.therapist, therapy)
    assert "The rule needs the study’s model for its measure" in page


def test_rules_by_the_model_take_its_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selectors, "MIN_THERAPISTS", 3)
    monkeypatch.setattr(selectors, "MIN_THERAPIES", 5)
    study, user = rated_clinic(planned=tuple(range(1, 13)))
    therapy = follow(study, user, DIPPED)
    jobs.run_due()
    dip_rules_choose(study=study, rules=list(RULES), actor=user)
    trend = selectors.therapy_trend(user, therapy, "patient")
    found = therapy_dips(user, therapy)
    row = next(row for row in found.rows if row.rating.session == 5)
    by = {judgement.rule.code: judgement for judgement in row.judgements}
    expected = next(point for point in trend.expected if point.session == 5)
    assert by["band"].limit == pytest.approx(expected.lower)
    assert by["band"].middle == pytest.approx(expected.mean)
    assert by["reliable"].total_sd > by["between-1"].between_sd > 0
    assert by["stricter-1"].threshold == pytest.approx(
        max(by["within-1"].within_sd, by["between-1"].between_sd)
    )
    assert found.n_judged == 4


def test_number_of_queries_does_not_grow_with_ratings_and_dips(cast: Cast, study: Study) -> None:
    client = signed_in(cast.therapist)

    def n_queries(therapy: Therapy) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert client.get(f"/therapies/{therapy.pk}/").status_code == 200
        return len(queries)

    few, many = follow(study, cast.therapist, [5]), follow(study, cast.therapist, [6, 5, 6, 5, 2, 6, 1, 7, 1])
    assert len(therapy_dips(cast.therapist, many).rows) > 1
    client.post(dip_url(many), {"state": "seen"})
    n_queries(few)
    assert n_queries(few) == n_queries(many)


def test_reviews_are_not_changed_and_go_only_with_the_response(cast: Cast, therapy: Therapy) -> None:
    response = low_response(therapy)
    (review,) = dip_review(
        response_id=response.pk, rules=["within-1"], state="acted", reason="Asked", actor=cast.therapist
    )
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        DipReview.objects.filter(pk=review.pk).update(reason="Other")
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        review.delete()
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    withdrawal_enter(patient=therapy.patient, study=therapy.study, choice="erase")
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    assert not DipReview.objects.exists()


def test_acting_without_a_reason_is_refused_below_the_page_as_well(cast: Cast, therapy: Therapy) -> None:
    response = low_response(therapy)
    with pytest.raises(ValueError, match="reason"):
        dip_review(
            response_id=response.pk, rules=["within-1"], state="acted", reason=" ", actor=cast.therapist
        )
    with pytest.raises(DatabaseError, match="dip_review_has_its_reason"), transaction.atomic():
        DipReview.objects.create(
            response=response, rule="band", state="dismissed", by=cast.therapist, at=response.submitted_at
        )


def rules_url(study: Study) -> str:
    return f"/clinic/studies/{study.pk}/dips/"


def test_an_administrator_chooses_rules_and_the_choice_is_kept_with_its_history(
    cast: Cast, study: Study
) -> None:
    client = signed_in(cast.clinic_admin)
    page = client.get(rules_url(study)).content.decode()
    assert "Drop of 1 SD of the patient’s own ratings" in page
    assert page.count(" checked") == 1
    assert client.post(rules_url(study), {"rules": ["band", "stricter-2"]}).status_code == 302
    assert [rule.code for rule in dip_rules(study.pk)] == ["stricter-2", "band"]
    assert client.post(rules_url(study), {"rules": ["band", "stricter-2"]}).status_code == 302
    assert DipRules.objects.filter(study=study).count() == 2
    assert client.post(rules_url(study), {}).status_code == 302
    assert dip_rules(study.pk) == ()
    page = client.get(rules_url(study)).content.decode()
    assert "no rule" in page and cast.clinic_admin.email in page
    event = AuditEvent.objects.filter(act="dip_rules.choose").latest("id")
    assert (event.actor, event.clinic, event.detail) == (cast.clinic_admin, cast.clinic, {"rules": []})


def test_an_unknown_rule_is_refused(cast: Cast, study: Study) -> None:
    answer = signed_in(cast.clinic_admin).post(rules_url(study), {"rules": ["band", "guess"]})
    assert answer.status_code == 422
    assert [rule.code for rule in dip_rules(study.pk)] == ["within-1"]
    with pytest.raises(ValueError, match="no such rule"):
        dip_rules_choose(study=study, rules=["guess"], actor=cast.clinic_admin)


def test_chosen_rules_stay_as_they_were_written(study: Study) -> None:
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        DipRules.objects.filter(study=study).update(rules=["band"])
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        DipRules.objects.filter(study=study).delete()


def test_another_clinic_s_study_has_no_such_page(cast: Cast) -> None:
    client: Client = signed_in(cast.clinic_admin)
    assert client.get(rules_url(cast.study)).status_code == 200
    assert client.get(rules_url(cast.stranger_study)).status_code == 404
    assert client.post(rules_url(cast.stranger_study), {"rules": ["band"]}).status_code == 404
    assert not DipRules.objects.filter(study=cast.stranger_study).exists()
