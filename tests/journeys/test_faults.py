"""What happens when a part of the site stops: nothing accepted is lost, and the work is caught up."""

import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import psycopg2
import pytest

from alliance_site.embedded import urls
from tests.journeys.conftest import VAR, Site, wait_for

pytestmark = pytest.mark.slow

FIELD = re.compile(r'name="(csrfmiddlewaretoken|key|version)" value="([^"]+)"')


def begin(link: str) -> tuple[httpx.Client, str, dict[str, str]]:
    """Opens a form as a browser without script does; gives its address and hidden fields."""
    client = httpx.Client(follow_redirects=True, timeout=30)
    start = client.get(link)
    token = dict(FIELD.findall(start.text))["csrfmiddlewaretoken"]
    page = client.post(link, data={"csrfmiddlewaretoken": token}, headers={"Referer": link})
    assert page.status_code == 200, page.text
    fields = dict(FIELD.findall(page.text))
    assert set(fields) == {"csrfmiddlewaretoken", "key", "version"}
    return client, str(page.url), fields


def filled(fields: dict[str, str], value: int = 5) -> dict[str, str]:
    return fields | {f"item_{n}": str(value) for n in range(1, 13)} | {"sharing": "scores", "send": ""}


def n_responses(site: Site) -> int:
    return int(site.sql("SELECT count(*) FROM surveys_response")[0][0])


def n_fits(site: Site) -> int:
    """Of one of the models that a refit makes."""
    query = (
        "SELECT count(*) FROM analytics_growthfit"
        " WHERE (perspective, scale, coding) = ('patient', 'total', 'linear')"
    )
    return int(site.sql(query)[0][0])


def open_jobs(site: Site) -> int:
    """Refits that wait or run; reminders may wait for days, and forms are planned beside them."""
    query = "SELECT count(*) FROM surveys_job WHERE kind = 'refit' AND state IN ('pending', 'running')"
    return int(site.sql(query)[0][0])


def test_the_same_form_sent_twenty_times_at_once_is_one_response(site: Site) -> None:
    client, url, fields = begin(next(site.links))
    before, data = n_responses(site), filled(fields)

    def send(_: int) -> int:
        return httpx.post(
            f"{url}send/", data=data, cookies=dict(client.cookies), headers={"Referer": url}, timeout=60
        ).status_code

    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(send, range(20)))
    assert set(statuses) == {303}, statuses
    assert n_responses(site) == before + 1
    audited = site.sql("SELECT count(*) FROM surveys_auditevent WHERE act = 'response.submit'")[0][0]
    assert audited == n_responses(site)


def test_two_browsers_that_send_at_once_store_one_response(site: Site) -> None:
    link = next(site.links)
    sent = [begin(link) for _ in range(6)]
    before = n_responses(site)

    def send(form: tuple[httpx.Client, str, dict[str, str]]) -> int:
        client, url, fields = form
        return client.post(
            f"{url}send/", data=filled(fields), headers={"Referer": url}, follow_redirects=False
        ).status_code

    with ThreadPoolExecutor(6) as pool:
        statuses = sorted(pool.map(send, sent))
    assert statuses == [303, 409, 409, 409, 409, 409]
    assert n_responses(site) == before + 1


def test_forms_are_accepted_while_the_broker_hangs_and_the_model_catches_up(site: Site) -> None:
    wait_for("earlier jobs are done", lambda: open_jobs(site) == 0, 60)
    broker = broker_of_the_site()
    client, url, fields = begin(next(site.links))
    fits = n_fits(site)
    broker.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        answer = client.post(f"{url}send/", data=filled(fields), headers={"Referer": url})
        assert answer.status_code == 200, answer.text
        assert time.monotonic() - began < 5
        assert wait_for("health says which part fails", lambda: site.health() == 503, 30)
        assert httpx.get(f"{site.base_url}/health/", timeout=10).json()["part"] == "broker"
        assert open_jobs(site) == 1
    finally:
        broker.send_signal(signal.SIGCONT)
    wait_for("the refit happens without help", lambda: n_fits(site) > fits and open_jobs(site) == 0, 90)
    wait_for("all parts answer again", lambda: site.health() == 200, 60)


def broker_of_the_site() -> psutil.Process:
    """Valkey names its process by its socket, not by its program."""
    return next(
        p
        for p in psutil.process_iter(["name", "cmdline"])
        if "valkey" in " ".join(p.info["cmdline"] or [p.info["name"]])
        and str(VAR) in " ".join(p.info["cmdline"])
    )


def test_the_broker_killed_and_started_again_loses_no_refit(site: Site) -> None:
    broker = broker_of_the_site()
    fits = n_fits(site)
    client, url, fields = begin(next(site.links))
    broker.kill()
    answer = client.post(f"{url}send/", data=filled(fields, 6), headers={"Referer": url})
    assert answer.status_code == 200, answer.text
    wait_for("the refit happens without help", lambda: n_fits(site) > fits and open_jobs(site) == 0, 120)
    wait_for("all parts answer again", lambda: site.health() == 200, 60)


@pytest.mark.slow
def test_a_worker_killed_in_a_fit_leaves_one_result(site: Site) -> None:
    """A lock on the table of fits holds the worker at the moment of writing, where it is killed."""
    wait_for("earlier jobs are done", lambda: open_jobs(site) == 0, 60)
    client, url, fields = begin(next(site.links))
    fits = n_fits(site)
    blocker = psycopg2.connect(urls(VAR)[0])
    try:
        with blocker.cursor() as cursor:
            cursor.execute("LOCK TABLE analytics_growthfit IN SHARE ROW EXCLUSIVE MODE")
        answer = client.post(f"{url}send/", data=filled(fields, 4), headers={"Referer": url})
        assert answer.status_code == 200
        waiting = (
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'analytics_growthfit'::regclass"
        )
        wait_for("the worker is about to write its fit", lambda: site.sql(waiting)[0][0], 30)
        for worker in site.processes("celery", "worker"):
            worker.kill()
    finally:
        blocker.close()
    wait_for("the job runs again when its lease has run out", lambda: open_jobs(site) == 0, 150)
    last = "SELECT state, attempts FROM surveys_job WHERE kind = 'refit' ORDER BY id DESC LIMIT 1"
    ((state, attempts),) = site.sql(last)
    assert (state, attempts) == ("done", 2)
    assert n_fits(site) == fits + 1
    wait_for("all parts answer again", lambda: site.health() == 200, 60)
