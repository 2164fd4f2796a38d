"""Typed readers of environment variables; a bad value stops the start with one clear sentence."""

import os
import re
import secrets
import sys
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from zoneinfo import available_timezones

from django.core.exceptions import ImproperlyConfigured
from django.http.request import validate_host


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, default).strip()


def flag(name: str, default: bool = False) -> bool:
    value = text(name).lower()
    if value in ("", "0", "no", "false", "off"):
        return default if value == "" else False
    if value in ("1", "yes", "true", "on"):
        return True
    raise ImproperlyConfigured(f"{name} must be 1 or 0; it is {value!r}.")


def names(name: str) -> list[str]:
    """A comma-separated list without empty entries."""
    return [part.strip() for part in text(name).split(",") if part.strip()]


def hosts(name: str, default: list[str], *, may_be_any: bool) -> list[str]:
    """Host names as Django has them in ALLOWED_HOSTS; those of strangers as well in a demonstration alone."""
    found = names(name) or default
    if not found:
        raise ImproperlyConfigured(f"{name} must name the host names of this site, comma-separated.")
    # All there are, or all of a top-level domain.
    wide = next((host for host in found if host == "*" or (host[0] == "." and "." not in host[1:])), None)
    if wide and not may_be_any:
        raise ImproperlyConfigured(
            f"{name} may not be {wide} outside demo mode. Name the hosts of this site."
        )
    return found


def number(name: str, default: int, least: int = 1) -> int:
    value = text(name)
    if not value:
        return default
    # int() also takes signs, underscores and the digits of every script.
    if not re.fullmatch("[0-9]{1,9}", value) or int(value) < least:
        raise ImproperlyConfigured(f"{name} must be a whole number from {least} on; it is {value!r}.")
    return int(value)


def choice(name: str, default: str, known: tuple[str, ...]) -> str:
    value = text(name).upper() or default
    if value not in known:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(known)}; it is {value!r}.")
    return value


def zone(name: str) -> str:
    value = text(name, "UTC")
    if value not in available_timezones():
        raise ImproperlyConfigured(f"{name} must be a time zone like Europe/Oslo; it is {value!r}.")
    return value


def is_random(key: str, least: int = 50) -> bool:
    """Whether a key may have been drawn by a machine: long, and not one letter again and again."""
    return len(key) >= least and len(set(key)) >= 5


def token(name: str) -> str:
    """A secret that programs send with each request; may be missing."""
    value = secret(name)
    if value and not is_random(value, 32):
        raise ImproperlyConfigured(
            f"{name} (or {name}_FILE) needs at least 32 random characters. Make one with: "
            'python -c "import secrets; print(secrets.token_urlsafe(32))"'
        )
    return value


def keep_apart(**keys: str) -> None:
    """Stops the start where one key does for two: whoever sees one of them has the other."""
    owner: dict[str, str] = {}
    for name, key in keys.items():
        if key and (other := owner.setdefault(key, name)) != name:
            raise ImproperlyConfigured(f"{name} and {other} are the same. Make a key of its own for each.")


def keep_reachable(url: str, hosts: list[str]) -> None:
    """Stops the start where patients' links would lead to a host that this site does not answer for."""
    host = urlsplit(url).hostname
    if host and not validate_host(f"[{host}]" if ":" in host else host, hosts):
        raise ImproperlyConfigured(f"SITE_URL names {host}, which is not among ALLOWED_HOSTS. Add it there.")


def keep_mail_private(host: str, *, is_encrypted: bool) -> None:
    """Stops the start where links would go over the line in the clear. A name without a dot is a machine of
    one's own network."""
    if "." in host and not is_encrypted and host != "127.0.0.1":
        raise ImproperlyConfigured(
            "EMAIL_USE_TLS=0 sends patients' links in the clear. Leave it out, or set EMAIL_USE_SSL=1."
        )


def origin(name: str, value: str) -> str:
    """One of the sites whose forms are taken: of one host, or of the hosts of one domain."""
    if not re.fullmatch(r"https://(\*\.)?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*(:[0-9]+)?", value):
        raise ImproperlyConfigured(f"{name} holds addresses like https://site.example.org; not {value!r}.")
    return value


def address(name: str, default: str = "") -> str:
    """The address of a site without a path: https://alliance.example.org"""
    value = text(name, default).rstrip("/")
    parts = urlsplit(value)
    if value and (parts.scheme not in ("http", "https") or not parts.netloc or parts.path or parts.query):
        raise ImproperlyConfigured(
            f"{name} must be the address of the site alone, like https://site.example.org; it is {value!r}."
        )
    return value


def secret(name: str) -> str:
    """The variable itself, or the content of the file that NAME_FILE names."""
    path = text(f"{name}_FILE")
    if path and text(name):
        raise ImproperlyConfigured(f"{name} and {name}_FILE are both set. Keep one; the file is safer.")
    try:
        return Path(path).read_text().strip() if path else text(name)
    except OSError as error:
        raise ImproperlyConfigured(f"{name}_FILE cannot be read: {error.strerror} ({path}).") from None


def secret_list(name: str) -> list[str]:
    """Several secrets, with commas or line breaks between them, as `secret` finds one."""
    return re.findall(r"[^,\s]+", secret(name))


def kept_data_key(path: Path) -> str:
    """A kept secret that data depend on. A restoration makes none: those of the backup are needed."""
    if sys.argv[1:2] == ["restore"] and not path.exists():
        raise ImproperlyConfigured(
            f"{path.name.upper()} is missing: there is no file {path}. Put the one there that the backup was "
            "made with, then restore."
        )
    return kept_secret(path)


def kept_secret(path: Path) -> str:
    """A random secret kept in a file that only its owner can read; made at the first call."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        if not path.exists():
            draft.touch(mode=0o600)
            draft.write_text(secrets.token_urlsafe(64))
            # link() fails where another process was first; its secret is then the one to use.
            os.link(draft, path)
    except FileExistsError:
        return path.read_text().strip()
    finally:
        draft.unlink(missing_ok=True)
    return path.read_text().strip()


def postgres(url: str) -> dict[str, object]:
    """The Django database settings of a postgresql:// URL; `?host=` may name a socket folder."""
    try:
        parts = urlsplit(url)
        own_port = parts.port
    except ValueError:
        raise ImproperlyConfigured(
            "DATABASE_URL cannot be read; write special characters of the password as %XX."
        ) from None
    if parts.scheme not in ("postgres", "postgresql"):
        raise ImproperlyConfigured(
            "DATABASE_URL must begin with postgresql://; this application runs on PostgreSQL only."
        )
    query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    host, port = query.pop("host", parts.hostname or ""), query.pop("port", own_port or "")
    return {
        "ENGINE": "alliance_site.database",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": host,
        "PORT": str(port),
        "OPTIONS": {"connect_timeout": 2, **query},
    }


def oidc() -> tuple[str, bool, frozenset[str], list[dict[str, object]]]:
    """The clinic's OpenID Connect provider: its name on the sign-in page (empty: none), whether the operator
    says that it always asks for a second factor, the e-mail domains of whose accounts it may speak, and what
    allauth is told of it."""
    issuer, client, key = (
        text("OIDC_ISSUER").rstrip("/"),
        text("OIDC_CLIENT_ID"),
        secret("OIDC_CLIENT_SECRET"),
    )
    has_factor, domains = flag("OIDC_MFA"), frozenset(name.lower() for name in names("OIDC_DOMAINS"))
    if len({bool(issuer), bool(client), bool(key), bool(domains)}) > 1 or (has_factor and not issuer):
        raise ImproperlyConfigured(
            "OIDC_ISSUER, OIDC_CLIENT_ID, OIDC_CLIENT_SECRET (or OIDC_CLIENT_SECRET_FILE) and OIDC_DOMAINS "
            "belong together, and OIDC_MFA to them. Set all four, or none."
        )
    if not issuer:
        return "", False, frozenset(), []
    if wrong := sorted(name for name in domains if not re.fullmatch(r"[\w-]+(\.[\w-]+)*", name)):
        raise ImproperlyConfigured(
            f"OIDC_DOMAINS must be what follows the @ of addresses, comma-separated; it has {wrong[0]!r}."
        )
    parts = urlsplit(issuer)
    if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment:
        raise ImproperlyConfigured(
            f"OIDC_ISSUER must be an address like https://login.example.org/realms/clinic; it is {issuer!r}."
        )
    name = text("OIDC_NAME") or "your organisation"
    app = {"provider_id": "sso", "name": name, "client_id": client, "secret": key}
    return name, has_factor, domains, [app | {"settings": {"server_url": issuer}}]
