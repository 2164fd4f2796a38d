"""The page on which staff make and revoke tokens for programs that speak for them."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from alliance_site.policy import scopes_for
from surveys.access import person, roles
from surveys.api_access import get_own_token_or_404, own_tokens
from surveys.models import Scope
from surveys.services.api_tokens import TokenRefused, token_create, token_revoke
from surveys.text_fields import OwnWords


class TokenForm(forms.Form):
    name = OwnWords(
        label=gettext_lazy("Name"),
        max_length=80,
        help_text=gettext_lazy("What the token is for, such as: clinic records, nightly download."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": gettext_lazy("Fill this in.")},
    )
    scopes = forms.MultipleChoiceField(
        label=gettext_lazy("Uses"),
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("As few as the program needs. None of them gives more than your own roles."),
        error_messages={"required": gettext_lazy("Choose at least one use.")},
    )
    days = forms.TypedChoiceField(
        label=gettext_lazy("Ends after"),
        coerce=int,
        choices=[
            (30, gettext_lazy("30 days")),
            (90, gettext_lazy("90 days")),
            (365, gettext_lazy("a year")),
        ],
        initial=90,
        error_messages={"invalid_choice": gettext_lazy("Choose one of the list.")},
    )

    def __init__(self, *args: Any, scopes: Iterable[Scope], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [(scope.value, f"{scope.label} ({scope.value})") for scope in scopes]
        self.fields["scopes"].choices = choices  # type: ignore[attr-defined]


def tokens(request: HttpRequest) -> HttpResponse:
    """The user's tokens; a new one is shown once, in the answer that made it."""
    user = person(request.user)
    form = TokenForm(request.POST or None, scopes=scopes_for(roles(user)))
    token = ""
    if request.method == "POST" and form.is_valid():
        try:
            token = token_create(user=user, **form.cleaned_data)
            form = TokenForm(scopes=scopes_for(roles(user)))
        except TokenRefused as refusal:
            form.add_error(refusal.field, str(refusal))
    now = timezone.now()
    context = {
        "form": form,
        "token": token,
        "rows": [(row, row.expiry is not None and row.expiry < now) for row in own_tokens(user)],
    }
    return render(request, "account/api_tokens.html", context, status=422 if form.errors else 200)


def revoke(request: HttpRequest, prefix: str) -> HttpResponse:
    token_revoke(token=get_own_token_or_404(request.user, prefix), actor=person(request.user))
    messages.success(request, _("The token is revoked. Programs that used it get no answer any more."))
    return HttpResponseRedirect(reverse("api-tokens"), status=303)
