"""A therapy begins, ends, or goes on with another therapist: what moves and what stays."""

from datetime import date, timedelta

import pytest
from django.utils import timezone

from surveys.access import visible_scores, visible_therapies
from surveys.models import Assignment, AuditEvent, Patient, Study, Therapist, Therapy
from surveys.services.assignments import trait_forms_assign
from surveys.services.sessions import session_close
from surveys.services.therapies import TherapyRefused, therapy_begin, therapy_end, therapy_transfer
from tests import factories
from tests.conftest import Cast

pytestmark = pytest.mark.django_db


def today() -> date:
    return timezone.localdate()


def begin(cast: Cast, **fields: object) -> Therapy:
    wanted = {
        "patient": Patient.objects.create(clinic=cast.clinic),
        "therapist": cast.therapy.therapist,
        "study": cast.study,
        "started_on": today(),
        "actor": cast.clinic_admin,
    }
    return therapy_begin(**(wanted | fields))


def test_a_therapy_begins_with_a_trace(cast: Cast) -> None:
    therapy = begin(cast, arm="weekly")
    assert (therapy.arm, therapy.started_on, therapy.ended_on) == ("weekly", today(), None)
    event = AuditEvent.objects.get(act="therapy.begin")
    assert (event.actor, event.subject) == (cast.clinic_admin, f"therapy:{therapy.pk}")


def test_a_therapy_that_cannot_begin_is_refused_in_a_sentence(cast: Cast) -> None:
    draft = Study.objects.create(clinic=cast.clinic, code="draft", name="Draft")
    for fields, sentence in (
        ({"started_on": today() + timedelta(days=1)}, "still to come"),
        ({"study": draft}, "not active yet"),
        ({"therapist": cast.stranger_therapy.therapist}, "same clinic"),
        ({"study": cast.stranger_study}, "same clinic"),
        ({"patient": cast.therapy.patient}, cast.therapy.code),
    ):
        with pytest.raises(TherapyRefused, match=sentence):
            begin(cast, **fields)
    assert not AuditEvent.objects.filter(act="therapy.begin").exists()


def test_a_patient_who_withdrew_is_asked_no_more_in_the_next_therapy_of_the_study(cast: Cast) -> None:
    old = begin(cast)
    stopped = timezone.now()
    Therapy.objects.filter(pk=old.pk).update(stopped_at=stopped, excluded_at=stopped)
    therapy_end(therapy=old, ended_on=today(), reason="dropout")
    new = begin(cast, patient=old.patient)
    assert (new.stopped_at, new.excluded_at) == (stopped, stopped)


def test_a_therapy_ends_once_and_not_before_its_last_session(cast: Cast) -> None:
    factories.hold_session(cast.therapy, timezone.now() - timedelta(days=3))
    for day, sentence in (
        (today() + timedelta(days=1), "still to come"),
        (today() - timedelta(days=400), "began on"),
        (today() - timedelta(days=20), "The log has a session on"),
    ):
        with pytest.raises(TherapyRefused, match=sentence):
            therapy_end(therapy=cast.therapy, ended_on=day, reason="completed")
    therapy_end(therapy=cast.therapy, ended_on=today(), reason="completed", actor=cast.therapist)
    with pytest.raises(TherapyRefused, match="ended on"):
        therapy_end(therapy=cast.therapy, ended_on=today(), reason="dropout")
    assert Therapy.objects.get(pk=cast.therapy.pk).end_reason == "completed"


def test_forms_that_are_open_at_the_end_may_still_be_filled(cast: Cast) -> None:
    session = factories.hold_session(cast.therapy)
    therapy_end(therapy=cast.therapy, ended_on=today(), reason="completed")
    factories.give(factories.form_of(session, "patient"))
    assert factories.form_of(session, "patient").state == "submitted"


def test_after_a_transfer_each_therapist_has_their_own_ratings(cast: Cast) -> None:
    old = cast.therapy
    session = factories.hold_session(old)
    factories.give(factories.form_of(session, "therapist"), user=cast.therapist)
    factories.give(factories.form_of(session, "patient"))
    new = therapy_transfer(
        therapy=old,
        therapist=cast.colleague_therapy.therapist,
        on=today(),
        actor=cast.clinic_admin,
    )
    old.refresh_from_db()
    assert (old.ended_on, old.end_reason) == (today(), "transfer")
    assert (new.previous, new.patient, new.study, new.started_on) == (old, old.patient, old.study, today())
    assert old in visible_therapies(cast.therapist)
    assert new not in visible_therapies(cast.therapist)
    assert old not in visible_therapies(cast.colleague)
    assert visible_scores(cast.therapist, old).filter(scale="total").count() == 2
    assert not visible_scores(cast.colleague, old).exists()
    assert not visible_scores(cast.colleague, new).exists()
    first = session_close(therapy=new, held_at=timezone.now() - timedelta(minutes=1), status="held").session
    assert first.number == 1, "sessions of the new therapy count from 1"
    event = AuditEvent.objects.get(act="therapy.transfer")
    assert (event.subject, event.detail) == (f"therapy:{old.pk}", {"to": str(new.pk)})


def test_a_transfer_leaves_the_open_forms_with_the_old_therapy(cast: Cast) -> None:
    session = factories.hold_session(cast.therapy)
    therapy_transfer(therapy=cast.therapy, therapist=cast.colleague_therapy.therapist, on=today())
    factories.give(factories.form_of(session, "patient"))
    factories.give(factories.form_of(session, "therapist"), user=cast.therapist)
    assert visible_scores(cast.therapist, cast.therapy).filter(scale="total").count() == 2


def test_a_transfer_carries_on_that_the_patient_is_asked_no_more(cast: Cast) -> None:
    stopped = timezone.now()
    Therapy.objects.filter(pk=cast.therapy.pk).update(stopped_at=stopped, arm="weekly")
    new = therapy_transfer(therapy=cast.therapy, therapist=cast.colleague_therapy.therapist, on=today())
    assert (new.stopped_at, new.arm) == (stopped, "weekly")
    session = session_close(therapy=new, held_at=timezone.now(), status="held").session
    assert {form.rater for form in session.assignments.all()} == {"therapist"}


def test_a_transfer_that_cannot_be_is_refused_and_changes_nothing(cast: Cast) -> None:
    factories.hold_session(cast.therapy, timezone.now() - timedelta(days=3))
    colleague = cast.colleague_therapy.therapist
    for therapist, on, sentence in (
        (cast.therapy.therapist, today(), "treats the patient already"),
        (cast.stranger_therapy.therapist, today(), "same clinic"),
        (colleague, today() + timedelta(days=1), "still to come"),
        (colleague, today() - timedelta(days=20), "The log has a session on"),
    ):
        with pytest.raises(TherapyRefused, match=sentence):
            therapy_transfer(therapy=cast.therapy, therapist=therapist, on=on)
    assert Therapy.objects.filter(patient=cast.therapy.patient).count() == 1
    assert Therapy.objects.get(pk=cast.therapy.pk).ended_on is None


# Forms about practice in general.


@pytest.fixture
def trait_study(cast: Cast) -> Study:
    form = factories.instrument("dpccq-difficulties", "therapist")
    factories.replan(cast.study, extra=[{"instrument": form, "period": "yearly"}])
    return cast.study


def owed(therapist: Therapist) -> list[str]:
    rows = Assignment.objects.filter(therapist=therapist).order_by("opens_at", "pk")
    return list(rows.values_list("period", flat=True))


def test_every_therapist_with_a_running_therapy_owes_the_forms_about_practice_once(
    cast: Cast, trait_study: Study
) -> None:
    assert trait_forms_assign() == 2
    assert trait_forms_assign() == 0
    assert owed(cast.therapy.therapist) == owed(cast.colleague_therapy.therapist) == ["entry"]
    form = Assignment.objects.get(therapist=cast.therapy.therapist)
    assert (form.closes_at - form.opens_at, form.version) == (timedelta(days=60), trait_study.current)
    assert owed(cast.stranger_therapy.therapist) == []


def test_years_count_from_the_therapist_s_own_beginning(cast: Cast, trait_study: Study) -> None:
    trait_forms_assign()
    began = cast.therapy.started_on
    assert trait_forms_assign(on=began + timedelta(days=360)) == 0
    assert trait_forms_assign(on=began + timedelta(days=370)) == 2
    assert owed(cast.therapy.therapist) == ["entry", "year-1"]


def test_every_study_asks_about_practice_for_itself(cast: Cast, trait_study: Study) -> None:
    """Years count from the first therapy in each, and each has its own data."""
    other = factories.make_study(cast.clinic, code="S9")
    form = factories.instrument("dpccq-difficulties", "therapist")
    factories.replan(other, extra=[{"instrument": form, "period": "yearly"}])
    factories.make_therapy(other, cast.therapist)
    Therapy.objects.filter(pk=cast.therapy.pk).update(started_on=today() - timedelta(days=400))
    assert trait_forms_assign() == 3
    assert trait_forms_assign() == 0
    rows = Assignment.objects.filter(therapist=cast.therapy.therapist)
    assert set(rows.values_list("study__code", "period")) == {("S1", "year-1"), ("S9", "entry")}
    assert trait_forms_assign(study=other, on=today() + timedelta(days=300)) == 1
    assert rows.filter(study=other, period="year-1").exists()


def test_a_therapist_whose_therapies_have_ended_owes_nothing_new(cast: Cast, trait_study: Study) -> None:
    therapy_end(therapy=cast.therapy, ended_on=today(), reason="completed")
    assert trait_forms_assign() == 1
    assert owed(cast.therapy.therapist) == []


def test_who_begins_the_first_therapy_owes_the_forms_about_practice_at_once(
    cast: Cast, trait_study: Study
) -> None:
    newcomer = Therapist.objects.create(clinic=cast.clinic)
    begin(cast, therapist=newcomer)
    assert owed(newcomer) == ["entry"]
    assert owed(cast.therapy.therapist) == []


def test_a_form_added_by_a_later_version_counts_from_that_version(cast: Cast) -> None:
    form = factories.instrument("dpccq-difficulties", "therapist")
    Therapy.objects.filter(pk=cast.therapy.pk).update(started_on=today() - timedelta(days=4000))
    factories.replan(cast.study, extra=[{"instrument": form, "period": "yearly"}])
    trait_forms_assign()
    assert owed(cast.therapy.therapist) == ["year-2"], "the version is active since 1000 days"
