"""Signing in at the clinic's own OpenID Connect provider, for people who have an account here.

The provider says who somebody is, by an e-mail address that it has verified; nobody signs up by it and
nothing of its answer is kept. The signature, the issuer, the audience and the time of its token are always
checked.
"""

from collections.abc import Callable
from http import HTTPStatus

import jwt
from allauth.account.internal.decorators import login_not_required
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialApp, SocialLogin, SocialToken
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView, OAuth2LoginView
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _
from requests import RequestException

from surveys.models import User

# Signatures that only the provider can make; none of a secret that both have, and not "none".
SIGNATURES = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"})
NO_ACCOUNT = _("No account here has the e-mail address with which you signed in. Ask your clinic for one.")
NOT_VERIFIED = _("The provider does not say that it has verified your e-mail address. Use the password.")
OPERATOR = _("Operators sign in here by password.")
NOT_DONE = _("The sign-in there did not come to an end. Try again, or use the password.")
NO_ANSWER = _("The provider does not answer as it should. Try again later, or use the password.")
ENDPOINTS = ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri")


def refused(request: HttpRequest, sentence: object, status: int) -> HttpResponse:
    return render(request, "account/sso_refused.html", {"sentence": sentence}, status=status)


class KnownPeopleAdapter(DefaultSocialAccountAdapter):
    """Finds the account of the verified address, and refuses everybody without one, and whoever runs the
    machine: that is not the provider's to give."""

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        # As the provider sent it: "false" in quotes is no yes.
        address = next((row.email for row in sociallogin.email_addresses if row.verified is True), "")
        user = _account(address.lower())
        if user is None or user.is_superuser:
            sentence = NO_ACCOUNT if address else NOT_VERIFIED
            sentence = OPERATOR if user else sentence
            raise ImmediateHttpResponse(refused(request, sentence, HTTPStatus.FORBIDDEN))
        sociallogin.user = user

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return False

    def on_authentication_error(self, request: HttpRequest, provider: object, **details: object) -> None:
        raise ImmediateHttpResponse(refused(request, NOT_DONE, HTTPStatus.FORBIDDEN))


def _account(address: str) -> User | None:
    """A provider speaks for the domains of its own organisation: on a server with several clinics it would
    else open the accounts of all of them."""
    if address.rpartition("@")[2] not in settings.OIDC_DOMAINS:
        return None
    return User.objects.filter(email=address).first()


class Provider(OpenIDConnectOAuth2Adapter):
    @property
    def openid_config(self) -> dict[str, str]:
        """What the provider says of itself. Raises OAuth2Error where it is another one or says too little."""
        known = hasattr(self, "_openid_config")
        config: dict[str, str] = super().openid_config
        if not known:
            expected = self.get_provider().app.settings["server_url"]
            if not isinstance(config, dict) or any(not config.get(name) for name in ENDPOINTS):
                raise OAuth2Error("The provider does not say where its endpoints are.")
            if config["issuer"].rstrip("/") != expected:
                raise OAuth2Error("The provider is another one than the settings name.")
        return config

    def complete_login(
        self, request: HttpRequest, app: SocialApp, token: SocialToken, **kwargs: dict[str, str]
    ) -> SocialLogin:
        claims = self._claims(app, kwargs["response"].get("id_token"))
        if "email" not in claims:
            told = self._fetch_user_info(token.token)
            if told.get("sub") != claims["sub"]:
                raise OAuth2Error("The provider tells about somebody else.")
            claims = told | claims
        return self.get_provider().sociallogin_from_response(request, {"id_token": claims})

    def _claims(self, app: SocialApp, id_token: str | None) -> dict[str, object]:
        try:
            head = jwt.get_unverified_header(id_token or "")
        except jwt.PyJWTError as error:
            raise OAuth2Error("The provider sent no token.") from error
        if head.get("alg") not in SIGNATURES or not head.get("kid"):
            raise OAuth2Error("The token is not signed with a key of the provider.")
        # allauth leaves the signature out where the token came by the direct line.
        self.did_fetch_access_token = False
        claims: dict[str, object] = self._decode_id_token(app, id_token)
        if not claims.get("sub"):
            raise OAuth2Error("The token names nobody.")
        return claims


def _view(kind: type) -> Callable[[HttpRequest, str], HttpResponse]:
    @login_not_required
    def view(request: HttpRequest, provider_id: str) -> HttpResponse:
        try:
            adapter = Provider(request, provider_id)
            # Asked here: on the way out allauth would take an adapter of its own, which believes anybody.
            _ = adapter.openid_config
            return kind.adapter_view(adapter)(request)  # type: ignore[attr-defined]
        except SocialApp.DoesNotExist as error:
            raise Http404 from error
        except (RequestException, OAuth2Error):
            return refused(request, NO_ANSWER, HTTPStatus.BAD_GATEWAY)

    return view


login = _view(OAuth2LoginView)
callback = _view(OAuth2CallbackView)
