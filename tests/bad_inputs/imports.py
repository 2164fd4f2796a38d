"""Rows 49 to 60: what somebody may send as a file of old ratings."""

import os
import signal

import pytest
from django.db import connection
from django.test import Client

import analytics.tasks  # noqa: F401  registers what hangs on ratings
from surveys import jobs
from surveys.models import ImportBatch, Job, Response, Therapy
from surveys.services.imports import batch_store, store_ask
from tests.bad_inputs.rows import CANARY, nothing_stored, refused, row
from tests.conftest import Cast
from tests.surveys.test_import_pages import brought, mapped, send
from tests.surveys.test_import_store import LONG, figures, form, reasons, stored, table, uploaded


def no_table(admin: Client, cast: Cast, *files: tuple[bytes, str]) -> None:
    """Refused as a whole, with this sentence."""
    with nothing_stored():
        for content, words in files:
            refused(send(admin, cast, content), 422, words)


def rejected(cast: Cast, *rows: list[object]) -> list[tuple[int, str, str]]:
    """Row, column and reason of each; a check stores nothing."""
    before = Therapy.objects.count()
    batch = uploaded(cast, table(*rows))
    assert Therapy.objects.count() == before and not Response.objects.filter(channel="import").exists()
    return reasons(batch)


@row(49, "UTF-16 / Latin-1 / BOM")
def encodings(admin: Client, cast: Cast) -> None:
    good = table(form(patient="Größe"))
    no_table(
        admin,
        cast,
        (good.decode().encode("utf-16"), "Line 1 is not UTF-8 text"),
        (good.decode().encode("latin-1"), "Line 2 is not UTF-8 text"),
        (good + b"\n\x001", "Line 3 holds characters"),
        (b"MZ\x90\x00\x03", "is not UTF-8 text"),
    )
    # The name of the file says .exe.
    assert send(admin, cast, b"\xef\xbb\xbf" + good).status_code == 302


@row(50, "; or tab separator")
def separators(admin: Client, cast: Cast) -> None:
    """Detected, and the page of the columns shows what was found before anything is checked."""
    for mark in (b",", b";", b"\t"):
        answer = send(admin, cast, table(form(patient="K-17")).replace(b",", mark))
        assert answer.status_code == 302
        page = admin.get(answer["Location"])
        assert page.context["form"]["patient"].value() == "patient"
        assert "K-17" in page.content.decode()


@row(51, "missing, extra, doubled, reordered header")
def headers(admin: Client, cast: Cast) -> None:
    no_table(
        admin,
        cast,
        (table(form(), head=["patient", *LONG[:-1]]), "more than one column: patient"),
        (table(form(), head=["patient", "", *LONG[2:]]), "Column 2 has no name"),
    )
    send(admin, cast, table(form()[1:], head=LONG[1:]))
    batch = ImportBatch.objects.get()
    page = mapped(admin, batch, pattern=f"wai_1, {CANARY[:4]}").content.decode()
    assert "who the patient is" in page and f"no column of this name: {CANARY[:4]}" in page
    assert ImportBatch.objects.get().mapping == {}
    backwards = table([*reversed(form()), "more"], head=[*reversed(LONG), "extra"])
    assert figures(uploaded(cast, backwards)) == (1, 1, 0, 0)


@row(52, "ragged row, unclosed quote, 10 MB cell")
def broken_rows(admin: Client, cast: Cast) -> None:
    good = table(form())
    no_table(
        admin,
        cast,
        (good + b'\n"open,2\n' + b"3,4\n" * 40_000, "Line 3 cannot be read"),
        (good + b"\n" + CANARY.encode() * 1_000_000, "a cell is far too long"),
    )
    assert rejected(cast, form(), [1, "A", 20], [*form(session=20), 1]) == [
        (3, "", "ragged"),
        (4, "", "ragged"),
    ]


@row(53, "patient of another clinic")
def other_clinic(admin: Client, cast: Cast) -> None:
    """Codes of a file lead to people of one's own clinic alone: another's are as unknown as made up ones."""
    code = cast.stranger_therapy.patient.code
    batch = stored(cast, table(form(patient=code)))
    assert cast.stranger_therapy.patient_id not in set(batch.people.values_list("patient", flat=True))
    assert cast.stranger_therapy.sessions.count() == 0
    answers = [
        admin.post(f"/clinic/imports/{batch.pk}/find/", {"code": wanted}, follow=True).content.decode()
        for wanted in (cast.stranger_therapy.code, CANARY)
    ]
    assert all("No patient of an imported file has this code" in page for page in answers)


@row(54, "two rows same patient + session")
def doubled_rows(cast: Cast) -> None:
    found = rejected(cast, form(), form(answers=[4] * 12), form(session=12, day="2015-06-01"))
    assert found == [(2, "session", "double"), (3, "session", "double")]


@row(55, "date 03/04/2026")
def odd_days(cast: Cast) -> None:
    """Read only where somebody says which of the two is the month; never guessed."""
    days = ("03/04/2015", "2015-02-30", "15-03-01", "0015-03-01", "2999-01-01", CANARY)
    rows = [form(session=n, day=day) for n, day in enumerate(days, start=3)]
    assert [reason for _, _, reason in rejected(cast, *rows)] == [*["bad_date"] * 4, "future", "bad_date"]


@row(56, "decimal comma 3,5")
def decimal_comma(cast: Cast) -> None:
    """No answer is half a number, however it is written; `3,0` is what some programs write for 3."""
    rows = [
        form(session=n, answers=[f'"{text}"', *[5] * 11]) for n, text in ((3, "3,5"), (4, "3.5"), (5, "3,0"))
    ]
    found = rejected(cast, *rows)
    assert found == [(2, "wai_1", "not_whole"), (3, "wai_1", "not_whole")]


@row(57, "=HYPERLINK(...)")
def formulas(admin: Client, cast: Cast) -> None:
    head = ["patient", "therapist", "session", "date", "=HYPERLINK", *(f"wai_{n}" for n in range(1, 13))]
    send(admin, cast, table(form(), form(rater="=1+1"), head=head))
    batch = ImportBatch.objects.get()
    mapped(admin, batch, rater="=HYPERLINK", patient_words="P", therapist_words="T")
    admin.post(f"/clinic/imports/{batch.pk}/check/")
    jobs.run_due(is_long=True)
    answer = admin.get(f"/clinic/imports/{batch.pk}/rejected/")
    lines = b"".join(answer.streaming_content).decode("utf-8-sig").splitlines()
    assert lines[0] == "Row,Column,Reason" and lines[1].startswith("3,'=HYPERLINK,“=1+1”")


@row(58, "same file twice")
def again(admin: Client, cast: Cast) -> None:
    rows = [form(), form(rater="T"), form(session=12, day="2015-06-01")]
    stored(cast, table(*rows))
    n_before = Response.objects.count()
    batch = brought(admin, cast, rows)
    page = admin.get(f"/clinic/imports/{batch.pk}/").content.decode()
    assert "3 rows with 3 forms: 0 accepted + 3 there already + 0 rejected." in page
    admin.post(f"/clinic/imports/{batch.pk}/store/", {"consent": "Signed."})
    jobs.run_due(is_long=True)
    assert Response.objects.count() == n_before


@row(59, "kill -9 in the middle", pytest.mark.django_db(transaction=True))
def killed(cast: Cast) -> None:
    batch = uploaded(cast, table(form(), form(session=12, day="2015-06-01")))
    store_ask(batch=batch, consent="Signed.", actor=cast.clinic_admin)

    def die(at: str, done: int = 0, total: int = 0) -> None:
        if at == "finishing":
            os.kill(os.getpid(), signal.SIGKILL)

    with nothing_stored():
        connection.close()
        child = os.fork()
        if child == 0:
            try:
                batch_store(str(batch.pk), die)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    jobs.run_due(is_long=True)
    assert Response.objects.filter(channel="import").count() == 2


@row(60, "100 MB / 1 M rows")
def very_long(admin: Client, cast: Cast) -> None:
    """Read, checked and stored by a job of the other queue; the page says that it waits. A million rows, with
    the time that a page takes meanwhile: benchmarks/imports.py."""
    large = table(*(form(patient=n) for n in range(20_000)))
    assert len(large) > 500_000
    assert send(admin, cast, large).status_code == 302
    batch = ImportBatch.objects.get()
    mapped(admin, batch)
    assert admin.post(f"/clinic/imports/{batch.pk}/check/").status_code == 302
    assert Job.objects.get(kind="import_check").state == "pending"
    assert "Waiting for its turn" in admin.get(f"/clinic/imports/{batch.pk}/").content.decode()
    assert jobs.run_due(is_long=False) == 0
    assert not Therapy.objects.filter(study=cast.study, batch=batch).exists()
