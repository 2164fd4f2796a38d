"""The only door to rows: who may see what, written as querysets.

Views and the API reach rows through these functions alone. A stranger's object does not exist (404).
What a therapist sees of the patient's side is decided here and nowhere else:

1. the visibility policy under which the form was asked for is the widest that can be seen;
2. the patient's own choice on the form narrows it (`none`, `scores`, `answers`);
3. under the feedback policy a rating shows only after the therapist gave or declined their own.

A supervisor sees how far their supervisees' therapies are; of the patient's ratings what the therapist sees,
where the version under which the form was asked for is open to supervisors; and the therapist's own ratings
while the therapist shares them with this supervisor. Doors for both readers say so; what is "own" or of the
"caseload" is the therapist's alone.

A superuser gets no clinical row from any of these, but in an emergency (`surveys.emergency_access`).
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.http import Http404
from django.shortcuts import get_object_or_404

from surveys import compiled, scope
from surveys.emergency_access import emergency_therapies
from surveys.models import (
    OUTCOME_SCALE,
    Assignment,
    Clinic,
    FormLink,
    Instrument,
    Membership,
    Opening,
    Rater,
    Role,
    Score,
    Session,
    Sharing,
    Study,
    StudyVersion,
    Therapist,
    Therapy,
    User,
)
from surveys.sharing_access import sharing_therapists
from surveys.tokens import token_hash
from surveys.wordings import instrument_of

Actor = User | AnonymousUser

# A form that was opened in time may be sent this much later.
SEND_GRACE = timedelta(hours=24)


def roles(user: Actor) -> frozenset[str]:
    """The roles of a signed-in person in any clinic; empty for everybody else."""
    if not isinstance(user, User) or not user.is_active:
        return frozenset()
    return frozenset(Membership.objects.filter(user=user).values_list("role", flat=True))


def _clinics(user: Actor, role: Role) -> QuerySet[Clinic]:
    if not isinstance(user, User):
        return Clinic.objects.none()
    return Clinic.objects.filter(memberships__user=user, memberships__role=role)


def first_clinic(user: Actor, role: Role) -> Clinic | None:
    """The clinic whose name stands over the pages of a role: of several, the one that was there first."""
    return _clinics(user, role).order_by("pk").first()


def person(user: Actor) -> User:
    """Who is signed in; nobody reaches a staff page otherwise."""
    if not isinstance(user, User):
        raise Http404("Nobody is signed in.")
    return user


def visible_therapies(user: Actor) -> QuerySet[Therapy]:
    """Therapies that the user treats now, in clinics where the user is a therapist today."""
    if not isinstance(user, User):
        return Therapy.objects.none()
    return Therapy.objects.filter(therapist__user=user, therapist__clinic__in=_clinics(user, Role.THERAPIST))


def supervised_therapies(user: Actor) -> QuerySet[Therapy]:
    """Therapies of the user's supervisees: for their progress alone."""
    if not isinstance(user, User):
        return Therapy.objects.none()
    return Therapy.objects.filter(
        therapist__supervisor=user, therapist__clinic__in=_clinics(user, Role.SUPERVISOR)
    )


def clinic_therapies(user: Actor) -> QuerySet[Therapy]:
    """Therapies of the clinics that the user administers: reception keeps their logs and sees which forms
    are in, never a rating."""
    return Therapy.objects.filter(
        therapist__clinic__in=_clinics(user, Role.CLINIC_ADMIN), study__test_of=None
    )


def loggable_therapies(user: Actor) -> QuerySet[Therapy]:
    """Therapies whose session log the user may read and keep: one's own, and those of the clinic for
    reception."""
    return Therapy.objects.filter(Q(pk__in=visible_therapies(user)) | Q(pk__in=clinic_therapies(user)))


def get_logged_therapy_or_404(user: Actor, therapy_id: uuid.UUID) -> Therapy:
    rows = loggable_therapies(user).select_related("study", "therapist__clinic", "patient")
    return get_object_or_404(rows, pk=therapy_id)


def get_logged_session_or_404(user: Actor, session_id: uuid.UUID) -> Session:
    """One line of a log that the user may keep."""
    rows = Session.objects.select_related("therapy__study", "therapy__therapist__clinic")
    session = rows.filter(pk=session_id, therapy__in=loggable_therapies(user)).first()
    if session is None:
        raise Http404("No such session.")
    return session


def get_own_session_or_404(user: Actor, session_id: uuid.UUID) -> Session:
    """A session of one of the therapist's own therapies."""
    rows = Session.objects.select_related("therapy__study", "therapy__therapist__clinic")
    session = rows.filter(pk=session_id, therapy__in=visible_therapies(user)).first()
    if session is None:
        raise Http404("No such session.")
    return session


def is_own(user: Actor, therapy: Therapy) -> bool:
    """Whether the user treats this patient, and so has forms of their own about the sessions."""
    return visible_therapies(user).filter(pk=therapy.pk).exists()


def open_supervised_therapies(user: Actor) -> QuerySet[Therapy]:
    """Those of the supervised therapies of which something is open to the supervisor beside the progress,
    whether or not a rating is there yet."""
    asked = Assignment.objects.filter(
        session__therapy=OuterRef("pk"), rater=Rater.PATIENT, version__is_open_to_supervisors=True
    )
    shared = Q(therapist__in=sharing_therapists(user, "ratings_shared_with"))
    return supervised_therapies(user).filter(Exists(asked) | shared)


def get_therapy_or_404(user: Actor, therapy_id: uuid.UUID) -> Therapy:
    """For who treats the patient, for a supervisor to whom something of it is open, and in an emergency."""
    rows = Therapy.objects.filter(
        Q(pk__in=visible_therapies(user))
        | Q(pk__in=open_supervised_therapies(user))
        | Q(pk__in=emergency_therapies(user))
    ).select_related("study", "therapist", "patient", "therapist__clinic")
    return get_object_or_404(rows, pk=therapy_id)


def visible_scores(user: Actor, therapy: Therapy) -> QuerySet[Score]:
    """The scores about one therapy that its reader, therapist or supervisor, may see; in an emergency those
    that the therapist may."""
    own = Therapy.objects.filter(Q(pk__in=visible_therapies(user)) | Q(pk__in=emergency_therapies(user)))
    supervised = supervised_therapies(user)
    return Score.objects.filter(_visible(user, own.filter(pk=therapy.pk), supervised.filter(pk=therapy.pk)))


def visible_caseload_scores(user: Actor) -> QuerySet[Score]:
    """The scores about all of the user's own therapies, by the same rules."""
    own = visible_therapies(user)
    return Score.objects.filter(_visible(user, own, Therapy.objects.none()))


def visible_supervised_scores(user: Actor) -> QuerySet[Score]:
    """The scores about the therapies of all supervisees that the supervisor may see."""
    supervised = supervised_therapies(user)
    return Score.objects.filter(_visible(user, Therapy.objects.none(), supervised))


def revealed_scores(study_id: uuid.UUID) -> QuerySet[Score]:
    """Scores of a study's patients that the therapist of each may see: for counts over a whole clinic, made
    by a job; never for a page about one person."""
    return Score.objects.filter(
        _shown_to_therapist(),
        response__assignment__study=study_id,
        response__assignment__session__therapy__excluded_at=None,
    )


def _visible(user: Actor, own: QuerySet[Therapy], supervised: QuerySet[Therapy]) -> Q:
    """Which scores about these therapies the user may see, as a rule.

    The therapies are asked for first and stand in the rule as keys: left inside of the greater question, the
    database looks through everybody's responses for them.
    """
    therapy = "response__assignment__session__therapy__in"
    by_therapist = Q(response__assignment__rater=Rater.THERAPIST)
    seen = Q(pk__in=[])
    if treated := list(own.values_list("pk", flat=True)):
        seen |= Q(**{therapy: treated}) & (by_therapist | _shown_to_therapist())
    shares = Exists(sharing_therapists(user, "ratings_shared_with").filter(pk=OuterRef("therapist")))
    sharing = dict(supervised.annotate(shares=shares).values_list("pk", "shares"))
    if sharing:
        opened = Q(response__assignment__version__is_open_to_supervisors=True)
        seen |= Q(**{therapy: list(sharing)}) & _shown_to_therapist() & opened
        shared = [row for row, is_shared in sharing.items() if is_shared]
        # Of the alliance alone: a form about feelings in a session belongs to what is said of one's practice.
        alliance = Instrument.objects.filter(definition__scales__contains=[{"code": OUTCOME_SCALE}])
        seen |= Q(**{therapy: shared}) & by_therapist & Q(response__assignment__instrument__in=alliance)
    return seen & Q(**{therapy: [*treated, *sharing]})


def _shown_to_therapist() -> Q:
    """Of scores of a patient's: policy, choice and own rating let the therapist see them."""
    by_policy = Q(
        response__assignment__version__visibility=StudyVersion.Visibility.FEEDBACK,
        response__reveal_at__isnull=False,
    ) | Q(
        response__assignment__version__visibility=StudyVersion.Visibility.DELAYED,
        response__assignment__session__therapy__ended_on__isnull=False,
    )
    of_patient = Q(response__assignment__rater=Rater.PATIENT)
    return of_patient & ~Q(response__sharing=Sharing.NONE) & by_policy


def shows_ratings(version: StudyVersion | None, *, to_supervisor: bool, is_ended: bool) -> bool:
    """Whether a study can show a reader ratings of the patient of a therapy that goes on or has ended: for a
    sentence that says so, never in place of a queryset."""
    shown = {StudyVersion.Visibility.FEEDBACK} | ({StudyVersion.Visibility.DELAYED} if is_ended else set())
    if version is None or version.visibility not in shown:
        return False
    return version.is_open_to_supervisors or not to_supervisor


def own_practices(user: Actor) -> QuerySet[Therapist]:
    """What the user is as a therapist: one row for each clinic where they are one today."""
    if not isinstance(user, User):
        return Therapist.objects.none()
    return Therapist.objects.filter(user=user, clinic__in=_clinics(user, Role.THERAPIST))


def visible_forms(user: Actor) -> QuerySet[Assignment]:
    """Forms that the user has to fill as a therapist: about sessions, and about practice in general."""
    own = Assignment.objects.filter(rater=Rater.THERAPIST)
    about_sessions = own.filter(session__therapy__in=visible_therapies(user))
    about_practice = own.filter(therapist__in=own_practices(user))
    # Two ways to a form, each with an index; joined by "or" in one question they have none.
    return Assignment.objects.filter(pk__in=about_sessions.values("pk").union(about_practice.values("pk")))


def visible_patient_forms(user: Actor) -> QuerySet[Assignment]:
    """Patients' forms that the user may hand out (by link, start code or on paper): of the therapist's own
    therapies, and of the whole clinic for its administrators. What was answered is behind other doors."""
    return Assignment.objects.filter(
        Q(session__therapy__in=visible_therapies(user))
        | Q(study__clinic__in=_clinics(user, Role.CLINIC_ADMIN)),
        rater=Rater.PATIENT,
    )


def get_patient_form_or_404(user: Actor, assignment_id: uuid.UUID) -> Assignment:
    return get_object_or_404(visible_patient_forms(user).select_related(*_FORM), pk=assignment_id)


def get_form_to_enter_or_404(user: Actor, assignment_id: uuid.UUID) -> Assignment:
    """A patient's form that an administrator types in from paper; not one who treats the patient, in this
    therapy or one before or after a transfer, and would read there what is not for a therapist."""
    treats = Q(session__therapy__patient__therapies__therapist__user=person(user))
    rows = Assignment.objects.filter(
        rater=Rater.PATIENT, study__clinic__in=_clinics(user, Role.CLINIC_ADMIN)
    ).exclude(treats)
    return get_object_or_404(rows.select_related(*_FORM), pk=assignment_id)


def visible_studies(user: Actor) -> QuerySet[Study]:
    """Studies whose coded data the user may download. Treating patients in a clinic and analysing its
    data exclude each other: the researcher would know whose answers they are. Test runs hold no data, and
    nor does a study that was never in force."""
    if not isinstance(user, User):
        return Study.objects.none()
    treats = Therapist.objects.filter(clinic=OuterRef("clinic"), user=user)
    in_force = StudyVersion.objects.filter(study=OuterRef("pk"), active_from__isnull=False)
    return Study.objects.filter(
        ~Exists(treats), Exists(in_force), clinic__in=_clinics(user, Role.RESEARCHER), test_of=None
    )


def get_study_or_404(user: Actor, study_id: uuid.UUID) -> Study:
    return get_object_or_404(visible_studies(user).select_related("clinic"), pk=study_id)


class LinkState(Enum):
    OPEN = "open"
    RECEIVED = "received"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Link:
    """What a link leads to; the assignment is there for every link that was ever issued."""

    state: LinkState
    assignment: Assignment | None = None


# What a page about a patient's form says. The questionnaire itself is kept by every process.
_PATIENTS = ("version", "study__clinic", "session__therapy__patient")
_FORM = (*_PATIENTS, "instrument", "session__therapy__therapist", "therapist")
# What saving and sending need of it before they lock it.
_ANSWERS = ("version",)


def form_state(assignment: Assignment, now: datetime) -> LinkState:
    """The one rule of expiry: closed for new openings at `closes_at`, for sending a day later."""
    if assignment.state == Assignment.State.WITHDRAWN:
        return LinkState.WITHDRAWN
    if assignment.state in (Assignment.State.SUBMITTED, Assignment.State.DECLINED):
        return LinkState.RECEIVED
    grace = SEND_GRACE if assignment.state == Assignment.State.OPENED else timedelta(0)
    return LinkState.OPEN if now <= assignment.closes_at + grace else LinkState.EXPIRED


def get_link(token: str, now: datetime) -> Link:
    """Never raises: every state of a link has a page of its own."""
    with scope.everything():
        link = compiled.first(_live_links, token_hash(token))
    if link is None:
        return Link(LinkState.UNKNOWN)
    scope.open_only(link.assignment.study.clinic_id)
    link.assignment.instrument = instrument_of(link.assignment.instrument_id)
    return Link(form_state(link.assignment, now), link.assignment)


def _live_links(digest: str) -> QuerySet[FormLink]:
    rows = FormLink.objects.select_related(*(f"assignment__{name}" for name in _PATIENTS))
    return rows.filter(token_hash=digest, revoked_at=None)


def browser_hash(user: Actor, browser_secret: str) -> str:
    """What an opening is bound to: the signed-in therapist, or the patient's browser."""
    return token_hash(f"user:{user.pk}" if isinstance(user, User) else f"browser:{browser_secret}")


def _openings(related: tuple[str, ...]) -> QuerySet[Any]:
    rows = Opening.objects.select_related(*(f"assignment__{name}" for name in related))
    return rows.annotate(clinic=F("assignment__study__clinic"))


def _page_of_browser(own_hash: str, form: uuid.UUID) -> QuerySet[Any]:
    return _openings(_PATIENTS).filter(
        assignment__rater=Rater.PATIENT, browser_hash=own_hash, assignment=form
    )


def _answers_of_browser(own_hash: str, form: uuid.UUID) -> QuerySet[Any]:
    return _openings(_ANSWERS).filter(assignment__rater=Rater.PATIENT, browser_hash=own_hash, assignment=form)


def get_opening_or_404(
    user: Actor, browser_secret: str, assignment_id: uuid.UUID, *, for_page: bool = True
) -> Opening:
    """The open form of this browser (patient) or of this signed-in therapist. The cookie of one form
    never opens another. `for_page`: with all that a page says; an answer that is saved shows none."""
    if not browser_secret and not isinstance(user, User):
        raise Http404("No such form.")
    own_hash = browser_hash(AnonymousUser(), browser_secret) if browser_secret else ""
    with scope.everything():
        if isinstance(user, User):
            rule = Q(assignment__in=visible_forms(user), browser_hash=browser_hash(user, ""))
            if browser_secret:
                rule |= Q(assignment__rater=Rater.PATIENT, browser_hash=own_hash)
            related = _FORM if for_page else _ANSWERS
            opening = _openings(related).filter(rule, assignment=assignment_id).first()
        else:
            rows = _page_of_browser if for_page else _answers_of_browser
            opening = compiled.first(rows, own_hash, assignment_id)
    if opening is None:
        raise Http404("No such form.")
    scope.open_only(opening.clinic)
    opening.assignment.instrument = instrument_of(opening.assignment.instrument_id)
    return opening


def has_sent(opening: Opening) -> bool:
    """Whether this browser sent the form; with a forwarded link others may have opened it, too."""
    return opening.client_key == opening.assignment.response.client_key


def get_form_or_404(user: Actor, assignment_id: uuid.UUID) -> Assignment:
    """A therapist's own form, to begin or to continue it."""
    return get_object_or_404(visible_forms(user).select_related(*_FORM), pk=assignment_id)


def administered_clinics(user: Actor) -> QuerySet[Clinic]:
    return _clinics(user, Role.CLINIC_ADMIN)
