"""The pages on which people see how they sign in, and set up what they need for it."""

from allauth.account.decorators import reauthentication_required
from allauth.mfa.adapter import get_adapter
from allauth.mfa.base.views import IndexView
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.views import GenerateRecoveryCodesView, ViewRecoveryCodesView
from allauth.mfa.totp.views import ActivateTOTPView, DeactivateTOTPView
from allauth.mfa.webauthn.views import AddWebAuthnView, RemoveWebAuthnView
from django.contrib import messages
from django.db import transaction
from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse, reverse_lazy
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.generic.edit import FormView

from alliance_site.factors import has_factor, prove
from alliance_site.policy import WANTED
from surveys import audit
from surveys.access import person
from surveys.models import SignIn
from surveys.qr import qr_image
from surveys.services.factor_resets import tell_change
from surveys.services.sign_ins import sign_ins_end
from surveys.session_store import row_key

# What the mail to the owner says was changed.
SET_UP = _("An app on the phone was set up for it.")
REPLACED = _("The app on the phone was replaced by another one.")
APP_REMOVED = _("The app on the phone was removed.")
PASSKEY_ADDED = _("A passkey was added.")
PASSKEY_REMOVED = _("A passkey was removed.")
NEW_CODES = _("New recovery codes were made; the former ones no longer open the account.")

confirmed = method_decorator(reauthentication_required(app="allauth.mfa"), name="dispatch")


class Overview(IndexView):
    template_name = "mfa/index.html"


@confirmed
class SetUpApp(ActivateTOTPView):
    """The first app, or another one in its place: who changes the phone is never without a factor."""

    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        return FormView.dispatch(self, request, *args, **kwargs)

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        context: dict[str, object] = super().get_context_data(**kwargs)
        secret = context["form"].secret  # type: ignore[attr-defined]
        return context | {
            "qr": qr_image(str(context["totp_url"])),
            "key": " ".join(secret[place : place + 4] for place in range(0, len(secret), 4)),
            "is_first": not has_factor(person(self.request.user)),
        }

    @transaction.atomic
    def form_valid(self, form: Form) -> HttpResponse:
        user = person(self.request.user)
        n_old, _kinds = Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP).delete()
        response: HttpResponse = super().form_valid(form)
        prove(self.request, user, Authenticator.Type.TOTP.value)
        _changed(self.request, REPLACED if n_old else SET_UP)
        return response


class RemoveApp(DeactivateTOTPView):
    @transaction.atomic
    def form_valid(self, form: Form) -> HttpResponse:
        response: HttpResponse = super().form_valid(form)
        _removed(self.request, Authenticator.Type.TOTP, APP_REMOVED)
        return response


@confirmed
class AddPasskey(AddWebAuthnView):
    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        context: dict[str, object] = super().get_context_data(**kwargs)
        host = self.request.get_host().partition(":")[0]
        return context | {
            "is_first": not has_factor(person(self.request.user)),
            # A passkey belongs to a name; browsers make none for a number.
            "has_name": not host.replace(".", "").isdigit() and not host.startswith("["),
        }

    @transaction.atomic
    def form_valid(self, form: Form) -> HttpResponse:
        response: HttpResponse = super().form_valid(form)
        prove(self.request, person(self.request.user), Authenticator.Type.WEBAUTHN.value)
        _changed(self.request, PASSKEY_ADDED)
        return response


@confirmed
class RemovePasskey(RemoveWebAuthnView):
    success_url = reverse_lazy("mfa_index")

    @transaction.atomic
    def form_valid(self, form: Form) -> HttpResponse:
        if not get_adapter().can_delete_authenticator(self.get_object()):
            sentence = get_adapter().error_messages["cannot_delete_authenticator"]
            messages.error(self.request, sentence)
            return HttpResponseRedirect(reverse("mfa_index"))
        response: HttpResponse = super().form_valid(form)
        _removed(self.request, Authenticator.Type.WEBAUTHN, PASSKEY_REMOVED)
        return response


class ShowCodes(ViewRecoveryCodesView):
    """The codes, once; and the way on to what was wanted before a factor had to be set up."""

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        context: dict[str, object] = super().get_context_data(**kwargs)
        return context | {"wanted": self.request.session.pop(WANTED, reverse("home"))}


class NewCodes(GenerateRecoveryCodesView):
    @transaction.atomic
    def form_valid(self, form: Form) -> HttpResponse:
        user = person(self.request.user)
        response: HttpResponse = super().form_valid(form)
        audit.record("factor.codes", subject=user, actor=user)
        _changed(self.request, NEW_CODES)
        return response


def _removed(request: HttpRequest, kind: Authenticator.Type, sentence: object) -> None:
    user = person(request.user)
    audit.record("factor.remove", subject=user, actor=user, kind=kind.value)
    _changed(request, sentence)


def _changed(request: HttpRequest, sentence: object) -> None:
    """Whoever else is signed in as this person gave less, what no longer holds, or may be whom the change is
    to keep out; the mail is for the owner who did not make it."""
    user = person(request.user)
    others = SignIn.objects.exclude(pk=row_key(request.session))
    sign_ins_end(user=user, rows=others, actor=user)
    tell_change(user, sentence)
