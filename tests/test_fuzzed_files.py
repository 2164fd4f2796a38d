"""Instrument files and files of old ratings with anything wrong in them: taken, or refused in a sentence."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

import surveys.tasks  # noqa: F401  registers the jobs
from surveys import jobs
from surveys.imports.guess import guess
from surveys.imports.mapping import MappingRefused, read
from surveys.imports.reasons import CODES, FileRefused
from surveys.imports.rows import Rejected, RowReader
from surveys.imports.source import head, opened
from surveys.models import ImportBatch, Job
from surveys.packs import InstrumentFileError, parse
from tests.conftest import Cast, signed_in
from tests.surveys.test_import_files import FORMS, TODAY, spss
from tests.surveys.test_import_pages import mapped, send
from tests.surveys.test_import_store import form, table
from tests.surveys.test_packs import SMALL_FORM

# What breaks readers of text, of numbers and of days.
ODD = (
    *('"', "'", '"""', "[", "]", "[[", "{", "}", "=", ",", ";", "\t", "\n", "\r", ".", "#", "\\"),
    *("\\u0000", "\\ud800", "\x00", "\x1a", "\ufeff", "\u202e", "\u2028", "\xff", "٣", "3,5", "1e999"),
    *("nan", "-inf", "0x", "9" * 5000, "true", "1979-05-27", "2015-02-30", "=1+1", "items = [1]"),
    *("[items]", "a." * 50, "x" * 3000),
)
RATINGS = table(form(), form(rater="T"), form(session=12, day="2015-06-01", answers=["", -98, *[4] * 10]))


def mutants(whole: bytes) -> st.SearchStrategy[bytes]:
    """The file with up to five pieces of it taken out, doubled, moved, or replaced by something odd."""
    piece = st.tuples(
        st.integers(0, len(whole)),
        st.integers(0, 40),
        st.sampled_from([text.encode("utf-8", "surrogatepass") for text in ODD]) | st.binary(max_size=6),
        st.booleans(),
    )

    def broken(pieces: list[tuple[int, int, bytes, bool]]) -> bytes:
        found = whole
        for at, length, odd, is_doubled in pieces:
            found = found[:at] + (found[at : at + length] * 2 if is_doubled else odd) + found[at + length :]
        return found

    return st.lists(piece, min_size=1, max_size=5).map(broken)


def instrument_or_sentence(data: bytes) -> None:
    try:
        found = parse(data)
    except InstrumentFileError as refused:
        assert refused.problems and all(0 < len(str(problem)) < 400 for problem in refused.problems)
        return
    text = json.dumps(found.to_definition())
    assert "\\u0000" not in text and "\\ud8" not in text
    assert parse(found.to_toml().encode()) == found


def rows_or_sentence(data: bytes) -> None:
    try:
        first = head([data])
        mapping = guess(first, FORMS)
        read(dataclasses.replace(mapping, forms={}), first.columns.names, FORMS)
        reader = RowReader(mapping, first.columns.names, FORMS, TODAY)
        with opened([data]) as (_columns, rows):
            for number, cells in rows:
                for one in reader(number, cells):
                    assert not isinstance(one, Rejected) or one.reason.code in CODES
    except (FileRefused, MappingRefused):
        return


def many(check: Callable[[bytes], None], whole: bytes, n: int) -> None:
    odd = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    rule = hypothesis(max_examples=n, deadline=None, suppress_health_check=odd)
    rule(given(mutants(whole) | st.binary(max_size=300))(check))()


@pytest.mark.parametrize("n", [150, pytest.param(20_000, marks=pytest.mark.slow)])
def test_any_instrument_file_is_a_form_or_a_list_of_faults(n: int) -> None:
    many(instrument_or_sentence, SMALL_FORM.encode(), n)


@pytest.mark.parametrize("n", [150, pytest.param(5_000, marks=pytest.mark.slow)])
def test_any_file_of_ratings_is_rows_or_a_sentence(n: int) -> None:
    many(rows_or_sentence, RATINGS, n)


@pytest.mark.slow
def test_any_spss_file_is_rows_or_a_sentence(tmp_path: Path) -> None:
    """Each is read by a program of its own, which takes a second; what it breaks is that program alone."""
    whole = spss(tmp_path)

    def check(data: bytes) -> None:
        rows_or_sentence(whole[:4] + data[4:])

    many(check, whole, 25)


@pytest.mark.slow
@pytest.mark.django_db
def test_no_page_fails_at_an_instrument_file(cast: Cast) -> None:
    client = signed_in(cast.clinic_admin)

    def check(data: bytes) -> None:
        for sent in (
            {"file": SimpleUploadedFile("form.toml", data)},
            {"content": data.decode("utf-8", "replace")},
        ):
            assert client.post("/instruments/upload/", sent).status_code in (200, 302, 400, 415, 422)

    many(check, SMALL_FORM.encode(), 300)


@pytest.mark.slow
@pytest.mark.django_db
def test_no_page_and_no_job_fails_at_a_file_of_ratings(cast: Cast) -> None:
    client = signed_in(cast.clinic_admin)

    def check(data: bytes) -> None:
        if data[:4] in (b"$FL2", b"$FL3") or send(client, cast, data).status_code == 422:
            return
        batch = ImportBatch.objects.latest("uploaded_at")
        if mapped(client, batch).status_code == 302:
            _checked(client, batch)
        assert client.post(f"/clinic/imports/{batch.pk}/drop/").status_code == 302

    many(check, RATINGS, 120)


def _checked(client: Client, batch: ImportBatch) -> None:
    assert client.post(f"/clinic/imports/{batch.pk}/check/").status_code == 302
    jobs.run_due(is_long=True)
    assert not Job.objects.filter(scope=str(batch.pk), state="failed").exists()
    assert client.get(f"/clinic/imports/{batch.pk}/").status_code == 200
