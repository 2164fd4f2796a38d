"""The page of one therapy: whichever rater, scale and coding of time is looked at, picture, table, API and
the model's own prediction say the same."""

import json
import re
from datetime import timedelta
from math import log

import numpy as np
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import analytics.tasks  # noqa: F401  registers the refit
from analytics import selectors
from analytics.growth import FitResult
from surveys import jobs
from surveys.models import AuditEvent, Heartbeat, Session, Therapy, User
from surveys.services.therapies import therapy_transfer
from tests import factories
from tests.analytics.clinics import fits, rated_clinic
from tests.conftest import Cast, signed_in
from tests.files import pdf_words

pytestmark = pytest.mark.django_db

CODES = {"linear": lambda session: (session - 3) / 10, "log": lambda session: log(session) - log(3)}


@pytest.fixture(autouse=True)
def small_studies_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selectors, "MIN_THERAPISTS", 3)
    monkeypatch.setattr(selectors, "MIN_THERAPIES", 5)


def first_therapy(user: User) -> Therapy:
    return Therapy.objects.filter(therapist__user=user).order_by("pk").first()


def chart_of(page: str, scale: str) -> dict:
    return json.loads(re.search(rf'<script id="spec-{scale}"[^>]*>(.*?)</script>', page, re.S)[1])


def rows_of(chart: dict, name: str) -> list[dict]:
    return next((layer["data"]["values"] for layer in chart["layer"] if layer.get("name") == name), [])


def weights(s: np.ndarray, X: np.ndarray, i: int) -> np.ndarray:
    """Of the ratings before the i-th in its best linear prediction; s: both levels' variances as the result
    orders them, then the residual's."""
    T = sum(np.array([[a, b], [b, c]]) for a, b, c in s[:6].reshape(2, 3))
    V = X @ T @ X.T + s[6] * np.eye(len(X))
    return np.linalg.solve(V[:i, :i], V[:i, i])


def predicted(perspective: str, scale: str, time: str, ratings: dict[int, float]) -> dict[int, tuple]:
    """Mean and half of the 80 % range of each rating, from the ratings before it: the best linear prediction
    with the matrices of the whole therapy, and what errors of the variances do to the weights by differences.
    """
    result = FitResult.from_dict(fits(perspective, scale, time).get().result)
    levels = [np.array(level.cov) for level in result.random]
    s = np.array([T[i, j] for T in levels for i, j in ((0, 0), (1, 0), (1, 1))] + [result.sigma**2])
    beta, cov = np.array([row.estimate for row in result.fixed]), np.array(result.vcov_fixed)
    sessions = sorted(ratings)
    X = np.array([[1.0, CODES[time](session)] for session in sessions])
    V = X @ sum(levels) @ X.T + result.sigma**2 * np.eye(len(X))
    y = np.array([ratings[session] for session in sessions])
    found = {}
    for i, session in enumerate(sessions):
        w = weights(s, X, i)
        slopes = np.array(
            [(weights(s + step, X, i) - weights(s - step, X, i)) / 2e-5 for step in 1e-5 * np.eye(7)]
        )
        d = X[i] - w @ X[:i]
        mean = X[i] @ beta + w @ (y[:i] - X[:i] @ beta)
        variance = V[i, i] - w @ V[:i, i] + d @ cov @ d
        variance += np.sum(np.array(result.vcov_variances) * (slopes @ V[:i, :i] @ slopes.T))
        found[session] = (mean, 1.2815515655446004 * np.sqrt(variance))
    return found


@pytest.fixture
def world(db: None) -> tuple[Client, Therapy]:
    _, user = rated_clinic()
    assert jobs.run_due(60) == 1
    return signed_in(user), first_therapy(user)


def test_picture_table_api_and_prediction_agree_for_every_choice(world: tuple[Client, Therapy]) -> None:
    client, therapy = world
    for perspective in ("patient", "therapist"):
        for scale in ("total", "goal", "task", "bond"):
            for time in CODES:
                query = f"?perspective={perspective}&scale={scale}&time={time}"
                trend = client.get(f"/api/v1/therapies/{therapy.pk}/trend/{query}").json()
                ratings = {
                    row["session"]: row["value"]
                    for row in trend["ratings"]
                    if (row["perspective"], row["scale"]) == (perspective, scale)
                }
                assert sorted(ratings) == [1, 2, 3]
                course = {row["session"]: row for row in trend["expected"]}
                for session, (mean, half) in predicted(perspective, scale, time, ratings).items():
                    told = course[session]
                    assert told["mean"] == pytest.approx(mean, abs=1e-9)
                    assert told["upper"] == pytest.approx(min(mean + half, 7), abs=1e-7)
                    assert told["lower"] == pytest.approx(max(mean - half, 1), abs=1e-7)

                page = client.get(f"/therapies/{therapy.pk}/{query}").content.decode()
                chart = chart_of(page, scale)
                drawn = {row["session"]: row["value"] for row in rows_of(chart, f"{perspective}_points")}
                assert drawn == ratings
                band = {row["session"]: (row["value"], row["lower"]) for row in rows_of(chart, "band")}
                assert band == {at: (row["mean"], row["lower"]) for at, row in course.items()}
                table = re.search(r'<table class="data">.*?</table>', page, re.S)[0]
                for session, value in ratings.items():
                    row = re.search(rf'<th scope="row">{session}</th>(.*?)</tr>', table, re.S)[1]
                    cells = re.findall(r"<td[^>]*>(.*?)</td>", row, re.S)
                    column = 0 if perspective == "patient" else 1
                    assert cells[column] == f"{value:.1f}"
                    assert cells[2] == f"{course[session]['mean']:.1f}"
                # The other three scales stand beside it with their own numbers.
                others = {"total", "goal", "task", "bond"} - {scale}
                for other in others:
                    points = rows_of(chart_of(page, other), f"{perspective}_points")
                    assert {row["session"]: row["value"] for row in points} == {
                        row["session"]: row["value"]
                        for row in trend["ratings"]
                        if (row["perspective"], row["scale"]) == (perspective, other)
                    }


def test_what_no_form_has_is_refused_by_the_api_and_the_page(world: tuple[Client, Therapy]) -> None:
    client, therapy = world
    for query in ("perspective=observer", "time=square"):
        assert client.get(f"/therapies/{therapy.pk}/?{query}").status_code == 404
        assert client.get(f"/api/v1/therapies/{therapy.pk}/trend/?{query}").status_code == 400
    # A scale that the other rater's form has not is no mistake of the reader's: the total is shown.
    page = client.get(f"/therapies/{therapy.pk}/?scale=flow")
    assert page.status_code == 200
    assert chart_of(page.content.decode(), "total")
    answer = client.get(f"/api/v1/therapies/{therapy.pk}/trend/?scale=flow")
    assert answer.status_code == 400
    assert "total, " in answer.json()["scale"][0]


def test_the_picture_for_print_is_that_of_the_choice(world: tuple[Client, Therapy]) -> None:
    client, therapy = world
    pictures = {
        client.get(f"/therapies/{therapy.pk}/chart.svg?scale={scale}&time={time}").content
        for scale in ("total", "bond")
        for time in CODES
    }
    assert len(pictures) == 4


def test_the_file_says_what_the_page_says(world: tuple[Client, Therapy]) -> None:
    client, therapy = world
    url = f"/therapies/{therapy.pk}/"
    query = "?perspective=therapist&scale=bond&time=log"
    answer = client.get(f"{url}page.pdf{query}")
    assert answer["Content-Type"] == "application/pdf"
    assert f'filename="therapy-{therapy.code}.pdf"' in answer["Content-Disposition"]
    file, page = pdf_words(answer.content), client.get(f"{url}{query}").content.decode()
    told = re.findall(r"<figcaption.*?<p[^>]*>(.*?)</p>", page, re.S)
    assert len(told) == 4
    for sentence in told:
        assert file.count(sentence.strip()) == 2, "as a paragraph, and as the description of its picture"
    for table in re.findall(r'<table class="data">.*?</table>', page, re.S):
        for row in re.findall(r"<tr>(.*?)</tr>", table, re.S):
            cells = [" ".join(cell.split()) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)]
            assert " ".join(cells) in file
    assert "therapist ratings of 12 therapies by 4 therapists" in file
    assert therapy.study.name in file
    assert AuditEvent.objects.filter(act="therapy.pdf", subject=f"therapy:{therapy.pk}").count() == 1


def test_a_file_is_written_in_the_language_of_its_reader(world: tuple[Client, Therapy]) -> None:
    client, therapy = world
    german = client.get(f"/therapies/{therapy.pk}/page.pdf", headers={"Accept-Language": "de"})
    assert "Sitzung" in pdf_words(german.content)
    assert b"/Lang(de)" in german.content.replace(b" ", b"")


def test_there_is_no_picture_of_nothing(cast: Cast) -> None:
    client, url = signed_in(cast.therapist), f"/therapies/{cast.therapy.pk}/"
    assert client.get(f"{url}chart.svg").status_code == 404
    assert "No rating to show yet" in client.get(url).content.decode()
    assert "No rating to show yet" in pdf_words(client.get(f"{url}page.pdf").content)


def test_breaks_and_changes_of_therapist_are_marked(cast: Cast) -> None:
    now = timezone.now()
    for days in (100, 93, 50, 40):
        factories.hold_session(cast.therapy, now - timedelta(days=days))
    trend = selectors.therapy_trend(cast.therapist, cast.therapy, "patient")
    assert [(pause.after, pause.kind, pause.weeks) for pause in trend.pauses] == [(2, "break", 6)]
    other = cast.colleague_therapy.therapist
    new = therapy_transfer(therapy=cast.therapy, therapist=other, on=timezone.localdate(now))
    cast.therapy.refresh_from_db()
    trend = selectors.therapy_trend(cast.therapist, cast.therapy, "patient")
    assert [pause.kind for pause in trend.pauses] == ["break", "handed_over"]
    trend = selectors.therapy_trend(cast.colleague, new, "patient")
    assert [pause.kind for pause in trend.pauses] == ["taken_over"]


def test_a_gap_of_four_weeks_is_no_break(cast: Cast) -> None:
    now = timezone.now()
    for days in (29, 1):
        factories.hold_session(cast.therapy, now - timedelta(days=days))
    assert selectors.therapy_trend(cast.therapist, cast.therapy, "patient").pauses == ()
    Session.objects.filter(number=1).update(held_at=now - timedelta(days=29, seconds=1))
    (pause,) = selectors.therapy_trend(cast.therapist, cast.therapy, "patient").pauses
    assert pause.weeks == 4


def test_a_worker_that_stopped_is_said_within_a_minute(world: tuple[Client, Therapy]) -> None:
    client, therapy = world
    url = f"/therapies/{therapy.pk}/"
    assert "Models are not being worked on" in client.get(url).content.decode(), "no worker was ever heard"
    jobs.beat("worker")
    assert "worked on" not in client.get(url).content.decode()
    Heartbeat.objects.update(at=timezone.now() - timedelta(seconds=60))
    assert "Models have not been worked on since" in client.get(url).content.decode()


def test_the_number_of_queries_is_the_same_for_few_and_many_therapies(world: tuple[Client, Therapy]) -> None:
    client, therapy = world

    def n_queries() -> int:
        with CaptureQueriesContext(connection) as context:
            assert client.get(f"/therapies/{therapy.pk}/").status_code == 200
        return len(context)

    n_queries()
    before = n_queries()
    for _ in range(12):
        new = factories.make_therapy(therapy.study, therapy.therapist.user)
        factories.give(factories.form_of(factories.hold_session(new), "patient"), 5)
    jobs.run_due(60)
    assert n_queries() == before
