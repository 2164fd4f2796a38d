"""What a patient's own device may keep: sealed answers, and one page without any."""

import gzip
import re
from pathlib import Path

from django.contrib.staticfiles import finders
from django.test import Client

from surveys.browsers import seal_key
from surveys.models import Assignment, Opening
from surveys.services.invitations import link_issue
from tests import factories
from tests.conftest import Cast, signed_in

SEAL = re.compile(r'data-seal="([^"]*)"')


def begun(assignment: Assignment, token: str) -> Client:
    client = Client()
    client.post(f"/r/{token}/")
    return client


def key_on_page(client: Client, assignment: Assignment) -> list[str]:
    return SEAL.findall(client.get(f"/f/{assignment.pk}/").content.decode())


def test_the_key_comes_with_the_open_form_and_is_another_on_every_device(patient_form: Assignment) -> None:
    token = link_issue(assignment=patient_form)
    phone, laptop = begun(patient_form, token), begun(patient_form, token)
    (key,), (other,) = key_on_page(phone, patient_form), key_on_page(laptop, patient_form)
    assert key_on_page(phone, patient_form) == [key]
    assert key != other
    assert {key, other} == {seal_key(opening) for opening in Opening.objects.all()}
    factories.give(patient_form)
    assert key_on_page(phone, patient_form) == []
    assert key not in phone.get(f"/f/{patient_form.pk}/receipt/").content.decode()


def test_nothing_is_kept_of_a_therapists_form(cast: Cast, patient_form: Assignment) -> None:
    own = factories.form_of(patient_form.session, "therapist")
    client = signed_in(cast.therapist)
    client.post(f"/forms/{own.pk}/start/")
    page = client.get(f"/f/{own.pk}/").content.decode()
    assert "data-seal" not in page
    assert "data-worker" not in page


def test_the_worker_keeps_one_page_and_its_files(db: None) -> None:
    answer = Client().get("/f/worker.js")
    assert answer["Content-Type"] == "text/javascript"
    assert "worker-src 'self'" in answer["Content-Security-Policy"]
    script = answer.content.decode()
    assert 'const PAGE = "/f/offline/?language=en-gb"' in script
    files = re.search(r"const FILES = \[PAGE, (.+)\];", script)[1]
    assert all(path.startswith('"/static/') for path in files.split(", "))
    page = Client().get("/f/offline/").content.decode()
    used = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
    assert used
    assert all(f'"{path}"' in files for path in used)


def test_the_first_load_of_a_form_weighs_less_than_60_kilobytes(patient_form: Assignment) -> None:
    client = begun(patient_form, link_issue(assignment=patient_form))
    page = client.get(f"/f/{patient_form.pk}/").content
    files = re.findall(r'(?:src|href)="/static/([^"]+\.(?:js|css|svg))"', page.decode())
    assert len(files) >= 4
    loads = [page, *(Path(str(finders.find(name))).read_bytes() for name in files)]
    assert sum(len(gzip.compress(content)) for content in loads) < 60_000
