"""The administrator's pages about forms: list, preview, upload, and what no upload gets through."""

import re
from dataclasses import replace
from html import unescape

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from surveys.models import AuditEvent, Instrument
from surveys.packs import InstrumentFile, built_in, parse
from surveys.services.instruments import built_in_load, instrument_upload
from surveys.services.invitations import link_issue
from tests import factories
from tests.conftest import Cast, signed_in
from tests.surveys.test_packs import SMALL_FORM

pytestmark = pytest.mark.django_db

UPLOAD = "/instruments/upload/"


@pytest.fixture
def admin(cast: Cast) -> Client:
    built_in_load()
    return signed_in(cast.clinic_admin)


def choose(client: Client, content: bytes | str, name: str = "form.toml", kind: str = "text/plain") -> object:
    data = content.encode() if isinstance(content, str) else content
    return client.post(UPLOAD, {"file": SimpleUploadedFile(name, data, kind)})


def add(client: Client, text: str) -> object:
    return client.post(UPLOAD, {"content": text})


def text_of(response: object) -> str:
    """What a reader sees, spaces as one."""
    page = re.sub(r"<[^>]+>", " ", response.content.decode())
    return " ".join(unescape(page).split())


def problems_of(response: object) -> list[str]:
    return list(response.context["problems"])


def n_uploads() -> int:
    return Instrument.objects.exclude(clinic=None).count()


def test_a_file_is_checked_and_shown_before_it_is_stored(admin: Client, cast: Cast) -> None:
    checked = choose(admin, SMALL_FORM)
    assert checked.status_code == 200
    assert "Nothing is stored yet" in text_of(checked)
    assert "Jeg var rolig." in text_of(checked)
    assert n_uploads() == 0

    kept = re.search(r'name="content" value="([^"]*)"', checked.content.decode())[1]
    added = add(admin, unescape(kept))
    row = Instrument.objects.get(clinic=cast.clinic)
    assert added.headers["Location"] == f"/instruments/{row.pk}/?added=1"
    assert row.form == parse(SMALL_FORM.encode())
    event = AuditEvent.objects.get(act="instrument.upload")
    assert (event.actor, event.clinic, event.subject) == (
        cast.clinic_admin,
        cast.clinic,
        f"instrument:{row.pk}",
    )
    assert "The form was added" in text_of(admin.get(added.headers["Location"]))


def test_the_text_survives_the_line_ends_of_a_browser(admin: Client, cast: Cast) -> None:
    long = SMALL_FORM.replace('"Tenk på timen i dag."', '"""Tenk på\ntimen <i dag> & "nå"."""')
    add(admin, long.replace("\n", "\r\n"))
    assert Instrument.objects.get(clinic=cast.clinic).form == parse(long.encode())


def test_every_fault_is_listed_at_once_and_nothing_is_stored(admin: Client) -> None:
    faulty = SMALL_FORM.replace("reversed = [2]", "reversed = [9]").replace(
        "min_share = 0.75", "min_share = 2"
    )
    for response in (choose(admin, faulty), add(admin, faulty)):
        assert response.status_code == 422
        assert problems_of(response) == [
            "File: 'reversed' names item 9, which is not on the form.",
            "Scales, entry 1: 'min_share' must be a number above 0 and at most 1; found 2.",
        ]
        assert "Nothing was stored: the file has 2 faults." in text_of(response)
    assert n_uploads() == 0


def test_sending_without_a_file_says_so(admin: Client) -> None:
    for response in (admin.post(UPLOAD), choose(admin, "")):
        assert response.status_code == 422
    assert "Choose a file first." in text_of(admin.post(UPLOAD))


def test_a_shipped_form_cannot_be_overwritten(admin: Client) -> None:
    shipped = next(form for form in built_in() if (form.code, form.language) == ("wai-sr", "en"))
    changed = shipped.to_toml().replace("The road ahead", "My road ahead")
    response = choose(admin, changed)
    assert response.status_code == 422
    assert "is there with other content" in problems_of(response)[0]


def test_a_translation_must_be_the_same_form(admin: Client) -> None:
    shipped = next(form for form in built_in() if (form.code, form.language) == ("wai-sr", "en"))
    french = replace(shipped, language="fr")
    assert add(admin, french.to_toml()).status_code == 302
    italian = replace(french, language="it", scales=french.scales[:2])
    response = choose(admin, italian.to_toml())
    assert response.status_code == 422
    assert problems_of(response)[0].startswith("Scales: wai-sr (patient, ")


@pytest.mark.parametrize("form", built_in(), ids=lambda form: form.name)
def test_every_form_is_previewed_with_all_its_words_and_stores_nothing(
    admin: Client, form: InstrumentFile
) -> None:
    row = Instrument.objects.get(
        code=form.code, rater=form.rater, language=form.language, version=form.version
    )
    before = AuditEvent.objects.count()
    response = admin.get(reverse("instrument", args=[row.pk]))
    page, words = response.content.decode(), text_of(response)
    for text in (form.title, form.instruction, *(item.text for item in form.items)):
        assert text in words
    assert page.count("<fieldset") == len(form.items)
    assert page.count('type="radio"') == len(form.items) * (len(form.options) + 1)
    assert "Demonstration wording, not the licensed questionnaire" in words
    assert not re.search(r"<form(?![^>]*(/logout/|/language/))[^>]*>", page)
    assert AuditEvent.objects.count() == before


def test_the_preview_shows_the_cards_of_the_real_form(admin: Client, cast: Cast) -> None:
    """The same markup, card for card, as the page that the patient fills in."""
    assignment = factories.form_of(factories.hold_session(cast.therapy), "patient")
    client = Client()
    client.post(f"/r/{link_issue(assignment=assignment)}/")
    cards = re.compile(r"<fieldset class=.question. id=.card_[0-9]+.*?</fieldset>", re.S)
    real = cards.findall(client.get(reverse("form", args=[assignment.pk])).content.decode())
    preview = cards.findall(
        admin.get(reverse("instrument", args=[assignment.instrument_id])).content.decode()
    )
    assert len(real) == 12
    assert [" ".join(card.split()) for card in preview] == [" ".join(card.split()) for card in real]


def test_the_list_names_every_form_its_languages_and_its_licence(admin: Client, cast: Cast) -> None:
    add(admin, SMALL_FORM)
    response = admin.get("/instruments/")
    for row in Instrument.objects.all():
        assert reverse("instrument", args=[row.pk]) in response.content.decode()
    words = text_of(response)
    for name in ("Deutsch", "norsk (bokmål)", "العربيّة", "uploaded by the clinic", "No licence recorded"):
        assert name in words
    assert words.count("Demonstration wording") == len({(f.code, f.rater) for f in built_in()})


def test_the_list_asks_the_database_as_often_for_many_forms_as_for_few(
    admin: Client, django_assert_num_queries: object
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    def n_queries() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert admin.get("/instruments/").status_code == 200
        return len(queries)

    before = n_queries()
    for n in range(8):
        add(admin, SMALL_FORM.replace('version = "1"', f'version = "{n}"'))
    assert n_queries() == before


def test_a_form_is_downloaded_as_the_file_that_uploads_again(admin: Client) -> None:
    row = Instrument.objects.get(code="wai-s", rater="patient", language="ar")
    response = admin.get(reverse("instrument-file", args=[row.pk]))
    assert response.headers["Content-Disposition"] == 'attachment; filename="wai-s.patient.ar.demo-2.toml"'
    assert parse(response.content) == row.form


def test_another_clinic_s_upload_does_not_exist(admin: Client, cast: Cast) -> None:
    form = parse(SMALL_FORM.encode())
    row = instrument_upload(clinic=cast.stranger_study.clinic, actor=cast.stranger, form=form)
    for name in ("instrument", "instrument-file"):
        assert admin.get(reverse(name, args=[row.pk])).status_code == 404
    assert str(row.pk) not in admin.get("/instruments/").content.decode()
    # Its version number is free here.
    assert add(admin, SMALL_FORM.replace("rolig", "trygg")).status_code == 302


@pytest.mark.parametrize("actor", ["therapist", "supervisor", "researcher", "superuser"])
def test_nobody_but_the_administrator_uploads(cast: Cast, actor: str) -> None:
    client = signed_in(getattr(cast, actor))
    assert choose(client, SMALL_FORM).status_code == 403
    assert add(client, SMALL_FORM).status_code == 403
    assert n_uploads() == 0
