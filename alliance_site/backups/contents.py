"""What a database holds, in figures that two databases can be compared by: a backup carries them along.

The hash of a table is the sum of the hashes of its rows as text, so the order of rows is nothing, and a row
too many is not made up for by another one.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from psycopg2 import sql

from alliance_site.database import unfinished

# Of who is signed in, and of counters: worth nothing tomorrow, and no session may come back to life.
LEFT_OUT = ("django_session", "surveys_signin", "cache")

# Rows as text must not depend on how this server or account is set up.
PLAIN = (
    "SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'postgres';"
    " SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL app.clinics = '*'"
)
TABLES = (
    "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    " AND relkind IN ('r', 'p') AND relname <> %s ORDER BY relname"
)
FIGURES = sql.SQL(
    "SELECT count(*), coalesce(sum(('x' || left(hash, 16))::bit(64)::bigint), 0),"
    " coalesce(sum(('x' || substr(hash, 17, 16))::bit(64)::bigint), 0)"
    " FROM (SELECT encode(sha256(convert_to((line.*)::text, 'UTF8')), 'hex') AS hash FROM {} line) rows"
)
RULES = {
    # Columns that may not be empty count as constraints from PostgreSQL 18 on.
    "constraints": "SELECT count(*) FROM pg_constraint WHERE connamespace = 'public'::regnamespace"
    " AND contype <> 'n'",
    "indexes": "SELECT count(*) FROM pg_indexes WHERE schemaname = 'public'",
    "triggers": "SELECT count(*) FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid"
    " WHERE NOT tgisinternal AND relnamespace = 'public'::regnamespace",
    "rules about rows": "SELECT count(*) FROM pg_policies WHERE schemaname = 'public'",
    "functions": "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
}
SEQUENCES = "SELECT sequencename, coalesce(last_value, 0) FROM pg_sequences WHERE schemaname = 'public'"
AUDIT = "surveys_auditevent"
# Triggers that refuse to change or delete a row of the trail.
AUDIT_GUARDS = (
    "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'surveys_auditevent'::regclass"
    " AND NOT tgisinternal AND tgenabled <> 'D'"
)


@dataclass(frozen=True)
class Table:
    rows: int
    hash: str


@dataclass(frozen=True)
class Manifest:
    """What goes along with a dump. Keys are told by fingerprints, which nobody can turn into keys."""

    taken_at: str
    version: str
    server: int
    migrations: list[str]
    keys: dict[str, list[str]]
    tables: dict[str, Table]
    rules: dict[str, int]
    sequences: dict[str, int]

    @property
    def n_rows(self) -> int:
        return sum(table.rows for table in self.tables.values())

    @property
    def taken(self) -> datetime:
        return datetime.fromisoformat(self.taken_at)

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), sort_keys=True).encode()

    @staticmethod
    def from_json(text: bytes) -> "Manifest":
        known = json.loads(text)
        known["tables"] = {name: Table(**row) for name, row in known["tables"].items()}
        return Manifest(**known)


def read(cursor: Any) -> Manifest:
    """The figures of the database as this transaction sees it."""
    cursor.execute(PLAIN)
    cursor.execute("SELECT now()")
    taken_at = cursor.fetchone()[0].astimezone(UTC).isoformat(timespec="seconds")
    cursor.execute("SELECT app || '.' || name FROM django_migrations ORDER BY 1")
    migrations = [name for (name,) in cursor.fetchall()]
    return Manifest(
        taken_at=taken_at,
        version=settings.VERSION,
        server=server_version(cursor),
        migrations=migrations,
        keys=fingerprints(),
        tables={name: table_of(cursor, name) for name in table_names(cursor) if name not in LEFT_OUT},
        rules={name: number(cursor, query) for name, query in RULES.items()},
        sequences=sequences(cursor),
    )


def table_names(cursor: Any) -> list[str]:
    cursor.execute(TABLES, [unfinished.TABLE])
    return [name for (name,) in cursor.fetchall()]


def table_of(cursor: Any, name: str) -> Table:
    cursor.execute(FIGURES.format(sql.Identifier("public", name)))
    rows, *sums = cursor.fetchone()
    return Table(rows, hashlib.sha256(f"{rows}:{sums[0]}:{sums[1]}".encode()).hexdigest())


def sequences(cursor: Any) -> dict[str, int]:
    cursor.execute(SEQUENCES)
    return dict(cursor.fetchall())


def server_version(cursor: Any) -> int:
    """The major version of PostgreSQL."""
    return number(cursor, "SELECT current_setting('server_version_num')::int / 10000")


def number(cursor: Any, query: str) -> int:
    cursor.execute(query)
    return int(cursor.fetchone()[0])


def fingerprints() -> dict[str, list[str]]:
    """Of every key that data depend on, by its setting; of field keys, all that decrypt."""
    keys = {
        "SECRET_KEY": [settings.SECRET_KEY],
        "FIELD_KEY": settings.FIELD_KEYS,
        "PSEUDONYM_KEY": [settings.PSEUDONYM_KEY],
    }
    return {name: [fingerprint(name, key) for key in values if key] for name, values in keys.items()}


def fingerprint(name: str, key: str) -> str:
    """Twelve characters that tell one key of 50 random characters from another."""
    return hashlib.sha256(f"fingerprint of {name}:{key}".encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Check:
    """One thing that was compared, with its figure."""

    ok: bool
    what: str


def compare(manifest: Manifest, cursor: Any) -> list[Check]:
    """The database of this transaction against the manifest."""
    now = read(cursor)
    same = [name for name, table in manifest.tables.items() if now.tables.get(name) == table]
    wrong = sorted({*manifest.tables, *now.tables} - set(same))
    shown = "".join(f"; {name}: {_shown(manifest, name)} -> {_shown(now, name)}" for name in wrong)
    behind = [name for name, value in manifest.sequences.items() if now.sequences.get(name, -1) < value]
    there = [now.tables[name].rows for name in manifest.tables if name in now.tables]
    before, after = manifest.tables.get(AUDIT), now.tables.get(AUDIT)
    guards = number(cursor, AUDIT_GUARDS) if after else 0
    return [
        Check(len(there) == len(manifest.tables), f"tables: {len(there)} of {len(manifest.tables)}"),
        Check(sum(there) == manifest.n_rows, f"rows: {sum(there):,} of {manifest.n_rows:,}"),
        Check(not wrong, f"contents: {len(same)} of {len(manifest.tables)} tables have their hash{shown}"),
        Check(
            before is not None and before == after and guards > 0,
            f"audit trail: {after.rows if after else 0:,} of {before.rows if before else 0:,} rows; "
            + ("the database refuses to change them" if guards else "nothing refuses to change them"),
        ),
        *(
            Check(now.rules[name] == n, f"{name}: {now.rules[name]} of {n}")
            for name, n in manifest.rules.items()
        ),
        Check(
            not behind,
            f"sequences: {len(manifest.sequences) - len(behind)} of {len(manifest.sequences)} go on"
            + "".join(f"; {name} is behind" for name in behind),
        ),
    ]


def _shown(manifest: Manifest, name: str) -> str:
    table = manifest.tables.get(name)
    return f"{table.rows:,} rows, {table.hash[:8]}" if table else "not there"


def compare_keys(manifest: Manifest) -> list[Check]:
    """Whether this site has the keys without which parts of the data are lost."""
    here, checks = fingerprints(), []
    for name, needs in (
        ("FIELD_KEY", "patients' addresses cannot be read without it"),
        ("PSEUDONYM_KEY", "the same people would get other names in datasets"),
    ):
        missing = [mark for mark in manifest.keys[name] if mark not in here[name]]
        words = f"; not here: {', '.join(missing)} ({needs})" if missing else ""
        n = len(manifest.keys[name])
        checks.append(Check(not missing, f"{name}: {n - len(missing)} of {n} of the backup{words}"))
    if manifest.keys["SECRET_KEY"] != here["SECRET_KEY"]:
        checks.append(Check(True, "SECRET_KEY is another one than then: everybody signs in anew"))
    return checks
