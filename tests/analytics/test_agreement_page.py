"""The page of a therapist's agreement with their patients: what it says, to whom, what never enters it."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from analytics.caseload import caseload_agreement
from analytics.templatetags.analytics import signed
from surveys.models import AuditEvent, Response, Study, Therapy, User
from tests import factories
from tests.analytics.clinics import rated_clinic
from tests.conftest import Cast, signed_in

pytestmark = pytest.mark.django_db
PAGE = "/caseload/agreement/"
MEAN_DIFFERENCE = r"You rate \d\.\d (lower|higher) than your patients|On average you rate as your patients do"


def page_of(user: User) -> str:
    return signed_in(user).get(PAGE).content.decode()


def give_pair(
    therapy: Therapy, user: User, patient: int = 6, own: int = 5, days: float = 0.1, sharing: str = "scores"
) -> None:
    """One session that both rate; the mean of a WAI-S with one answer for every item is another, as two of
    its items are turned."""
    session = factories.hold_session(therapy, timezone.now() - timedelta(days=days))
    factories.give(factories.form_of(session, "patient"), patient, sharing=sharing)
    factories.give(factories.form_of(session, "therapist"), own, user=user)


def n_pairs(user: User) -> int:
    return sum(block.agreement.n_pairs for block in caseload_agreement(user).forms)


def test_a_rated_caseload_has_both_numbers_their_basis_and_their_age() -> None:
    _, user = rated_clinic(n_therapists=1, n_therapies=6)
    page = page_of(user)
    assert re.search(MEAN_DIFFERENCE, page)
    assert "When a patient’s rating rises by 1, yours" in page
    assert "Sessions that both rated: 18; patients: 6; scale from 1 to 7." in page
    assert "the latest of these ratings is of" in page
    assert "What this cannot tell" in page


def test_the_table_has_the_numbers_of_every_therapy_in_the_order_of_codes() -> None:
    _, user = rated_clinic(n_therapists=1, n_therapies=6)
    page = page_of(user)
    codes = sorted(Therapy.objects.values_list("code", flat=True))
    places = [page.index(f'<bdi class="code">{code}</bdi>') for code in codes]
    assert places == sorted(places)
    (block,) = caseload_agreement(user).forms
    for dyad in block.agreement.dyads:
        assert f'<td class="num">{dyad.patient:.1f}</td>' in page


@pytest.mark.parametrize(
    ("value", "words"), [(0.36, "\u200e+0.4"), (-0.36, "\u200e−0.4"), (0.04, "0.0"), (-0.04, "0.0")]
)
def test_a_difference_is_written_with_its_sign(value: float, words: str) -> None:
    assert signed(value) == words


def test_with_four_patients_there_is_a_sentence_and_no_number() -> None:
    _, user = rated_clinic(n_therapists=1, n_therapies=4)
    page = page_of(user)
    assert "needs at least 5 patients with sessions that you both rated; so far there are 4" in page
    assert not re.search(MEAN_DIFFERENCE, page)
    assert "rises by 1" not in page


def test_an_empty_caseload_says_what_is_missing(cast: Cast) -> None:
    page = page_of(cast.therapist)
    assert "Nothing to compare yet" in page
    assert "vega" not in page


def test_only_the_therapist_s_own_patients_are_in_it() -> None:
    _, user = rated_clinic(n_therapists=2, n_therapies=3)
    codes = set(Therapy.objects.filter(therapist__user=user).values_list("code", flat=True))
    (block,) = caseload_agreement(user).forms
    assert {dyad.therapy for dyad in block.agreement.dyads} == codes
    assert len(codes) == 3


@pytest.mark.parametrize(
    ("visibility", "sharing", "ended", "shown"),
    [
        ("feedback", "scores", False, True),
        ("feedback", "answers", False, True),
        ("feedback", "none", False, False),
        ("delayed", "scores", False, False),
        ("delayed", "scores", True, True),
        ("delayed", "none", True, False),
        ("blind", "answers", True, False),
    ],
)
def test_a_pair_enters_only_where_the_patient_s_rating_may_be_seen(
    cast: Cast, visibility: str, sharing: str, ended: bool, shown: bool
) -> None:
    factories.set_visibility(cast.study, visibility)
    give_pair(cast.therapy, cast.therapist, sharing=sharing)
    if ended:
        Therapy.objects.filter(pk=cast.therapy.pk).update(
            ended_on=timezone.localdate(), end_reason="completed"
        )
    assert n_pairs(cast.therapist) == int(shown)


def test_a_rating_waits_until_the_therapist_has_sent_every_form_of_their_own(cast: Cast) -> None:
    """One's own rating of the alliance alone does not show the patient's."""
    feelings = factories.instrument("dpccq-feelings", "therapist")
    factories.replan(cast.study, extra=[{"instrument": feelings, "sessions": [1, 2, 3]}])
    session = factories.hold_session(cast.therapy)
    factories.give(factories.form_of(session, "patient"), 6)
    rating, other = session.assignments.filter(rater="therapist").order_by("-instrument__code")
    factories.give(rating, 5, user=cast.therapist)
    assert n_pairs(cast.therapist) == 0
    factories.give(other, 1, user=cast.therapist)
    assert n_pairs(cast.therapist) == 1


def test_a_hidden_rating_changes_nothing_on_the_page() -> None:
    """Not the mean that others are compared with, either."""
    study, user = rated_clinic(n_therapists=1, n_therapies=6)
    before = caseload_agreement(user)
    therapy = Therapy.objects.filter(study=study).first()
    assert therapy is not None
    Response.objects.filter(
        assignment__session__therapy=therapy, assignment__rater="patient", assignment__session__number=3
    ).update(sharing="none")
    hidden = caseload_agreement(user)
    assert hidden.forms[0].agreement.n_pairs == before.forms[0].agreement.n_pairs - 1
    (dyad,) = [row for row in hidden.forms[0].agreement.dyads if row.therapy == therapy.code]
    scores = [
        response.scores.get(scale="total").mean
        for response in Response.objects.filter(
            assignment__session__therapy=therapy, assignment__rater="patient", sharing="scores"
        )
    ]
    assert dyad.patient == pytest.approx(sum(scores) / 2)


def test_a_therapy_that_its_patient_leaves_out_of_analyses_is_left_out(cast: Cast) -> None:
    give_pair(cast.therapy, cast.therapist)
    Therapy.objects.filter(pk=cast.therapy.pk).update(excluded_at=timezone.now())
    assert n_pairs(cast.therapist) == 0


def wai_sr_study(cast: Cast, therapist_form: str) -> Study:
    """A study whose patients answer on 1 to 5."""
    lines = [("wai-sr", "patient"), (therapist_form, "therapist")]
    factories.replan(
        cast.study,
        keep=(),
        extra=[
            {"instrument": factories.instrument(code, rater), "sessions": [1, 2, 3]} for code, rater in lines
        ],
    )
    return cast.study


def test_forms_with_the_same_answer_scale_are_compared_and_both_are_named(cast: Cast) -> None:
    wai_sr_study(cast, "wai-srt")
    give_pair(cast.therapy, cast.therapist, patient=4, own=3)
    (block,) = caseload_agreement(cast.therapist).forms
    assert (block.patient_form.code, block.therapist_form.code) == ("wai-sr", "wai-srt")
    assert block.agreement.dyads[0].difference == pytest.approx(-1.0)
    page = page_of(cast.therapist)
    assert "<bdi>WAI-SR</bdi> · <bdi>WAI-SRT</bdi>" in page


def test_forms_with_other_answer_scales_are_not_compared_and_the_page_says_so(cast: Cast) -> None:
    wai_sr_study(cast, "wai-s")
    give_pair(cast.therapy, cast.therapist, patient=4, own=3)
    assert n_pairs(cast.therapist) == 0
    assert "1 session is not in it" in page_of(cast.therapist)


def test_two_forms_are_two_blocks(cast: Cast) -> None:
    give_pair(cast.therapy, cast.therapist, days=1.5)
    give_pair(cast.therapy, cast.therapist, days=1)
    wai_sr_study(cast, "wai-srt")
    give_pair(cast.therapy, cast.therapist, patient=4, own=3)
    codes = [block.patient_form.code for block in caseload_agreement(cast.therapist).forms]
    assert codes == ["wai-s", "wai-sr"]


def test_the_view_leaves_a_trace_without_a_number(cast: Cast) -> None:
    page_of(cast.therapist)
    event = AuditEvent.objects.get(act="agreement.view")
    assert (event.actor, event.clinic, event.detail) == (cast.therapist, cast.clinic, {"route": "agreement"})
    assert event.subject == f"user:{cast.therapist.pk}"


def test_the_caseload_leads_to_it(cast: Cast) -> None:
    assert f'href="{PAGE}"' in signed_in(cast.therapist).get("/caseload/").content.decode()


@pytest.mark.parametrize("who", ["supervisor", "clinic_admin", "researcher", "superuser"])
def test_it_is_for_therapists(cast: Cast, who: str) -> None:
    assert signed_in(getattr(cast, who)).get(PAGE).status_code == 403


def test_number_of_queries_does_not_grow_with_patients(cast: Cast) -> None:
    client = signed_in(cast.therapist)

    def n_queries() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert client.get(PAGE).status_code == 200
        return len(queries)

    give_pair(cast.therapy, cast.therapist)
    few = n_queries()
    for _ in range(19):
        give_pair(factories.make_therapy(cast.study, cast.therapist), cast.therapist)
    assert n_pairs(cast.therapist) == 20
    assert n_queries() == few
