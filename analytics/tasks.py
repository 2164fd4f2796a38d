"""The kinds of jobs that this app can do, and what beat asks of it at night."""

from celery import shared_task

from analytics.completion import JOB as COUNT
from analytics.completion import completion_count
from analytics.services.analyses import JOB as ANALYSE
from analytics.services.analyses import analysis_answer
from analytics.services.dip_tally import study_dips_count
from analytics.services.exports import JOB as EXPORT
from analytics.services.exports import export_build, files_drop
from analytics.services.freeze import JOB as FREEZE
from analytics.services.freeze import snapshot_freeze, snapshots_forget, snapshots_of
from analytics.services.panels import study_panels_make
from analytics.services.plans import JOB as PLAN
from analytics.services.plans import plan_simulate
from analytics.services.practice_bands import clinic_bases_make
from analytics.services.refit import study_refit
from analytics.services.sums import study_sums_check, sums_checks_request
from surveys import echoes, hindrances, jobs

jobs.register("refit", study_refit)
jobs.register("check_sums", study_sums_check)
jobs.register("count_dips", study_dips_count)
jobs.register("practice_bands", clinic_bases_make)
jobs.register("make_panels", study_panels_make)
jobs.register_long(FREEZE, snapshot_freeze)
jobs.register_long(PLAN, plan_simulate)
hindrances.register(snapshots_of)
echoes.register(snapshots_forget)
jobs.register_long(COUNT, completion_count)
jobs.register_long(EXPORT, export_build)
jobs.register_long(ANALYSE, analysis_answer)


@shared_task(name="analytics.tasks.request_sums_checks", soft_time_limit=50, time_limit=55)
def request_sums_checks() -> None:
    sums_checks_request()


@shared_task(name="analytics.tasks.drop_expired_files", soft_time_limit=50, time_limit=55)
def drop_expired_files() -> None:
    files_drop()
