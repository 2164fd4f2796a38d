"""Rows 61 to 66: what somebody may upload as an instrument file."""

import io
import pickle
import re
import socket
import zipfile
from html import unescape
from unittest import mock

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client

from surveys.models import Instrument
from tests.bad_inputs.rows import CANARY, nothing_stored, refused, row
from tests.surveys.test_packs import SMALL_FORM

UPLOAD = "/instruments/upload/"


def choose(
    client: Client, content: bytes | str, name: str = "form.toml", kind: str = "text/plain"
) -> HttpResponse:
    data = content.encode() if isinstance(content, str) else content
    return client.post(UPLOAD, {"file": SimpleUploadedFile(name, data, kind)})


def text_of(response: HttpResponse) -> str:
    """What a reader sees, spaces as one."""
    page = re.sub(r"<[^>]+>", " ", response.content.decode())
    return " ".join(unescape(page).split())


def problems_of(response: HttpResponse) -> list[str]:
    return list(response.context["problems"])


def faulty(client: Client, *faults: tuple[str, str, str]) -> None:
    """A file with each of these in place of what stands there has the fault that is named."""
    with nothing_stored():
        for old, new, problem in faults:
            assert old in SMALL_FORM
            answer = choose(client, SMALL_FORM.replace(old, new, 1))
            assert answer.status_code == 422
            assert any(found.startswith(problem) for found in problems_of(answer)), problems_of(answer)


def zipped(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, SMALL_FORM)
    return buffer.getvalue()


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("a pickle was loaded",))


@row(61, "> 1 MB, zip, xlsx, XML, YAML tags, pickle")
def no_instrument_file(admin: Client) -> None:
    entity = b"<!DOCTYPE f [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>"
    files = {
        "big.toml": SMALL_FORM.encode() + b"#" * 200_000,
        "form.zip": zipped("form.toml"),
        "form.xlsx": zipped("xl/workbook.xml"),
        "zip.toml": zipped("form.toml"),
        "form.xml": b"<?xml version='1.0'?>" + entity + b"<f>&e;</f>",
        "form.yaml": b"--- !!python/object/apply:os.system [ls]\n",
        "form.pkl": pickle.dumps(Bomb()),
        "utf16.toml": SMALL_FORM.encode("utf-16"),
        "deep.toml": b"a = " + b"[" * 100_000,
    }
    with nothing_stored():
        for name, content in files.items():
            answer = choose(admin, content, name)
            assert answer.status_code == 415, name
            assert len(problems_of(answer)) == 1 and "choose it again" in text_of(answer)
            assert "root:" not in answer.content.decode()
        refused(choose(admin, b"#" * 1_100_000), 415, "A file of this size is no instrument file.")


@row(62, "JSON with $ref/URL")
def reference(admin: Client) -> None:
    with (
        nothing_stored(),
        mock.patch.object(socket, "getaddrinfo") as asked,
    ):
        answer = choose(admin, f'{{"$ref": "http://example.org/{CANARY}.json"}}', "form.json")
        refused(answer, 415)
        faulty(admin, ('code = "mood"', '"$ref" = "http://example.org/"', "File: unknown key '$ref'"))
        asked.assert_not_called()


@row(
    63, "item ids doubled, reverse key out of range, subscale naming an unknown item, empty scale, min >= max"
)
def named_errors(admin: Client) -> None:
    empty = "Scales, entry 1: 'items' is empty: a scale needs at least one item."
    faulty(
        admin,
        ("number = 2", "number = 1", "File: 'items' holds item number 1 2 times."),
        ("reversed = [2]", "reversed = [7]", "File: 'reversed' names item 7, which is not on the form."),
        (
            "items = [1, 2]",
            "items = [1, 5]",
            "Scales, entry 1: 'items' names item 5, which is not on the form.",
        ),
        ("items = [1, 2]", "items = []", empty),
        ("value = 0", "value = 2", "File: 'options' must lead from a lower value to a higher one."),
        ('"Stemning i timen"', '"a\\u0000b"', "File: 'title' holds a control character."),
    )


@row(64, "formula text")
def formula(admin: Client) -> None:
    code = '__import__(\\"os\\").system(\\"ls\\")'
    faulty(
        admin,
        ('"item-mean-1"', f'"{code}"', "File: 'scoring_version' must be one of: item-mean-1; found"),
        ('label = "Nei" ', 'label = "Nei", formula = "x + 1" ', "Options, entry 1: unknown key 'formula'."),
    )


@row(65, "change to a version already used")
def other_words(admin: Client) -> None:
    assert admin.post(UPLOAD, {"content": SMALL_FORM}).status_code == 302
    changed = SMALL_FORM.replace("rolig", "trygg")
    with nothing_stored():
        for answer in (choose(admin, changed), admin.post(UPLOAD, {"content": changed})):
            assert answer.status_code == 422
            (problem,) = problems_of(answer)
            assert problem.endswith("is there with other content. Give the changed file a new version.")
    newer = changed.replace('version = "1"', 'version = "2"')
    assert admin.post(UPLOAD, {"content": newer}).status_code == 302
    assert Instrument.objects.exclude(clinic=None).count() == 2


@row(66, "name ../../x, NUL, 300 characters, CON")
def odd_name(admin: Client) -> None:
    with nothing_stored():
        for name in ("../../x", "a\x00b.toml", "x" * 300, "CON", f"<script>alert(1)</script>{CANARY}.html"):
            answer = choose(admin, SMALL_FORM, name, "application/x-msdownload")
            assert "The file is in order" in refused(answer, 200)
    for name in ("../../x", "CON"):
        faulty(admin, ('code = "mood"', f'code = "{name}"', "File: 'code' must be lower-case letters"))
