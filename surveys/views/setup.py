"""The set-up of a study: short pages, each of which saves what stands on it, and the study's own page."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from surveys.clinic_access import get_administered_study_or_404
from surveys.desk import (
    draft_of,
    own_studies,
    pictures,
    planned_forms,
    study_versions,
)
from surveys.models import Study, StudyVersion
from surveys.plans import in_words
from surveys.readiness import form_languages, gaps
from surveys.services.roles import PeopleRefused
from surveys.services.studies import (
    LineSpec,
    NotReady,
    StudyRefused,
    draft_begin,
    draft_discard,
    plan_set,
    reminders_set,
    study_create,
    study_describe,
    text_set,
    version_activate,
    visibility_set,
)
from surveys.services.therapies import TherapyRefused
from surveys.setup_forms import (
    PracticeForm,
    RemindersForm,
    StudyForm,
    TextForm,
    VisibilityForm,
)
from surveys.views.clinics import own_clinic
from surveys.views.notices import SUPERVISOR_SEES, WHO_SEES_PATIENT, who_sees_patient

STEPS = {
    "name": gettext_lazy("Name and code"),
    "forms": gettext_lazy("Forms and plan"),
    "practice": gettext_lazy("Forms about practice"),
    "visibility": gettext_lazy("Who sees the answers"),
    "texts": gettext_lazy("Texts for patients"),
    "reminders": gettext_lazy("Reminders"),
    "check": gettext_lazy("Check and activate"),
}
EXPLAINED = {
    StudyVersion.Visibility.BLIND: gettext_lazy(
        "For studies in which a rating must not change the treatment: "
        "therapists learn only that a form is in."
    ),
    StudyVersion.Visibility.DELAYED: gettext_lazy(
        "Therapists learn only that a form is in until the therapy has ended, and may look back then."
    ),
    StudyVersion.Visibility.FEEDBACK: gettext_lazy(
        "For routine care with feedback: the therapist rates first, then both ratings show side by side."
    ),
}


def sent(request: HttpRequest) -> QueryDict | None:
    """What was sent, also where it is nothing: a form without a choice is a form, too."""
    return request.POST if request.method == "POST" else None


def patient_reads(version: StudyVersion) -> str:
    """The sentence about who sees the answers; empty while that is not chosen."""
    if not version.visibility:
        return ""
    return who_sees_patient(version)


def studies(request: HttpRequest) -> HttpResponse:
    clinic = own_clinic(request)
    return render(request, "setup/studies.html", {"clinic": clinic, "studies": own_studies(clinic)})


def study_new(request: HttpRequest) -> HttpResponse:
    clinic = own_clinic(request)
    form = StudyForm(sent(request))
    if request.method == "POST" and form.is_valid():
        try:
            version = study_create(clinic=clinic, actor=request.user, **form.cleaned_data)
            return redirect("setup-step", version.study_id, "forms")
        except StudyRefused as refusal:
            refuse(form, refusal)
    context = {"clinic": clinic, "form": form, "title": _("A new study")}
    return render(request, "setup/name.html", context, status=422 if form.errors else 200)


def study(request: HttpRequest, study_id: UUID) -> HttpResponse:
    """The versions of a study: the one in force, the draft, and those before."""
    row = get_administered_study_or_404(request.user, study_id)
    versions = list(study_versions(row))
    context = {
        "clinic": row.clinic,
        "study": row,
        "current": row.current,
        "tests": row.test_runs.all(),
        "draft": next((version for version in versions if version.active_from is None), None),
        "versions": [
            {
                "version": version,
                "lines": [{"line": line, "words": in_words(line)} for line in version.lines.all()],
                "pictures": pictures(version.lines.all()),
                "patient_reads": patient_reads(version),
            }
            for version in versions
            if version.active_from is not None
        ],
    }
    return render(request, "setup/study.html", context)


def draft_new(request: HttpRequest, study_id: UUID) -> HttpResponse:
    row = get_administered_study_or_404(request.user, study_id)
    draft_begin(study=row, actor=request.user)
    return redirect("setup-step", row.pk, "forms")


def draft_drop(request: HttpRequest, study_id: UUID) -> HttpResponse:
    row, draft = _draft(request, study_id)
    if draft is None:
        return redirect("setup-study", row.pk)
    try:
        is_gone = draft_discard(version=draft, actor=request.user)
    except StudyRefused as refusal:
        messages.error(request, str(refusal))
        return redirect("setup-study", row.pk)
    messages.success(request, _("The draft is thrown away."))
    return redirect("setup-studies") if is_gone else redirect("setup-study", row.pk)


def activate(request: HttpRequest, study_id: UUID) -> HttpResponse:
    row, draft = _draft(request, study_id)
    if draft is not None:
        try:
            version = version_activate(version=draft, actor=request.user)
        except NotReady as refusal:
            return _check(request, draft, refused=str(refusal))
        messages.success(
            request,
            _("Version %(number)d is in force. Sessions held from now on follow it.")
            % {"number": version.number},
        )
    return redirect("setup-study", row.pk)


def step(request: HttpRequest, study_id: UUID, slug: str) -> HttpResponse:
    """One page of the sequence, for the draft of a study. Without a draft nothing can be changed."""
    if slug not in STEPS:
        raise Http404("No such step.")
    row, draft = _draft(request, study_id)
    if draft is None:
        return redirect("setup-study", row.pk)
    return PAGES[slug](request, draft)


def _draft(request: HttpRequest, study_id: UUID) -> tuple[Study, StudyVersion | None]:
    row = get_administered_study_or_404(request.user, study_id)
    return row, draft_of(row)


@dataclass(frozen=True)
class Page:
    """A page with one form: where it stands in the sequence, and what saving it does."""

    slug: str
    save: Callable[[Any], object]
    query: str = ""


def _name(request: HttpRequest, draft: StudyVersion) -> HttpResponse:
    row = draft.study
    form = StudyForm(
        sent(request),
        initial={"name": row.name, "code": row.code},
        is_code_fixed=row.current is not None,
    )
    page = Page("name", lambda data: study_describe(study=row, actor=request.user, **data))
    return _page(request, draft, page, form)


def _forms(request: HttpRequest, draft: StudyVersion) -> HttpResponse:
    rows = [row for row in planned_forms(draft) if not row.is_trait]
    context = {
        **step_context(draft, "forms"),
        "planned": [row for row in rows if row.lines],
        "others": [row for row in rows if not row.lines],
        "pictures": pictures([line for row in rows for line in row.lines]),
    }
    if request.method == "POST":
        return redirect(_target(request, draft, "forms"))
    return render(request, "setup/forms.html", context)


def _practice(request: HttpRequest, draft: StudyVersion) -> HttpResponse:
    rows = {str(row.instrument.pk): row for row in planned_forms(draft) if row.is_trait}
    form = PracticeForm(
        sent(request),
        titles={key: row.instrument.form.title for key, row in rows.items()},
        initial={key: row.lines[0].period if row.lines else "" for key, row in rows.items()},
    )

    def save(data: dict[str, str]) -> None:
        for key, row in rows.items():
            if data[key] != (row.lines[0].period if row.lines else ""):
                lines = [LineSpec(period=data[key])] if data[key] else []
                planned = [line.instrument for line in row.lines]
                plan_set(
                    version=draft, instruments=planned or [row.instrument], lines=lines, actor=request.user
                )

    return _page(request, draft, Page("practice", save), form)


def _visibility(request: HttpRequest, draft: StudyVersion) -> HttpResponse:
    form = VisibilityForm(
        sent(request),
        initial={
            "visibility": draft.visibility,
            "is_open_to_supervisors": draft.is_open_to_supervisors,
        },
    )
    page = Page("visibility", lambda data: visibility_set(version=draft, actor=request.user, **data))
    choices = [
        {"radio": radio, "explained": EXPLAINED[choice], "patient_reads": WHO_SEES_PATIENT[choice]}
        for radio, choice in zip(form["visibility"], StudyVersion.Visibility, strict=True)
    ]
    return _page(request, draft, page, form, choices=choices, patient_reads_too=SUPERVISOR_SEES)


def _texts(request: HttpRequest, draft: StudyVersion) -> HttpResponse:
    languages = form_languages()
    written = {text.language: text for text in draft.texts.all()}
    language = request.GET.get("language") or next(iter([*sorted(written), *languages]))
    if language not in languages:
        raise Http404("No such language.")
    text = written.get(language)
    form = TextForm(
        sent(request),
        language=language,
        initial={
            "information": text.information if text else "",
            "declaration": text.declaration if text else "",
        },
    )

    def save(data: dict[str, str]) -> None:
        text_set(version=draft, language=language, actor=request.user, **data)

    context = {
        "language": language,
        "languages": [(tag, name, tag in written) for tag, name in languages.items()],
        "text": text,
    }
    return _page(request, draft, Page("texts", save, f"?language={language}"), form, **context)


def _reminders(request: HttpRequest, draft: StudyVersion) -> HttpResponse:
    hours = dict(zip(("first", "second"), draft.reminder_hours, strict=False))
    form = RemindersForm(sent(request), initial=hours)
    page = Page("reminders", lambda _data: reminders_set(version=draft, hours=form.hours, actor=request.user))
    return _page(request, draft, page, form)


def _check(request: HttpRequest, draft: StudyVersion, refused: str = "") -> HttpResponse:
    if request.method == "POST" and not refused:
        return redirect(_target(request, draft, "check"))
    rows = planned_forms(draft)
    context = {
        **step_context(draft, "check"),
        "refused": refused,
        "planned": [row for row in rows if row.lines],
        "pictures": pictures([line for row in rows for line in row.lines if not line.period]),
        "patient_reads": patient_reads(draft),
        "texts": [
            {"text": text, "language": form_languages().get(text.language, text.language)}
            for text in draft.texts.order_by("language")
        ],
        "current": draft.study.current,
    }
    return render(request, "setup/check.html", context, status=422 if refused else 200)


PAGES: dict[str, Callable[..., HttpResponse]] = {
    "name": _name,
    "forms": _forms,
    "practice": _practice,
    "visibility": _visibility,
    "texts": _texts,
    "reminders": _reminders,
    "check": _check,
}


def _page(
    request: HttpRequest, draft: StudyVersion, page: Page, form: forms.Form, **context: object
) -> HttpResponse:
    """Shows the form; a sent one is saved before any button leads on, so that nothing typed is lost."""
    if request.method == "POST":
        if _only_leaves(request, form):
            return redirect(_target(request, draft, page.slug, page.query))
        if form.is_valid():
            try:
                page.save(form.cleaned_data)
                return redirect(_target(request, draft, page.slug, page.query))
            except StudyRefused as refusal:
                refuse(form, refusal)
    context = {**step_context(draft, page.slug), "form": form, "query": page.query, **context}
    return render(request, f"setup/{page.slug}.html", context, status=422 if form.errors else 200)


def _only_leaves(request: HttpRequest, form: forms.Form) -> bool:
    """Whether somebody goes elsewhere from a page on which nothing was changed: it may be unfinished."""
    return request.POST.get("go", "next") not in ("next", "stay") and not form.has_changed()


def refuse(form: forms.Form, refusal: StudyRefused | PeopleRefused | TherapyRefused) -> None:
    form.add_error(refusal.field if refusal.field in form.fields else None, str(refusal))


def step_context(draft: StudyVersion, slug: str) -> dict[str, object]:
    """What every page of the sequence knows."""
    missing = gaps(draft)
    slugs = list(STEPS)
    place = slugs.index(slug)
    return {
        "clinic": draft.study.clinic,
        "study": draft.study,
        "draft": draft,
        "slug": slug,
        "title": STEPS[slug],
        "place": place + 1,
        "steps": [
            {"slug": key, "title": title, "n_gaps": sum(gap.step == key for gap in missing)}
            for key, title in STEPS.items()
        ],
        "gaps": missing,
        "is_first": place == 0,
    }


def _target(request: HttpRequest, draft: StudyVersion, slug: str, query: str = "") -> str:
    """Where the pressed button leads: on, back, to a step, to a language, or to this page again."""
    slugs = list(STEPS)
    place, go = slugs.index(slug), request.POST.get("go", "next")
    kind, _colon, tag = go.partition(":")
    if kind == "language" and tag in form_languages():
        query = f"?language={tag}"
    elif go in STEPS:
        slug, query = go, ""
    elif go == "back":
        slug, query = slugs[max(place - 1, 0)], ""
    elif go == "next":
        slug, query = slugs[min(place + 1, len(slugs) - 1)], ""
    return reverse("setup-step", args=[draft.study_id, slug]) + query
