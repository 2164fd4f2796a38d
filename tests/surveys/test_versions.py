"""Versions of a study: what is in force is frozen, and a session follows the version of its day."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from surveys.fields import decrypt, encrypt
from surveys.models import (
    Assignment,
    Consent,
    ConsentText,
    Licence,
    Patient,
    PlanLine,
    StudyVersion,
    Withdrawal,
)
from tests import factories
from tests.conftest import Cast

pytestmark = pytest.mark.django_db


def draft_of(cast: Cast) -> StudyVersion:
    version = StudyVersion.objects.create(study=cast.study, number=9, visibility="blind")
    ConsentText.objects.create(version=version, language="en", information="What is collected.")
    return version


def refused(change) -> bool:
    try:
        with transaction.atomic():
            change()
    except IntegrityError:
        return True
    return False


def test_a_draft_changes_and_an_active_version_with_its_lines_and_texts_does_not(cast: Cast) -> None:
    version = draft_of(cast)
    text = version.texts.get()
    line = PlanLine.objects.create(
        version=version, instrument=factories.instrument("wai-s", "patient"), every=1
    )
    changes = [
        lambda: StudyVersion.objects.filter(pk=version.pk).update(visibility="feedback"),
        lambda: PlanLine.objects.filter(pk=line.pk).update(every=2),
        lambda: PlanLine.objects.filter(pk=line.pk).delete(),
        lambda: PlanLine.objects.create(
            version=version, instrument=factories.instrument("wai-sr", "patient"), every=1
        ),
        lambda: ConsentText.objects.filter(pk=text.pk).update(information="Another."),
        lambda: ConsentText.objects.create(version=version, language="de", information="Was."),
        lambda: version.delete(),
    ]
    assert not refused(changes[0]) and not refused(changes[1]) and not refused(changes[4])
    factories.activate(version, timezone.now())
    assert [refused(change) for change in changes] == [True] * len(changes)


def test_a_study_has_one_draft_and_no_active_version_without_a_policy(cast: Cast) -> None:
    StudyVersion.objects.create(study=cast.study, number=2)
    assert refused(lambda: StudyVersion.objects.create(study=cast.study, number=3))
    assert refused(lambda: StudyVersion.objects.update(active_from=timezone.now()))


def test_a_session_follows_the_version_that_was_in_force_when_it_was_held(cast: Cast) -> None:
    now = timezone.now()
    version = draft_of(cast)
    PlanLine.objects.create(version=version, instrument=factories.instrument("wai-sr", "patient"), every=1)
    factories.activate(version, now - timedelta(days=10))
    late = factories.hold_session(cast.therapy, now - timedelta(days=5))
    early = factories.hold_session(cast.therapy, now - timedelta(days=20))
    asked = {
        row.session_id: (row.instrument.code, row.version.number)
        for row in Assignment.objects.filter(rater="patient").select_related("instrument", "version")
    }
    assert asked == {early.pk: ("wai-s", 1), late.pk: ("wai-sr", 9)}


def test_records_of_consent_withdrawal_and_licence_are_never_changed(cast: Cast) -> None:
    text = draft_of(cast).texts.get()
    patient, now = cast.therapy.patient, timezone.now()
    Consent.objects.create(patient=patient, text=text, agreed=True, at=now, channel="link")
    Withdrawal.objects.create(patient=patient, study=cast.study, choice="stop", at=now)
    Licence.objects.create(
        clinic=cast.clinic,
        code="wai-s",
        language="en",
        holder="A society",
        reference="Letter of May",
        permitted_use="Routine care",
        valid_from=now.date(),
    )
    assert refused(lambda: Consent.objects.update(agreed=False))
    assert refused(lambda: Withdrawal.objects.update(choice="erase"))
    assert refused(lambda: Licence.objects.update(holder="Another"))
    for model in (Consent, Withdrawal, Licence):
        assert refused(lambda model=model: model.objects.all().delete())


def test_an_address_is_stored_encrypted_and_read_back(cast: Cast) -> None:
    patient = cast.therapy.patient
    patient.contact = "someone@example.org"
    patient.save(update_fields=["contact"])
    stored = Patient.objects.filter(pk=patient.pk).extra(select={"raw": "contact"}).values_list("raw")[0][0]
    assert "someone" not in stored and decrypt(stored) == "someone@example.org"
    assert Patient.objects.get(pk=patient.pk).contact == "someone@example.org"
    assert encrypt("x") != encrypt("x")
    assert Patient.objects.create(clinic=cast.clinic).contact == ""
