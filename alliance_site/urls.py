"""Every address of the site. Who may use it stands in `alliance_site.policy`."""

from allauth.account import views as account
from allauth.mfa.base import views as mfa
from allauth.mfa.webauthn import views as passkeys
from django.urls import include, path, re_path
from django.views.i18n import set_language

from alliance_site import api_tokens, oidc, second_factor, views
from alliance_site.health import health
from alliance_site.kit import views as kit
from alliance_site.metrics import metrics
from alliance_site.status_page import status_page

urlpatterns = [
    path("", views.home, name="home"),
    path("health/", health, name="health"),
    # Without a slash, as programs that watch sites ask for it.
    path("metrics", metrics, name="metrics"),
    path("status/", status_page, name="status"),
    path("language/", set_language, name="set-language"),
    path("clinic/privacy/", kit.kit, name="privacy-kit"),
    path("clinic/privacy/patients/<uuid:study_id>/", kit.information, name="privacy-information"),
    path("clinic/privacy/<slug:code>/", kit.paper, name="privacy-paper"),
    path("accounts/login/", account.login, name="account_login"),
    path("accounts/logout/", account.logout, name="account_logout"),
    path("accounts/signup/", account.signup, name="account_signup"),
    path("accounts/inactive/", account.account_inactive, name="account_inactive"),
    path("accounts/reauthenticate/", account.reauthenticate, name="account_reauthenticate"),
    path("accounts/password/change/", account.password_change, name="account_change_password"),
    path("accounts/password/reset/", account.password_reset, name="account_reset_password"),
    path("accounts/password/reset/done/", account.password_reset_done, name="account_reset_password_done"),
    re_path(
        r"^accounts/password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$",
        account.password_reset_from_key,
        name="account_reset_password_from_key",
    ),
    path(
        "accounts/password/reset/key/done/",
        account.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
    path("accounts/2fa/", second_factor.Overview.as_view(), name="mfa_index"),
    path("accounts/2fa/authenticate/", mfa.authenticate, name="mfa_authenticate"),
    path("accounts/2fa/reauthenticate/", mfa.reauthenticate, name="mfa_reauthenticate"),
    path("accounts/2fa/totp/activate/", second_factor.SetUpApp.as_view(), name="mfa_activate_totp"),
    path("accounts/2fa/totp/deactivate/", second_factor.RemoveApp.as_view(), name="mfa_deactivate_totp"),
    path("accounts/2fa/recovery-codes/", second_factor.ShowCodes.as_view(), name="mfa_view_recovery_codes"),
    path(
        "accounts/2fa/recovery-codes/generate/",
        second_factor.NewCodes.as_view(),
        name="mfa_generate_recovery_codes",
    ),
    path("accounts/2fa/webauthn/add/", second_factor.AddPasskey.as_view(), name="mfa_add_webauthn"),
    path("accounts/2fa/webauthn/login/", passkeys.login_webauthn, name="mfa_login_webauthn"),
    path(
        "accounts/2fa/webauthn/reauthenticate/",
        passkeys.reauthenticate_webauthn,
        name="mfa_reauthenticate_webauthn",
    ),
    path(
        "accounts/2fa/webauthn/keys/<int:pk>/remove/",
        second_factor.RemovePasskey.as_view(),
        name="mfa_remove_webauthn",
    ),
    path("accounts/oidc/<str:provider_id>/login/", oidc.login, name="openid_connect_login"),
    path("accounts/oidc/<str:provider_id>/login/callback/", oidc.callback, name="openid_connect_callback"),
    path("accounts/tokens/", api_tokens.tokens, name="api-tokens"),
    path("accounts/tokens/<str:prefix>/revoke/", api_tokens.revoke, name="api-token-revoke"),
    path("", include("surveys.urls")),
    path("", include("analytics.urls")),
]

handler400 = views.bad_request
handler403 = views.forbidden
handler404 = views.not_found
# Asked for by allauth alone.
handler429 = views.too_many
handler500 = views.server_error
