"""Setting a study up: drafts, what is missing, activation, new versions; services and pages."""

from collections.abc import Callable
from datetime import date, timedelta

import pytest
from django.test import Client
from django.utils import timezone

from surveys.models import Assignment, AuditEvent, Instrument, Licence, PlanLine, Study, StudyVersion
from surveys.packs import InstrumentFile
from surveys.plans import in_words, picture, read_sessions
from surveys.readiness import gaps
from surveys.services.studies import (
    LineSpec,
    NotReady,
    StudyRefused,
    draft_begin,
    draft_discard,
    plan_set,
    reminders_set,
    study_create,
    study_describe,
    text_set,
    version_activate,
    visibility_set,
)
from tests import factories
from tests.conftest import Cast, signed_in

pytestmark = pytest.mark.django_db

LISTED = LineSpec(sessions=(3, 12, 20, 40), tolerance=1, catch_up=True)


def licensed(cast: Cast, rater: str = "patient", code: str = "wai-s") -> Instrument:
    """The clinic's own wording of a form, with the record that allows its use."""
    shipped = factories.instrument(code, rater)
    content = {**shipped.definition, "version": "clinic-1", "demonstration": False}
    InstrumentFile.from_definition(content)
    own = Instrument.objects.create(
        clinic=cast.clinic, code=code, version="clinic-1", rater=rater, language="en", definition=content
    )
    if not Licence.objects.filter(clinic=cast.clinic, code=code).exists():
        Licence.objects.create(
            clinic=cast.clinic,
            code=code,
            language="en",
            holder="A society",
            reference="Letter of May",
            permitted_use="Routine care",
            valid_from=timezone.localdate() - timedelta(days=1),
        )
    return own


def draft(cast: Cast, code: str = "R27") -> StudyVersion:
    return study_create(clinic=cast.clinic, code=code, name="Routine care 2027", actor=cast.clinic_admin)


def complete(cast: Cast, code: str = "R27") -> StudyVersion:
    """A draft of a real clinic that lacks nothing."""
    version = draft(cast, code)
    forms = [licensed(cast, "patient"), licensed(cast, "therapist")]
    plan_set(version=version, instruments=forms, lines=[LISTED])
    visibility_set(version=version, visibility="feedback")
    text_set(version=version, language="en", information="What is collected, and why.")
    return StudyVersion.objects.get(pk=version.pk)


def missing(version: StudyVersion) -> set[str]:
    return {gap.step for gap in gaps(StudyVersion.objects.get(pk=version.pk))}


def test_a_new_study_lacks_forms_policy_and_text_and_cannot_be_activated(cast: Cast) -> None:
    version = draft(cast)
    assert missing(version) == {"forms", "visibility", "texts"}
    with pytest.raises(NotReady) as refusal:
        version_activate(version=version, actor=cast.clinic_admin)
    assert len(refusal.value.gaps) == 3
    assert StudyVersion.objects.get(pk=version.pk).active_from is None


def test_a_complete_draft_comes_into_force_now_and_leaves_a_trace(cast: Cast) -> None:
    version = version_activate(version=complete(cast), actor=cast.clinic_admin)
    assert abs(version.active_from - timezone.now()) < timedelta(seconds=5)
    assert version.activated_by == cast.clinic_admin
    assert version.study.current == version
    assert AuditEvent.objects.filter(act="study.activate", actor=cast.clinic_admin).exists()


def with_demonstration_wording(version: StudyVersion) -> None:
    shipped = factories.instrument("wai-s", "patient")
    version.lines.filter(instrument__rater="patient").update(instrument=shipped)


def licensed_again(**changed: object) -> Callable[[StudyVersion], object]:
    """As if the one licence had been recorded with this."""

    def lack(version: StudyVersion) -> None:
        licence = Licence.objects.get()
        fields = {field.name: getattr(licence, field.name) for field in Licence._meta.concrete_fields[1:]}
        Licence.objects.create(**{**fields, **changed})

    return lack


def days(n: int) -> date:
    return timezone.localdate() + timedelta(days=n)


@pytest.mark.parametrize(
    ("lack", "step", "sentence"),
    [
        (lambda version: version.texts.all().delete(), "texts", "There is no privacy information"),
        (
            lambda version: version.texts.update(information=" "),
            "texts",
            "The privacy information in English",
        ),
        (
            lambda version: StudyVersion.objects.filter(pk=version.pk).update(visibility=""),
            "visibility",
            "Who sees the patients’ answers is not chosen yet.",
        ),
        (
            lambda version: version.lines.filter(instrument__rater="patient").delete(),
            "forms",
            "No form of patients is planned.",
        ),
        (
            lambda version: version.lines.filter(instrument__rater="therapist").delete(),
            "forms",
            "no form of therapists is planned",
        ),
        (with_demonstration_wording, "forms", "carries demonstration wording"),
        (licensed_again(code="wai-sr", reference="x"), "", ""),
        (licensed_again(valid_from=days(1)), "forms", "Licence begins on"),
        (licensed_again(valid_from=days(-9), valid_until=days(-1)), "forms", "Licence ended on"),
        (licensed_again(valid_from=days(-9), valid_until=days(0)), "", ""),
        (licensed_again(use="research"), "forms", "permits research only"),
        (licensed_again(use="care"), "", ""),
        (licensed_again(rater="patient"), "forms", "No licence is recorded for"),
        (
            lambda version: StudyVersion.objects.filter(pk=version.pk).update(reminder_hours=[48]),
            "reminders",
            "A reminder after 48 hours would come when every form is closed",
        ),
    ],
)
def test_every_single_lack_keeps_a_draft_from_activation_and_is_named(
    cast: Cast, lack: Callable[[StudyVersion], object], step: str, sentence: str
) -> None:
    version = complete(cast)
    lack(version)
    assert missing(version) == ({step} if step else set())
    if not step:
        version_activate(version=version)
        return
    with pytest.raises(NotReady) as refusal:
        version_activate(version=version)
    assert refusal.value.gaps and all(sentence in gap.sentence for gap in refusal.value.gaps)


def test_a_study_that_asks_for_consent_needs_a_licence_for_research_as_well(cast: Cast) -> None:
    version = complete(cast)
    licensed_again(use="care")(version)
    version.texts.update(declaration="I agree.")
    assert missing(version) == {"forms"}
    with pytest.raises(NotReady) as refusal:
        version_activate(version=version)
    assert all("permits care only" in gap.sentence for gap in refusal.value.gaps)


def test_a_licence_that_lapsed_keeps_a_draft_from_activation(cast: Cast) -> None:
    version = complete(cast)
    plan_set(version=version, instruments=[licensed(cast, "patient", "wai-sr")], lines=[LISTED])
    assert missing(version) == set()
    Licence.objects.create(
        clinic=cast.clinic,
        code="wai-sr",
        language="en",
        holder="A society",
        reference="Letter of May",
        permitted_use="Routine care",
        valid_from=timezone.localdate() - timedelta(days=9),
        valid_until=timezone.localdate() - timedelta(days=1),
    )
    assert missing(version) == {"forms"}


def test_every_language_of_running_patients_needs_a_text(cast: Cast) -> None:
    study = complete(cast).study
    version_activate(version=study.versions.get())
    therapy = factories.make_therapy(Study.objects.get(pk=study.pk), cast.therapist)
    therapy.patient.language = "ar"
    therapy.patient.save()
    version = draft_begin(study=study)
    assert [gap.sentence for gap in gaps(version)] == [
        "1 patient of this study reads العربية, and there is no text in it."
    ]
    text_set(version=version, language="ar", information="نص")
    assert missing(version) == set()


def test_a_declaration_in_one_language_is_wanted_in_all(cast: Cast) -> None:
    version = complete(cast)
    text_set(version=version, language="de", information="Was.", declaration="Ich stimme zu.")
    assert missing(version) == {"texts"}


def test_an_active_version_is_changed_by_a_copy_that_holds_from_its_activation(cast: Cast) -> None:
    old = version_activate(version=complete(cast))
    therapy = factories.make_therapy(old.study, cast.therapist)
    with pytest.raises(StudyRefused, match="in force"):
        visibility_set(version=old, visibility="blind")
    new = draft_begin(study=old.study, actor=cast.clinic_admin)
    assert (new.number, new.visibility, new.lines.count(), new.texts.count()) == (2, "feedback", 2, 1)
    assert draft_begin(study=old.study).pk == new.pk
    plan_set(
        version=new,
        instruments=[line.instrument for line in new.lines.all()],
        lines=[LineSpec(every=1)],
    )
    version_activate(version=new)
    factories.hold_session(therapy, new.created_at - timedelta(days=2))
    factories.hold_session(therapy, timezone.now())
    asked = Assignment.objects.filter(session__therapy=therapy).values_list("session__number", "version")
    assert set(asked) == {(2, new.pk)}
    assert old.lines.first().sessions == [3, 12, 20, 40]


def test_a_draft_is_thrown_away_and_with_it_a_study_that_was_never_active(cast: Cast) -> None:
    version = draft(cast)
    assert draft_discard(version=version)
    assert not Study.objects.filter(code="R27").exists()
    old = version_activate(version=complete(cast))
    assert not draft_discard(version=draft_begin(study=old.study))
    assert list(old.study.versions.all()) == [old]
    with pytest.raises(StudyRefused):
        draft_discard(version=old)


def test_a_code_is_unique_fixed_once_active_and_never_that_of_a_test(cast: Cast) -> None:
    version = draft(cast)
    for code in ("R27", "S2", "R27-test"):
        with pytest.raises(StudyRefused):
            study_create(clinic=cast.clinic, code=code, name="Another")
    assert study_describe(study=version.study, code="R28", name="Care").code == "R28"
    study = version_activate(version=complete(cast, "R29")).study
    with pytest.raises(StudyRefused, match="datasets"):
        study_describe(study=study, code="R30", name="Care")
    assert study_describe(study=study, code="R29", name="Another name").name == "Another name"


@pytest.mark.parametrize(
    "lines",
    [
        [LineSpec()],
        [LineSpec(sessions=(3,), every=2)],
        [LineSpec(every=2, tolerance=1)],
        [LineSpec(sessions=(3, 3))],
        [LineSpec(sessions=(3,), catch_up=True)],
        [LineSpec(sessions=(3,), window_hours=0)],
        [LineSpec(every=1), LineSpec(every=2)],
        [LineSpec(period="entry")],
    ],
)
def test_lines_that_no_plan_may_hold_are_refused_and_the_plan_stays(
    cast: Cast, lines: list[LineSpec]
) -> None:
    version = complete(cast)
    form = version.lines.first().instrument
    with pytest.raises(StudyRefused):
        plan_set(version=version, instruments=[form], lines=lines)
    assert version.lines.count() == 2


def test_a_form_of_another_clinic_is_refused(cast: Cast) -> None:
    foreign = licensed(cast)
    Instrument.objects.filter(pk=foreign.pk)
    other = study_create(clinic=cast.stranger_study.clinic, code="X1", name="X")
    with pytest.raises(StudyRefused):
        plan_set(version=other, instruments=[foreign], lines=[LISTED])


@pytest.mark.parametrize("hours", [[1, 2, 3], [0], [24, 24]])
def test_reminders_are_two_at_most(cast: Cast, hours: list[int]) -> None:
    with pytest.raises(StudyRefused):
        reminders_set(version=draft(cast), hours=hours)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("3, 12, 20, 40", [3, 12, 20, 40]),
        (" 12;3 ", [3, 12]),
        ("1 2 3", [1, 2, 3]),
        ("3، 12؛ 20", [3, 12, 20]),
    ],
)
def test_session_numbers_are_read_as_people_write_them(text: str, numbers: list[int]) -> None:
    assert read_sessions(text) == numbers


@pytest.mark.parametrize("text", ["", "3, x", "0", "3, 3", "-1", "٣", "99999999999999999999", "3.5"])
def test_what_is_no_session_number_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"\."):
        read_sessions(text)


def test_a_plan_is_told_in_words_and_drawn_as_a_row(cast: Cast) -> None:
    line = PlanLine(
        instrument=factories.instrument("wai-s", "patient"),
        sessions=[3, 12],
        tolerance=1,
        catch_up=True,
        window_hours=48,
    )
    assert in_words(line) == (
        "After sessions 3 and 12. A form that was missed is asked for again at the next session. "
        "A form one session earlier or later counts for it, too. "
        "It stays open for 48 hours after the session."
    )
    states = {place.number: place.state for place in picture([line])}
    assert len(states) == 45
    assert [states[number] for number in (1, 2, 3, 4, 5)] == ["empty", "near", "asked", "near", "empty"]


# The pages


def url(version: StudyVersion, slug: str) -> str:
    return f"/clinic/studies/{version.study_id}/draft/{slug}/"


@pytest.fixture
def admin(cast: Cast) -> Client:
    return signed_in(cast.clinic_admin)


def test_the_whole_sequence_by_plain_posts_ends_in_an_active_study(cast: Cast, admin: Client) -> None:
    patient, therapist = licensed(cast, "patient"), licensed(cast, "therapist")
    answer = admin.post("/clinic/studies/new/", {"name": "Routine care 2027", "code": "R27"})
    version = StudyVersion.objects.get(study__code="R27")
    assert answer["Location"] == url(version, "forms")
    plan = {
        "all-kind": "listed",
        "all-sessions": "3, 12, 20, 40",
        "all-tolerance": "1",
        "all-window_hours": "48",
        "other": "on",
        "go": "stay",
    }
    address = f"{url(version, 'plan')}{patient.pk}/"
    page = admin.get(admin.post(address, plan)["Location"]).content.decode()
    assert "After sessions 3, 12, 20 and 40." in page
    assert set(version.lines.values_list("instrument", flat=True)) == {patient.pk, therapist.pk}
    trait = str(factories.instrument("dpccq-difficulties", "therapist").pk)
    assert admin.post(url(version, "practice"), {trait: "yearly"})["Location"] == url(version, "visibility")
    page = admin.get(url(version, "visibility")).content.decode()
    assert "checked" not in page
    assert page.count("Patients read:") == 3
    assert admin.post(url(version, "visibility"), {"visibility": "feedback"})["Location"] == url(
        version, "texts"
    )
    text = {"information": "What is collected.", "declaration": "", "go": "language:de"}
    assert admin.post(url(version, "texts"), text)["Location"] == f"{url(version, 'texts')}?language=de"
    admin.post(url(version, "reminders"), {"first": "24", "second": ""})
    page = admin.get(url(version, "check")).content.decode()
    assert "DPCCQ" in page
    # The shipped wording of the form about practice may not be used with real people.
    assert "demonstration wording" in page
    assert admin.post(url(version, "activate")).status_code == 422
    admin.post(url(version, "practice"), {trait: ""})
    answer = admin.post(url(version, "activate"))
    assert answer["Location"] == f"/clinic/studies/{version.study_id}/"
    page = admin.get(answer["Location"]).content.decode()
    assert "In force since" in page
    assert "Change by a new version" in page
    assert Study.objects.get(code="R27").current.reminder_hours == [24]


def test_a_crafted_activation_of_an_incomplete_draft_is_refused_with_what_is_missing(
    cast: Cast, admin: Client
) -> None:
    version = draft(cast)
    answer = admin.post(url(version, "activate"))
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "it was not activated" in page
    for step in ("forms", "visibility", "texts"):
        assert f'href="{url(version, step)}"' in page
    assert StudyVersion.objects.get(pk=version.pk).active_from is None


def test_back_saves_what_was_typed_and_an_untouched_page_may_be_left(cast: Cast, admin: Client) -> None:
    version = draft(cast)
    answer = admin.post(url(version, "reminders"), {"first": "24", "second": "", "go": "back"})
    assert answer["Location"] == url(version, "texts")
    assert StudyVersion.objects.get(pk=version.pk).reminder_hours == [24]
    assert admin.post(url(version, "visibility"), {"go": "back"})["Location"] == url(version, "practice")
    assert admin.post(url(version, "visibility"), {"go": "check"})["Location"] == url(version, "check")
    answer = admin.post(url(version, "visibility"), {})
    assert answer.status_code == 422
    assert "None is chosen for you" in answer.content.decode()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "Choose after which sessions"),
        ({"all-kind": "listed", "all-sessions": "3, twelve"}, "“twelve” is no session number"),
        ({"all-kind": "listed", "all-sessions": ""}, "Enter the session numbers"),
        ({"all-kind": "nth"}, "Enter a number from 2 on"),
        ({"all-kind": "every", "all-tolerance": "1"}, "Only listed sessions have a tolerance"),
        ({"all-kind": "listed", "all-sessions": "3", "all-catch_up": "on"}, "needs a tolerance"),
        ({"all-kind": "arms"}, "Name an arm below"),
        ({"all-kind": "every", "arm0-kind": "every"}, "Name the arm that this line is for"),
        ({"all-kind": "sometimes"}, "Choose one of the three"),
    ],
)
def test_a_wrong_plan_is_refused_in_a_sentence_and_stays_in_the_fields(
    cast: Cast, admin: Client, fields: dict[str, str], sentence: str
) -> None:
    version = draft(cast)
    address = f"{url(version, 'plan')}{factories.instrument('wai-s', 'patient').pk}/"
    answer = admin.post(address, {"all-window_hours": "36", "all-tolerance": "0", **fields})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert sentence in page
    assert 'value="36"' in page
    assert not version.lines.exists()


def test_lines_of_arms_are_saved_shown_and_taken_away_again(cast: Cast, admin: Client) -> None:
    version = draft(cast)
    form = factories.instrument("wai-s", "patient")
    address = f"{url(version, 'plan')}{form.pk}/"
    plan = {
        "all-kind": "listed",
        "all-sessions": "3",
        "all-tolerance": "0",
        "all-window_hours": "48",
        "arm0-arm": "weekly",
        "arm0-kind": "every",
        "arm0-tolerance": "0",
        "arm0-window_hours": "24",
    }
    admin.post(address, plan)
    assert set(version.lines.values_list("arm", "every", "window_hours")) == {
        ("", None, 48),
        ("weekly", 1, 24),
    }
    assert "Arm weekly:" in admin.get(address).content.decode()
    admin.post(address, {**plan, "arm0-arm": "", "arm0-kind": ""})
    assert version.lines.count() == 1
    admin.post(address, {"go": "remove"})
    assert not version.lines.exists()


def test_a_draft_is_not_thrown_away_by_one_press(cast: Cast, admin: Client) -> None:
    version = draft(cast)
    page = admin.get(url(version, "check")).content.decode()
    before, _, fold = page.partition("<summary>Throw this draft away</summary>")
    assert f'action="{url(version, "drop")}"' not in before
    assert "gone for good" in fold.partition(f'action="{url(version, "drop")}"')[2].partition("</details>")[0]


def test_an_active_version_cannot_be_edited_by_its_old_addresses(cast: Cast, admin: Client) -> None:
    version = version_activate(version=complete(cast))
    overview = f"/clinic/studies/{version.study_id}/"
    for slug in ("visibility", "texts", "check"):
        assert admin.get(url(version, slug))["Location"] == overview
        assert admin.post(url(version, slug), {"visibility": "blind"})["Location"] == overview
    assert admin.post(url(version, "drop"))["Location"] == overview
    answer = admin.post(f"/clinic/studies/{version.study_id}/draft/")
    assert answer["Location"] == url(version, "forms")
    assert version.study.versions.count() == 2


def test_another_clinic_s_study_does_not_exist_for_an_administrator(cast: Cast) -> None:
    other = factories.make_user("admin@hill.example", "clinic_admin", clinic=cast.stranger_study.clinic)
    version = draft(cast)
    client = signed_in(other)
    form = factories.instrument("wai-s", "patient")
    for path in ("", "draft/name/", "draft/check/", f"draft/plan/{form.pk}/"):
        assert client.get(f"/clinic/studies/{version.study_id}/{path}").status_code == 404
    for path in ("draft/", "draft/activate/", "draft/drop/", "draft/visibility/"):
        answer = client.post(f"/clinic/studies/{version.study_id}/{path}", {"visibility": "blind"})
        assert answer.status_code == 404
    assert "Routine care" not in client.get("/clinic/studies/").content.decode()
    own_upload = licensed(cast)
    foreign = study_create(clinic=cast.stranger_study.clinic, code="X1", name="X")
    assert client.get(f"{url(foreign, 'plan')}{own_upload.pk}/").status_code == 404
