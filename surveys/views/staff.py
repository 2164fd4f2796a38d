"""The clinic's staff: accounts, roles, who supervises whom; and the administrator's home."""

from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from surveys.access import person as signed_in
from surveys.clinic_access import get_staff_or_404, open_resets
from surveys.desk import (
    active_studies,
    factor_state,
    licence_warnings,
    own_staff,
    own_supervisors,
    own_therapists,
    quiet_therapies,
    roles_in,
    studies_in_draft,
    therapist_in,
)
from surveys.emergency_access import recent_emergencies
from surveys.grant_access import waiting_grants
from surveys.keeping import waiting_rules
from surveys.message_log import messages_to_look_at
from surveys.models import Clinic, Role, User
from surveys.people_forms import ROLE_LABELS, RolesForm, StaffForm, roles_initial
from surveys.services.accounts import InvitationNotSent, account_invite
from surveys.services.people import (
    staff_add,
    staff_leave,
    staff_roles_set,
    staff_sign_out,
    supervisor_set,
)
from surveys.services.roles import PeopleRefused
from surveys.views.clinics import own_clinic
from surveys.views.setup import refuse, sent

SHOWN_QUIET = 10
SHOWN_FAILED = 10


def home(request: HttpRequest) -> HttpResponse:
    """What needs attention in the clinic, and the ways to everything that is set up here."""
    clinic = own_clinic(request)
    quiet = quiet_therapies(request.user, clinic)
    failed = messages_to_look_at(clinic)
    context = {
        "clinic": clinic,
        "grants": waiting_grants(request.user, clinic),
        "emergencies": recent_emergencies(clinic),
        "n_rules": waiting_rules(clinic).exclude(proposed_by=signed_in(request.user)).count(),
        "drafts": studies_in_draft(clinic),
        "is_active": active_studies(clinic).exists(),
        "licences": licence_warnings(clinic),
        "quiet": quiet[:SHOWN_QUIET],
        "n_quiet": quiet.count(),
        "resets": open_resets(clinic).exclude(user=signed_in(request.user)),
        "failed": failed[:SHOWN_FAILED],
        "n_failed": failed.count(),
    }
    return render(request, "people/home.html", context)


def staff(request: HttpRequest) -> HttpResponse:
    clinic = own_clinic(request)
    without = [therapist for therapist in own_therapists(clinic) if therapist.user is None]
    context = {
        "clinic": clinic,
        "people": own_staff(request.user, clinic),
        "n_without_account": len(without),
        "grants": waiting_grants(request.user, clinic),
    }
    return render(request, "people/staff.html", context)


def staff_new(request: HttpRequest) -> HttpResponse:
    clinic = own_clinic(request)
    form = StaffForm(sent(request), supervisors=own_supervisors(clinic))
    if form.is_valid():
        supervisor = form.cleaned_data.pop("supervisor")
        try:
            user = staff_add(clinic=clinic, actor=request.user, **form.cleaned_data)
            _supervise(clinic, user, supervisor, request.user)
            _invite(request, clinic, user)
            # Who is to be an administrator and nothing else has no role yet.
            has_role = bool(roles_in(clinic, user))
            return redirect("people-account", user.pk) if has_role else redirect("people-staff")
        except PeopleRefused as refusal:
            refuse(form, refusal)
    context = {"clinic": clinic, "form": form}
    return render(request, "people/staff_new.html", context, status=422 if form.errors else 200)


def account(request: HttpRequest, user_id: UUID) -> HttpResponse:
    clinic = own_clinic(request)
    person = get_staff_or_404(clinic, user_id)
    roles, therapist = roles_in(clinic, person), therapist_in(clinic, person)
    form = RolesForm(
        sent(request),
        supervisors=own_supervisors(clinic, without=person),
        initial=roles_initial(person, roles, therapist),
    )
    if form.is_valid():
        try:
            staff_roles_set(clinic=clinic, user=person, roles=form.cleaned_data["roles"], actor=request.user)
            _supervise(clinic, person, form.cleaned_data["supervisor"], request.user)
            messages.success(request, _("Saved."))
            return redirect("people-account", person.pk)
        except PeopleRefused as refusal:
            refuse(form, refusal)
    is_self = person == request.user
    context = {
        "clinic": clinic,
        "person": person,
        "role_labels": [ROLE_LABELS[role] for role in roles],
        "therapist": therapist,
        "grants": waiting_grants(request.user, clinic).filter(user=person),
        "form": form,
        "is_self": is_self,
        "is_fixed": is_self or Role.RESEARCHER.value in roles,
        "has_password": person.has_usable_password(),
        "factor": factor_state(clinic, person),
    }
    return render(request, "people/account.html", context, status=422 if form.errors else 200)


def invite(request: HttpRequest, user_id: UUID) -> HttpResponse:
    clinic = own_clinic(request)
    person = get_staff_or_404(clinic, user_id)
    _invite(request, clinic, person)
    return redirect("people-account", person.pk)


def leave(request: HttpRequest, user_id: UUID) -> HttpResponse:
    clinic = own_clinic(request)
    person = get_staff_or_404(clinic, user_id)
    try:
        staff_leave(clinic=clinic, user=person, actor=request.user)
    except PeopleRefused as refusal:
        messages.error(request, str(refusal))
        return redirect("people-account", person.pk)
    messages.success(request, _("%(name)s has no access any more.") % {"name": person.name or person.email})
    return redirect("people-staff")


def sign_out(request: HttpRequest, user_id: UUID) -> HttpResponse:
    """Ends somebody's sessions, such as those of a telephone that was lost; they sign in again."""
    clinic = own_clinic(request)
    person = get_staff_or_404(clinic, user_id)
    try:
        n = staff_sign_out(clinic=clinic, user=person, actor=request.user)
    except PeopleRefused as refusal:
        messages.error(request, str(refusal))
        return redirect("people-account", person.pk)
    words = ngettext("%(n)s session was ended.", "%(n)s sessions were ended.", n) % {"n": n}
    messages.success(request, words if n else _("They are not signed in anywhere."))
    return redirect("people-account", person.pk)


def _supervise(clinic: Clinic, user: User, supervisor: User | None, actor: object) -> None:
    therapist = therapist_in(clinic, user)
    if therapist is not None:
        supervisor_set(therapist=therapist, supervisor=supervisor, actor=actor)  # type: ignore[arg-type]


def _invite(request: HttpRequest, clinic: Clinic, user: User) -> None:
    base = settings.SITE_URL or request.build_absolute_uri("/")
    try:
        account_invite(clinic=clinic, user=user, base_url=base, actor=request.user)
    except InvitationNotSent:
        messages.error(
            request,
            _(
                "The account is there, but the mail to %(email)s could not be sent. Send it again from this "
                "page later."
            )
            % {"email": user.email},
        )
        return
    messages.success(
        request,
        _("A mail to %(email)s lets them set their password within three days.") % {"email": user.email},
    )
