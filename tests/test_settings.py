"""The start is refused, with one clear sentence, for every unsafe or unreadable setting."""

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import send_mail

ROOT = Path(__file__).resolve().parent.parent
RANDOM = "0123456789" * 6
GOOD = {
    "DATABASE_URL": "postgresql://app:secret@db:5432/alliance",
    "CELERY_BROKER_URL": "redis://broker:6379/0",
    "SECRET_KEY": RANDOM,
    "FIELD_KEY": "abcdefghij" * 6,
    "ALLOWED_HOSTS": "alliance.example.org",
}


def start(
    shown: str = "s.SECRET_KEY and s.ALLOWED_HOSTS", **changes: str
) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], **GOOD, **changes}
    code = f"from django.conf import settings as s; print({shown})"
    env["DJANGO_SETTINGS_MODULE"] = "alliance_site.settings"
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True)


def shown(expression: str, **changes: str) -> str:
    """An expression over the settings `s`, as they print."""
    done = start(expression, **changes)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


PROVIDER = {
    "OIDC_ISSUER": "https://login.example.org/realms/clinic/",
    "OIDC_CLIENT_ID": "alliance",
    "OIDC_CLIENT_SECRET": "hidden",
    "OIDC_DOMAINS": "Example.org, river.example",
}
UNSAFE = [
    ({"DEBUG": "1"}, "DEBUG shows private data"),
    ({"SECRET_KEY": ""}, "SECRET_KEY (or SECRET_KEY_FILE) needs"),
    ({"SECRET_KEY": "short"}, "at least 50 random characters"),
    ({"SECRET_KEY": "a" * 60}, "at least 50 random characters"),
    ({"SECRET_KEY": "", "SECRET_KEY_FILE": "/nowhere/key"}, "SECRET_KEY_FILE cannot be read"),
    ({"SECRET_KEY_FILE": "/run/secrets/secret_key"}, "SECRET_KEY and SECRET_KEY_FILE are both set"),
    ({"BACKUP_KEY": "short"}, "BACKUP_KEY (or BACKUP_KEY_FILE)"),
    ({"BACKUP_KEY": RANDOM}, "BACKUP_KEY and SECRET_KEY are the same"),
    ({"PSEUDONYM_KEY": "abcdefghij" * 6}, "PSEUDONYM_KEY and FIELD_KEY are the same"),
    ({"METRICS_TOKEN": "a" * 40}, "at least 32 random characters"),
    ({"TIME_ZONE": "Mars/X"}, "TIME_ZONE must be a time zone like"),
    ({"JOB_MEMORY_MB": "1"}, "JOB_MEMORY_MB must be a whole number from 512 on"),
    ({"SITE_URL": "https://other.example.org"}, "SITE_URL names other.example.org, which is not among"),
    ({"EMAIL_HOST": "mail.example.org", "EMAIL_USE_TLS": "0"}, "EMAIL_USE_TLS=0 sends patients' links"),
    ({"METRICS_TOKEN": "short"}, "METRICS_TOKEN (or METRICS_TOKEN_FILE)"),
    ({"DATABASE_PASSWORD": "other"}, "DATABASE_URL and DATABASE_PASSWORD both name a password"),
    ({"LOG_FORMAT": "xml"}, "LOG_FORMAT must be line or json"),
    ({"SECRET_KEY_FALLBACKS": f"{RANDOM}1,short"}, "at least 50 random characters"),
    ({"FIELD_KEY": ""}, "FIELD_KEY (or FIELD_KEY_FILE)"),
    ({"FIELD_KEY": "short"}, "FIELD_KEY (or FIELD_KEY_FILE)"),
    ({"FIELD_KEY_FALLBACKS": "short"}, "at least 50 random characters"),
    ({"PSEUDONYM_KEY": "short"}, "PSEUDONYM_KEY (or PSEUDONYM_KEY_FILE)"),
    ({"CELERY_BROKER_URL": ""}, "DATABASE_URL is set alone"),
    ({"DATABASE_URL": ""}, "CELERY_BROKER_URL is set alone"),
    ({"DATABASE_URL": "postgresql://a:b@db:port/x"}, "DATABASE_URL cannot be read"),
    ({"DATABASE_URL": "mysql://x/y"}, "PostgreSQL only"),
    ({"ALLOWED_HOSTS": ""}, "ALLOWED_HOSTS must name"),
    ({"ALLOWED_HOSTS": "*"}, "may not be * outside demo mode"),
    ({"ALLOWED_HOSTS": "alliance.example.org, *"}, "may not be * outside demo mode"),
    ({"ALLOWED_HOSTS": "alliance.example.org, .org"}, "may not be .org outside demo mode"),
    ({"ALLOWED_HOSTS": "."}, "may not be . outside demo mode"),
    ({"ALLOWED_HOSTS": "*", "ALLIANCE_DEMO": "1"}, "may not be * outside demo mode"),
    ({"HTTPS": "perhaps"}, "HTTPS must be 1 or 0"),
    ({"HTTPS": "0"}, "HTTPS=0 sends passwords and answers in the clear"),
    ({"ALLIANCE_DEMO": "1"}, "HTTPS=0 sends passwords and answers in the clear"),
    ({"CSRF_TRUSTED_ORIGINS": "https://*"}, "CSRF_TRUSTED_ORIGINS holds addresses like"),
    ({"CSRF_TRUSTED_ORIGINS": "http://alliance.example.org"}, "CSRF_TRUSTED_ORIGINS holds addresses like"),
    ({"TRUSTED_PROXIES": "-1"}, "TRUSTED_PROXIES must be a whole number from 0 on"),
    ({"API_RATE_USER": "0"}, "API_RATE_USER must be a whole number from 1 on"),
    ({"SITE_URL": "alliance.example.org"}, "SITE_URL must be the address of the site alone"),
    ({"SITE_URL": "https://example.org/alliance"}, "SITE_URL must be the address of the site alone"),
    ({"SITE_URL": "http://alliance.example.org"}, "SITE_URL must begin with https://"),
    ({"EMAIL_USE_TLS": "1", "EMAIL_USE_SSL": "1"}, "EMAIL_USE_TLS and EMAIL_USE_SSL are both set"),
    ({"OIDC_ISSUER": "https://login.example.org"}, "OIDC_ISSUER, OIDC_CLIENT_ID, OIDC_CLIENT_SECRET"),
    ({"OIDC_CLIENT_ID": "alliance"}, "Set all four, or none"),
    ({"OIDC_MFA": "1"}, "Set all four, or none"),
    ({**PROVIDER, "OIDC_ISSUER": "http://login.example.org"}, "OIDC_ISSUER must be an address like https://"),
    ({**PROVIDER, "OIDC_ISSUER": "login.example.org"}, "OIDC_ISSUER must be an address like https://"),
    ({**PROVIDER, "OIDC_DOMAINS": ""}, "and OIDC_DOMAINS belong together"),
    ({"OIDC_DOMAINS": "example.org"}, "Set all four, or none"),
    ({**PROVIDER, "OIDC_DOMAINS": "@example.org"}, "OIDC_DOMAINS must be what follows the @"),
    ({**PROVIDER, "OIDC_MFA": "perhaps"}, "OIDC_MFA must be 1 or 0"),
    ({**PROVIDER, "OIDC_CLIENT_SECRET_FILE": "/run/x"}, "are both set"),
    ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL must be one of"),
]


@pytest.mark.parametrize(("changes", "sentence"), UNSAFE, ids=[str(changes)[:60] for changes, _ in UNSAFE])
def test_an_unsafe_setting_stops_the_start(
    changes: dict[str, str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings alone, without a process for each; how a process ends is tested below."""
    for name in [name for name in os.environ if name not in ("PATH", "HOME")]:
        monkeypatch.delenv(name)
    for name, value in (GOOD | changes).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ImproperlyConfigured) as refused:
        runpy.run_path(str(ROOT / "alliance_site" / "settings.py"))
    assert sentence in str(refused.value) and "\n" not in str(refused.value)


def manage(*words: str, **changes: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], **GOOD, **changes}
    command = [sys.executable, "manage.py", *words]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)


@pytest.mark.parametrize("command", ["up", "migrate"])
def test_whoever_starts_with_an_unsafe_setting_reads_one_line(command: str) -> None:
    done = manage(command, ALLOWED_HOSTS="*")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "ALLOWED_HOSTS may not be * outside demo mode. Name the hosts of this site.\n"


def test_the_settings_of_a_clinic_pass_the_checks_for_deployment() -> None:
    clinic = {"BEHIND_PROXY": "1", "TRUSTED_PROXIES": "1", "SITE_URL": "https://alliance.example.org"}
    done = manage("check", "--deploy", "--fail-level", "WARNING", **clinic)
    assert done.returncode == 0, done.stderr
    assert "no issues (3 silenced)" in done.stdout


def test_mail_stays_in_the_outbox_until_a_server_is_named(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hidden\n")
    named = {"EMAIL_HOST": "mail.example.org", "EMAIL_HOST_PASSWORD_FILE": str(tmp_path / "password")}
    mail = "(s.EMAIL_BACKEND, s.EMAIL_HOST, s.EMAIL_PORT, s.EMAIL_HOST_PASSWORD, s.EMAIL_USE_TLS)"
    outbox, smtp = "alliance_site.outbox.Outbox", "django.core.mail.backends.smtp.EmailBackend"
    assert shown(mail) == f"('{outbox}', '', 587, '', True)"
    assert shown(mail, **named) == f"('{smtp}', 'mail.example.org', 587, 'hidden', True)"
    assert shown("s.EMAIL_BACKEND", **named, EMAIL_BACKEND="own.Backend") == "own.Backend"
    assert shown("(s.EMAIL_USE_TLS, s.EMAIL_USE_SSL)", EMAIL_USE_SSL="1") == "(False, True)"


def test_only_the_owner_can_read_the_outbox(tmp_path: Path, settings: Any) -> None:
    settings.EMAIL_FILE_PATH = tmp_path / "var" / "outbox"
    settings.EMAIL_BACKEND = "alliance_site.outbox.Outbox"
    send_mail("A subject", "A link", None, ["patient@example.org"])
    assert settings.EMAIL_FILE_PATH.stat().st_mode & 0o777 == 0o700
    (mail,) = settings.EMAIL_FILE_PATH.iterdir()
    assert "A link" in mail.read_text()


def test_the_address_of_the_site_is_guessed_only_where_no_mail_leaves_the_machine(tmp_path: Path) -> None:
    alone = dict.fromkeys(GOOD, "") | {"VAR": str(tmp_path / "var")}
    named = {"EMAIL_HOST": "mail.example.org"}
    assert shown("s.SITE_URL") == ""
    assert shown("s.SITE_URL", SITE_URL="https://alliance.example.org/") == "https://alliance.example.org"
    assert shown("s.SITE_URL", **alone, PORT="8123") == "http://127.0.0.1:8123"
    assert shown("s.SITE_URL", **alone, **named) == ""
    assert shown("s.SITE_URL", **alone, **named, ALLIANCE_DEMO="1") == "http://127.0.0.1:8000"


def test_sign_in_by_a_provider_is_a_matter_of_four_settings() -> None:
    words = "(s.OIDC_NAME, s.OIDC_MFA, s.SOCIALACCOUNT_PROVIDERS['openid_connect']['APPS'])"
    assert shown(words) == "('', False, [])"
    app = {"provider_id": "sso", "name": "Harbour", "client_id": "alliance", "secret": "hidden"}
    app["settings"] = {"server_url": "https://login.example.org/realms/clinic"}  # type: ignore[assignment]
    assert shown(words, **PROVIDER, OIDC_NAME="Harbour", OIDC_MFA="1") == f"('Harbour', True, [{app}])"
    assert shown("sorted(s.OIDC_DOMAINS)", **PROVIDER) == "['example.org', 'river.example']"
    assert shown("s.OIDC_NAME", **PROVIDER, OIDC_NAME="") == "your organisation"


def test_passwords_are_hashed_with_argon2_and_compared_with_the_common_ones() -> None:
    assert shown("s.PASSWORD_HASHERS[0]") == "django.contrib.auth.hashers.Argon2PasswordHasher"
    assert "CommonPasswordValidator" in shown("s.AUTH_PASSWORD_VALIDATORS")


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(RANDOM + "\n")
    assert start(SECRET_KEY="", SECRET_KEY_FILE=str(tmp_path / "key")).returncode == 0


def test_former_keys_and_the_password_of_the_database_may_stand_in_files_too(tmp_path: Path) -> None:
    (tmp_path / "former").write_text("0123456789" * 6 + "\n" + "klmnopqrst" * 6 + "\n")
    (tmp_path / "password").write_text("hidden\n")
    (tmp_path / "nothing").write_text("")
    named = {
        "DATABASE_URL": "postgresql://app@db:5432/alliance",
        "DATABASE_PASSWORD_FILE": str(tmp_path / "password"),
        "FIELD_KEY_FALLBACKS_FILE": str(tmp_path / "former"),
        "SECRET_KEY_FALLBACKS_FILE": str(tmp_path / "nothing"),
    }
    words = "(s.DATABASES['default']['PASSWORD'], len(s.FIELD_KEYS), s.SECRET_KEY_FALLBACKS)"
    assert shown(words, **named) == "('hidden', 3, [])"
    # As before: in the address.
    assert shown("s.DATABASES['default']['PASSWORD']") == "secret"


def test_a_machine_without_settings_makes_its_own_secret_once(tmp_path: Path) -> None:
    only = dict.fromkeys(GOOD, "") | {"VAR": str(tmp_path / "var")}
    first, second = start(**only), start(**only)
    assert first.returncode == second.returncode == 0, first.stderr
    key = tmp_path / "var" / "secret_key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(key.read_text()) >= 50
