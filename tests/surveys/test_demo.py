"""The demonstration clinic in the database, its accounts, its manifest and its links."""

import json
import stat
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from allauth.mfa.models import Authenticator
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import transaction
from django.test import Client, override_settings
from django.utils import timezone
from knox.crypto import hash_token
from knox.models import AuthToken

from surveys.access import visible_studies, visible_therapies
from surveys.demo.build import ACCOUNTS, SEED, STUDY, TRAIT_FORMS, DemoRefused, build, team_size
from surveys.demo.cohort import SHOWCASE, simulate
from surveys.demo.manifest import write_manifest
from surveys.demo.parameters import EVERY_SESSION, OCCASIONS, SIZES, Size
from surveys.fields import decrypt
from surveys.models import (
    Assignment,
    AuditEvent,
    Clinic,
    FormLink,
    Job,
    Membership,
    Opening,
    Patient,
    Response,
    Score,
    Session,
    Study,
    StudyVersion,
    Therapist,
    Therapy,
    User,
)
from surveys.packs import RATERS, built_in
from surveys.practice_access import shared_practices
from surveys.readiness import gaps
from surveys.tokens import token_hash
from tests import factories

TINY = Size(n_therapists=3, n_patients=24)
BASE = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def demo_clinic(
    django_db_setup: None, django_db_blocker: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """The tiny demonstration clinic, built once; gives VAR."""
    var = tmp_path_factory.mktemp("var")
    with django_db_blocker.unblock(), override_settings(DEMO=True, VAR=var), transaction.atomic():
        assert build(TINY)
        yield var
        transaction.set_rollback(True)


@pytest.fixture
def demo(demo_clinic: Path, db: None) -> Path:
    return demo_clinic


def n_rows() -> list[int]:
    models = (
        AuditEvent,
        Assignment,
        Clinic,
        Job,
        Membership,
        Opening,
        Response,
        Score,
        Session,
        Therapy,
        User,
    )
    return [model.objects.count() for model in models]


def test_the_clinic_has_the_people_of_its_size_and_is_marked_simulated(demo: Path) -> None:
    assert Clinic.objects.get().is_simulated
    assert Therapist.objects.count() == TINY.n_therapists
    assert Therapy.objects.count() == TINY.n_patients
    assert Study.objects.get(code=STUDY).code == STUDY
    assert Study.objects.get(code=STUDY).visibility == StudyVersion.Visibility.FEEDBACK
    assert set(Therapy.objects.values_list("arm", flat=True)) == {"", EVERY_SESSION}
    assert Therapy.objects.filter(ended_on=None).count() > 10


def test_the_administrator_finds_texts_addresses_and_a_study_that_is_half_set_up(demo: Path) -> None:
    texts = Study.objects.get(code=STUDY).current.texts.all()
    assert {text.language for text in texts} == {"en", "de"}
    # Whoever opens a link of the demonstration fills the form in without a question before it.
    assert not any(text.declaration for text in texts)
    draft = StudyVersion.objects.get(study__code="ROUTINE-2027")
    assert {gap.step for gap in gaps(draft)} == {"visibility", "texts"}
    addresses = [patient.contact for patient in Patient.objects.all() if patient.contact]
    assert addresses
    assert all(address.endswith("@example.org") for address in addresses)


def test_forms_are_due_where_the_plan_asks_and_nowhere_else(demo: Path) -> None:
    due = Assignment.objects.filter(session__isnull=False)
    outside = due.filter(session__therapy__arm="").exclude(session__number__in=OCCASIONS)
    assert not outside.exists()
    for therapy in Therapy.objects.all():
        held = therapy.sessions.filter(status="held")
        asked = held.count() if therapy.arm else held.filter(number__in=OCCASIONS).count()
        assert Assignment.objects.filter(session__therapy=therapy).count() == 2 * asked


def test_the_database_holds_the_answers_of_the_cohort(demo: Path) -> None:
    files = {(form.code, form.rater): form for form in built_in() if form.language == "en"}
    cohort = simulate(
        TINY,
        {rater: files["wai-s", rater] for rater in RATERS},
        [files[code, "therapist"] for code in TRAIT_FORMS],
        seed=SEED,
        today=timezone.localdate(),
    )
    expected = Counter(
        tuple(form.answers.values())
        for practitioner in cohort
        for course in practitioner.courses
        for form in course.forms
    )
    stored = Counter(
        tuple(answers.values())
        for answers in Response.objects.filter(assignment__session__isnull=False).values_list(
            "answers", flat=True
        )
    )
    assert stored == expected


@pytest.mark.parametrize("size", ["small", "study"])
def test_the_team_of_the_supervisor_is_one_whose_numbers_may_be_shown(size: str) -> None:
    files = {(form.code, form.rater): form for form in built_in() if form.language == "en"}
    forms = {rater: files["wai-s", rater] for rater in RATERS}
    cohort = simulate(SIZES[size], forms, [], seed=SEED, today=timezone.localdate())
    n_rated = [
        sum(any(form.rater == "patient" for form in course.forms) for course in practitioner.courses)
        for practitioner in cohort
    ]
    team, rest = n_rated[: team_size(len(cohort))], n_rated[team_size(len(cohort)) :]
    # Some patients share nothing, and some ratings are older than a year.
    assert 2 * n_rated[0] < 0.9 * sum(team)
    assert sum(n > 0 for n in rest) >= 3
    assert sum(rest) >= 8


def test_everything_happened_in_the_past_and_in_order(demo: Path) -> None:
    midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    assert not Session.objects.filter(held_at__gte=midnight).exists()
    for response in Response.objects.filter(assignment__session__isnull=False).select_related(
        "assignment__session"
    ):
        assert response.assignment.session.held_at < response.started_at < response.submitted_at < midnight
        assert response.submitted_at <= response.assignment.closes_at


def test_patient_ratings_are_revealed_when_the_therapist_has_rated(demo: Path) -> None:
    own = {
        response.assignment.session_id: response.submitted_at
        for response in Response.objects.filter(
            assignment__rater="therapist", assignment__session__isnull=False
        ).select_related("assignment")
    }
    of_patients = Response.objects.filter(assignment__rater="patient").select_related("assignment")
    assert {response.reveal_at is None for response in of_patients} == {True, False}
    for response in of_patients:
        rated_at = own.get(response.assignment.session_id)
        assert response.reveal_at == (rated_at and max(rated_at, response.submitted_at))


def test_traits_are_rated_once_a_period_by_each_therapist(demo: Path) -> None:
    forms = Assignment.objects.filter(therapist__isnull=False)
    periods = Counter(forms.values_list("period", flat=True))
    n_forms = len(TRAIT_FORMS) * TINY.n_therapists
    assert periods == {"entry": n_forms, "year-1": n_forms, "year-2": n_forms}
    own = forms.filter(state="submitted", therapist__user__email=ACCOUNTS["therapist"][0])
    assert own.count() == len(TRAIT_FORMS) * len(periods)
    assert set(forms.values_list("instrument__code", flat=True)) == set(TRAIT_FORMS)


def test_a_supervisee_shares_with_the_supervisor_and_the_shown_therapist_has_not_yet(demo: Path) -> None:
    supervisor = User.objects.get(email=ACCOUNTS["supervisor"][0])
    (shared,) = shared_practices(supervisor)
    assert (shared.shares_ratings, shared.shares_practice) == (True, True)
    assert not shared.user.has_usable_password()
    shown = Therapist.objects.get(user__email=ACCOUNTS["therapist"][0])
    assert shown.supervisor == supervisor
    assert not (shown.shares_ratings or shown.shares_practice)


def test_the_accounts_are_who_they_say(demo: Path) -> None:
    users = {name: User.objects.get(email=email) for name, (email, _) in ACCOUNTS.items()}
    assert visible_therapies(users["therapist"]).count() == len(SHOWCASE)
    assert not visible_therapies(users["researcher"]).exists()
    assert [study.code for study in visible_studies(users["researcher"])] == [STUDY]
    supervised = Therapist.objects.filter(supervisor=users["supervisor"])
    assert supervised.count() >= 2
    assert supervised.filter(user=users["therapist"]).exists()
    assert [name for name, user in users.items() if user.is_superuser] == ["superuser"]


def test_a_second_load_changes_nothing_and_says_so(demo: Path) -> None:
    before, out = n_rows(), StringIO()
    call_command("demo_clinic", stdout=out)
    assert "loaded already; nothing was changed" in out.getvalue()
    assert n_rows() == before


def test_outside_demo_mode_everything_is_refused(demo: Path) -> None:
    before = n_rows()
    with override_settings(DEMO=False):
        for command in ("demo_clinic", "demo_ready"):
            with pytest.raises(CommandError, match="demo mode only"):
                call_command(command)
    assert n_rows() == before
    assert not (demo / "demo.json").exists()


def test_a_database_with_real_people_is_refused(demo: Path) -> None:
    factories.make_clinic()
    before = n_rows()
    with pytest.raises(DemoRefused, match="not simulated"):
        build(TINY)
    assert n_rows() == before


def test_a_demo_that_is_not_loaded_cannot_be_made_ready(demo: Path) -> None:
    Study.objects.filter(code=STUDY).update(code="OTHER")
    with pytest.raises(CommandError, match="not loaded"):
        call_command("demo_ready")
    assert list(demo.iterdir()) == []


@pytest.fixture
def manifest(demo: Path) -> Iterator[dict[str, object]]:
    yield json.loads(write_manifest(f"{BASE}/").read_text())
    (demo / "demo.json").unlink()


def test_the_manifest_signs_everybody_in(demo: Path, manifest: dict) -> None:
    path = demo / "demo.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(demo.iterdir()) == [path]
    assert set(manifest) == {"base_url", "accounts", "patient_links", "therapy_ids"}
    assert manifest["base_url"] == BASE
    assert set(manifest["accounts"]) == set(ACCOUNTS)
    for name, account in manifest["accounts"].items():
        user = User.objects.get(email=account["email"])
        assert user.email == ACCOUNTS[name][0]
        assert user.check_password(account["password"])
        app = Authenticator.objects.get(user=user, type="totp")
        assert decrypt(app.data["secret"]) == account["totp_secret"]
        assert len(account["totp_secret"]) == 32
        assert AuthToken.objects.get(user=user).digest == hash_token(account["api_token"])


def test_the_manifest_links_open_forms_that_reveal_at_once(manifest: dict) -> None:
    links = manifest["patient_links"]
    assert len(set(links)) == len(links) >= 20
    therapist = User.objects.get(email=ACCOUNTS["therapist"][0])
    own = visible_therapies(therapist)
    assert set(manifest["therapy_ids"]) == {str(therapy.pk) for therapy in own}
    client = Client()
    for link in links:
        assert link.startswith(f"{BASE}/r/")
        assert client.get(link.removeprefix(BASE)).status_code == 200
        form = Assignment.objects.get(links__token_hash=token_hash(link.rstrip("/").rsplit("/", 1)[-1]))
        assert (form.rater, form.state, form.study.code) == ("patient", "due", STUDY)
        assert form.closes_at > timezone.now() + timedelta(days=1)
        assert form.session.therapy in own
        ratings_of_session = Assignment.objects.filter(session=form.session, rater="therapist")
        assert [row.state for row in ratings_of_session] == ["submitted"]


def test_a_session_that_the_therapist_has_not_rated_gets_no_link(demo: Path) -> None:
    therapy = Therapy.objects.filter(
        therapist__user__email=ACCOUNTS["therapist"][0], arm=EVERY_SESSION, ended_on=None
    ).first()
    session = factories.hold_session(therapy)
    write_manifest(BASE).unlink()
    assert not factories.form_of(session, "patient").links.exists()


def test_a_restart_keeps_what_is_still_right(demo: Path, manifest: dict) -> None:
    again = json.loads(write_manifest("http://127.0.0.1:9000").read_text())
    assert again["accounts"] == manifest["accounts"]
    assert again["patient_links"] == [link.replace(":8000", ":9000") for link in manifest["patient_links"]]
    assert AuthToken.objects.count() == len(ACCOUNTS)


def test_a_restart_replaces_what_is_no_longer_right(demo: Path, manifest: dict) -> None:
    user = User.objects.get(email=ACCOUNTS["researcher"][0])
    user.set_password("changed by its owner since")
    user.save(update_fields=["password"])
    AuthToken.objects.filter(user=user).delete()
    account = json.loads(write_manifest(BASE).read_text())["accounts"]["researcher"]
    user.refresh_from_db()
    assert user.check_password(account["password"])
    assert AuthToken.objects.get(user=user).digest == hash_token(account["api_token"])


@pytest.mark.parametrize("content", ["", "[]", "{", '{"accounts": 3, "patient_links": {"a": 1}}'])
def test_a_damaged_file_is_written_anew(demo: Path, content: str) -> None:
    (demo / "demo.json").write_text(content)
    renewed = json.loads(write_manifest(BASE).read_text())
    (demo / "demo.json").unlink()
    assert len(renewed["patient_links"]) >= 20
    assert len(renewed["accounts"]) == len(ACCOUNTS)


def test_used_links_are_replaced_by_forms_of_new_sessions(demo: Path, manifest: dict) -> None:
    for form in Assignment.objects.filter(rater="patient", links__isnull=False):
        factories.give(form)
    n_therapies = Therapy.objects.count()
    renewed = json.loads(write_manifest(BASE).read_text())
    assert len(renewed["patient_links"]) >= 20
    assert not set(renewed["patient_links"]) & set(manifest["patient_links"])
    assert Therapy.objects.count() > n_therapies
    assert len(renewed["therapy_ids"]) == len(manifest["therapy_ids"]) + Therapy.objects.count() - n_therapies


def test_an_old_demo_goes_on_with_its_running_therapies(
    demo: Path, manifest: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = timezone.now() + timedelta(days=60)
    monkeypatch.setattr("django.utils.timezone.now", lambda: later)
    n_therapies = Therapy.objects.count()
    renewed = json.loads(write_manifest(BASE).read_text())
    assert len(renewed["patient_links"]) >= 20
    assert Therapy.objects.count() == n_therapies
    assert Session.objects.filter(held_at__gt=later - timedelta(days=21)).count() >= 20
    assert not Session.objects.filter(held_at__gte=later).exists()


def test_an_operator_gets_one_new_link(demo: Path) -> None:
    form = Assignment.objects.filter(rater="patient", state="due", closes_at__gt=timezone.now()).first()
    assert form is not None
    out = StringIO()
    call_command("patient_link", str(form.pk), base_url=BASE, stdout=out)
    link = out.getvalue().strip()
    assert link.startswith(BASE)
    assert Client().get(link.removeprefix(BASE)).status_code == 200
    form.refresh_from_db()
    assert form.links.filter(token_hash=token_hash(link.rstrip("/").rsplit("/", 1)[-1])).exists()


@pytest.mark.parametrize(
    ("which", "reason"),
    [
        ({"rater": "therapist"}, "a therapist signs in"),
        ({"rater": "patient", "state": "submitted"}, "needs no link"),
        ({"rater": "patient", "state": "due", "closes_at__lt": "now"}, "time for this form is over"),
    ],
)
def test_no_link_is_printed_for_a_form_that_takes_none(demo: Path, which: dict, reason: str) -> None:
    rule = {key: timezone.now() if value == "now" else value for key, value in which.items()}
    form = Assignment.objects.filter(**rule).order_by("-closes_at").first()
    with pytest.raises(CommandError, match=reason):
        call_command("patient_link", str(form.pk), base_url=BASE)
    assert not FormLink.objects.exists()


def test_no_link_is_printed_for_an_unknown_form(demo: Path) -> None:
    with pytest.raises(CommandError, match="There is no form"):
        call_command("patient_link", str(Clinic.objects.get().pk), base_url=BASE)
