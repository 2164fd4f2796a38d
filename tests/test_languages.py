"""The language of every page: chosen by the reader, else asked of the browser; data stay English."""

from datetime import datetime

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import override

from tests.conftest import Cast, signed_in

LOGIN = "/accounts/login/"
TRANSLATED = [code for code, _ in settings.LANGUAGES if code != settings.LANGUAGE_CODE]


def page(language: str = "", path: str = LOGIN, client: Client | None = None) -> str:
    return (client or Client()).get(path, headers={"accept-language": language}).content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("asked", "opening"),
    [
        ("", '<html lang="en-gb" dir="ltr">'),
        ("de-AT,de;q=0.9,en;q=0.5", '<html lang="de" dir="ltr">'),
        ("nb-NO,no;q=0.8", '<html lang="nb" dir="ltr">'),
        ("ar-EG", '<html lang="ar" dir="rtl">'),
        ("en-US,de;q=0.5", '<html lang="en-gb" dir="ltr">'),
        ("xx,;;q=,\xff", '<html lang="en-gb" dir="ltr">'),
        ("de," * 1700, '<html lang="en-gb" dir="ltr">'),
        ("x" * 5000, '<html lang="en-gb" dir="ltr">'),
    ],
)
def test_the_page_speaks_the_first_language_of_the_browser_that_the_site_speaks(
    asked: str, opening: str
) -> None:
    assert opening in page(asked)


@pytest.mark.django_db
def test_a_chosen_language_wins_over_the_browser_s_and_leads_back_to_the_page() -> None:
    client = Client()
    back = f"{LOGIN}?next=/caseload/"
    response = client.post("/language/", {"language": "ar", "next": back})
    assert response.headers["Location"] == back
    cookie = response.cookies[settings.LANGUAGE_COOKIE_NAME]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/")
    assert 'lang="ar" dir="rtl"' in page("de", client=client)
    assert 'lang="ar" dir="rtl"' in page("de," * 1700, client=client)


@pytest.mark.django_db
def test_the_chooser_knows_only_our_languages_and_our_own_pages() -> None:
    client = Client()
    response = client.post("/language/", {"language": "../../etc", "next": "https://elsewhere.example/"})
    assert response.headers["Location"] == "/"
    assert settings.LANGUAGE_COOKIE_NAME not in response.cookies
    client.cookies[settings.LANGUAGE_COOKIE_NAME] = "../../etc"
    assert '<html lang="de"' in page("de", client=client)


@pytest.mark.django_db
def test_every_language_is_offered_in_its_own_words_to_staff_and_not_on_a_page_after_an_error(
    cast: Cast,
) -> None:
    for text in (page(), page(path="/caseload/", client=signed_in(cast.therapist))):
        for code, name in settings.LANGUAGES:
            assert f'value="{code}" lang="{code}"' in text
            assert name in text
    failed = Client().post(LOGIN, {"login": "somebody@example.org", "password": "x"}).content.decode()
    assert 'action="/language/"' not in failed


@pytest.mark.django_db
def test_refusals_before_the_sign_in_is_read_speak_the_language_too() -> None:
    response = Client().post(LOGIN, b"x", content_type="text/xml", headers={"accept-language": "ar"})
    assert response.status_code == 415
    assert response.headers["Content-Language"] == "ar"
    assert '<html lang="ar" dir="rtl">' in response.content.decode()


def test_the_api_answers_in_english_whoever_asks(cast: Cast) -> None:
    response = Client().get("/api/v1/therapies/", headers={"accept-language": "de"})
    assert response.json() == {"detail": "Authentication credentials were not provided."}
    client = signed_in(cast.therapist)
    client.cookies[settings.LANGUAGE_COOKIE_NAME] = "de"
    answer = client.get(f"/api/v1/therapies/{cast.therapy.pk}/trend/?perspective=nobody")
    assert answer.json() == {"perspective": ["Give patient or therapist."]}
    assert answer.headers["Content-Language"] == "en-gb"


@pytest.mark.parametrize(
    ("language", "written"),
    [
        ("en-gb", "12 May 2026, 14:05|12 May, 14:05|Tuesday 12 May, 14:05"),
        ("de", "12. Mai 2026, 14:05|12. Mai, 14:05|Dienstag, 12. Mai, 14:05"),
        ("nb", "12. mai 2026, 14:05|12. mai, 14:05|tirsdag 12. mai, 14:05"),
        ("ar", "12 مايو 2026، 14:05|12 مايو، 14:05|الثلاثاء 12 مايو، 14:05"),
    ],
)
def test_days_and_times_are_written_as_the_language_writes_them(language: str, written: str) -> None:
    moment = timezone.make_aware(datetime(2026, 5, 12, 14, 5))
    with override(language):
        names = ("DATETIME_FORMAT", "MONTH_DAY_TIME_FORMAT", "WEEKDAY_TIME_FORMAT")
        assert "|".join(date_format(moment, name).lower() for name in names) == written.lower()
