"""What is written about people stands encrypted in the database, and its key can be changed in use."""

import io
import json
import subprocess
import threading
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, models, transaction
from django.utils import timezone

from alliance_site.backups import programs
from alliance_site.factors import factor_of
from analytics.models import DipReview
from surveys import rekey
from surveys.fields import EncryptedBytes, EncryptedText, EncryptedWithin, decrypt, encrypt, is_encrypted
from surveys.models import (
    EmergencyAccess,
    ImportBatch,
    ImportChunk,
    ImportedPerson,
    ImportRejection,
    Patient,
)
from tests import factories
from tests.conftest import Cast
from tests.sign_in import give_app
from tests.totp import code_of

CANARY = "kanarienvogel"
OLD = "an old key of at least fifty random characters, kept"
NEW = "a new key of at least fifty random characters, made"

# Text without a list of choices that is not encrypted, and why. Whoever adds a column of free text decides.
NOT_ABOUT_PATIENTS = {
    "surveys.User": "staff sign in by their address; it is looked up",
    "surveys.Clinic": "its name and contact are on every page",
    "surveys.Study": "names of studies",
    "surveys.StudyVersion": "codes",
    "surveys.ConsentText": "texts for patients, published by the study",
    "surveys.PlanLine": "codes",
    "surveys.Instrument": "texts of questionnaires",
    "surveys.Licence": "papers about questionnaires",
    "surveys.Therapist": "a random code",
    "surveys.Therapy": "a random code and the arm of a study",
    "surveys.Assignment": "codes",
    "surveys.FormLink": "hashes",
    "surveys.Opening": "hashes and codes",
    "surveys.DraftAnswer": "values of items",
    "surveys.Score": "codes of scales",
    "surveys.Message": "codes",
    "surveys.Tablet": "the clinic's name for a device, and hashes",
    "surveys.StartCode": "a hash",
    "surveys.ApiToken": "its owner's name for it",
    "surveys.ClientKey": "a hash",
    "surveys.AuditEvent": "codes and ids; its detail never holds what was written",
    "surveys.AuditSeal": "hashes",
    "surveys.FactorReset": "codes",
    "surveys.RoleGrant": "codes",
    "surveys.SignIn": "two words about a browser, and a session that is signed",
    "surveys.KeepRule": "codes",
    "surveys.Job": "codes",
    "surveys.Heartbeat": "codes",
    "surveys.BackupRun": "names of files of the operator",
    "surveys.ImportMapping": "names of columns",
    "analytics.Snapshot": "hashes",
    "analytics.Export": "the purpose of a file, about no single patient",
    "analytics.StoredFile": "names of tables and hashes",
    "analytics.AnalysisLock": "rules for all data of a study",
    "analytics.Analysis": "a question to all data of a study",
    "analytics.PublishedTable": "published",
    "analytics.PowerPlan": "a plan of a study to come",
    "analytics.DipRules": "codes",
    "analytics.DipTally": "codes",
    "analytics.TherapySums": "codes",
    "analytics.RatingCount": "codes",
    "analytics.GrowthFit": "codes and hashes",
    "analytics.PracticeBasis": "codes",
    "analytics.Panel": "codes",
}
NOT_FREE = {
    "surveys.Patient.code": "random",
    "surveys.Patient.language": "a code",
    "surveys.Response.receipt_code": "random",
    "surveys.Response.layout": "a code",
    "surveys.Response.device": "a code",
    "surveys.Response.language": "a code",
    "surveys.ImportBatch.sha256": "a hash",
    "surveys.ImportRejection.column": "the name of a column",
    "surveys.ImportRejection.reason": "a code",
    "analytics.DipReview.rule": "a code",
}


def test_every_column_of_free_text_is_encrypted_or_says_why_not() -> None:
    ours = [model for name in ("surveys", "analytics") for model in apps.get_app_config(name).get_models()]
    wrong = [
        f"{model._meta.label}.{field.name}"
        for model in ours
        for field in model._meta.local_fields
        if isinstance(field, models.CharField | models.TextField)
        and not isinstance(field, EncryptedText)
        and not field.choices
        and model._meta.label not in NOT_ABOUT_PATIENTS
        and f"{model._meta.label}.{field.name}" not in NOT_FREE
    ]
    assert wrong == []


def batch_of(cast: Cast, **fields: Any) -> ImportBatch:
    return ImportBatch.objects.create(
        clinic=cast.clinic, study=cast.study, sha256="0" * 64, n_bytes=1, kind="csv", **fields
    )


def review_of(cast: Cast, reason: str) -> DipReview:
    response = factories.give(factories.form_of(factories.hold_session(cast.therapy), "patient"))
    return DipReview.objects.create(
        response=response, rule="band", state="acted", reason=reason, by=cast.therapist, at=timezone.now()
    )


def plant(cast: Cast) -> dict[str, str]:
    """A canary of its own in every encrypted column of ours; by column, what it is."""
    ours = [cell for cell in rekey.encrypted_cells() if cell.table.startswith(("surveys_", "analytics_"))]
    words = {str(cell): f"{CANARY}-{n}" for n, cell in enumerate(ours)}
    contact, code = words["surveys_patient.contact"], words["surveys_importedperson.code"]
    Patient.objects.filter(pk=cast.therapy.patient_id).update(contact=contact)
    batch = batch_of(
        cast,
        file_name=words["surveys_importbatch.file_name"],
        consent=words["surveys_importbatch.consent"],
        head=words["surveys_importbatch.head"],
    )
    content = words["surveys_importchunk.content"].encode()
    ImportChunk.objects.create(batch=batch, number=0, content=content)
    cell = {"value": words["surveys_importrejection.values"], "low": 1}
    ImportRejection.objects.create(batch=batch, row=2, reason="out_of_range", values=cell)
    ImportedPerson.objects.create(batch=batch, patient=cast.therapy.patient, code=code)
    review_of(cast, words["analytics_dipreview.reason"])
    EmergencyAccess.objects.create(
        by=cast.superuser,
        clinic=cast.clinic,
        patient=cast.therapy.patient,
        reason=words["surveys_emergencyaccess.reason"],
        told=[],
        began_at=timezone.now(),
        ends_at=timezone.now(),
    )
    return words


def read_back() -> dict[str, str]:
    """By column, the last value that is not empty, as the site reads it."""
    fields = [
        (model, field)
        for model in apps.get_models()
        for field in model._meta.local_fields
        if isinstance(field, EncryptedText | EncryptedBytes | EncryptedWithin)
    ]
    found = {}
    for model, field in fields:
        for value in filter(None, model._default_manager.values_list(field.name, flat=True)):
            text = value["value"] if isinstance(value, dict) else value
            text = text.decode() if isinstance(text, bytes) else text
            found[f"{model._meta.db_table}.{field.column}"] = text
    return found


@pytest.mark.django_db(transaction=True)
def test_a_dump_of_the_database_holds_nothing_of_it_in_clear(cast: Cast) -> None:
    words = plant(cast)
    assert read_back() == words
    name, environment = programs.address()
    program = programs.find("pg_dump", connection.pg_version // 10000)
    command = [program, "--inserts", "-d", name]
    dump = subprocess.run(command, env=dict(environment), capture_output=True, check=True)
    assert cast.therapy.patient.code.encode() in dump.stdout
    assert CANARY.encode() not in dump.stdout
    assert CANARY.encode().hex().encode() not in dump.stdout


@pytest.fixture
def changed_key(cast: Cast, settings: Any) -> dict[str, str]:
    """Everything written under the old key, and the new one put in front of it."""
    settings.FIELD_KEYS = [OLD]
    words = plant(cast)
    settings.FIELD_KEYS = [NEW, OLD]
    return words


def rotate() -> str:
    said = io.StringIO()
    call_command("field_keys_rotate", stdout=said)
    return said.getvalue()


@pytest.mark.django_db(transaction=True)
def test_a_key_is_changed_while_rows_are_written_and_the_old_one_can_go(
    cast: Cast, changed_key: dict[str, str], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rekey, "BATCH", 7)
    settings.FIELD_KEYS = [OLD]
    patients = Patient.objects.bulk_create(
        Patient(clinic=cast.clinic, contact=f"before-{n}@example.org") for n in range(60)
    )
    settings.FIELD_KEYS = [NEW, OLD]
    written: dict[Any, str] = {}
    done = threading.Event()

    def site() -> None:
        """The site goes on: addresses change, patients come."""
        try:
            n = 0
            while not done.is_set() or n < 60:
                row = patients[(n * 37) % 60]
                address = f"after-{n}@example.org"
                with transaction.atomic():
                    Patient.objects.select_for_update().get(pk=row.pk)
                    Patient.objects.filter(pk=row.pk).update(contact=address)
                written[row.pk] = address
                new = Patient.objects.create(clinic=cast.clinic, contact=f"new-{n}@example.org")
                written[new.pk] = f"new-{n}@example.org"
                n += 1
        finally:
            connection.close()

    thread = threading.Thread(target=site)
    thread.start()
    try:
        rotate()
    finally:
        done.set()
        thread.join()
    said = rotate()
    assert "0 of them since now" in said and "FIELD_KEY_FALLBACKS can be emptied" in said
    settings.FIELD_KEYS = [NEW]
    everything = dict(Patient.objects.exclude(contact="").values_list("pk", "contact"))
    assert {row.pk: everything[row.pk] for row in patients} | written == {
        **{row.pk: row.contact for row in patients},
        **written,
    }
    others = {name: text for name, text in read_back().items() if name != "surveys_patient.contact"}
    assert others == {name: text for name, text in changed_key.items() if name != "surveys_patient.contact"}


@pytest.mark.django_db(transaction=True)
def test_a_rotation_that_was_ended_goes_on_and_a_lost_key_is_said(
    cast: Cast, changed_key: dict[str, str], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = rekey.rekey
    first = rekey.encrypted_cells()[0]
    assert whole(first).n_changed == 1
    assert whole(first) == rekey.Rewritten(1, 0, 0)
    settings.FIELD_KEYS = ["a third key that never wrote a row, but long enough to be one"]
    with pytest.raises(CommandError, match="9 values cannot be read"):
        rotate()
    settings.FIELD_KEYS = [NEW, OLD]
    assert "8 of them since now" in rotate()
    assert read_back() == changed_key


@pytest.fixture
def table_of_others() -> Iterator[str]:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE others (id bigint PRIMARY KEY, data jsonb NOT NULL)")
    yield "others"
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE others")


@pytest.mark.django_db(transaction=True)
def test_values_in_the_json_of_another_application_are_rotated_once_they_are_named(
    table_of_others: str, settings: Any
) -> None:
    settings.FIELD_KEYS = [OLD]
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO others VALUES (1, jsonb_build_object('secret', %s::text, 'n', 3, 'codes',"
            " jsonb_build_array(%s::text))), (2, '{}')",
            [encrypt("totp"), encrypt("one")],
        )
    settings.FIELD_KEYS = [NEW, OLD]
    settings.ENCRYPTED_IN_JSON = [("others", "data", ("secret", "codes"))]
    (cell,) = [cell for cell in rekey.encrypted_cells() if cell.table == table_of_others]
    assert rekey.rekey(cell) == rekey.Rewritten(2, 1, 0)
    settings.FIELD_KEYS = [NEW]
    with connection.cursor() as cursor:
        cursor.execute("SELECT data->>'secret', data->>'n', data->'codes'->>0 FROM others WHERE id = 1")
        secret, n, code = cursor.fetchone()
    assert (decrypt(secret), n, decrypt(code)) == ("totp", "3", "one")


@pytest.mark.django_db(transaction=True)
def test_second_factors_work_on_under_the_new_key(cast: Cast, settings: Any) -> None:
    settings.FIELD_KEYS = [OLD]
    secret = give_app(cast.therapist)
    codes = RecoveryCodes.activate(cast.therapist).generate_codes()
    settings.FIELD_KEYS = [NEW, OLD]
    (cell,) = [cell for cell in rekey.encrypted_cells() if cell.table == "mfa_authenticator"]
    assert rekey.rekey(cell) == rekey.Rewritten(2, 2, 0)
    settings.FIELD_KEYS = [NEW]
    assert factor_of(cast.therapist, code_of(secret)) is not None
    assert factor_of(cast.therapist, codes[0]) is not None
    assert factor_of(cast.therapist, "not-a-code") is None


@pytest.mark.django_db(transaction=True)
def test_a_record_lets_its_key_change_and_nothing_else(cast: Cast) -> None:
    row = review_of(cast, "called")
    with pytest.raises(DatabaseError, match="append-only"):
        DipReview.objects.filter(pk=row.pk).update(reason="another word")
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('alliance.rekey', 'on', true)")
        DipReview.objects.filter(pk=row.pk).update(state="dismissed")


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_the_migration_of_what_was_written_goes_on_where_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module("analytics.migrations.0015_encrypt_what_is_written")
    call_command("migrate", "analytics", "0014", verbosity=0)
    try:
        with monkeypatch.context() as broken, pytest.raises(ZeroDivisionError):
            broken.setattr(module, "rewrite", lambda *_: 1 / 0)
            call_command("migrate", "analytics", verbosity=0)
    finally:
        call_command("migrate", verbosity=0)


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_what_was_written_before_is_encrypted_by_the_migration_and_back(cast: Cast) -> None:
    batch = batch_of(cast, file_name="people.csv", consent="As they said")
    review = review_of(cast, "called")
    try:
        call_command("migrate", "analytics", "0014", verbosity=0)
        call_command("migrate", "surveys", "0021", verbosity=0)
        with connection.cursor() as cursor:
            cursor.execute("SELECT file_name, consent FROM surveys_importbatch")
            assert cursor.fetchall() == [("people.csv", "As they said")]
            cursor.execute("SELECT reason FROM analytics_dipreview")
            assert cursor.fetchall() == [("called",)]
    finally:
        call_command("migrate", verbosity=0)
    batch.refresh_from_db()
    review.refresh_from_db()
    assert (batch.file_name, batch.consent, review.reason) == ("people.csv", "As they said", "called")
    with connection.cursor() as cursor:
        cursor.execute("SELECT file_name FROM surveys_importbatch")
        assert decrypt(cursor.fetchone()[0]) == "people.csv"


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_rejected_cells_of_before_are_encrypted_by_the_migration_and_back(cast: Cast) -> None:
    batch = batch_of(cast, file_name="people.csv")
    values = {"value": "Eva Berg", "low": 1, "high": 7}
    ImportRejection.objects.create(batch=batch, row=2, reason="out_of_range", values=values)
    ImportRejection.objects.create(batch=batch, row=3, reason="double", values={"other": 2})
    try:
        call_command("migrate", "surveys", "0029", verbosity=0)
        assert [values, {"other": 2}] == stored_rejections()
    finally:
        call_command("migrate", verbosity=0)
    first, second = stored_rejections()
    assert is_encrypted(first["value"].encode()) and (first["low"], second) == (1, {"other": 2})
    assert ImportRejection.objects.get(row=2).values == values


def stored_rejections() -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute('SELECT "values"::text FROM surveys_importrejection ORDER BY row')
        return [json.loads(text) for (text,) in cursor.fetchall()]
