"""Instrument files in the database: loaded once, never changed, scored by the rule of their version."""

from collections.abc import Mapping
from dataclasses import replace
from io import StringIO

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError, transaction

from alliance_site.management.commands import up
from surveys import packs, scoring
from surveys.clinic_access import clinic_instruments
from surveys.models import AuditEvent, Instrument, Score
from surveys.packs import InstrumentFile, InstrumentFileError, Item, Scale, built_in
from surveys.services.assignments import trait_form_assign
from surveys.services.instruments import built_in_load, instrument_check, instrument_upload
from tests import factories
from tests.conftest import Cast

pytestmark = pytest.mark.django_db


def shipped(code: str, rater: str, language: str = "en") -> InstrumentFile:
    names = (code, rater, language)
    return next(form for form in built_in() if (form.code, form.rater, form.language) == names)


def upload(cast: Cast, form: InstrumentFile) -> Instrument:
    return instrument_upload(clinic=cast.clinic, actor=cast.clinic_admin, form=form)


def test_loading_again_adds_nothing() -> None:
    first = {row.pk for row in built_in_load()}
    assert {row.pk for row in built_in_load()} == first
    assert Instrument.objects.count() == len(built_in()) == len(first)


def test_an_upgrade_adds_what_the_release_ships_and_changes_nothing_that_is_there() -> None:
    kept = {row.pk: row.definition for row in built_in_load() if row.code != "wai-b3"}
    Instrument.objects.filter(code="wai-b3").delete()
    for n_new in (len(built_in()) - len(kept), 0):
        said = StringIO()
        call_command("instruments_load", stdout=said)
        assert f"Shipped instruments: {len(built_in())}, of which new: {n_new}." in said.getvalue()
    assert Instrument.objects.filter(code="wai-b3").exists()
    assert {row.pk: row.definition for row in Instrument.objects.filter(pk__in=kept)} == kept


def test_a_release_with_other_words_under_a_loaded_version_is_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built_in_load()
    form = shipped("wai-b3", "patient")
    other = replace(form, items=(Item(1, "Other words", False), *form.items[1:]))
    monkeypatch.setattr("surveys.services.instruments.built_in", lambda: (other,))
    with pytest.raises(CommandError, match="Give the changed file a new version"):
        call_command("instruments_load")


def test_every_way_to_upgrade_loads_the_instruments_after_the_migrations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called: list[str] = []
    monkeypatch.setattr(up, "call_command", lambda name, *_args, **_options: called.append(name))
    monkeypatch.setattr(up.connections, "close_all", lambda: None)
    up.Command(stdout=StringIO())._prepare(8000, None)
    assert called[:3] == ["check", "migrate", "instruments_load"]
    compose = (settings.BASE_DIR / "docker-compose.yml").read_text()
    assert "manage.py migrate --no-input && python manage.py instruments_load" in compose


def test_another_content_under_a_loaded_version_is_refused_and_the_row_stays(cast: Cast) -> None:
    built_in_load()
    form = shipped("wai-b3", "patient")
    items = (Item(1, "Other words", False), *form.items[1:])
    with pytest.raises(InstrumentFileError, match="Give the changed file a new version"):
        upload(cast, replace(form, items=items))
    assert Instrument.objects.get(code="wai-b3", rater="patient", language="en").form == form
    assert upload(cast, replace(form, items=items, version="2026")).form.items == items


def test_an_upload_belongs_to_its_clinic_and_the_same_file_again_is_the_same_row(cast: Cast) -> None:
    own = replace(shipped("wai-s", "patient"), version="2026", demonstration=False)
    row = upload(cast, own)
    assert (row.clinic, row.form) == (cast.clinic, own)
    assert upload(cast, own) == row
    assert AuditEvent.objects.filter(act="instrument.upload", clinic=cast.clinic).count() == 1
    assert row in clinic_instruments(cast.clinic)
    assert row not in clinic_instruments(cast.stranger_study.clinic)
    # Two clinics may use the same version number for different words.
    items = (Item(1, "Other words", False), *own.items[1:])
    stranger = instrument_upload(
        clinic=cast.stranger_study.clinic, actor=cast.stranger, form=replace(own, items=items)
    )
    assert stranger.form.items != row.form.items


def test_a_shipped_file_sent_back_is_not_stored_twice(cast: Cast) -> None:
    row = upload(cast, shipped("wai-s", "patient"))
    assert row.clinic is None
    assert Instrument.objects.filter(clinic=cast.clinic).count() == 0


def test_checking_a_file_stores_nothing(cast: Cast) -> None:
    n_before = Instrument.objects.count()
    instrument_check(clinic=cast.clinic, form=replace(shipped("wai-s", "patient"), version="2026"))
    assert Instrument.objects.count() == n_before


def test_an_upload_does_not_stand_in_the_way_of_what_a_later_release_ships(cast: Cast) -> None:
    own = replace(shipped("wai-36", "patient"), version="demo-9")
    Instrument.objects.filter(clinic=None, code="wai-36").delete()
    upload(cast, replace(own, items=own.items[:12], scales=(Scale("x", "X", (1,), 1.0, False),)))
    assert {row.clinic_id for row in built_in_load()} == {None}


def test_a_translation_of_another_form_is_refused_with_every_difference(cast: Cast) -> None:
    built_in_load()
    french = replace(shipped("wai-s", "patient"), language="fr", level="trait", demonstration=False)
    with pytest.raises(InstrumentFileError) as caught:
        upload(cast, french)
    # One sentence for each of the four languages that are there.
    assert sum(sentence.startswith("Level: ") for sentence in caught.value.problems) == 4
    assert sum(sentence.startswith("Demonstration: ") for sentence in caught.value.problems) == 4
    assert not Instrument.objects.filter(language="fr").exists()


def test_stored_scores_keep_the_rule_that_made_them(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second rule comes with a new version of the form; what is stored under the first stays as it is."""
    answers = {1: 4, 3: 4, 5: 4, 7: 4, 9: 4, 11: 1}
    old = factories.form_about_practice(cast.therapy.therapist, cast.study, "dpccq-coping", "2025")
    factories.give(old, answers, user=cast.therapist)

    def median(form: InstrumentFile, values: Mapping[int, int]) -> tuple[scoring.ScaleScore, ...]:
        kept = [sorted(values[number] for number in scale.items if number in values) for scale in form.scales]
        return tuple(
            scoring.ScaleScore(scale.code, float(some[len(some) // 2]) if some else None, None, len(some), 6)
            for scale, some in zip(form.scales, kept, strict=True)
        )

    monkeypatch.setitem(scoring.RULES, "item-median-1", median)
    monkeypatch.setattr(packs, "SCORING_VERSIONS", ("item-mean-1", "item-median-1"))
    form = shipped("dpccq-coping", "therapist")
    newer = upload(cast, replace(form, version="demo-2", scoring_version="item-median-1"))
    new = trait_form_assign(
        therapist=cast.therapy.therapist, study=cast.study, instrument=newer, period="2025"
    )
    factories.give(new, answers, user=cast.therapist)

    rows = Score.objects.filter(scale="constructive_coping").order_by("response__submitted_at")
    assert [(row.mean, row.scoring_version) for row in rows] == [(3.5, "item-mean-1"), (4.0, "item-median-1")]
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        rows.filter(scoring_version="item-mean-1").update(mean=4.0)


def test_every_scoring_version_has_its_rule_and_no_other() -> None:
    assert set(scoring.RULES) == set(packs.SCORING_VERSIONS)
