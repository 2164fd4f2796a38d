"""Whatever page somebody opens, nothing of what therapists say of their own practice is in it, unless it is
their own or they are the present supervisor whom the therapist lets see it.

Both therapists of the world answer so that their means say whose they are, on every scale: about 1.7 for the
therapist, about 2.3 for the colleague. No other number of any page is one of these.
"""

import re
from collections.abc import Callable, Iterator

import pytest
from django.test import Client
from django.urls import reverse
from django.urls.resolvers import RoutePattern

from alliance_site.policy import POLICY
from analytics.services.practice_bands import clinic_bases_make
from surveys.models import Membership, Response, Role, Therapist, Therapy, User
from tests import factories
from tests.conftest import Cast, signed_in
from tests.test_permissions import ROUTES
from tests.test_visibility_oracle import body_of

pytestmark = pytest.mark.django_db

ACTORS = ("therapist", "colleague", "supervisor", "clinic_admin", "researcher", "stranger", "superuser")
FORMS = ("dpccq-difficulties", "dpccq-feelings-general", "dpccq-coping", "dpccq-manner", "dpccq-feelings")
OWNERS = {"therapist": (1, 2, 0.7), "colleague": (2, 3, 0.3)}
CANARY = {"therapist": r"1[.,](?:6|7|8)\d*", "colleague": r"2[.,](?:2|3)\d*"}


def answers(code: str, owner: str) -> dict[int, int]:
    """On every scale a mean a little off the canary: 1.67, 1.75 or 1.8; 2.2, 2.25 or 2.33."""
    low, high, share = OWNERS[owner]
    form = factories.instrument(code, "therapist").form
    given = {}
    for scale in form.scales:
        n_high = round(share * len(scale.items) + (0.05 if share > 0.5 else -0.05))
        for at, item in enumerate(scale.items):
            given[item] = high if at < n_high else low
    return given


@pytest.fixture
def world(cast: Cast) -> Cast:
    """Both therapists have sent every form, about a session as well, and there are enough others."""
    factories.replan(
        cast.study,
        extra=[
            {"instrument": factories.instrument("dpccq-feelings", "therapist"), "every": 1, "sessions": []}
        ],
    )
    # A supervisee who shares nothing.
    Therapist.objects.filter(user=cast.colleague).update(supervisor=cast.supervisor)
    for owner, therapy in (("therapist", cast.therapy), ("colleague", cast.colleague_therapy)):
        user = getattr(cast, owner)
        own = Therapist.objects.get(user=user, clinic=cast.clinic)
        for code in FORMS[:-1]:
            for period in ("entry", "year-1"):
                form = factories.form_about_practice(own, cast.study, code, period)
                factories.give(form, answers(code, owner), user=user)
        session = factories.hold_session(therapy)
        form = session.assignments.get(instrument__code=FORMS[-1])
        factories.give(form, answers(FORMS[-1], owner), user=user)
    clinic_bases_make(str(cast.clinic.pk))()
    return cast


def addresses(cast: Cast) -> Iterator[tuple[str, str]]:
    """Every route that can be read, with every object of the world."""
    therapies = list(Therapy.objects.filter(study=cast.study).order_by("pk"))
    values = {
        "therapist_id": list(Therapist.objects.filter(user__isnull=False).values_list("pk", flat=True)),
        "therapy_id": [row.pk for row in therapies],
        "session_id": [session.pk for row in therapies for session in row.sessions.all()],
        "assignment_id": list(Response.objects.values_list("assignment", flat=True))[:2],
        "patient_id": [row.patient_id for row in therapies],
        "user_id": [cast.therapist.pk, cast.colleague.pk],
        "study_id": [cast.study.pk],
    }
    readable = {name for name, method in POLICY if method == "GET"}
    for route in ROUTES:
        names = list(route.pattern.converters)
        if route.name in readable and isinstance(route.pattern, RoutePattern) and set(names) <= set(values):
            if len(names) > 1:
                continue
            for value in values[names[0]] if names else [None]:
                url = reverse(route.name, kwargs={names[0]: value} if names else {})
                yield route.name, url
                if route.name == "practice-chart":
                    yield route.name, f"{url}?of=general.dpccq-difficulties.0.5.self_doubt"
                    yield route.name, f"{url}?of=sessions.dpccq-feelings.0.3.flow"


def readers(world: Cast, actors: dict[str, User | None], part: str = "") -> dict[str, set[str]]:
    """By owner, which of the actors could read a canary of theirs somewhere, or on some of the pages."""
    seen: dict[str, set[str]] = {owner: set() for owner in OWNERS}
    pages = [(name, url) for name, url in addresses(world) if part in name]
    assert {name for name, _ in pages} >= {"practice", "practice-chart", "supervisee-practice"}
    for actor, user in actors.items():
        client = signed_in(user) if user else Client()
        for _name, url in pages:
            body = body_of(client.get(url))
            for owner, canary in CANARY.items():
                if re.search(rf"(?<![\d.,:]){canary}(?![\d.:]|\s?%|rem|px)", body):
                    seen[owner].add(actor)
    return seen


def everybody(cast: Cast) -> dict[str, User | None]:
    return {**{actor: getattr(cast, actor) for actor in ACTORS}, "anonymous": None}


@pytest.mark.slow
def test_without_a_choice_only_the_therapist_reads_it(world: Cast) -> None:
    assert readers(world, everybody(world)) == {"therapist": {"therapist"}, "colleague": {"colleague"}}


@pytest.mark.parametrize(
    "actors",
    [
        pytest.param(
            ("colleague", "supervisor", "clinic_admin"), marks=[pytest.mark.slow, pytest.mark.judge]
        ),
        pytest.param((*ACTORS, "anonymous"), marks=pytest.mark.slow),
    ],
)
def test_with_the_choice_the_supervisor_reads_it_and_nobody_else_more(
    world: Cast, actors: tuple[str, ...]
) -> None:
    own = Therapist.objects.filter(user=world.therapist)
    own.update(practice_shared_with=world.supervisor)
    seen = readers(world, {actor: everybody(world)[actor] for actor in actors})
    assert seen["therapist"] == {"therapist", "supervisor"} & set(actors)
    assert seen["colleague"] == {"colleague"}


def lose_the_role(cast: Cast) -> None:
    Membership.objects.filter(user=cast.supervisor, role=Role.SUPERVISOR).delete()
    Membership.objects.create(user=cast.supervisor, clinic=cast.clinic, role=Role.CLINIC_ADMIN)


def be_replaced(cast: Cast) -> None:
    new = factories.make_user("new@example.org", Role.SUPERVISOR, clinic=cast.clinic)
    Therapist.objects.filter(user=cast.therapist).update(supervisor=new)


def hold_the_role_elsewhere(cast: Cast) -> None:
    Membership.objects.filter(user=cast.supervisor).update(clinic=cast.stranger_study.clinic)


def be_taken_back(cast: Cast) -> None:
    Therapist.objects.filter(user=cast.therapist).update(practice_shared_with=None)


def share_ratings_alone(cast: Cast) -> None:
    Therapist.objects.filter(user=cast.therapist).update(
        practice_shared_with=None, ratings_shared_with=cast.supervisor
    )


@pytest.mark.parametrize(
    "end", [lose_the_role, be_replaced, hold_the_role_elsewhere, be_taken_back, share_ratings_alone]
)
def test_the_supervisor_s_sight_ends_at_once(world: Cast, end: Callable[[Cast], None]) -> None:
    Therapist.objects.filter(user=world.therapist).update(practice_shared_with=world.supervisor)
    end(world)
    actors = {"supervisor": world.supervisor, "therapist": world.therapist}
    new = User.objects.filter(email="new@example.org").first()
    seen = readers(world, actors | ({"new": new} if new else {}), "practice")
    assert seen == {"therapist": {"therapist"}, "colleague": set()}
