"""The doors by themselves, for who never gets as far as them on a page: a door does not count on the gate."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.http import Http404

from analytics.access import administered_exports, joint_estimates, visible_exports
from surveys import access, api_access, clinic_access, practice_access, sharing_access
from surveys.models import Membership, Role, Therapist
from tests import factories
from tests.conftest import Cast

pytestmark = pytest.mark.django_db
NOBODY = AnonymousUser()

OF_SOMEBODY: tuple[Callable[[Any], Any], ...] = (
    access.roles,
    access.visible_therapies,
    access.supervised_therapies,
    access.clinic_therapies,
    access.loggable_therapies,
    access.open_supervised_therapies,
    access.own_practices,
    access.visible_forms,
    access.visible_studies,
    access.administered_clinics,
    access.visible_caseload_scores,
    access.visible_supervised_scores,
    access.visible_patient_forms,
    clinic_access.visible_tablets,
    clinic_access.administered_studies,
    clinic_access.administered_tests,
    clinic_access.clinic_patients,
    api_access.own_tokens,
    api_access.own_clinics,
    api_access.readable_responses,
    practice_access.shared_practices,
    practice_access.readable_practices,
    visible_exports,
    administered_exports,
)


@pytest.mark.parametrize("door", OF_SOMEBODY, ids=lambda door: door.__name__)
def test_who_is_not_signed_in_finds_nothing(cast: Cast, door: Callable[[Any], Any]) -> None:
    factories.hold_session(cast.therapy)
    assert list(door(NOBODY)) == []


def test_nor_do_they_know_anybody_s_ratings(cast: Cast) -> None:
    assert clinic_access.known_one_by_one(NOBODY, cast.study, "patient") == frozenset()
    assert sharing_access.ever_shared_with(NOBODY, cast.clinic.pk, "practice_shared_with") == frozenset()
    assert list(sharing_access.sharing_therapists(NOBODY, "practice_shared_with")) == []
    assert joint_estimates(NOBODY, cast.study) == {}
    assert access.first_clinic(NOBODY, Role.THERAPIST) is None
    with pytest.raises(Http404):
        access.person(NOBODY)
    with pytest.raises(Http404):
        clinic_access.get_administered_clinic_or_404(NOBODY)
    form = factories.form_of(factories.hold_session(cast.therapy), "therapist")
    factories.open_form(form, user=cast.therapist)
    with pytest.raises(Http404):
        access.get_opening_or_404(NOBODY, "", form.pk)


def test_a_disabled_account_has_no_role_and_is_shown_nothing(cast: Cast) -> None:
    Therapist.objects.filter(user=cast.therapist).update(practice_shared_with=cast.supervisor)
    shared = sharing_access.sharing_therapists
    assert len(shared(cast.supervisor, "practice_shared_with")) == 1
    assert access.roles(cast.supervisor) == {"supervisor"}
    cast.supervisor.is_active = False
    assert access.roles(cast.supervisor) == frozenset()
    assert list(shared(cast.supervisor, "practice_shared_with")) == []


@pytest.mark.parametrize(
    "lost", ["role of the supervisor", "role of the therapist", "account", "supervision"]
)
def test_what_a_therapist_shares_ends_with_everything_it_rests_on(cast: Cast, lost: str) -> None:
    rows = Therapist.objects.filter(user=cast.therapist)
    rows.update(practice_shared_with=cast.supervisor, ratings_shared_with=cast.supervisor)
    if lost == "role of the supervisor":
        Membership.objects.filter(user=cast.supervisor).update(role=Role.THERAPIST)
    elif lost == "role of the therapist":
        Membership.objects.filter(user=cast.therapist).update(role=Role.RESEARCHER)
    elif lost == "account":
        cast.therapist.is_active = False
        cast.therapist.save(update_fields=["is_active"])
    else:
        rows.update(supervisor=None)
    for what in ("practice_shared_with", "ratings_shared_with"):
        assert list(sharing_access.sharing_therapists(cast.supervisor, what)) == []


def test_a_role_in_another_clinic_is_none_here(cast: Cast) -> None:
    """Every role, in the stranger's clinic, of somebody who treats and supervises in the first one."""
    elsewhere = cast.stranger_study.clinic
    for user in (cast.therapist, cast.supervisor, cast.researcher, cast.clinic_admin):
        Membership.objects.filter(user=user).update(clinic=elsewhere)
    assert list(access.visible_therapies(cast.therapist)) == []
    assert list(access.own_practices(cast.therapist)) == []
    assert list(access.supervised_therapies(cast.supervisor)) == []
    assert cast.study not in access.visible_studies(cast.researcher)
    assert cast.therapy not in access.clinic_therapies(cast.clinic_admin)


def test_a_therapy_whose_patient_is_asked_for_nothing_is_not_open_to_the_supervisor(cast: Cast) -> None:
    factories.set_visibility(cast.study, "feedback", is_open_to_supervisors=True)
    factories.replan(cast.study, keep=("therapist",))
    factories.hold_session(cast.therapy)
    assert list(access.open_supervised_therapies(cast.supervisor)) == []
