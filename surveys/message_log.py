"""Questions over rows about what was sent to patients: one form's e-mails and links, and what a clinic
should look at. No answer holds a link or an address."""

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from surveys.models import Assignment, Clinic, Message
from surveys.selectors import OPEN

_STATE = Message.State


def form_messages(form: Assignment) -> QuerySet[Message]:
    """The e-mails about a form, the last one on top."""
    return form.messages.select_related("requested_by").order_by("-pk")


def clinic_messages(clinic: Clinic, code: str = "") -> QuerySet[Message]:
    """Every e-mail to patients of a clinic, the last one on top; `code` is a part of that of a therapy or
    patient. Those of test runs are nobody's."""
    rows = Message.objects.filter(assignment__study__clinic=clinic, assignment__study__test_of=None)
    therapy = "assignment__session__therapy"
    if code:
        rows = rows.filter(
            Q(**{f"{therapy}__code__icontains": code}) | Q(**{f"{therapy}__patient__code__icontains": code})
        )
    return rows.select_related("requested_by", "assignment__instrument", therapy).order_by("-pk")


def n_live_links(form: Assignment) -> int:
    return form.links.filter(revoked_at=None).count()


def messages_to_look_at(clinic: Clinic) -> QuerySet[Message]:
    """E-mails that were not sent, or perhaps not, about forms that can still be filled, unless another one
    was sent since or is on its way; the last one of each form, the one whose time ends first on top."""
    later = Message.objects.filter(assignment=OuterRef("assignment"), pk__gt=OuterRef("pk"))
    settled = Q(state=_STATE.SENT) | Q(
        kind=Message.Kind.INVITATION, state__in=[_STATE.WAITING, _STATE.SENDING]
    )
    troubled = Q(state__in=[_STATE.FAILED, _STATE.UNSURE])
    return (
        Message.objects.filter(
            troubled,
            ~Exists(later.filter(settled | troubled)),
            assignment__study__clinic=clinic,
            assignment__state__in=OPEN,
            assignment__closes_at__gt=timezone.now(),
            assignment__session__therapy__stopped_at=None,
        )
        .select_related("assignment__instrument", "assignment__session__therapy__therapist")
        .order_by("assignment__closes_at", "pk")
    )
