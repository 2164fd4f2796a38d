"""The clock: what is deleted after which time, by whose decision, and what never is."""

from collections.abc import Callable
from datetime import datetime, timedelta
from io import StringIO
from threading import Thread
from time import sleep
from typing import Any

import pytest
from django.apps import apps
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db import connection, models, transaction
from django.urls import reverse
from django.utils import timezone

import analytics.tasks  # noqa: F401  forgets frozen data
import surveys.tasks  # noqa: F401  knows the job
from analytics.models import RatingChange, Snapshot, StoredFile
from surveys import jobs
from surveys.keeping import kept, rules_in_force
from surveys.models import (
    Assignment,
    AuditEvent,
    ClientKey,
    DraftAnswer,
    FormLink,
    ImportBatch,
    ImportChunk,
    ImportRejection,
    Job,
    KeepRule,
    Message,
    Opening,
    Patient,
    Response,
    Score,
    StartCode,
    Therapy,
)
from surveys.models.people import UNKNOWN_DAY
from surveys.retention import CHOSEN, FIXED, before, is_shorter, years
from surveys.services import retention
from surveys.services.invitations import link_issue
from surveys.services.patients import patient_contact_set
from surveys.services.people import patient_add
from surveys.services.responses import drafts_save
from surveys.services.retention import (
    SITE,
    clinic_clean,
    keep_approve,
    keep_propose,
    retention_request,
    site_clean,
)
from surveys.services.therapies import therapy_begin
from tests import factories
from tests.conftest import Cast, signed_in

pytestmark = pytest.mark.django_db
NOW = timezone.now()
DAY = timedelta(days=1)


def test_years_are_days_rounded_up_and_only_what_deletes_more_is_shorter() -> None:
    assert (years(1), years(4), years(10)) == (366, 1461, 3653)
    assert before(30, NOW) == NOW - 30 * DAY
    cases = [(None, None), (None, 30), (30, None), (30, 90), (90, 90), (90, 30)]
    assert [is_shorter(*case) for case in cases] == [False, False, True, True, False, False]
    assert all(list(days) == sorted(set(days)) and days[0] >= 30 for days in CHOSEN.values())
    assert set(KeepRule.Kind.values) == set(CHOSEN) and not set(CHOSEN) & set(FIXED)


def rule(cast: Cast, kind: str, days: int) -> None:
    now = timezone.now()
    KeepRule.objects.create(
        clinic=cast.clinic,
        kind=kind,
        days=days,
        proposed_at=now,
        approved_at=now,
        approved_by=cast.clinic_admin,
    )


def ended(therapy: Therapy, day: Any = None) -> Therapy:
    """A therapy with a form of both, over since a day."""
    session = factories.hold_session(therapy, NOW - timedelta(hours=3))
    factories.give(factories.form_of(session, "patient"), 6, sharing="answers")
    factories.give(factories.form_of(session, "therapist"), 5)
    therapy.ended_on = day or timezone.localdate(NOW)
    therapy.started_on, therapy.end_reason = therapy.ended_on, "completed"
    therapy.save(update_fields=["started_on", "ended_on", "end_reason"])
    Patient.objects.filter(pk=therapy.patient_id).update(contact="me@example.org")
    return therapy


def at_the_edge(cast: Cast, kind: str, days: int, n: Callable[[], int]) -> None:
    """Nothing goes on the last day of the time; all goes on the day after."""
    rule(cast, kind, days)
    assert clinic_clean(clinic=cast.clinic, now=NOW + days * DAY)[kind] == 0
    assert n() > 0
    assert clinic_clean(clinic=cast.clinic, now=NOW + (days + 1) * DAY)[kind] > 0
    assert n() == 0


def test_answers_go_after_their_time_as_an_erasure_deletes_them(cast: Cast) -> None:
    therapy = ended(cast.therapy)
    snapshot = Snapshot.objects.create(
        study=cast.study, number=1, asked_at=NOW, read_at=NOW, sha256="0" * 64, patients=[therapy.patient_id]
    )
    StoredFile.objects.create(snapshot=snapshot, name="ratings.parquet", n_bytes=1, sha256="0" * 64)
    Job.objects.all().delete()
    RatingChange.objects.all().delete()
    at_the_edge(cast, "answers", years(10), Response.objects.count)
    assert not Score.objects.exists() and not Opening.objects.exists()
    assert set(Assignment.objects.values_list("state", flat=True)) == {"withdrawn"}
    assert Therapy.objects.filter(pk=therapy.pk).exists() and therapy.sessions.count() == 1
    snapshot.refresh_from_db()
    assert snapshot.erased_at and not StoredFile.objects.exists() and snapshot.patients == []
    assert RatingChange.objects.filter(therapy=therapy).exists()
    assert Job.objects.filter(kind="refit", scope=str(cast.study.pk), state="pending").exists()
    event = AuditEvent.objects.get(act="retention.delete")
    assert (event.subject, event.patient) == (f"therapy:{therapy.pk}", therapy.patient_id)
    assert event.detail == {"kind": "answers", "days": 3653, "n": 2}


def test_the_clock_of_answers_waits_for_the_last_therapy_and_for_a_known_end(cast: Cast) -> None:
    first = ended(cast.therapy, timezone.localdate(NOW) - 500 * DAY)
    Therapy.objects.create(
        patient=first.patient,
        therapist=first.therapist,
        study=first.study,
        started_on=timezone.localdate(NOW),
    )
    unknown = ended(cast.colleague_therapy)
    Therapy.objects.filter(pk=unknown.pk).update(started_on=UNKNOWN_DAY, ended_on=UNKNOWN_DAY)
    for kind in ("answers", "contacts"):
        rule(cast, kind, years(1))
    assert clinic_clean(clinic=cast.clinic, now=NOW) == {"answers": 0, "contacts": 0}
    Therapy.objects.filter(ended_on=None, patient=first.patient).update(
        ended_on=timezone.localdate(NOW), end_reason="completed"
    )
    later = NOW + years(1) * DAY + DAY
    assert clinic_clean(clinic=cast.clinic, now=later) == {"answers": 1, "contacts": 1}
    assert Response.objects.filter(assignment__session__therapy=unknown).count() == 2


def test_addresses_go_after_the_last_therapy(cast: Cast) -> None:
    ended(cast.therapy)
    at_the_edge(cast, "contacts", 30, Patient.objects.exclude(contact="").count)
    assert AuditEvent.objects.get(act="retention.delete").patient == cast.therapy.patient_id


def test_the_address_of_somebody_who_comes_back_is_counted_from_its_entry(cast: Cast) -> None:
    patient = ended(cast.therapy, timezone.localdate(NOW) - 100 * DAY).patient
    rule(cast, "contacts", 30)
    assert clinic_clean(clinic=cast.clinic, now=NOW) == {"contacts": 1}
    patient_contact_set(patient=patient, contact="again@example.org")
    assert clinic_clean(clinic=cast.clinic, now=NOW + 30 * DAY) == {"contacts": 0}
    assert Patient.objects.get(pk=patient.pk).contact == "again@example.org"
    assert clinic_clean(clinic=cast.clinic, now=NOW + 31 * DAY) == {"contacts": 1}
    assert Patient.objects.get(pk=patient.pk).contact_at is None


def test_an_address_that_was_entered_long_before_the_end_is_counted_from_the_end(cast: Cast) -> None:
    ended(cast.therapy)
    unknown = ended(cast.colleague_therapy)
    Therapy.objects.filter(pk=unknown.pk).update(started_on=UNKNOWN_DAY, ended_on=UNKNOWN_DAY)
    Patient.objects.update(contact_at=NOW - 400 * DAY)
    at_the_edge(
        cast,
        "contacts",
        30,
        Patient.objects.filter(pk=cast.therapy.patient_id).exclude(contact="").count,
    )


def test_a_new_patient_s_address_says_when_it_was_entered(cast: Cast) -> None:
    entered = patient_add(clinic=cast.clinic, language="en", contact="new@example.org")
    assert entered.contact_at and timezone.now() - entered.contact_at < timedelta(minutes=1)
    assert patient_contact_set(patient=entered, contact="").contact_at is None
    assert patient_add(clinic=cast.clinic, language="en").contact_at is None


def test_the_list_of_mails_goes_and_what_waits_stays(cast: Cast, patient_form: Assignment) -> None:
    fields = {"assignment": patient_form, "due_at": NOW + timedelta(minutes=5), "kind": "reminder"}
    Message.objects.create(**fields, number=1, state="sent", sent_at=NOW)
    waiting = Message.objects.create(**fields, number=2, state="waiting")
    at_the_edge(cast, "messages", 90, Message.objects.filter(state="sent").count)
    assert Message.objects.filter(pk=waiting.pk).exists()


def test_files_of_imports_go_and_what_was_stored_stays(cast: Cast) -> None:
    batch = ImportBatch.objects.create(
        clinic=cast.clinic, study=cast.study, file_name="a", sha256="0" * 64, n_bytes=1, kind="csv", head="{}"
    )
    ImportBatch.objects.filter(pk=batch.pk).update(uploaded_at=NOW + timedelta(minutes=5))
    ImportChunk.objects.create(batch=batch, number=0, content=b"rows")
    ImportRejection.objects.create(batch=batch, row=2, reason="empty")
    at_the_edge(cast, "imports", 30, lambda: ImportChunk.objects.count() + ImportRejection.objects.count())
    batch.refresh_from_db()
    assert (batch.state, batch.head) == ("dropped", "")


def technical(kind: str, cast: Cast, form: Assignment) -> tuple[type[models.Model], datetime]:
    """A row of a class, and when its clock begins."""
    if kind == "links":
        link_issue(assignment=form)
        return FormLink, form.closes_at
    if kind == "drafts":
        drafts_save(opening=factories.open_form(form), answers={1: 2})
        return DraftAnswer, form.closes_at
    if kind == "codes":
        StartCode.objects.create(
            clinic=cast.clinic,
            assignment=form,
            code_hash="0" * 64,
            issued_by=cast.therapist,
            issued_at=NOW - DAY,
            expires_at=NOW,
        )
        return StartCode, NOW
    if kind == "keys":
        ClientKey.objects.create(user=cast.therapist, key="0" * 32, digest="0" * 64)
        return ClientKey, ClientKey.objects.get().at
    Job.objects.all().delete()
    for state in ("done", "failed"):
        fields = {"state": state, "finished_at": NOW, "due_at": NOW, "requested_at": NOW}
        Job.objects.create(kind="refit", scope="1", **fields)
    Job.objects.create(kind="refit", scope="1", **fields | {"state": "done"})
    return Job, NOW


@pytest.mark.parametrize("kind", sorted(set(FIXED) - {"counters"}))
def test_technical_rows_go_after_their_fixed_time_whatever_a_clinic_chooses(
    cast: Cast, patient_form: Assignment, kind: str
) -> None:
    model, begins = technical(kind, cast, patient_form)
    last = begins + FIXED[kind] * DAY
    assert site_clean(now=last - timedelta(minutes=1))[kind] == 0
    n = model._default_manager.count()
    assert n > 0
    assert site_clean(now=last + timedelta(minutes=1))[kind] == n
    assert not model._default_manager.exists()


def test_the_last_job_stays_where_it_did_not_end_well_and_links_of_sent_forms_lead_to_their_page(
    cast: Cast, patient_form: Assignment
) -> None:
    fields = {"finished_at": NOW, "due_at": NOW, "requested_at": NOW, "kind": "export", "scope": "x"}
    Job.objects.create(**fields, state="failed")
    last = Job.objects.create(**fields, state="failed")
    link_issue(assignment=patient_form)
    factories.give(patient_form, 5)
    site_clean(now=NOW + 400 * DAY)
    assert list(Job.objects.filter(kind="export")) == [last]
    assert FormLink.objects.count() == 1


def test_what_the_cache_holds_goes_once_it_counts_no_more(db: None) -> None:
    cache.clear()
    cache.set("tries:192.0.2.1", 3, 60)
    assert site_clean(now=timezone.now())["counters"] == 0
    assert site_clean(now=timezone.now() + timedelta(seconds=61))["counters"] == 1
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM cache")
        assert cursor.fetchone() == (0,)


def everything() -> dict[str, list[tuple[Any, ...]]]:
    return {
        model._meta.label: sorted(map(repr, model._base_manager.values_list())) for model in apps.get_models()
    }


def test_without_a_rule_and_of_what_is_in_no_class_nothing_is_ever_deleted(
    cast: Cast, patient_form: Assignment
) -> None:
    ended(cast.colleague_therapy)
    Message.objects.create(assignment=patient_form, kind="reminder", number=1, due_at=NOW, state="sent")
    drafts_save(opening=factories.open_form(patient_form), answers={1: 2})
    link_issue(assignment=patient_form)
    Job.objects.update(state="done", finished_at=NOW)
    then = NOW + 100 * 366 * DAY
    there = everything()
    assert clinic_clean(clinic=cast.clinic, now=then) == {}
    assert everything() == there
    site_clean(now=then)
    changed = {label for label, rows in everything().items() if rows != there[label]}
    assert changed == {"surveys.DraftAnswer", "surveys.FormLink", "surveys.Job"}
    rule(cast, "answers", years(1))
    there = everything()
    clinic_clean(clinic=cast.clinic, now=then)
    changed = {label for label, rows in everything().items() if rows != there[label]}
    assert changed == {
        "surveys.Response",
        "surveys.Score",
        "surveys.Opening",
        "surveys.Assignment",
        "surveys.AuditEvent",
        "surveys.Job",
        "analytics.RatingChange",
    }


def test_another_clinic_s_rows_are_its_own(cast: Cast) -> None:
    ended(cast.stranger_therapy)
    rule(cast, "answers", years(1))
    assert clinic_clean(clinic=cast.clinic, now=NOW + 1000 * DAY) == {"answers": 0}
    assert Response.objects.count() == 2


def test_what_deletes_more_waits_and_what_keeps_longer_holds_at_once(cast: Cast) -> None:
    wish = keep_propose(clinic=cast.clinic, kind="contacts", days=30, actor=cast.clinic_admin)
    assert wish is not None and wish.approved_at is None and rules_in_force(cast.clinic) == {}
    assert keep_propose(clinic=cast.clinic, kind="contacts", days=30, actor=cast.clinic_admin) is None
    newer = keep_propose(clinic=cast.clinic, kind="contacts", days=90, actor=cast.clinic_admin)
    assert newer is not None
    other = factories.make_user("second@example.org", "clinic_admin", clinic=cast.clinic)
    assert keep_approve(clinic=cast.clinic, rules=[wish.pk], actor=other) == 0
    assert keep_approve(clinic=cast.clinic, rules=[newer.pk], actor=other) == 1
    assert rules_in_force(cast.clinic) == {"contacts": 90}
    keep_propose(clinic=cast.clinic, kind="contacts", days=None, actor=cast.clinic_admin)
    assert rules_in_force(cast.clinic) == {"contacts": None}
    with pytest.raises(ValueError, match="not among"):
        keep_propose(clinic=cast.clinic, kind="contacts", days=1, actor=cast.clinic_admin)
    found = AuditEvent.objects.filter(act__startswith="retention").order_by("pk")
    acts = list(found.values_list("act", "actor__email"))
    assert acts == [
        ("retention.propose", "admin@example.org"),
        ("retention.propose", "admin@example.org"),
        ("retention.approve", "second@example.org"),
        ("retention.propose", "admin@example.org"),
    ]


@pytest.mark.parametrize(("days", "n_left"), [(None, 2), (90, 1), (30, 0)])
def test_a_rule_that_changes_while_the_job_runs_holds_from_the_next_batch_on(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, days: int | None, n_left: int
) -> None:
    monkeypatch.setattr(retention, "BATCH", 1)
    for therapy, ago in ((cast.therapy, 120), (cast.colleague_therapy, 110)):
        ended(therapy, timezone.localdate(NOW) - ago * DAY)
    another = factories.make_therapy(cast.study, cast.therapist)
    ended(another, timezone.localdate(NOW) - 40 * DAY)
    rule(cast, "contacts", 30)

    def progress(_kind: str, n: int) -> None:
        if n == 1:
            keep_propose(clinic=cast.clinic, kind="contacts", days=days, actor=cast.clinic_admin)

    assert clinic_clean(clinic=cast.clinic, now=NOW, progress=progress) == {"contacts": 3 - n_left}
    assert Patient.objects.exclude(contact="").count() == n_left


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_therapy_that_begins_while_the_job_runs_keeps_answers_and_address(cast: Cast) -> None:
    past = timezone.localdate(NOW) - 500 * DAY
    first, other = ended(cast.therapy, past), ended(cast.colleague_therapy, past)
    for kind in ("answers", "contacts"):
        rule(cast, kind, years(1))

    def clean() -> None:
        clinic_clean(clinic=cast.clinic, now=NOW)
        connection.close()

    job = Thread(target=clean)
    with transaction.atomic():
        therapy_begin(
            patient=first.patient, therapist=first.therapist, study=first.study, started_on=past + DAY
        )
        job.start()
        with connection.cursor() as cursor:
            for _ in range(100):
                cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
                if cursor.fetchone()[0]:
                    break
                sleep(0.1)
    job.join()
    with_answers = Response.objects.values_list("assignment__session__therapy", flat=True)
    assert set(with_answers) == {first.pk} and first.pk != other.pk
    assert list(Patient.objects.exclude(contact="")) == [first.patient]


def test_the_dry_run_says_what_would_go_and_what_rests_on_it(cast: Cast) -> None:
    therapy = ended(cast.therapy, timezone.localdate(NOW) - timedelta(days=366))
    ended(cast.colleague_therapy, timezone.localdate(NOW) - timedelta(days=300))
    Snapshot.objects.create(
        study=cast.study, number=4, asked_at=NOW, read_at=NOW, sha256="0" * 64, patients=[therapy.patient_id]
    )
    client, page = signed_in(cast.clinic_admin), reverse("retention")
    before_any = client.get(page).content.decode()
    assert "Waits for approval" not in before_any and "Kept for good" in before_any
    assert client.post(page, {"contacts": str(years(1))}).status_code == 302
    (row,) = [row for row in kept(cast.clinic, NOW) if row.kind == "contacts"]
    assert row.wish is not None and (row.n, row.wish.n_today, row.wish.n_soon) == (2, 0, 2)
    assert row.oldest == therapy.ended_on
    client.post(page, {"answers": str(years(1)), "contacts": str(years(1))})
    earlier = timezone.localdate(NOW) - timedelta(days=367)
    Therapy.objects.filter(pk=therapy.pk).update(started_on=earlier, ended_on=earlier)
    shown = client.get(page).content.decode()
    assert "snapshot 4" in shown and "1 would go in the coming night" in shown
    assert rules_in_force(cast.clinic) == {}
    waiting = [row.waiting.pk for row in kept(cast.clinic, NOW) if row.waiting]
    approve = reverse("retention-approve")
    second = signed_in(factories.make_user("second@example.org", "clinic_admin", clinic=cast.clinic))
    second.post(approve, {"rule": waiting})
    assert rules_in_force(cast.clinic) == {}
    assert second.post(approve, {"rule": waiting, "seen": "yes"}).status_code == 302
    assert rules_in_force(cast.clinic) == {"answers": 366, "contacts": 366}
    assert client.post(page, {"answers": "7"}).status_code == 422


def test_nobody_approves_their_own_wish_and_another_administrator_does(cast: Cast) -> None:
    second = factories.make_user("second@example.org", "clinic_admin", clinic=cast.clinic)
    first, other, page = signed_in(cast.clinic_admin), signed_in(second), reverse("retention")
    first.post(page, {"contacts": "30"})
    own = KeepRule.objects.get()
    shown = first.get(page).content.decode()
    assert "Another administrator of the clinic approves it" in shown
    assert 'name="seen"' not in shown and 'name="rule"' not in shown
    refused = first.post(reverse("retention-approve"), {"rule": own.pk, "seen": "yes"}, follow=True)
    assert "or is your own" in refused.content.decode() and rules_in_force(cast.clinic) == {}
    with pytest.raises(CommandError, match="another administrator"):
        call_command("retention_approve", clinic=cast.clinic.name, approve=[own.pk])
    home = reverse("admin-home")
    sentence = "1 wish to delete earlier waits for a second person."
    assert sentence not in first.get(home).content.decode()
    assert sentence in other.get(home).content.decode()
    other.post(page, {"contacts": "30", "messages": "90"})
    numbers = list(KeepRule.objects.values_list("pk", flat=True))
    other.post(reverse("retention-approve"), {"rule": numbers, "seen": "yes"})
    assert rules_in_force(cast.clinic) == {"contacts": 30}, "and not what they wished themselves"


def test_where_there_is_one_administrator_alone_the_operator_approves_at_the_server(cast: Cast) -> None:
    ended(cast.therapy, timezone.localdate(NOW) - timedelta(days=40))
    client = signed_in(cast.clinic_admin)
    client.post(reverse("retention"), {"contacts": "30"})
    wish, out = KeepRule.objects.get(), StringIO()
    assert "manage.py retention_approve" in client.get(reverse("retention")).content.decode()
    call_command("retention_approve", clinic=cast.clinic.name, stdout=out)
    assert f"{wish.pk}  Patients’ e-mail addresses: 30 days" in out.getvalue()
    assert "1 would go in the coming night" in out.getvalue() and rules_in_force(cast.clinic) == {}
    call_command("retention_approve", clinic=cast.clinic.name, approve=[wish.pk], stdout=out)
    assert rules_in_force(cast.clinic) == {"contacts": 30}
    assert AuditEvent.objects.get(act="retention.approve").actor is None


def test_the_job_of_a_clinic_and_of_the_site_do_it_at_night(cast: Cast) -> None:
    ended(cast.therapy, timezone.localdate(NOW) - timedelta(days=40))
    rule(cast, "contacts", 30)
    Job.objects.all().delete()
    retention_request()
    asked = set(Job.objects.filter(kind="retention").values_list("scope", flat=True))
    assert asked == {str(cast.clinic.pk), SITE}
    jobs.run_due(is_long=True)
    assert not Patient.objects.exclude(contact="").exists()
    assert set(Job.objects.filter(kind="retention").values_list("state", flat=True)) == {"done"}
