"""The language of a form: the patient's, else the browser's; changed without losing an answer."""

import re

import pytest
from django.core.cache import cache
from django.test import Client

from surveys.models import Assignment, Clinic, Instrument, Opening, Patient, Response
from surveys.services.invitations import link_issue
from tests import factories
from tests.conftest import Cast, signed_in


@pytest.fixture(autouse=True)
def _empty_cache(db: None) -> None:
    cache.clear()


def wording(assignment: Assignment, language: str) -> Instrument:
    return factories.instrument(assignment.instrument.code, assignment.rater, language)


def set_patients(assignment: Assignment, language: str) -> None:
    Patient.objects.filter(therapies__sessions__assignments=assignment).update(language=language)


def shown(page: str) -> tuple[str, str]:
    """The language of the page and that of the cards on it."""
    return re.search(r'<html lang="([\w-]+)"', page)[1], re.search(r'<fieldset [^>]*lang="(\w+)"', page)[1]


def hidden(page: str) -> dict[str, str]:
    return dict(re.findall(r'type="hidden" name="(key|version)" value="([^"]+)"', page))


def begun(assignment: Assignment, browser: str = "", **fields: str) -> Client:
    client = Client(headers={"accept-language": browser})
    client.post(f"/r/{link_issue(assignment=assignment)}/", fields)
    return client


def page_of(client: Client, assignment: Assignment) -> str:
    return client.get(f"/f/{assignment.pk}/").content.decode()


@pytest.mark.parametrize(
    ("patients", "browser", "expected"),
    [
        ("de", "nb", ("de", "de")),
        ("de-AT", "nb", ("de", "de")),
        ("ar", "", ("ar", "ar")),
        ("fr", "nb-NO", ("nb", "nb")),
        ("fr", "it", ("en-gb", "en")),
    ],
)
def test_a_form_speaks_the_patients_language_else_the_browsers_else_that_of_the_plan(
    patient_form: Assignment, patients: str, browser: str, expected: tuple[str, str]
) -> None:
    set_patients(patient_form, patients)
    client = begun(patient_form, browser)
    page = page_of(client, patient_form)
    assert shown(page) == expected
    assert hidden(page)["version"] == str(wording(patient_form, expected[1]).pk)
    assert wording(patient_form, expected[1]).form.items[0].text in page
    assert ('dir="rtl"' in page.split("<body>")[0]) is (expected[1] == "ar")


def test_the_start_page_offers_the_languages_of_the_form_and_a_visit_keeps_none(
    patient_form: Assignment,
) -> None:
    token = link_issue(assignment=patient_form)
    client = Client()
    page = client.get(f"/r/{token}/").content.decode()
    assert re.findall(r'href="\?language=(\w+)" lang="(\w+)"', page) == [
        (code, code) for code in ("ar", "de", "en", "nb")
    ]
    page = client.get(f"/r/{token}/?language=ar").content.decode()
    assert '<html lang="ar" dir="rtl">' in page
    assert '<input type="hidden" name="language" value="ar">' in page
    assert '<html lang="en-gb"' in client.get(f"/r/{token}/?language=xx").content.decode()
    assert not Opening.objects.exists()
    client.post(f"/r/{token}/", {"language": "ar"})
    assert Opening.objects.get().language == "ar"
    assert '<html lang="ar"' in client.get(f"/r/{token}/").content.decode()
    client.post(f"/r/{token}/", {"language": "de"})
    assert Opening.objects.get().language == "de"


def test_another_language_in_the_middle_keeps_every_answer_and_is_recorded(patient_form: Assignment) -> None:
    client = begun(patient_form, "de")
    page = page_of(client, patient_form)
    assert re.findall(r'name="language" value="(\w+)"', page) == ["ar", "de", "en", "nb"]
    data = {**hidden(page), "item_1": "3", "item_2": "-98", "sharing": "answers"}
    answer = client.post(f"/f/{patient_form.pk}/send/", {**data, "language": "ar"})
    assert (answer.status_code, answer["Location"]) == (303, f"/f/{patient_form.pk}/")
    assert not Response.objects.exists()
    page = page_of(client, patient_form)
    assert shown(page) == ("ar", "ar")
    assert re.search(r'name="item_1" value="3"[^>]*checked', page)
    assert re.search(r'name="item_2" value="-98"[^>]*checked', page)
    assert re.search(r'name="sharing" value="answers"[^>]*checked', page)
    rest = {f"item_{number}": "5" for number in range(3, 13)}
    data = {**hidden(page), **rest, "sharing": "answers", "send": "send"}
    receipt = client.get(client.post(f"/f/{patient_form.pk}/send/", data)["Location"])
    response = Response.objects.get()
    assert (response.language, response.instrument) == ("ar", wording(patient_form, "ar"))
    assert [response.answers[str(number)] for number in (1, 2, 3)] == [3, -98, 5]
    assert '<html lang="ar"' in receipt.content.decode()
    assert receipt["Content-Language"] == "ar"


def test_the_wording_on_the_page_is_recorded_not_the_one_chosen_since_in_another_tab(
    patient_form: Assignment,
) -> None:
    client = begun(patient_form)
    page = page_of(client, patient_form)
    client.post(f"/f/{patient_form.pk}/send/", {**hidden(page), "language": "nb"})
    answers = {f"item_{number}": "5" for number in range(1, 13)}
    client.post(f"/f/{patient_form.pk}/send/", {**hidden(page), **answers, "sharing": "none"})
    assert Response.objects.get().language == "en"


@pytest.mark.parametrize("language", ["xx", "", "EN", "../de"])
def test_a_language_that_the_form_does_not_have_is_refused(patient_form: Assignment, language: str) -> None:
    client = begun(patient_form)
    data = {**hidden(page_of(client, patient_form)), "item_1": "3", "language": language}
    answer = client.post(f"/f/{patient_form.pk}/send/", data)
    assert answer.status_code == 400
    assert "field language" in answer.content.decode()
    assert Opening.objects.get().language == "en"


def test_a_clinics_own_wording_is_not_mixed_with_another(cast: Cast, patient_form: Assignment) -> None:
    # Without licences, as in a clinic where nobody real answers.
    Clinic.objects.update(is_simulated=True)
    shipped = {row.language: row for row in Instrument.objects.filter(code="wai-s", rater="patient")}
    own = {}
    for clinic, languages in ((cast.clinic, ("en", "nb")), (Clinic.objects.get(name="Hill Clinic"), ("de",))):
        for language in languages:
            definition = {**shipped[language].definition, "title": f"Own, {clinic.name}, {language}"}
            own[language] = Instrument.objects.create(
                clinic=clinic,
                code="wai-s",
                version=shipped["en"].version,
                rater="patient",
                language=language,
                definition=definition,
            )
    Assignment.objects.filter(pk=patient_form.pk).update(instrument=own["en"])
    client = begun(patient_form, "de")
    page = page_of(client, patient_form)
    assert re.findall(r'name="language" value="(\w+)"', page) == ["en", "nb"]
    foreign = {**hidden(page), "version": str(own["de"].pk), "item_1": "3"}
    assert client.post(f"/f/{patient_form.pk}/send/", foreign).status_code == 409


def test_pages_in_place_of_a_form_speak_its_language(patient_form: Assignment) -> None:
    set_patients(patient_form, "de")
    token = link_issue(assignment=patient_form)
    client = begun(patient_form)
    bad = client.post(f"/f/{patient_form.pk}/send/", {"item_1": "9"})
    factories.give(patient_form)
    pages = [bad, Client().get(f"/r/{token}/"), client.get(f"/f/{patient_form.pk}/receipt/")]
    assert [page.status_code for page in pages] == [400, 200, 200]
    assert [re.search(r'<html lang="(\w+)"', page.content.decode())[1] for page in pages] == ["de"] * 3


def test_a_therapists_form_speaks_the_language_of_their_pages(cast: Cast, patient_form: Assignment) -> None:
    own = factories.form_of(patient_form.session, "therapist")
    client = signed_in(cast.therapist)
    client.post(f"/forms/{own.pk}/start/")
    for language in ("de", "en"):
        page = client.get(f"/f/{own.pk}/", headers={"accept-language": language}).content.decode()
        assert shown(page)[1] == language
    assert 'class="languages" role="group"' not in page


def test_the_page_without_connection_speaks_the_language_of_the_form(patient_form: Assignment) -> None:
    set_patients(patient_form, "ar")
    client = begun(patient_form)
    assert 'data-worker="/f/worker.js?language=ar"' in page_of(client, patient_form)
    assert (
        'const PAGE = "/f/offline/?language=ar";' in client.get("/f/worker.js?language=ar").content.decode()
    )
    assert '<html lang="ar" dir="rtl">' in client.get("/f/offline/?language=ar").content.decode()
    assert '<html lang="en-gb"' in client.get('/f/offline/?language="><b>').content.decode()
