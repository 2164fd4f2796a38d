"""Background entries of this app."""

from celery import shared_task

from surveys import jobs


@shared_task(name="surveys.tasks.run_due_jobs", soft_time_limit=50, time_limit=55)
def run_due_jobs() -> None:
    jobs.beat("worker")
    jobs.run_due()
    jobs.beat("worker")
