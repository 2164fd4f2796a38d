"""What stands in place of a form, and what every page of a form knows."""

from dataclasses import dataclass
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from surveys.access import LinkState
from surveys.forms import BadField, OutdatedForm
from surveys.models import Assignment, Rater, StudyVersion
from surveys.services.responses import AlreadyReceived, DifferentAnswers, FormClosed, WrongKey

WHO_SEES_PATIENT = {
    StudyVersion.Visibility.BLIND: _("Your therapist will never see your answers."),
    StudyVersion.Visibility.DELAYED: _(
        "While the therapy goes on, your therapist sees nothing of this. "
        "After its end they see what you allow on the form."
    ),
    StudyVersion.Visibility.FEEDBACK: _(
        "Your therapist sees what you allow on the form, "
        "once they have given their own rating of the same session."
    ),
}
SUPERVISOR_SEES = _("A person who supervises your therapist can see the same.")
WHO_SEES_THERAPIST = _(
    "Your patient does not see your answers. Your supervisor sees that the form is done, and what you "
    "chose to share with them on the page “Your practice”; without that choice nothing else."
)


def who_sees_patient(version: StudyVersion) -> str:
    """What a patient is told about a form that is asked for under this version."""
    sentence = str(WHO_SEES_PATIENT[StudyVersion.Visibility(version.visibility)])
    return f"{sentence} {SUPERVISOR_SEES}" if version.is_open_to_supervisors else sentence


@dataclass(frozen=True)
class Notice:
    """A page in place of the form: what happened, and what to do next."""

    status: int
    title: str | Promise
    sentence: str | Promise


NOTICES: dict[LinkState | type[Exception], Notice] = {
    LinkState.RECEIVED: Notice(200, _("Your form was received"), _("There is nothing more to do.")),
    LinkState.EXPIRED: Notice(
        410,
        _("This form is closed"),
        _("The time for filling it in is over. Nothing is expected of you now."),
    ),
    LinkState.WITHDRAWN: Notice(
        200, _("Thank you, there is nothing to do"), _("This form is no longer needed.")
    ),
    LinkState.UNKNOWN: Notice(
        404,
        _("This link leads to no form"),
        _(
            "Part of it may have been lost on the way: open it from the message itself, or copy the whole "
            "line. If you were sent more than one link, use the newest."
        ),
    ),
    BadField: Notice(
        400,
        _("This form could not be read"),
        _("Nothing was stored. Go back, reload the page and send it again."),
    ),
    OutdatedForm: Notice(
        409,
        _("The form has changed"),
        _("Nothing was stored. Go back, reload the page and send it again."),
    ),
    WrongKey: Notice(
        409,
        _("This page is not the one that was opened last"),
        _("Nothing was stored. Go back, reload the page and send it again."),
    ),
    DifferentAnswers: Notice(
        422,
        _("This form was already received"),
        _("The answers that came first are kept; those of this page were not stored."),
    ),
    AlreadyReceived: Notice(
        409,
        _("This form was already received"),
        _(
            "It was sent from another device. Answers that this page had saved before are part of it, where "
            "none were given there. What this page sent now was not stored."
        ),
    ),
    FormClosed: Notice(
        409,
        _("This form is closed"),
        _("Its time is over, or it is no longer needed. The answers of this page were not stored."),
    ),
}
TOO_MANY_MISSES = Notice(
    429,
    _("Too many links that lead nowhere"),
    _("Wait ten minutes, then open the link from the message itself."),
)


def about(assignment: Assignment) -> dict[str, object]:
    """What every page of a form knows."""
    is_patient_page = assignment.rater == Rater.PATIENT
    return {
        "assignment": assignment,
        "clinic": assignment.study.clinic,
        "is_patient_page": is_patient_page,
        "who_sees": who_sees_patient(assignment.version) if is_patient_page else WHO_SEES_THERAPIST,
    }


def notice_page(
    request: HttpRequest, notice: Notice, assignment: Assignment | None, **context: object
) -> HttpResponse:
    known = about(assignment) if assignment else {"is_patient_page": True}
    return render(
        request, "surveys/notice.html", {**known, "notice": notice, **context}, status=notice.status
    )


def see_other(route: str, row_id: UUID, query: str = "") -> HttpResponse:
    """On to a page by GET, so that a reload never sends a form twice."""
    return HttpResponseRedirect(reverse(route, args=[row_id]) + query, status=303)
