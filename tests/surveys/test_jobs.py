"""The job list: one pending row per scope, one result per claim, whatever dies in between."""

import resource
import sys
import threading
import time
from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.db import connection, connections, transaction
from django.utils import timezone

from surveys import jobs, progress
from surveys.models import Job

pytestmark = pytest.mark.django_db(transaction=True)


def only(monkeypatch: pytest.MonkeyPatch, handler: jobs.Handler, **fields: object) -> None:
    """One kind of job, `note`, and no other."""
    monkeypatch.setattr(jobs, "_kinds", {})
    jobs.register("note", handler, **fields)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A handler that notes its scope when the result is written."""
    written: list[str] = []
    only(monkeypatch, lambda scope: lambda: written.append(scope))
    return written


def test_a_thousand_requests_are_one_job(ran: list[str]) -> None:
    for _ in range(1000):
        jobs.request("note", "a")
    assert Job.objects.filter(state="pending").count() == 1
    assert jobs.run_due() == 1
    assert ran == ["a"]
    assert Job.objects.get().state == "done"


def test_a_request_during_a_run_is_a_second_run(ran: list[str]) -> None:
    jobs.request("note", "a")
    first = jobs.claim()
    assert first is not None
    jobs.request("note", "a")
    assert jobs.claim() is None, "the scope is being worked on"
    jobs.finish(first, lambda: ran.append("first"))
    assert jobs.run_due() == 1
    assert ran == ["first", "a"]


def test_a_job_is_not_claimed_before_its_request_is_committed(ran: list[str]) -> None:
    jobs.request("note", "a")
    seen: list[object] = []

    def elsewhere() -> None:
        seen.append(jobs.claim())
        connections.close_all()

    with transaction.atomic():
        jobs.request("note", "a")
        other = threading.Thread(target=elsewhere)
        other.start()
        other.join(10)
        assert seen == [None]
    assert jobs.claim() is not None


def test_a_dead_worker_s_job_is_taken_again_and_its_late_result_is_refused(ran: list[str]) -> None:
    jobs.request("note", "a")
    dead = jobs.claim()
    assert dead is not None
    assert jobs.run_due() == 0, "the lease still holds"
    Job.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert jobs.run_due() == 1
    with pytest.raises(jobs.LeaseLost):
        jobs.finish(dead, lambda: ran.append("late"))
    assert ran == ["a"]


def test_nobody_takes_a_scope_whose_worker_is_thought_dead_but_for_its_own_job(ran: list[str]) -> None:
    jobs.request("note", "a")
    dead = jobs.claim()
    jobs.request("note", "a")
    Job.objects.filter(state="running").update(lease_until=timezone.now() - timedelta(seconds=1))
    again = jobs.claim()
    assert dead is not None and again is not None
    assert (again.id, again.fence) == (dead.id, dead.fence + 1)
    assert jobs.claim() is None, "the newer request waits for the older job"


def test_a_new_request_has_all_its_attempts(ran: list[str]) -> None:
    jobs.request("note", "a")
    Job.objects.update(attempts=2)
    jobs.request("note", "a")
    assert Job.objects.get().attempts == 0


def test_a_job_that_kills_three_workers_fails_and_stays_visible(ran: list[str]) -> None:
    jobs.request("note", "a")
    for _ in range(jobs.MAX_ATTEMPTS):
        assert jobs.claim() is not None
        Job.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert jobs.run_due() == 0
    job = Job.objects.get()
    assert (job.state, ran) == ("failed", [])
    assert "3 attempts" in job.error


def test_a_kind_is_told_once_that_its_job_killed_three_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    given_up: list[str] = []
    only(monkeypatch, lambda scope: lambda: None, give_up=given_up.append)
    jobs.request("note", "a")
    for _ in range(jobs.MAX_ATTEMPTS):
        assert jobs.claim() is not None
        Job.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
        assert given_up == []
    for _ in range(2):
        jobs.run_due()
    assert given_up == ["a"]


def test_a_kind_may_wait_longer_between_its_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    def handler(scope: str) -> jobs.Write:
        raise ValueError

    only(monkeypatch, handler, retry_after=timedelta(minutes=5))
    jobs.request("note", "a")
    for attempt in (1, 2):
        Job.objects.update(due_at=timezone.now())
        jobs.run_due()
        wait = Job.objects.get().due_at - timezone.now()
        assert abs(wait - attempt * timedelta(minutes=5)) < timedelta(seconds=5)


def test_a_job_for_a_later_time_waits_for_it(ran: list[str]) -> None:
    tomorrow = timezone.now() + timedelta(days=1)
    jobs.request("note", "a", due_at=tomorrow)
    assert jobs.run_due() == 0
    assert Job.objects.get().due_at == tomorrow
    Job.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    assert jobs.run_due() == 1
    assert ran == ["a"]


@pytest.mark.parametrize("hours", [(1, 5), (5, 1), (5, None), (None, 5)])
def test_of_two_requests_for_different_times_the_earlier_counts(
    ran: list[str], hours: tuple[int | None, int | None]
) -> None:
    now = timezone.now()
    for hour in hours:
        jobs.request("note", "a", due_at=None if hour is None else now + timedelta(hours=hour))
    expected = now + timedelta(hours=min(hour or 0 for hour in hours))
    assert abs(Job.objects.get().due_at - expected) < timedelta(seconds=5)


def test_an_error_is_tried_again_later_and_the_other_jobs_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    def handler(scope: str) -> jobs.Write:
        if scope == "bad":
            raise ValueError("an answer that must not be kept")
        return lambda: written.append(scope)

    given_up: list[str] = []
    only(monkeypatch, handler, give_up=given_up.append)
    jobs.request("note", "bad")
    jobs.request("note", "good")
    assert jobs.run_due() == 1
    assert written == ["good"]
    bad = Job.objects.get(scope="bad")
    assert (bad.state, bad.attempts, bad.error) == ("pending", 1, "ValueError")
    assert bad.due_at > timezone.now()
    for _ in range(2):
        assert given_up == []
        Job.objects.filter(scope="bad").update(due_at=timezone.now())
        jobs.run_due()
    assert Job.objects.get(scope="bad").state == "failed"
    assert given_up == ["bad"]


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels do not count it")
def test_a_job_that_wants_all_memory_fails_alone(
    monkeypatch: pytest.MonkeyPatch, settings: LazySettings
) -> None:
    written: list[str] = []

    def handler(scope: str) -> jobs.Write:
        # Untouched pages cost the machine nothing, should nobody refuse them.
        eaten = bytearray(64 << 30 if scope == "greedy" else 1 << 20)
        return lambda: written.append(f"{scope} {len(eaten) >> 20}")

    only(monkeypatch, handler)
    settings.JOB_MEMORY_MB = 8192
    before = resource.getrlimit(resource.RLIMIT_DATA)
    jobs.request("note", "greedy")
    jobs.request("note", "modest")
    assert jobs.run_due() == 1
    assert written == ["modest 1"]
    greedy = Job.objects.get(scope="greedy")
    assert (greedy.state, greedy.error) == ("pending", "MemoryError")
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_what_is_not_ready_is_tried_again_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(scope: str) -> jobs.Write:
        raise jobs.TryAgain("the other side sleeps")

    only(monkeypatch, handler)
    jobs.request("note", "a")
    jobs.run_due()
    assert (Job.objects.get().state, Job.objects.get().error) == ("pending", "the other side sleeps")
    assert "the other side sleeps" in caplog.text and "Traceback" not in caplog.text


def test_a_result_that_cannot_be_written_leaves_the_job_open(ran: list[str]) -> None:
    def broken() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 / 0")

    jobs.request("note", "a")
    job = jobs.claim()
    assert job is not None
    with pytest.raises(Exception, match="division by zero"):
        jobs.finish(job, broken)
    assert Job.objects.get().state == "running"


def test_two_workers_share_the_jobs_and_do_none_twice(ran: list[str]) -> None:
    for number in range(40):
        jobs.request("note", number)

    def work() -> None:
        jobs.run_due()
        connections.close_all()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert sorted(ran, key=int) == [str(number) for number in range(40)]


def only_long(monkeypatch: pytest.MonkeyPatch, handler: jobs.LongHandler, **fields: object) -> None:
    monkeypatch.setattr(jobs, "_kinds", {})
    jobs.register_long("book", handler, **fields)


def test_long_jobs_leave_the_short_ones_their_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    only_long(monkeypatch, lambda scope, progress: lambda: None)
    jobs.register("note", lambda scope: lambda: None)
    jobs.request("book", "a")
    jobs.request("book", "b")
    jobs.request("note", "a")
    assert jobs.run_due() == 1, "the short one alone"
    first = jobs.claim(is_long=True)
    assert first is not None and jobs.claim(is_long=True) is None, "one long job at a time"
    jobs.finish(first, lambda: None)
    assert jobs.run_due(is_long=True) == 1


def test_a_long_job_says_how_far_it_is_while_its_own_transaction_is_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[str, int, int]] = []

    def handler(scope: str, progress: jobs.Progress) -> jobs.Write:
        with transaction.atomic():
            progress("reading", 3, 10)
            reader = threading.Thread(target=look)
            reader.start()
            reader.join(10)
        return lambda: None

    def look() -> None:
        job = Job.objects.get()
        seen.append((job.stage, job.n_done, job.n_total))
        assert job.lease_until - timezone.now() > timedelta(minutes=4)
        connections.close_all()

    only_long(monkeypatch, handler)
    jobs.request("book", "a")
    assert jobs.run_due(is_long=True) == 1
    assert seen == [("reading", 3, 10)]


def test_a_waiting_job_is_cancelled_at_once_and_never_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    only_long(monkeypatch, lambda scope, progress: pytest.fail("it ran"), give_up=told.append)
    jobs.request("book", "a")
    jobs.cancel("book", "a")
    assert (Job.objects.get().state, told) == ("cancelled", ["a"])
    assert jobs.run_due(is_long=True) == 0


def test_a_running_job_stops_when_it_next_reports_and_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def handler(scope: str, progress: jobs.Progress) -> jobs.Write:
        jobs.cancel("book", scope)
        assert Job.objects.get().state == "running"
        progress("reading")
        pytest.fail("it went on")

    only_long(monkeypatch, handler, give_up=told.append)
    jobs.request("book", "a")
    assert jobs.run_due(is_long=True) == 0
    assert (Job.objects.get().state, told) == ("cancelled", ["a"])
    jobs.request("book", "a")
    assert Job.objects.filter(state="pending").count() == 1, "it may be asked for again"


def test_a_worker_that_was_thought_dead_hears_it_when_it_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    def handler(scope: str, progress: jobs.Progress) -> jobs.Write:
        Job.objects.update(fence=7)
        progress("reading")
        pytest.fail("it went on")

    only_long(monkeypatch, handler)
    jobs.request("book", "a")
    assert jobs.run_due(is_long=True) == 0
    assert Job.objects.get().state == "running", "it is another worker's now"


@pytest.mark.parametrize(("seconds_between", "n_silent"), [(0.05, 0), (0.5, 1)])
def test_a_long_job_that_hangs_is_noticed_by_its_own_process(
    monkeypatch: pytest.MonkeyPatch, seconds_between: float, n_silent: int
) -> None:
    monkeypatch.setattr(progress, "LEASE", timedelta(seconds=0.3))
    silences: list[str] = []

    def handler(scope: str, report: jobs.Progress) -> jobs.Write:
        for number in range(8 if n_silent == 0 else 1):
            report(f"stage {number}")
            time.sleep(seconds_between)
        return lambda: None

    only_long(monkeypatch, handler)
    jobs.request("book", "a")
    jobs.run_due(is_long=True, when_silent=lambda: silences.append("silent"))
    time.sleep(0.4)
    assert len(silences) == n_silent, "and after its end nobody listens"


def test_what_was_to_be_cancelled_is_not_taken_again_after_its_worker_died(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only_long(monkeypatch, lambda scope, progress: pytest.fail("it ran"))
    jobs.request("book", "a")
    assert jobs.claim(is_long=True) is not None
    jobs.cancel("book", "a")
    Job.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert jobs.run_due(is_long=True) == 0
    assert Job.objects.get().state == "cancelled"
