"""Every address of the site. Who may use it stands in `alliance_site.policy`."""

from allauth.account import views as account
from django.urls import include, path, re_path
from django.views.i18n import set_language

from alliance_site import api_tokens, views
from alliance_site.health import health
from alliance_site.metrics import metrics
from alliance_site.status_page import status_page

urlpatterns = [
    path("", views.home, name="home"),
    path("health/", health, name="health"),
    # Without a slash, as programs that watch sites ask for it.
    path("metrics", metrics, name="metrics"),
    path("status/", status_page, name="status"),
    path("language/", set_language, name="set-language"),
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
    path("accounts/tokens/", api_tokens.tokens, name="api-tokens"),
    path("accounts/tokens/<str:prefix>/revoke/", api_tokens.revoke, name="api-token-revoke"),
    path("", include("surveys.urls")),
    path("", include("analytics.urls")),
]

handler400 = views.bad_request
handler403 = views.forbidden
handler404 = views.not_found
handler500 = views.server_error
