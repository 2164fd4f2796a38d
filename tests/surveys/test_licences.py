"""The licence register: what counts on which day, what is missing for a study, and the page."""

from dataclasses import replace
from datetime import date, timedelta

import pytest
from django.db import DatabaseError, transaction
from django.test import Client, override_settings
from django.utils import timezone

from surveys.licences import licence_register, missing_licences, period_standing, uses_of, wordings_to_show
from surveys.models import AuditEvent, ConsentText, Instrument, Licence, StudyVersion
from surveys.packs import built_in
from surveys.services.instruments import instrument_upload
from surveys.services.invitations import link_issue
from surveys.services.licences import licence_record
from tests import factories
from tests.conftest import Cast, signed_in
from tests.surveys.test_instrument_pages import text_of

pytestmark = pytest.mark.django_db

DAY = date(2026, 11, 23)


def licensed(cast: Cast, language: str = "en") -> Instrument:
    demo = next(form for form in built_in() if (form.code, form.language) == ("wai-sr", language))
    form = replace(demo, version="2026", demonstration=False, title="The licensed form")
    return instrument_upload(clinic=cast.clinic, actor=cast.clinic_admin, form=form)


def record(cast: Cast, **changed: object) -> Licence:
    fields = {
        "clinic": cast.clinic,
        "actor": cast.clinic_admin,
        "code": "wai-sr",
        "language": "en",
        "holder": "Society",
        "reference": "Letter 12",
        "permitted_use": "Routine care",
        "valid_from": date(2026, 1, 1),
        "valid_until": date(2026, 12, 31),
    }
    return licence_record(**(fields | changed))


def missing(cast: Cast, *instruments: Instrument, on: date = DAY) -> list[str]:
    with override_settings(DEMO=False):
        return missing_licences(cast.clinic, instruments, on)


def test_demonstration_wording_is_refused_in_real_use(cast: Cast) -> None:
    demo = Instrument.objects.get(code="wai-sr", language="en", clinic=None)
    record(cast)
    (sentence,) = missing(cast, demo)
    assert "carries demonstration wording, which must not be used with patients" in sentence
    assert sentence.endswith("Upload the licensed wording on the page Instruments and choose that form.")


def test_licensed_wording_needs_a_record_that_is_valid_on_the_day(cast: Cast) -> None:
    form = licensed(cast)
    (sentence,) = missing(cast, form)
    assert sentence == (
        "No licence is recorded for “The licensed form” (wai-sr, en). "
        "Record its holder and reference on the page Licences."
    )
    record(cast)
    assert missing(cast, form) == []
    assert missing(cast, form, on=date(2026, 1, 1)) == missing(cast, form, on=date(2026, 12, 31)) == []
    assert "Licence ended on 31 December 2026" in missing(cast, form, on=date(2027, 1, 1))[0]
    assert "Licence begins on 1 January 2026" in missing(cast, form, on=date(2025, 12, 31))[0]


@pytest.mark.parametrize(
    "other",
    [{"code": "wai-s"}, {"language": "de"}, {"clinic": "stranger"}],
    ids=["code", "language", "clinic"],
)
def test_a_record_holds_for_its_own_code_language_and_clinic(cast: Cast, other: dict[str, object]) -> None:
    changed = {"clinic": cast.stranger_study.clinic} if "clinic" in other else other
    record(cast, **changed)
    assert "No licence is recorded" in missing(cast, licensed(cast))[0]


@pytest.mark.parametrize(
    ("visibility", "declaration", "needed"),
    [
        ("", "I agree.", set()),
        ("blind", "", {"research"}),
        ("delayed", "", {"care"}),
        ("feedback", "", {"care"}),
        ("feedback", "I agree.", {"care", "research"}),
    ],
)
def test_what_a_study_does_with_its_forms(
    cast: Cast, visibility: str, declaration: str, needed: set[str]
) -> None:
    version = StudyVersion.objects.create(study=cast.study, number=9, visibility=visibility)
    ConsentText.objects.create(version=version, language="en", information="Who.", declaration=declaration)
    assert uses_of(version) == needed


@pytest.mark.parametrize(
    ("use", "uses", "lacks"),
    [
        ("care", {"care"}, ""),
        ("research", {"research"}, ""),
        ("both", {"care", "research"}, ""),
        ("care", {"research"}, "Record a licence that permits research"),
        ("care", {"care", "research"}, "Record a licence that permits research"),
        ("research", {"care"}, "Record a licence that permits care"),
    ],
)
def test_a_licence_holds_for_what_it_permits(cast: Cast, use: str, uses: set[str], lacks: str) -> None:
    form = licensed(cast)
    record(cast, use=use)
    with override_settings(DEMO=False):
        found = missing_licences(cast.clinic, [form], DAY, uses)
    assert [lacks in sentence for sentence in found] == ([True] if lacks else [])


def test_two_licences_together_permit_both(cast: Cast) -> None:
    form = licensed(cast)
    record(cast, use="care")
    record(cast, use="research", reference="Letter 13")
    with override_settings(DEMO=False):
        assert missing_licences(cast.clinic, [form], DAY, {"care", "research"}) == []


def test_a_licence_of_one_rater_is_none_of_the_other(cast: Cast) -> None:
    record(cast, rater="therapist")
    assert "No licence is recorded" in missing(cast, licensed(cast))[0]
    record(cast, rater="patient", reference="Letter 13")
    assert missing(cast, licensed(cast)) == []


def test_every_form_that_lacks_a_licence_is_named(cast: Cast) -> None:
    demo = Instrument.objects.get(code="wai-s", rater="patient", language="en")
    assert len(missing(cast, demo, licensed(cast), licensed(cast, "de"))) == 3


def test_nothing_is_missing_in_demo_mode_and_in_a_simulated_clinic(cast: Cast) -> None:
    demo = Instrument.objects.get(code="wai-s", rater="patient", language="en")
    with override_settings(DEMO=True):
        assert missing_licences(cast.clinic, [demo], DAY) == []
    cast.clinic.is_simulated = True
    assert missing(cast, demo) == []


def test_the_newest_record_of_a_reference_counts(cast: Cast) -> None:
    form = licensed(cast)
    record(cast)
    record(cast, valid_until=date(2026, 6, 30))
    assert "Licence ended on 30 June 2026" in missing(cast, form)[0]
    states = [standing.state for _, standing in licence_register(cast.clinic, DAY)]
    assert states == ["lapsed", "replaced"]
    # A renewal under another reference leaves the first one as it is.
    record(cast, reference="Letter 13", valid_from=date(2026, 7, 1), valid_until=None)
    assert missing(cast, form) == []


def test_a_translation_is_shown_from_its_licence_on_and_the_planned_wording_always(cast: Cast) -> None:
    planned, german = licensed(cast), licensed(cast, "de")

    version = cast.study.current

    def shown() -> list[Instrument]:
        with override_settings(DEMO=False):
            return wordings_to_show(version, [german, planned], planned, DAY)

    # Its own licence may have ended since the study began: that is the clinic's to settle, not the patient's.
    assert shown() == [planned]
    record(cast, language="de")
    assert shown() == [german, planned]
    record(cast, language="de", use="research")
    assert shown() == [planned], "the study works with the answers"
    version.study.clinic.is_simulated = True
    assert shown() == [german, planned]


def test_a_patient_is_offered_the_languages_that_are_licensed(cast: Cast) -> None:
    planned, german = licensed(cast), licensed(cast, "de")
    factories.replan(cast.study, keep=(), extra=[{"instrument": planned, "sessions": [1]}])
    form = factories.form_of(factories.hold_session(cast.therapy), "patient")
    client, link = Client(), f"/r/{link_issue(assignment=form)}/"
    today = timezone.localdate()
    assert "?language=de" not in client.get(link).content.decode()
    assert german.form.instruction not in text_of(client.get(f"{link}?language=de"))
    record(cast, language="de", valid_from=today, valid_until=None)
    assert "?language=de" in client.get(link).content.decode()


def test_a_record_is_never_changed_or_deleted(cast: Cast) -> None:
    licence = record(cast)
    for change in (
        lambda: Licence.objects.update(holder="x"),
        lambda: Licence.objects.filter(pk=licence.pk).delete(),
    ):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            change()
    event = AuditEvent.objects.get(act="licence.record")
    assert (event.actor, event.clinic) == (cast.clinic_admin, cast.clinic)


@pytest.mark.parametrize(
    ("spans", "state", "words"),
    [
        ([], "missing", "No licence recorded"),
        ([(-400, -1)], "lapsed", "Licence ended on 22 November 2026"),
        ([(-400, -1), (-900, -500)], "lapsed", "Licence ended on 22 November 2026"),
        ([(1, 300)], "future", "Licence begins on 24 November 2026"),
        ([(-400, -1), (1, 300)], "future", "Licence begins on 24 November 2026"),
        ([(-10, 0)], "ending", "Licence ends today, 23 November 2026: record its renewal"),
        ([(-10, 1)], "ending", "Licence ends on 24 November 2026, in 1 day: record its renewal"),
        ([(0, 60)], "ending", "Licence ends on 22 January 2027, in 60 days: record its renewal"),
        ([(0, 61)], "valid", "Licence until 23 January 2027"),
        ([(-10, 1), (2, 300)], "valid", "Licence until 19 September 2027"),
        ([(-10, 1), (3, 300)], "ending", "Licence ends on 24 November 2026, in 1 day: record its renewal"),
        ([(-10, 1), (-20, 300)], "valid", "Licence until 19 September 2027"),
        ([(-10, None)], "valid", "Licence without an end"),
        ([(-10, 20), (21, None)], "valid", "Licence without an end"),
    ],
)
def test_the_state_of_a_licence_in_words(spans: list[tuple[int, int | None]], state: str, words: str) -> None:
    periods = [
        (DAY + timedelta(days=first), date.max if last is None else DAY + timedelta(days=last))
        for first, last in spans
    ]
    found = period_standing(periods, DAY)
    assert (found.state, found.words) == (state, words)
    assert found.is_usable is (state in ("valid", "ending"))


TYPED = {
    "code": "wai-sr",
    "language": "en",
    "holder": "Society",
    "reference": "Letter <12>",
    "rater": "",
    "use": "care",
    "permitted_use": "Routine care",
    "valid_from": "2026-01-01",
    "valid_until": "2026-12-31",
}


@pytest.fixture
def admin(cast: Cast) -> Client:
    return signed_in(cast.clinic_admin)


def test_a_licence_is_recorded_on_the_page_and_stands_in_the_register(admin: Client, cast: Cast) -> None:
    response = admin.post("/licences/", TYPED)
    assert response.headers["Location"] == "/licences/?recorded=1"
    licence = Licence.objects.get()
    assert (licence.clinic, licence.recorded_by, licence.reference, licence.use) == (
        cast.clinic,
        cast.clinic_admin,
        "Letter <12>",
        "care",
    )
    page = admin.get("/licences/?recorded=1")
    assert "The licence was recorded." in text_of(page)
    assert "Letter &lt;12&gt;" in page.content.decode()


def test_a_licence_without_an_end_is_recorded(admin: Client) -> None:
    assert admin.post("/licences/", TYPED | {"valid_until": ""}).status_code == 302
    assert Licence.objects.get().valid_until is None
    assert "without an end" in text_of(admin.get("/licences/"))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"code": ""}, "Fill this in."),
        ({"code": "nothing"}, "Choose one of the instruments."),
        ({"language": "English"}, "Enter a language tag such as en, de, nb, ar or pt-BR."),
        ({"holder": "  "}, "Fill this in."),
        ({"reference": ""}, "Fill this in."),
        ({"use": ""}, "Fill this in."),
        ({"valid_from": "01/04/2026"}, "Enter a day like this: 2026-05-12."),
        ({"valid_until": "2025-12-31"}, "The last day lies before the first. Change one of them."),
    ],
)
def test_what_is_missing_is_named_and_what_was_typed_is_kept(
    admin: Client, changed: dict[str, str], sentence: str
) -> None:
    response = admin.post("/licences/", TYPED | changed)
    assert response.status_code == 422
    assert sentence in text_of(response)
    assert "Routine care</textarea>" in response.content.decode()
    assert Licence.objects.count() == 0


def test_the_list_of_instruments_says_what_ends_soon(admin: Client, cast: Cast) -> None:
    licensed(cast)
    record(cast, valid_until=timezone.localdate() + timedelta(days=20))
    assert "in 20 days: record its renewal" in text_of(admin.get("/instruments/"))


def test_another_clinic_s_records_are_not_on_the_page(admin: Client, cast: Cast) -> None:
    record(cast, clinic=cast.stranger_study.clinic, reference="Letter 99")
    assert "Letter 99" not in admin.get("/licences/").content.decode()


@pytest.mark.parametrize("actor", ["therapist", "supervisor", "researcher", "superuser"])
def test_nobody_but_the_administrator_keeps_the_register(cast: Cast, actor: str) -> None:
    client = signed_in(getattr(cast, actor))
    assert client.get("/licences/").status_code == 403
    assert client.post("/licences/", TYPED).status_code == 403
    assert Licence.objects.count() == 0
