"""What a therapist sees of the patient: policy, sharing and rate-then-reveal, in page, API and chart."""

import itertools
import re
from datetime import timedelta

import pytest
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from surveys.access import revealed_scores, shows_ratings, visible_scores
from surveys.models import Response, StudyVersion, Therapy
from tests import factories
from tests.conftest import Cast, signed_in

pytestmark = pytest.mark.django_db

# A mean that no other number on the page can have: 12 items, ten 3s and two reversed 1s turned to 7.
CANARY_ANSWERS = dict.fromkeys(range(1, 13), 3) | {4: 1, 10: 2}
CANARY = (3 * 10 + 7 + 6) / 12


def given(cast: Cast, visibility: str, sharing: str, rated: bool, ended: bool) -> Therapy:
    factories.set_visibility(cast.study, visibility)
    session = factories.hold_session(cast.therapy)
    factories.give(factories.form_of(session, "patient"), CANARY_ANSWERS, sharing=sharing)
    if rated:
        factories.give(factories.form_of(session, "therapist"), 5, user=cast.therapist)
    if ended:
        cast.therapy.ended_on, cast.therapy.end_reason = timezone.localdate(), "completed"
        cast.therapy.save(update_fields=["ended_on", "end_reason"])
    return cast.therapy


def allowed(visibility: str, sharing: str, rated: bool, ended: bool) -> bool:
    """The rule in words of the studies' protocol, independent of the code."""
    if sharing == "none" or visibility == "blind":
        return False
    return ended if visibility == "delayed" else rated


@pytest.mark.parametrize(
    ("visibility", "sharing", "rated", "ended"),
    list(
        itertools.product(
            ("blind", "delayed", "feedback"), ("none", "scores", "answers"), (False, True), (False, True)
        )
    ),
)
def test_the_patient_s_rating_shows_only_where_policy_choice_and_order_let_it(
    cast: Cast, visibility: str, sharing: str, rated: bool, ended: bool
) -> None:
    therapy = given(cast, visibility, sharing, rated, ended)
    client = signed_in(cast.therapist)
    url = reverse("therapy", kwargs={"therapy_id": therapy.pk})
    trend = client.get(reverse("api-therapy-trend", kwargs={"therapy_id": therapy.pk})).json()
    values = [
        row["value"]
        for row in trend["ratings"]
        if row["perspective"] == "patient" and row["scale"] == "total"
    ]
    expected = [pytest.approx(CANARY)] if allowed(visibility, sharing, rated, ended) else []
    assert values == expected
    scales = {row["scale"] for row in trend["ratings"] if row["perspective"] == "patient"}
    assert scales == ({"task", "bond", "goal", "total"} if expected else set())
    picture = client.get(reverse("therapy-chart", kwargs={"therapy_id": therapy.pk}))
    assert (f"Session 1, patient, {CANARY:.1f}" in picture.content.decode()) is bool(expected)
    bodies = [client.get(url).content.decode(), client.get(f"{url}?perspective=therapist").content.decode()]
    for body in bodies:
        assert (f"{CANARY:.4f}" in body or f"{CANARY:.1f}" in body) is bool(expected)
    own = [
        row["value"]
        for row in trend["ratings"]
        if row["perspective"] == "therapist" and row["scale"] == "total"
    ]
    assert len(own) == int(rated)


def test_the_reveal_waits_for_the_therapist_s_form_whichever_comes_first(cast: Cast) -> None:
    first, second = (
        factories.hold_session(cast.therapy, timezone.now() - timedelta(hours=hours)) for hours in (4, 2)
    )
    patient = factories.give(factories.form_of(first, "patient"))
    assert Response.objects.get(pk=patient.pk).reveal_at is None
    factories.give(factories.form_of(first, "therapist"), user=cast.therapist)
    assert Response.objects.get(pk=patient.pk).reveal_at is not None
    factories.give(factories.form_of(second, "therapist"), user=cast.therapist)
    late = factories.give(factories.form_of(second, "patient"))
    assert Response.objects.get(pk=late.pk).reveal_at is not None


def test_an_empty_form_declines_and_reveals(cast: Cast) -> None:
    session = factories.hold_session(cast.therapy)
    patient = factories.give(factories.form_of(session, "patient"))
    mine = factories.give(factories.form_of(session, "therapist"), {}, user=cast.therapist)
    assert mine.assignment.__class__.objects.get(pk=mine.assignment_id).state == "declined"
    assert Response.objects.get(pk=patient.pk).reveal_at is not None


def test_what_was_answered_cannot_be_changed_in_the_database(cast: Cast) -> None:
    from django.db import DatabaseError, transaction

    from surveys.models import AuditEvent, Instrument, Score

    response = factories.give(factories.form_of(factories.hold_session(cast.therapy), "patient"))
    for change in (
        lambda: Response.objects.filter(pk=response.pk).update(answers={}),
        lambda: Score.objects.update(mean=7),
        lambda: AuditEvent.objects.update(act="nothing"),
        lambda: AuditEvent.objects.all().delete(),
        lambda: Response.objects.filter(pk=response.pk).update(sharing="answers"),
        lambda: Instrument.objects.update(version="9"),
    ):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            change()
    Response.objects.filter(pk=response.pk).update(sharing="none")


@pytest.mark.parametrize("visibility", ["blind", "delayed", "feedback"])
def test_before_their_own_rating_no_page_of_a_therapist_tells_one_answer_from_another(
    cast: Cast, visibility: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even whether the patient answered anything, or lets the therapist see it."""
    now = timezone.localtime()
    monkeypatch.setattr("surveys.views.session_log._started", lambda: now)
    factories.set_visibility(cast.study, visibility)
    session = factories.hold_session(cast.therapy)
    form, client = factories.form_of(session, "patient"), signed_in(cast.therapist)
    therapy = f"/therapies/{cast.therapy.pk}/"
    addresses = [
        *(therapy, f"{therapy}?perspective=therapist", f"{therapy}sessions/", f"{therapy}sessions/today/"),
        *("/caseload/", f"/sessions/{session.pk}/", f"/sessions/{session.pk}/no-rating/"),
        *(f"/forms/{form.pk}/links/", f"/forms/{form.pk}/paper/", f"/api/v1{therapy}trend/"),
    ]

    def seen() -> list[str]:
        pages = [client.get(address) for address in addresses]
        assert {page.status_code for page in pages} == {200}
        return [
            # The minute of the page may pass between two answers.
            re.sub(
                r'name="csrfmiddlewaretoken" value="\w+"|[Aa]s of \d+ \w+ \d{4}, \d\d:\d\d',
                "",
                page.content.decode(),
            )
            for page in pages
        ]

    pages = []
    for answers, sharing in ((7, "answers"), (1, "scores"), (CANARY_ANSWERS, "none"), ({}, "none")):
        undo = transaction.savepoint()
        factories.give(form, answers, sharing=sharing)
        pages.append(seen())
        transaction.savepoint_rollback(undo)
    assert all(page == pages[0] for page in pages[1:])


def test_of_one_therapy_nobody_reads_the_ratings_of_another(cast: Cast) -> None:
    factories.set_visibility(cast.study, "feedback", is_open_to_supervisors=True)
    therapies = cast.therapy, factories.make_therapy(cast.study, cast.therapist)
    for therapy, value in zip(therapies, (2, 6), strict=True):
        session = factories.hold_session(therapy)
        factories.give(factories.form_of(session, "therapist"), value, user=cast.therapist)
        factories.give(factories.form_of(session, "patient"), value, sharing="scores")
    for therapy in therapies:
        for reader in (cast.therapist, cast.supervisor):
            rows = visible_scores(reader, therapy)
            assert rows.exists()
            assert set(rows.values_list("response__assignment__session__therapy", flat=True)) == {therapy.pk}
            trend = signed_in(reader).get(f"/api/v1/therapies/{therapy.pk}/trend/").json()
            raters = [row["perspective"] for row in trend["ratings"] if row["scale"] == "total"]
            assert sorted(raters) == (["patient", "therapist"] if reader == cast.therapist else ["patient"])


def test_counts_over_a_study_are_of_its_own_ratings_and_of_nobody_who_was_taken_out(cast: Cast) -> None:
    other = factories.make_study(cast.clinic, code="OTHER")
    out = factories.make_therapy(cast.study, cast.therapist)
    for therapy in (cast.therapy, out, factories.make_therapy(other, cast.therapist)):
        factories.set_visibility(therapy.study, "feedback")
        session = factories.hold_session(therapy)
        factories.give(factories.form_of(session, "therapist"), 4, user=cast.therapist)
        factories.give(factories.form_of(session, "patient"), 4, sharing="scores")
    therapy_of = "response__assignment__session__therapy"
    assert set(revealed_scores(cast.study.pk).values_list(therapy_of, flat=True)) == {cast.therapy.pk, out.pk}
    Therapy.objects.filter(pk=out.pk).update(excluded_at=timezone.now())
    assert set(revealed_scores(cast.study.pk).values_list(therapy_of, flat=True)) == {cast.therapy.pk}


@pytest.mark.parametrize("visibility", ["blind", "delayed", "feedback"])
def test_the_sentence_that_a_study_hides_ratings_is_of_the_same_rule(visibility: str) -> None:
    for is_ended, is_open in itertools.product((False, True), repeat=2):
        version = StudyVersion(visibility=visibility, is_open_to_supervisors=is_open)
        shown = allowed(visibility, "scores", rated=True, ended=is_ended)
        assert shows_ratings(version, to_supervisor=False, is_ended=is_ended) == shown
        assert shows_ratings(version, to_supervisor=True, is_ended=is_ended) == (shown and is_open)
    assert not shows_ratings(None, to_supervisor=False, is_ended=True)
