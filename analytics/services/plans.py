"""Plans of further studies: asked for on a page, simulated by a long job."""

from collections.abc import Callable
from time import perf_counter
from uuid import UUID

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from analytics.models import PowerPlan
from analytics.research.plan import PlanSpec, run_plan
from surveys import audit, jobs
from surveys.models import Study, User
from surveys.progress import Progress

JOB = "plan"


@transaction.atomic
def plan_ask(*, study: Study, title: str, spec: PlanSpec, asked_by: User) -> PowerPlan:
    """Keeps the plan and asks for its simulation."""
    # Two who ask at once are given two numbers.
    Study.objects.select_for_update(no_key=True).get(pk=study.pk)
    last = study.power_plans.aggregate(last=Max("number"))["last"] or 0
    plan = PowerPlan.objects.create(
        study=study,
        number=last + 1,
        title=title,
        spec=spec.to_dict(),
        asked_by=asked_by,
        asked_at=timezone.now(),
    )
    audit.record("plan.ask", subject=plan, actor=asked_by, clinic=study.clinic)
    jobs.request(JOB, plan.pk)
    return plan


@transaction.atomic
def plan_cancel(*, plan: PowerPlan, actor: User) -> None:
    audit.record("plan.cancel", subject=plan, actor=actor, clinic=plan.study.clinic)
    jobs.cancel(JOB, plan.pk)


def plan_simulate(plan_id: str, progress: Progress) -> Callable[[], None]:
    """Handler of the job; a plan that has its result is left as it is."""
    plan = PowerPlan.objects.filter(pk=UUID(plan_id), result__isnull=True).first()
    if plan is None:
        return lambda: None
    began = perf_counter()
    result = run_plan(PlanSpec.from_dict(plan.spec), lambda done, total: progress("simulating", done, total))
    seconds = perf_counter() - began

    def write() -> None:
        PowerPlan.objects.filter(pk=plan.pk).update(
            result=result, engine_version=result["engine"], seconds=seconds, finished_at=timezone.now()
        )

    return write
