"""Trying a study out: the made-up patient's link, what was stored, and clearing it away."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from surveys.access import person
from surveys.clinic_access import get_administered_study_or_404, get_test_or_404, test_responses
from surveys.desk import draft_of, stored_answers, test_forms
from surveys.qr import qr_image
from surveys.services.invitations import link_issue
from surveys.services.studies import StudyRefused
from surveys.services.testruns import test_run_begin, test_run_clear


def begin(request: HttpRequest, study_id: UUID) -> HttpResponse:
    """Tries the draft out, or the version in force where there is none or it is asked for."""
    study = get_administered_study_or_404(request.user, study_id)
    version = study.current if request.POST.get("which") == "current" else draft_of(study) or study.current
    try:
        if version is None:
            raise StudyRefused(_("There is nothing to try out yet."))
        test = test_run_begin(version=version, actor=request.user)
    except StudyRefused as refusal:
        messages.error(request, str(refusal))
        return redirect("setup-study", study.pk)
    return redirect("setup-test", test.pk)


def show(request: HttpRequest, test_id: UUID) -> HttpResponse:
    return _page(request, test_id)


def link(request: HttpRequest, test_id: UUID) -> HttpResponse:
    """A link to the made-up patient's form; it is shown on the answer to this press alone."""
    test = get_test_or_404(request.user, test_id)
    form = next((row for row in test_forms(test) if row.is_open), None)
    if form is None:
        messages.error(request, _("The form was sent or its time is over. Begin the test run anew."))
        return redirect("setup-test", test.pk)
    token = link_issue(assignment=form.assignment, actor=person(request.user))
    url = request.build_absolute_uri(f"/r/{token}/")
    return _page(request, test_id, url=url, qr=qr_image(url))


def clear(request: HttpRequest, test_id: UUID) -> HttpResponse:
    test = get_test_or_404(request.user, test_id)
    study_id = test.test_of_id
    test_run_clear(test=test, actor=request.user)
    messages.success(request, _("The test run is cleared: nothing of it is left."))
    return redirect("setup-study", study_id)


def _page(request: HttpRequest, test_id: UUID, **context: object) -> HttpResponse:
    test = get_test_or_404(request.user, test_id)
    context = {
        "clinic": test.clinic,
        "test": test,
        "study": test.test_of,
        "forms": test_forms(test),
        "stored": [
            {"response": row, "answers": stored_answers(row), "scores": row.scores.all()}
            for row in test_responses(request.user, test)
        ],
        **context,
    }
    return render(request, "setup/test.html", context)
