"""The plan of one form in a draft: after which sessions, for how long, and other lines for single arms."""

from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from surveys.clinic_access import get_administered_study_or_404, get_instrument_or_404
from surveys.desk import PlannedForm, counterpart, draft_of, pictures, planned_form
from surveys.models import Instrument, StudyVersion
from surveys.services.studies import StudyRefused, plan_set
from surveys.setup_forms import LineForm, line_initial
from surveys.views.setup import refuse, sent, step_context

SPARE_ARMS = 1


def plan(request: HttpRequest, study_id: UUID, instrument_id: UUID) -> HttpResponse:
    study = get_administered_study_or_404(request.user, study_id)
    draft = draft_of(study)
    if draft is None:
        return redirect("setup-study", study.pk)
    row = planned_form(draft, get_instrument_or_404(study.clinic, instrument_id))
    if row is None or row.is_trait:
        raise Http404("No such form.")
    other = counterpart(draft, row)
    forms = _line_forms(request, row)
    if request.method == "POST":
        if request.POST.get("go") == "remove":
            plan_set(version=draft, instruments=_instruments(row), lines=[], actor=request.user)
            return redirect("setup-step", study.pk, "forms")
        if _is_valid(forms) and _save(request, draft, row, other, forms):
            if request.POST.get("go") == "stay":
                return redirect("setup-plan", study.pk, row.instrument.pk)
            return redirect("setup-step", study.pk, "forms")
    context = {
        **step_context(draft, "forms"),
        "title": row.instrument.form.title,
        "row": row,
        "other": other,
        "wants_other": "other" in request.POST,
        "common": forms[0],
        "arms": forms[1:],
        "has_arms": any(form.errors or form.initial.get("arm") for form in forms[1:]),
        "pictures": pictures(row.lines),
        "wrong": next((form for form in forms if form.errors), None),
    }
    return render(request, "setup/plan.html", context, status=422 if context["wrong"] else 200)


def _line_forms(request: HttpRequest, row: PlannedForm) -> list[LineForm]:
    """The line of all therapies, one for each arm, and an empty one for another arm."""
    common = next((line for line in row.lines if not line.arm), None)
    arms = [line for line in row.lines if line.arm]
    data = sent(request)
    initial = line_initial(common, has_others=bool(arms))
    forms = [LineForm(data, prefix="all", initial=initial, is_common=True)]
    for number, line in enumerate([*arms, *[None] * SPARE_ARMS]):
        forms.append(LineForm(data, prefix=f"arm{number}", initial=line_initial(line), is_common=False))
    return forms


def _is_valid(forms: list[LineForm]) -> bool:
    valid = [form.is_valid() for form in forms]
    return all(valid)


def _instruments(row: PlannedForm) -> list[Instrument]:
    return list({line.instrument_id: line.instrument for line in row.lines}.values()) or [row.instrument]


def _save(
    request: HttpRequest,
    draft: StudyVersion,
    row: PlannedForm,
    other: PlannedForm | None,
    forms: list[LineForm],
) -> bool:
    """False where the lines were refused; the first form then says why."""
    lines = [form.spec for form in forms if not form.is_left_out]
    instruments = _instruments(row)
    if other is not None and "other" in request.POST:
        instruments.append(other.instrument)
    if not lines:
        forms[0].add_error("kind", _("Name an arm below, or choose sessions for every therapy."))
        return False
    try:
        plan_set(version=draft, instruments=instruments, lines=lines, actor=request.user)
    except StudyRefused as refusal:
        refuse(forms[0], refusal)
        return False
    return True
