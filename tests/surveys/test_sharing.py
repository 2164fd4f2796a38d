"""What a therapist lets their supervisor see: the choice, its end, and who opens the door by it."""

import pytest
from django.test import Client

from surveys.models import AuditEvent, Membership, Role, Therapist, User
from surveys.practice_access import shared_practices
from surveys.services.people import supervisor_set
from surveys.services.sharing import SharingRefused, sharing_set
from surveys.sharing_access import ever_shared_with
from tests import factories
from tests.conftest import Cast, signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def own(cast: Cast) -> Therapist:
    return Therapist.objects.get(user=cast.therapist)


@pytest.fixture
def second(cast: Cast) -> User:
    return factories.make_user("second@example.org", Role.SUPERVISOR, clinic=cast.clinic, name="Second")


def send(cast: Cast, own: Therapist, *ticked: str, supervisor: User | None = None) -> str:
    """The page after the form was sent, with the sentence on top."""
    answer = signed_in(cast.therapist).post(
        f"/practices/{own.pk}/sharing/",
        {"supervisor": str((supervisor or cast.supervisor).pk), **dict.fromkeys(ticked, "on")},
        follow=True,
    )
    assert answer.status_code == 200
    own.refresh_from_db()
    return answer.content.decode()


def n_events() -> int:
    return AuditEvent.objects.filter(act="therapist.sharing").count()


def test_each_choice_is_told_and_kept_with_its_trace(cast: Cast, own: Therapist) -> None:
    assert "supervisor@example.org now sees your own ratings of the alliance and your practice" in send(
        cast, own, "ratings", "practice"
    )
    assert (own.shares_ratings, own.shares_practice) == (True, True)
    page = send(cast, own, "practice")
    assert "now sees your practice (DPCCQ), not your own ratings" in page
    assert "You share this page with <bdi>supervisor@example.org</bdi>; nobody else sees it." in page
    assert (own.shares_ratings, own.shares_practice) == (False, True)
    event = AuditEvent.objects.filter(act="therapist.sharing").latest("id")
    assert (event.actor, event.clinic, event.subject) == (cast.therapist, cast.clinic, f"therapist:{own.pk}")
    assert event.detail == {"supervisor": str(cast.supervisor.pk), "ratings": False, "practice": True}
    page = send(cast, own)
    assert "now sees neither; only which of your forms are done." in page
    assert "Nobody else sees this page." in page
    assert n_events() == 3
    send(cast, own)
    assert n_events() == 3, "the same choice again leaves no trace"


def test_the_page_ticks_what_is_shared(cast: Cast, own: Therapist) -> None:
    send(cast, own, "practice")
    page = signed_in(cast.therapist).get("/practice/").content.decode()
    assert 'name="practice" checked' in page
    assert 'name="ratings" checked' not in page


def test_without_a_supervisor_nothing_can_be_shared(cast: Cast, own: Therapist) -> None:
    supervisor_set(therapist=own, supervisor=None)
    page = signed_in(cast.therapist).get("/practice/").content.decode()
    assert "You have no supervisor in this clinic now" in page
    assert "/sharing/" not in page
    assert "Nothing was shared: you have no supervisor in this clinic now." in send(cast, own, "practice")
    assert not own.shares_practice
    assert n_events() == 0


def test_a_page_that_named_another_supervisor_shares_nothing(
    cast: Cast, own: Therapist, second: User
) -> None:
    supervisor_set(therapist=own, supervisor=second)
    page = send(cast, own, "practice", "ratings", supervisor=cast.supervisor)
    assert "your supervisor has changed since this page was opened. It is Second now; choose again." in page
    assert not own.shares_practice
    assert not shared_practices(second).exists()
    with pytest.raises(SharingRefused):
        sharing_set(therapist=own, supervisor="", ratings=True, practice=False)


def test_taking_back_is_never_refused(cast: Cast, own: Therapist, second: User) -> None:
    send(cast, own, "practice")
    Membership.objects.filter(user=cast.supervisor).delete()
    page = signed_in(cast.therapist).get("/practice/").content.decode()
    assert "They do not have the role of a supervisor in this clinic now and see nothing" in page
    assert "Nothing was shared" not in send(cast, own, supervisor=second)
    assert own.practice_shared_with is None


@pytest.mark.parametrize("lost", ["role", "clinic", "account"])
def test_a_supervisor_who_lost_the_role_or_the_account_cannot_be_chosen(
    cast: Cast, own: Therapist, second: User, lost: str
) -> None:
    if lost == "role":
        Membership.objects.filter(user=cast.supervisor).update(role=Role.RESEARCHER)
    elif lost == "clinic":
        Membership.objects.filter(user=cast.supervisor).update(clinic=cast.stranger_study.clinic)
    else:
        User.objects.filter(pk=cast.supervisor.pk).update(is_active=False)
    assert "Nothing was shared" in send(cast, own, "practice")


def test_who_was_shown_the_practice_never_knew_the_ratings(cast: Cast, own: Therapist) -> None:
    send(cast, own, "practice")
    send(cast, own)
    assert ever_shared_with(cast.supervisor, own.clinic_id, "practice_shared_with") == {own.pk}
    assert ever_shared_with(cast.supervisor, own.clinic_id, "ratings_shared_with") == frozenset()


def test_who_lost_the_role_reads_nothing_though_another_has_it(
    cast: Cast, own: Therapist, second: User
) -> None:
    send(cast, own, "practice")
    assert shared_practices(cast.supervisor).get() == own
    Membership.objects.filter(user=cast.supervisor).update(role=Role.RESEARCHER)
    assert not shared_practices(cast.supervisor).exists()


def test_another_supervisor_begins_with_nothing_and_the_first_one_does_not_get_it_back(
    cast: Cast, own: Therapist, second: User
) -> None:
    send(cast, own, "practice", "ratings")
    supervisor_set(therapist=own, supervisor=second)
    own.refresh_from_db()
    assert (own.ratings_shared_with, own.practice_shared_with) == (None, None)
    assert not shared_practices(second).exists()
    supervisor_set(therapist=own, supervisor=cast.supervisor)
    assert not shared_practices(cast.supervisor).exists()


def test_a_choice_for_somebody_else_opens_nothing_even_where_it_still_stands(
    cast: Cast, own: Therapist, second: User
) -> None:
    Therapist.objects.filter(pk=own.pk).update(practice_shared_with=cast.supervisor, supervisor=second)
    assert not shared_practices(cast.supervisor).exists()
    assert not shared_practices(second).exists()
    own.refresh_from_db()
    assert not own.shares_practice


def test_the_supervisor_finds_what_is_shared_and_reading_it_leaves_a_trace(
    cast: Cast, own: Therapist
) -> None:
    client = signed_in(cast.supervisor)
    page = f"/supervision/practices/{own.pk}/"
    assert (
        "Nobody shares their practice with you now." in client.get("/supervision/practices/").content.decode()
    )
    assert client.get(page).status_code == 404
    assert client.get(f"/practices/{own.pk}/chart.svg?of=involvement").status_code == 404
    send(cast, own, "practice")
    assert page in client.get("/supervision/practices/").content.decode()
    assert client.get(page).status_code == 200
    (event,) = AuditEvent.objects.filter(act="practice.view", status=None)
    assert (event.actor, event.subject) == (cast.supervisor, f"therapist:{own.pk}")
    send(cast, own, "ratings")
    assert client.get(page).status_code == 404


def test_reading_one_s_own_page_leaves_no_trace(cast: Cast) -> None:
    signed_in(cast.therapist).get("/practice/")
    assert not AuditEvent.objects.filter(act="practice.view").exists()


def test_a_therapist_who_left_shares_nothing_as_they_could_not_take_it_back(
    cast: Cast, own: Therapist
) -> None:
    send(cast, own, "practice")
    assert shared_practices(cast.supervisor).exists()
    Membership.objects.filter(user=cast.therapist).delete()
    assert not shared_practices(cast.supervisor).exists()


@pytest.mark.parametrize("actor", ["colleague", "stranger", "supervisor", "clinic_admin", "superuser", ""])
def test_nobody_chooses_for_somebody_else(cast: Cast, own: Therapist, actor: str) -> None:
    client = signed_in(getattr(cast, actor)) if actor else Client()
    answer = client.post(
        f"/practices/{own.pk}/sharing/", {"supervisor": str(cast.supervisor.pk), "practice": "on"}
    )
    assert answer.status_code == (404 if actor in ("colleague", "stranger") else 403 if actor else 302)
    own.refresh_from_db()
    assert not own.shares_practice


def test_the_form_of_a_therapist_says_who_sees_it(cast: Cast) -> None:
    form = factories.form_of(factories.hold_session(cast.therapy), "therapist")
    factories.open_form(form, browser="", user=cast.therapist)
    page = signed_in(cast.therapist).get(f"/f/{form.pk}/").content.decode()
    assert "what you chose to share with them on the page “Your practice”" in page
