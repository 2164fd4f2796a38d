"""The containers of docker-compose.yml: nobody is root, nothing is writable but where it must be, and no
secret stands in the environment."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings

from alliance_site.backups import drill

COMPOSE = yaml.safe_load((settings.BASE_DIR / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (settings.BASE_DIR / "Dockerfile").read_text()


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_is_closed(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    is_ours = service["image"] == "alliance-tracker"
    user = service.get("user") or (is_ours and re.findall(r"^USER (\w+)$", DOCKERFILE, re.MULTILINE)[-1])
    assert user in ("alliance", "postgres", "redis")
    assert name in ("migrate", "guard", "operate") or "healthcheck" in service


def test_every_secret_is_a_file_that_make_makes(tmp_path: Path) -> None:
    given = [
        (name, value)
        for service in SERVICES.values()
        for name, value in service.get("environment", {}).items()
        if re.search("KEY|PASSWORD|TOKEN", name)
    ]
    assert given
    assert [pair for pair in given if not re.fullmatch(r"/run/secrets/\w+", str(pair[1]))] == []
    for service in SERVICES.values():
        used = {
            value.rpartition("/")[2]
            for _, value in service.get("environment", {}).items()
            if "/run/secrets/" in str(value)
        }
        assert used == set(service.get("secrets", []))
    assert {f"./secrets/{name}" for name in COMPOSE["secrets"]} == {
        row["file"] for row in COMPOSE["secrets"].values()
    }
    make = ["make", "-s", "-C", str(tmp_path), "-f", str(settings.BASE_DIR / "Makefile"), "secrets"]
    subprocess.run(make, check=True, capture_output=True)
    folder = tmp_path / "secrets"
    made = {path.name: path.read_text() for path in folder.iterdir()}
    assert set(made) == set(COMPOSE["secrets"])
    folders = (folder, tmp_path / "backups", tmp_path / "archive")
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o700}
    filled = [text for text in made.values() if text]
    assert len(filled) == len(set(filled)) == 7
    # A second call changes nothing.
    subprocess.run(make, check=True, capture_output=True)
    assert made == {path.name: path.read_text() for path in folder.iterdir()}


def test_only_who_makes_backups_has_their_key() -> None:
    assert [name for name, service in SERVICES.items() if "backup_key" in service.get("secrets", [])] == [
        "operate"
    ]
    assert next(mount for mount in SERVICES["web"]["volumes"] if "/backups" in mount).endswith(":/backups:ro")


def test_the_log_of_the_database_is_archived_by_the_script_that_is_rehearsed() -> None:
    postgres, script = SERVICES["postgres"], "/usr/local/bin/wal_archive.sh"
    assert (settings.BASE_DIR / "tools" / "wal_archive.sh").exists()
    assert f"./tools/wal_archive.sh:{script}:ro" in postgres["volumes"]
    assert "--archive_mode=${ARCHIVE_MODE:-off}" in postgres["command"]
    assert f"--archive_command=sh {script} keep /archive/wal %p %f" in postgres["command"]
    assert f"--restore_command=sh {script} fetch /archive/wal %f %p" in postgres["command"]
    assert [name for name, service in SERVICES.items() if "/archive" in str(service.get("volumes"))] == [
        "postgres"
    ]


EXAMPLE = dict(
    re.findall(r"^(?:# )?([A-Z_]+)=(.*)$", (settings.BASE_DIR / ".env.example").read_text(), re.MULTILINE)
)


def test_the_example_names_what_is_read() -> None:
    text = (settings.BASE_DIR / "docker-compose.yml").read_text()
    assert set(EXAMPLE) <= set(re.findall(r"\$\{([A-Z_]+)", text))
    assert set(re.findall(r"\$\{([A-Z_]+):\?", text)) == {"ALLOWED_HOSTS"}


def test_a_backup_is_rehearsed_under_the_settings_of_a_clinic(monkeypatch: pytest.MonkeyPatch) -> None:
    clinic = EXAMPLE | {"ALLOWED_HOSTS": "alliance.example.org", "OIDC_CLIENT_SECRET": "s" * 40}
    for name, value in clinic.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DEMO", raising=False)
    argv = [sys.executable, str(settings.BASE_DIR / "manage.py"), "diffsettings"]
    done = subprocess.run(
        argv, env=drill._environment("postgresql://drill/drill"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "'HOST': 'drill'" in done.stdout
