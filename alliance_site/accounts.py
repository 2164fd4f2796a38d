"""How allauth behaves here: accounts are made by the clinic, and everybody has a second factor."""

from urllib.parse import urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import context
from allauth.core.internal.ratelimit import get_ip
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.mfa.stages import AuthenticateStage
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from alliance_site.factors import has_factor, is_fresh, is_vouched_for, other_factors
from surveys import audit
from surveys.fields import decrypt, encrypt
from surveys.models import User
from surveys.services.accounts import password_set

# Who signed in that recently is not asked for the password again before the first factor is set up, nor
# before the codes that came with it are shown.
FRESH = 15 * 60
WRONG_CODE = _("This code is not right, or it was used before. Wait for the next one and enter that.")
TOO_MANY = _("There were too many wrong tries. Wait a minute before the next one, after many an hour.")

CHANGED_MEANWHILE = _("The password was changed after this sign-in began. Sign in with the new one.")


class CodeStage(AuthenticateStage):
    """Asks for the second factor, except where the operator vouches for the provider. Who waits here gave a
    password: when that is changed meanwhile, the sign-in is over, as it is for whoever is signed in."""

    def handle(self) -> tuple[HttpResponse | None, bool]:
        answer: tuple[HttpResponse | None, bool] = super().handle()
        if self.state.get("authentication_required"):
            self.state["password"] = self.login.user.get_session_auth_hash()
        return answer

    def exit(self) -> HttpResponse:
        kept, now = str(self.state.get("password", "")), self.login.user.get_session_auth_hash()
        if not constant_time_compare(kept, now):
            messages.error(self.request, CHANGED_MEANWHILE)
            return self.abort()
        return super().exit()

    def _should_handle(self, request: HttpRequest) -> bool:
        return not is_vouched_for(request, self.login.user) and super()._should_handle(request)


class ClosedAccountAdapter(DefaultAccountAdapter):
    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "email_password_mismatch": _("E-mail address or password is not right."),
        "incorrect_password": _("The password is not right."),
        "too_many_login_attempts": TOO_MANY,
        "rate_limited": TOO_MANY,
    }

    def set_password(self, user: User, password: str) -> None:
        """Whoever was signed in with the old one is so no more; the browser at hand gets a new session."""
        password_set(user=user, password=password, actor=user)

    def get_reset_password_from_key_url(self, key: str) -> str:
        """At the address that this site knows of itself; that of a request is what its sender says."""
        url = urlsplit(super().get_reset_password_from_key_url(key))
        return f"{settings.SITE_URL.rstrip('/')}{url.path}"

    def login(self, request: HttpRequest, user: User) -> None:
        super().login(request, user)
        audit.record("account.sign_in", subject=user, actor=user)

    def authentication_failed(self, request: HttpRequest, **credentials: str) -> None:
        """Written for an address of nobody as well: it takes as long, and says nothing of whose it is."""
        owner = User.objects.filter(email__iexact=credentials.get("email", "")).first()
        audit.record("account.refuse", subject=owner or "user:unknown", factor="password")

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: object) -> str:
        """Counted apart for each address: who guesses from elsewhere does not lock the owner out."""
        key = super()._get_login_attempts_cache_key(request, **credentials)
        return f"{key}:{get_ip(request)}"

    def get_login_stages(self) -> list[str]:
        own = "alliance_site.accounts.CodeStage"
        stages = super().get_login_stages()
        return [own if stage == "allauth.mfa.stages.AuthenticateStage" else stage for stage in stages]

    def get_reauthentication_methods(self, user: User) -> list[dict[str, str]]:
        words = {
            "reauthenticate": gettext("Use the password"),
            "mfa_reauthenticate": gettext("Use a code"),
            "mfa_reauthenticate:webauthn": gettext("Use a passkey"),
        }
        methods = super().get_reauthentication_methods(user)
        return [method | {"description": words[method["id"]]} for method in methods]

    def is_reauthentication_required(self, *, app: str, **options: object) -> bool:
        request = context.request
        if app == "allauth.mfa" and is_fresh(request, request.user, FRESH):
            is_reading = request.resolver_match.view_name == "mfa_view_recovery_codes"
            if is_reading or not has_factor(request.user):
                return False
        return super().is_reauthentication_required(app=app, **options)


class FactorAdapter(DefaultMFAAdapter):
    """Secrets are encrypted at rest with the key of the fields; nobody takes their last factor away."""

    error_messages = {
        **DefaultMFAAdapter.error_messages,
        "incorrect_code": WRONG_CODE,
        "cannot_delete_authenticator": _("This is your only second factor. Set up another one first."),
        "cannot_generate_recovery_codes": _("Set up an app or a passkey first."),
    }

    def encrypt(self, text: str) -> str:
        return encrypt(text)

    def decrypt(self, encrypted_text: str) -> str:
        return decrypt(encrypted_text)

    def get_totp_issuer(self) -> str:
        return f"Alliance Tracker ({context.request.get_host()})"

    def build_totp_svg(self, url: str) -> str:
        """Not used: the page has the picture of `surveys.qr`."""
        return ""

    def can_delete_authenticator(self, authenticator: Authenticator) -> bool:
        return other_factors(authenticator)

    def generate_authenticator_name(self, user: User, type: Authenticator.Type) -> str:
        n = Authenticator.objects.filter(user=user, type=type).count()
        return gettext("Passkey %(number)s") % {"number": n + 1}
