"""The planner of a study to come: a list, a form, and what the simulation found."""

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from analytics.access import get_plan_or_404, joint_estimates
from analytics.plan_forms import PlanForm, first_values, values_of
from analytics.plan_words import effect_words, reading, share_words
from analytics.power_chart import power_spec
from analytics.research.plan import PlanSpec
from analytics.services.plans import JOB, plan_ask, plan_cancel
from analytics.views.writing import writing_of_the_page
from surveys import jobs
from surveys.access import get_study_or_404, person


def plans(request: HttpRequest, study_id: UUID) -> HttpResponse:
    study = get_study_or_404(request.user, study_id)
    rows = study.power_plans.select_related("asked_by").order_by("-number")
    return render(request, "desk/plans.html", {"study": study, "clinic": study.clinic, "plans": rows})


def plan_new(request: HttpRequest, study_id: UUID) -> HttpResponse:
    study = get_study_or_404(request.user, study_id)
    known = joint_estimates(request.user, study)
    form = PlanForm(request.POST) if request.method == "POST" else PlanForm(initial=first_values())
    chosen = known.get(request.GET.get("from", ""))
    if request.method != "POST" and chosen:
        form = PlanForm(initial=first_values() | values_of(chosen.estimates))
    if request.method == "POST" and form.is_valid():
        plan = plan_ask(
            study=study,
            title=form.cleaned_data["title"],
            spec=form.cleaned_data["spec"],
            asked_by=person(request.user),
        )
        return redirect("desk-plan", plan.pk)
    context = {"study": study, "clinic": study.clinic, "form": form, "known": known, "chosen": chosen}
    return render(request, "desk/plan_new.html", context, status=422 if form.errors else 200)


def plan(request: HttpRequest, plan_id: UUID) -> HttpResponse:
    job = jobs.latest(JOB, plan_id)
    row = get_plan_or_404(request.user, plan_id)
    spec = PlanSpec.from_dict(row.spec)
    writing = writing_of_the_page()
    designs = row.result["designs"] if row.result else []
    found = [
        {
            "words": effect_words(effect, writing),
            "reading": reading(designs, effect, writing=writing, is_zero=spec.true_effect(effect) == 0),
            "chart": power_spec(designs, effect, writing=writing),
            "id": f"power-{number}",
            "rows": [
                {
                    "n_therapists": design["n_therapists"],
                    "n_patients": design["n_patients"],
                    "share": share_words(design["effects"][effect], writing),
                    **design["effects"][effect],
                }
                for design in designs
            ],
        }
        for number, effect in enumerate(spec.effects if designs else ())
    ]
    context = {
        "study": row.study,
        "clinic": row.study.clinic,
        "plan": row,
        "spec": spec,
        "found": found,
        "job": job,
        "stage": _("Studies are being simulated:"),
    }
    return render(request, "desk/plan.html", context)


@require_POST
def cancel(request: HttpRequest, plan_id: UUID) -> HttpResponse:
    row = get_plan_or_404(request.user, plan_id)
    plan_cancel(plan=row, actor=person(request.user))
    return redirect("desk-plan", row.pk)
