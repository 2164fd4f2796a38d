"""The doors to what therapists say of their own practice (DPCCQ).

The therapist sees it, and the supervisor with whom the therapist shares it (`surveys.sharing_access` says
until when). Nobody else: no administrator, no colleague, no superuser. Researchers have the coded dataset.
"""

from uuid import UUID

from django.db.models import Q, QuerySet
from django.shortcuts import get_object_or_404

from surveys.access import Actor, own_practices
from surveys.models import Membership, Role, Score, Therapist
from surveys.sharing_access import sharing_therapists

# The forms about feelings in single sessions are known by their code: other forms about sessions are the
# alliance's. Every form about practice in general belongs here.
SESSION_FORMS = "dpccq-"


def is_supervisor_today(therapist: Therapist) -> bool:
    """Whether the therapist's supervisor has that role in the clinic; without it they see nothing."""
    supervisor = therapist.supervisor
    if supervisor is None or not supervisor.is_active:
        return False
    rows = Membership.objects.filter(clinic=therapist.clinic_id, user=supervisor, role=Role.SUPERVISOR)
    return rows.exists()


def shared_practices(user: Actor) -> QuerySet[Therapist]:
    """Supervisees who let the user see what they say of their own practice."""
    return sharing_therapists(user, "practice_shared_with")


def get_own_practice_or_404(user: Actor, therapist_id: UUID) -> Therapist:
    return get_object_or_404(own_practices(user).select_related("clinic"), pk=therapist_id)


def get_shared_practice_or_404(user: Actor, therapist_id: UUID) -> Therapist:
    return get_object_or_404(shared_practices(user).select_related("clinic"), pk=therapist_id)


def readable_practices(user: Actor) -> QuerySet[Therapist]:
    """One's own, and those that are shared with the user."""
    return Therapist.objects.filter(Q(pk__in=own_practices(user)) | Q(pk__in=shared_practices(user)))


def get_readable_practice_or_404(user: Actor, therapist_id: UUID) -> Therapist:
    return get_object_or_404(readable_practices(user).select_related("clinic"), pk=therapist_id)


def practice_scores(user: Actor, therapist: Therapist) -> QuerySet[Score]:
    """Scores of the forms about practice in general that a therapist filled, without test runs."""
    return Score.objects.filter(
        response__assignment__therapist__in=readable_practices(user).filter(pk=therapist.pk),
        response__assignment__session=None,
        response__assignment__study__test_of=None,
    )


def session_feeling_scores(user: Actor, therapist: Therapist) -> QuerySet[Score]:
    """Scores of the forms about feelings in single sessions, over the therapist's whole caseload, without
    test runs and without therapies that their patients left out of analyses."""
    of_session = "response__assignment__session__therapy"
    return Score.objects.filter(
        response__assignment__rater="therapist",
        response__instrument__code__startswith=SESSION_FORMS,
        response__assignment__study__test_of=None,
        **{
            f"{of_session}__therapist__in": readable_practices(user).filter(pk=therapist.pk),
            f"{of_session}__excluded_at": None,
        },
    )


def clinic_practice_scores(clinic_id: UUID) -> QuerySet[Score]:
    """Scores of the forms about practice in general of a whole clinic, those of nobody left out: for a job
    that counts over them; never for a page about one person."""
    return Score.objects.filter(
        response__assignment__therapist__clinic=clinic_id,
        response__assignment__session=None,
        response__assignment__study__test_of=None,
        mean__isnull=False,
    )
