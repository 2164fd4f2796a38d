"""Celery: beat rings every two seconds, a worker claims what is due. Jobs live in Postgres.

`docs/jobs.md` says why: the broker may lose every message, and nothing is lost.
"""

import os
from typing import Any

from celery import Celery, Task
from celery.schedules import crontab
from django.conf import settings

from surveys import scope

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alliance_site.settings")
# The models' matrices are small and many: threads of the linear algebra library only wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Arrow's own allocator keeps what a large export has needed; the system's gives it back.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

STALE = 3 * 3600


class OfAllClinics(Task):
    """A worker does what was asked for in any clinic."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with scope.everything():
            return super().__call__(*args, **kwargs)


app = Celery("alliance_site", task_cls=OfAllClinics)
app.conf.update(
    broker_url=settings.CELERY_BROKER_URL,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"socket_timeout": 2, "socket_connect_timeout": 2, "visibility_timeout": 3600},
    task_ignore_result=True,
    task_acks_late=False,
    task_serializer="json",
    accept_content=["json"],
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    timezone=settings.TIME_ZONE,
    beat_schedule={
        # An old ring is stale: the next one says the same. How old is the worker's clock against beat's, so a
        # worker whose clock is ahead would hear none of them where they expired sooner.
        "due-jobs": {"task": "surveys.tasks.run_due_jobs", "schedule": 2.0, "options": {"expires": STALE}},
        "long-jobs": {"task": "surveys.tasks.run_long_jobs", "schedule": 2.0, "options": {"expires": STALE}},
        # Heard whenever a worker is there again; the jobs that it asks for are once per study in any case.
        "sums-checks": {
            "task": "analytics.tasks.request_sums_checks",
            "schedule": crontab(hour=3, minute=17),
        },
        # What has expired cannot be fetched; its bytes need not lie about.
        "expired-files": {"task": "analytics.tasks.drop_expired_files", "schedule": crontab(minute=37)},
        # At night, and again later in case nobody was there; what is gone is not there to go.
        "retention": {"task": "surveys.tasks.request_retention", "schedule": crontab(hour="2,14", minute=41)},
        # What has ended opens nothing; that somebody was signed in need not be known for longer.
        "sign-ins": {"task": "surveys.tasks.clear_sign_ins", "schedule": crontab(minute=47)},
        # Of a ring that was missed the next one makes up; the head leaves the machine once a day.
        "seals": {"task": "surveys.tasks.seal_trace", "schedule": crontab(minute="*/10")},
        "head": {"task": "surveys.tasks.tell_head", "schedule": crontab(hour=5, minute=23)},
        # Once a day, and again at noon in case nobody was there at night; what is there is not asked twice.
        "trait-forms": {
            "task": "surveys.tasks.assign_trait_forms",
            "schedule": crontab(hour="4,12", minute=7),
        },
    },
)
app.autodiscover_tasks(["surveys", "analytics"])
