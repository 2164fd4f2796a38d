"""All settings, from the environment. Unsafe values stop the start with one clear sentence.

README.md lists every variable. Without DATABASE_URL and CELERY_BROKER_URL the servers of
`alliance_site.embedded` are used, with their data under VAR; nothing is started here.
"""

from pathlib import Path
from urllib.parse import urlsplit

import psutil
from django.core.exceptions import ImproperlyConfigured

from alliance_site import embedded, env
from alliance_site.headers import HEADERS

BASE_DIR = Path(__file__).resolve().parent.parent
VERSION = (BASE_DIR / "CHANGELOG.md").read_text().split("\n## ", 1)[1].split()[0]
VAR = Path(env.text("VAR", str(BASE_DIR / "var"))).resolve()
DEMO = env.flag("ALLIANCE_DEMO")
HTTPS = env.flag("HTTPS", default=not DEMO)

if env.flag("DEBUG"):
    raise ImproperlyConfigured("DEBUG shows private data on error pages. Unset DEBUG and start again.")
DEBUG = False

_own_servers = [name for name in ("DATABASE_URL", "CELERY_BROKER_URL") if env.text(name)]
EMBEDDED = not _own_servers
if len(_own_servers) == 1:
    raise ImproperlyConfigured(
        f"{_own_servers[0]} is set alone. Set DATABASE_URL and CELERY_BROKER_URL, or neither of them."
    )
_database_url, _broker_url = embedded.urls(VAR) if EMBEDDED else ("", "")
DATABASES = {
    "default": {
        **env.postgres(env.text("DATABASE_URL") or _database_url),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }
}
# A password in an address is seen by whoever sees the environment; one in a file is not.
_password = env.secret("DATABASE_PASSWORD")
if _password and DATABASES["default"]["PASSWORD"]:
    raise ImproperlyConfigured("DATABASE_URL and DATABASE_PASSWORD both name a password. Keep one of them.")
DATABASES["default"]["PASSWORD"] = _password or DATABASES["default"]["PASSWORD"]

# A secret that this machine made for itself is as good as one that was typed; a shipped one is not.
SECRET_KEY = env.secret("SECRET_KEY") or (env.kept_secret(VAR / "secret_key") if EMBEDDED else "")
SECRET_KEY_FALLBACKS = env.secret_list("SECRET_KEY_FALLBACKS")
if not all(map(env.is_random, [SECRET_KEY, *SECRET_KEY_FALLBACKS])):
    raise ImproperlyConfigured(
        "SECRET_KEY (or SECRET_KEY_FILE) needs at least 50 random characters. Make one with: "
        'python -c "import secrets; print(secrets.token_urlsafe(64))"'
    )

# Encrypts the addresses of patients and what is written about them. Apart from SECRET_KEY: that one may be
# changed any day, this one only with the old key left behind in FIELD_KEY_FALLBACKS until
# `manage.py field_keys_rotate` has written everything anew.
FIELD_KEYS = [
    env.secret("FIELD_KEY") or (env.kept_data_key(VAR / "field_key") if EMBEDDED else ""),
    *env.secret_list("FIELD_KEY_FALLBACKS"),
]
if not all(map(env.is_random, FIELD_KEYS)):
    raise ImproperlyConfigured(
        "FIELD_KEY (or FIELD_KEY_FILE), which encrypts patients' addresses, needs at least 50 random "
        "characters and a safe place of its own: without it they are lost. Make one with: "
        'python -c "import secrets; print(secrets.token_urlsafe(64))"'
    )

# Values inside of JSON that are encrypted with these keys, of tables that are not ours: table, column, and
# the names in the object whose text (or list of texts) it is. Our own columns are found from the models.
ENCRYPTED_IN_JSON = [("mfa_authenticator", "data", ("secret", "seed"))]

# Names people in frozen data. Who has it and the database can tell who they are, so it may be kept from this
# machine: without it nothing can be frozen, and care goes on.
PSEUDONYM_KEY = env.secret("PSEUDONYM_KEY") or (env.kept_data_key(VAR / "pseudonym_key") if EMBEDDED else "")
if PSEUDONYM_KEY and not env.is_random(PSEUDONYM_KEY):
    raise ImproperlyConfigured(
        "PSEUDONYM_KEY (or PSEUDONYM_KEY_FILE), which names people in datasets, needs at least 50 random "
        'characters. Make one with: python -c "import secrets; print(secrets.token_urlsafe(64))"'
    )

# Encrypts backups. Without it none is made, and the site goes on; without it none can be restored either.
BACKUP_KEY = env.secret("BACKUP_KEY") or (env.kept_data_key(VAR / "backup_key") if EMBEDDED else "")
if BACKUP_KEY and not env.is_random(BACKUP_KEY):
    raise ImproperlyConfigured(
        "BACKUP_KEY (or BACKUP_KEY_FILE), which encrypts backups, needs at least 50 random characters and a "
        'place apart from them. Make one with: python -c "import secrets; print(secrets.token_urlsafe(64))"'
    )
env.keep_apart(
    SECRET_KEY=SECRET_KEY, FIELD_KEY=FIELD_KEYS[0], PSEUDONYM_KEY=PSEUDONYM_KEY, BACKUP_KEY=BACKUP_KEY
)
# Holds backups, and beside them the list of patients' withdrawals, which must outlive the database.
BACKUP_DIR = Path(env.text("BACKUP_DIR", str(VAR / "backups"))).resolve()

LOCAL_HOSTS = ["127.0.0.1", "localhost", "[::1]"]
ALLOWED_HOSTS = env.hosts("ALLOWED_HOSTS", LOCAL_HOSTS if EMBEDDED else [], may_be_any=DEMO and EMBEDDED)
if not HTTPS and not (DEMO and EMBEDDED) and not set(ALLOWED_HOSTS) <= set(LOCAL_HOSTS):
    raise ImproperlyConfigured(
        "HTTPS=0 sends passwords and answers in the clear. It is for this machine alone: leave it out, or "
        "ALLOWED_HOSTS."
    )
CSRF_TRUSTED_ORIGINS = [
    env.origin("CSRF_TRUSTED_ORIGINS", text) for text in env.names("CSRF_TRUSTED_ORIGINS")
]

# For programs that watch the site; without it /metrics is no page.
METRICS_TOKEN = env.token("METRICS_TOKEN")

INSTALLED_APPS = [
    "alliance_site",
    "surveys",
    "analytics",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django_htmx",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "rest_framework",
    "knox",
    "drf_spectacular",
]
MIDDLEWARE = [
    "alliance_site.middleware.RequestLog",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "alliance_site.middleware.SecurityHeaders",
    "alliance_site.middleware.Language",
    "alliance_site.middleware.InputGate",
    "alliance_site.scoping.ClinicsInScope",
    "alliance_site.middleware.Sessions",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "alliance_site.middleware.NameBrowser",
    "allauth.account.middleware.AccountMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "alliance_site.traces.TraceMiddleware",
    "alliance_site.middleware.TabletMode",
    "alliance_site.policy.PolicyMiddleware",
    "alliance_site.room.KeepRoom",
    "alliance_site.middleware.DatabaseAway",
]
ROOT_URLCONF = "alliance_site.urls"
WSGI_APPLICATION = "alliance_site.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "alliance_site.context.site",
            ]
        },
    }
]

# People and passwords
AUTH_USER_MODEL = "surveys.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
_validation = "django.contrib.auth.password_validation."
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": _validation + "UserAttributeSimilarityValidator"},
    {"NAME": "alliance_site.account_forms.LengthByFactor"},
    {"NAME": _validation + "CommonPasswordValidator"},
]
ACCOUNT_ADAPTER = "alliance_site.accounts.ClosedAccountAdapter"
ACCOUNT_LOGIN_METHODS = {"email"}
_forms = "alliance_site.account_forms."
ACCOUNT_FORMS = {
    "login": _forms + "LoginForm",
    "reauthenticate": _forms + "ReauthenticateForm",
    "change_password": _forms + "ChangePasswordForm",
    "reset_password": _forms + "ResetPasswordForm",
    "reset_password_from_key": _forms + "ResetPasswordKeyForm",
}
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_PASSWORD_RESET_TOKEN_GENERATOR = "django.contrib.auth.tokens.PasswordResetTokenGenerator"  # noqa: S105  asks nothing
ACCOUNT_SESSION_REMEMBER = False
# How long a password that was given again counts, for what `alliance_site.policy` lists as CONFIRMED.
ACCOUNT_REAUTHENTICATION_TIMEOUT = 15 * 60
ACCOUNT_LOGOUT_REDIRECT_URL = "/accounts/login/"
# Wrong passwords are counted for an account at an address (a whole clinic may have one), wrong codes for an
# account (`alliance_site.accounts`): the more there are, the longer the wait, and never more than an hour.
ACCOUNT_RATE_LIMITS = {"login": "120/m/ip", "login_failed": "60/m/ip,5/m/key,20/15m/key,60/h/key"}

# The second factor, which everybody has (`alliance_site.factors`)
MFA_ADAPTER = "alliance_site.accounts.FactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_FORMS = {
    "authenticate": _forms + "CodeForm",
    "reauthenticate": _forms + "CodeAgainForm",
    "activate_totp": _forms + "AppForm",
    "add_webauthn": _forms + "PasskeyForm",
    "login_webauthn": _forms + "KeyAloneForm",
}
# Clocks of phones are off by some seconds: the code before and the one after are taken as well.
MFA_TOTP_TOLERANCE = 1
MFA_RECOVERY_CODES_SHOW_ONCE = True
# Nobody signs up, so that nobody can hold an address that is another one's.
MFA_ALLOW_UNVERIFIED_EMAIL = True
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_RATE_LIMITS = {"webauthn_login": "60/m/ip"}

# Sign-in by the clinic's own provider (OpenID Connect); nothing of it without these settings
OIDC_NAME, OIDC_MFA, OIDC_DOMAINS, _provider = env.oidc()
SOCIALACCOUNT_ADAPTER = "alliance_site.oidc.KnownPeopleAdapter"
SOCIALACCOUNT_LOGIN_ON_GET = True  # a form that leads to another site is against the content security policy
SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": _provider}}
LOGIN_URL = "/accounts/login/"
LOGIN_REDIRECT_URL = "/"

# Sessions and cookies: idle 30 minutes, twelve hours in all (surveys.session_store), ended with the browser
SESSION_ENGINE = "surveys.session_store"
SESSION_COOKIE_AGE = 30 * 60
# Idle, and not in the middle of a form: every request begins the half hour anew.
SESSION_SAVE_EVERY_REQUEST = True
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
SESSION_COOKIE_NAME = "__Host-session" if HTTPS else "session"
CSRF_COOKIE_NAME = "__Host-csrf" if HTTPS else "csrf"
LANGUAGE_COOKIE_NAME = "__Host-language" if HTTPS else "language"
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = LANGUAGE_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = LANGUAGE_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "alliance_site.views.csrf_failure"

# Transport
SECURE_SSL_REDIRECT = False  # the proxy redirects; a health check inside the network speaks http
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
if HTTPS and env.flag("BEHIND_PROXY"):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
# How many proxies of the site's own append to X-Forwarded-For; 0: the header is not believed.
TRUSTED_PROXIES = ALLAUTH_TRUSTED_PROXY_COUNT = env.number("TRUSTED_PROXIES", 0, least=0)
# The other headers: alliance_site/headers.py.
SECURE_REFERRER_POLICY = HEADERS["Referrer-Policy"]
# Not what `check --deploy` advises: headers.py forbids frames, the proxy redirects (above), and a clinic's
# whole domain is not ours to put on the browsers' list for good.
SILENCED_SYSTEM_CHECKS = ["security.W002", "security.W008", "security.W021"]
DATA_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 200

# Counters of refused links must be shared by all web processes, and a web request must not need
# the broker: the cache is a table.
CACHES = {
    "default": {
        "BACKEND": "alliance_site.caches.JsonCache",
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    }
}

# Time and language
USE_TZ = True
TIME_ZONE = env.zone("TIME_ZONE")
USE_I18N = True
LANGUAGE_CODE = "en-gb"
# In its own words each: who cannot read the page must find their language on it.
LANGUAGES = [("en-gb", "English"), ("de", "Deutsch"), ("nb", "Norsk bokmål"), ("ar", "العربية")]
LOCALE_PATHS = [BASE_DIR / "alliance_site" / "locale"]
FORMAT_MODULE_PATH = ["alliance_site.formats"]

# Processes of web; the server of the containers reads it itself.
WEB_CONCURRENCY = env.number("WEB_CONCURRENCY", 2, least=1)

STATIC_URL = "/static/"
STATIC_ROOT = Path(env.text("STATIC_ROOT", str(VAR / "static"))).resolve()
# Compressing the chart bundle takes a while: the image does it at build, a demo need not.
_compressed = "whitenoise.storage.CompressedManifestStaticFilesStorage"
_plain = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": _compressed if env.flag("STATIC_COMPRESS") else _plain},
}

# Mail: kept as files in VAR/outbox until a server is named
EMAIL_HOST = env.text("EMAIL_HOST")
EMAIL_PORT = env.number("EMAIL_PORT", 587)
EMAIL_HOST_USER = env.text("EMAIL_HOST_USER")
EMAIL_HOST_PASSWORD = env.secret("EMAIL_HOST_PASSWORD")
EMAIL_USE_SSL = env.flag("EMAIL_USE_SSL")
EMAIL_USE_TLS = env.flag("EMAIL_USE_TLS", default=not EMAIL_USE_SSL)
if EMAIL_USE_TLS and EMAIL_USE_SSL:
    raise ImproperlyConfigured(
        "EMAIL_USE_TLS and EMAIL_USE_SSL are both set. Choose one: 587 is TLS, 465 is SSL."
    )
env.keep_mail_private(EMAIL_HOST, is_encrypted=EMAIL_USE_TLS or EMAIL_USE_SSL)
EMAIL_TIMEOUT = 10
EMAIL_FILE_PATH = VAR / "outbox"
_outbox = "alliance_site.outbox.Outbox"
_backend = "django.core.mail.backends.smtp.EmailBackend" if EMAIL_HOST else _outbox
EMAIL_BACKEND = env.text("EMAIL_BACKEND") or _backend
MAIL_STAYS_HERE = _outbox == EMAIL_BACKEND
# Who gets the head of the trace once a day, to keep it apart from this machine.
AUDIT_HEAD_TO = env.names("AUDIT_HEAD_TO")
DEFAULT_FROM_EMAIL = env.text("DEFAULT_FROM_EMAIL", "alliance@localhost")

# What stands before the links in mails and on slips. A guess would send patients to nowhere, so there is
# a default only where no mail leaves this machine.
_local = EMBEDDED and (DEMO or not EMAIL_HOST)
SITE_URL = env.address("SITE_URL", f"http://127.0.0.1:{env.number('PORT', 8000)}" if _local else "")
if HTTPS and SITE_URL.startswith("http://") and urlsplit(SITE_URL).hostname not in ("127.0.0.1", "localhost"):
    raise ImproperlyConfigured(
        "SITE_URL must begin with https://: patients' links would go over the line in the clear."
    )
env.keep_reachable(SITE_URL, ALLOWED_HOSTS)

# Jobs: Postgres is the list, the broker only the doorbell
CELERY_BROKER_URL = env.text("CELERY_BROKER_URL") or _broker_url
# How much memory one job may take; with less than two gigabytes of address space nothing can be fitted.
JOB_MEMORY_MB = env.number("JOB_MEMORY_MB", max(2048, psutil.virtual_memory().total >> 21), least=512)

# Requests in a minute: of one person, and of one address without a valid token.
API_RATE_USER = env.number("API_RATE_USER", 600)
API_RATE_ANONYMOUS = env.number("API_RATE_ANONYMOUS", 60)
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "surveys.api.auth.ApiTokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["alliance_site.policy.PolicyPermission"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["surveys.api.strict.StrictJSON"],
    "DEFAULT_THROTTLE_CLASSES": ["surveys.api.throttles.PerMinute"],
    "EXCEPTION_HANDLER": "surveys.api.errors.answer",
    "NUM_PROXIES": TRUSTED_PROXIES,
    # A choice of formats is made by the Accept header alone.
    "URL_FORMAT_OVERRIDE": None,
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
KNOX_TOKEN_MODEL = "knox.AuthToken"  # noqa: S105  the name of a model
REST_KNOX = {"TOKEN_TTL": None, "AUTH_HEADER_PREFIX": "Token"}
SPECTACULAR_SETTINGS = {
    "TITLE": "Alliance Tracker",
    "DESCRIPTION": "For a clinic’s own systems, for therapists and for researchers. Tokens, scopes, errors "
    "and examples: docs/api.md.",
    "VERSION": VERSION,
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/api/v1/",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["alliance_site.policy.PolicyPermission"],
}

LOG_FORMAT = env.text("LOG_FORMAT", "line")
if LOG_FORMAT not in ("line", "json"):
    raise ImproperlyConfigured(f"LOG_FORMAT must be line or json; it is {LOG_FORMAT!r}.")
_json = LOG_FORMAT == "json"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "no_tokens": {"()": "alliance_site.logs.HideTokens"},
        "no_health": {"()": "alliance_site.logs.NoHealth"},
        "short_refusals": {"()": "alliance_site.logs.ShortRefusals"},
        "no_refusals": {"()": "alliance_site.logs.NoRefusals"},
    },
    "formatters": {
        "line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"},
        "json": {"()": "alliance_site.logs.JsonLines"},
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": LOG_FORMAT,
            "filters": ["no_health", *(["no_refusals"] if _json else []), "short_refusals", "no_tokens"],
        }
    },
    "root": {"handlers": ["console"], "level": env.choice("LOG_LEVEL", "INFO", LOG_LEVELS)},
    "loggers": {
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        # At INFO it names the passkey that was used: whose it is, the log does not say of anybody.
        "fido2": {"level": "WARNING"},
        "alliance.request": {"level": "INFO" if _json else "WARNING"},
    },
}
