"""Background entries of this app."""

import logging
import os
from uuid import UUID

from celery import shared_task

from surveys import jobs
from surveys.services.assignments import therapy_sync, trait_forms_assign
from surveys.services.emergency import JOB as EMERGENCY_JOB
from surveys.services.emergency import emergency_give_up, emergency_mails
from surveys.services.grants import JOB as GRANT_JOB
from surveys.services.grants import grant_mails
from surveys.services.imports import CHECK, STORE, UNDO, batch_check, batch_store, batch_undo
from surveys.services.messages import JOB, RETRY_AFTER, message_give_up, message_send
from surveys.services.retention import JOB as RETENTION
from surveys.services.retention import retention_job, retention_request
from surveys.services.seals import head_tell, seals_add
from surveys.services.sign_ins import sign_ins_clear
from surveys.services.withdrawal_list import withdrawals_list

log = logging.getLogger(__name__)


def _sync(scope: str) -> jobs.Write:
    def write() -> None:
        therapy_sync(therapy_id=UUID(scope))

    return write


def _list(_scope: str) -> jobs.Write:
    withdrawals_list()
    return lambda: None


jobs.register("forms", _sync)
# A folder that cannot be written to, a full disk: worth a longer wait.
jobs.register("list_withdrawals", _list, retry_after=RETRY_AFTER)
jobs.register(JOB, message_send, retry_after=RETRY_AFTER, give_up=message_give_up)
jobs.register_long(RETENTION, retention_job)
jobs.register(EMERGENCY_JOB, emergency_mails, retry_after=RETRY_AFTER, give_up=emergency_give_up)
jobs.register(GRANT_JOB, grant_mails, retry_after=RETRY_AFTER)
jobs.register_long(CHECK, batch_check)
jobs.register_long(STORE, batch_store)
jobs.register_long(UNDO, batch_undo)


@shared_task(name="surveys.tasks.run_due_jobs", soft_time_limit=50, time_limit=55)
def run_due_jobs() -> None:
    jobs.beat("worker")
    jobs.run_due()
    jobs.beat("worker")


@shared_task(name="surveys.tasks.run_long_jobs", soft_time_limit=2 * 3600, time_limit=2 * 3600 + 60)
def run_long_jobs() -> None:
    """Analyses, files, imports: beside the short ones, which go on in the worker's other processes."""
    jobs.run_due(is_long=True, when_silent=_end_this_process)


def _end_this_process() -> None:
    """A long job that hangs is taken again by another process, which would hang as well, until none is left
    for anything else. The worker makes a new one in place of this."""
    log.error("A long job has not been heard of for a whole lease; its process ends.")
    os._exit(1)


@shared_task(name="surveys.tasks.assign_trait_forms", soft_time_limit=50, time_limit=55)
def assign_trait_forms() -> None:
    trait_forms_assign()


@shared_task(name="surveys.tasks.request_retention", soft_time_limit=50, time_limit=55)
def request_retention() -> None:
    retention_request()


@shared_task(name="surveys.tasks.seal_trace", soft_time_limit=50, time_limit=55)
def seal_trace() -> None:
    seals_add()


@shared_task(name="surveys.tasks.tell_head", soft_time_limit=50, time_limit=55)
def tell_head() -> None:
    head_tell()


@shared_task(name="surveys.tasks.clear_sign_ins", soft_time_limit=50, time_limit=55)
def clear_sign_ins() -> None:
    sign_ins_clear()
