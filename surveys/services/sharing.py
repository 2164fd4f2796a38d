"""What a therapist lets their supervisor see: a choice for one person, taken back at any time."""

from django.db import transaction
from django.utils.translation import gettext as _

from surveys import audit
from surveys.access import Actor
from surveys.models import Therapist
from surveys.practice_access import is_supervisor_today


class SharingRefused(Exception):
    """Nothing was changed; the sentence says why and what to do."""


@transaction.atomic
def sharing_set(
    *, therapist: Therapist, supervisor: str, ratings: bool, practice: bool, actor: Actor | None = None
) -> Therapist:
    """Lets the therapist's present supervisor see the therapist's own ratings of the alliance, what they say
    of their own practice, both, or neither; at once, and for earlier forms as well.

    `supervisor` is the id of the person whom the page named. Raises SharingRefused for sharing where that is
    not the supervisor any more, or there is none. Taking back is never refused.
    """
    rows = Therapist.objects.select_for_update(of=("self",)).select_related("clinic", "supervisor")
    row = rows.get(pk=therapist.pk)
    if ratings or practice:
        _refuse_unless_present(row, supervisor)
    before = (row.ratings_shared_with_id, row.practice_shared_with_id)
    row.ratings_shared_with = row.supervisor if ratings else None
    row.practice_shared_with = row.supervisor if practice else None
    if before != (row.ratings_shared_with_id, row.practice_shared_with_id):
        row.save(update_fields=["ratings_shared_with", "practice_shared_with"])
        audit.record(
            "therapist.sharing",
            subject=row,
            actor=actor,
            clinic=row.clinic,
            supervisor=str(row.supervisor_id or ""),
            ratings=ratings,
            practice=practice,
        )
    return row


def _refuse_unless_present(row: Therapist, supervisor: str) -> None:
    present = row.supervisor
    if present is None or not is_supervisor_today(row):
        raise SharingRefused(
            _("Nothing was shared: you have no supervisor in this clinic now. Your clinic enters who it is.")
        )
    if str(present.pk) != supervisor:
        raise SharingRefused(
            _(
                "Nothing was shared: your supervisor has changed since this page was opened. "
                "It is %(name)s now; choose again."
            )
            % {"name": present.name or present.email}
        )
