"""The database role of web and worker: it owns nothing, and can add to the trace but not change it."""

from argparse import ArgumentParser
from typing import Any

from django.core.management import BaseCommand, CommandError
from django.db import connection, transaction
from django.db.models import AutoField, Model
from psycopg2 import extensions, sql

from alliance_site import env
from surveys.models import AuditEvent, AuditSeal

ROLE = "alliance_app"
PASSWORD = "APP_DATABASE_PASSWORD"  # noqa: S105  the name of a variable
# Rows of these are only ever added; which migrations ran is only read.
ADDED = (AuditEvent._meta.db_table, AuditSeal._meta.db_table)
READ = ("django_migrations",)
FORBIDDEN = ("UPDATE", "DELETE", "TRUNCATE")


class Command(BaseCommand):
    help = (
        "Make the database role for web and worker, or bring its rights up to date: after every migrate, as "
        f"the owner of the database. Its password is {PASSWORD} (or {PASSWORD}_FILE); without one it stays."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--role", default=ROLE, help=f"its name; {ROLE}")
        parser.add_argument(
            "--no-password",
            action="store_true",
            help="for the embedded server, which lets in whoever reaches its socket",
        )

    def handle(self, *_args: object, role: str, no_password: bool, **_options: object) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            is_new = _make(cursor, role)
            if password := env.secret(PASSWORD):
                _set_password(cursor, role, password)
            elif is_new and not no_password:
                raise CommandError(f"Set {PASSWORD}: a new role needs a password.")
            n_tables = _grant(cursor, role)
        added = ", ".join(ADDED)
        self.stdout.write(f"{role} may use {n_tables} tables; it can only add to {added}, and owns nothing.")


def _make(cursor: Any, role: str) -> bool:
    """Whether the role was made now. Raises CommandError for one that could undo what it is for."""
    cursor.execute(
        "SELECT rolsuper OR rolbypassrls OR rolcreaterole OR rolreplication, rolname = current_user"
        " FROM pg_roles WHERE rolname = %s",
        [role],
    )
    found = cursor.fetchone()
    if found is None:
        _run(
            cursor, "CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS", role
        )
        return True
    is_mighty, is_owner = found
    cursor.execute(
        "SELECT count(*) FROM pg_class WHERE relowner = (SELECT oid FROM pg_roles WHERE rolname = %s)", [role]
    )
    if is_mighty or is_owner or cursor.fetchone()[0]:
        raise CommandError(
            f"{role} is a superuser, makes roles, replicates, or owns tables of this database: such a role"
            " can change the trace. Run this as the owner of the database, and give another --role."
        )
    cursor.execute(
        "SELECT count(*) FROM pg_auth_members WHERE member = (SELECT oid FROM pg_roles WHERE rolname = %s)",
        [role],
    )
    if cursor.fetchone()[0]:
        raise CommandError(
            f"{role} is a member of another role and has its rights, too. Give another --role."
        )
    return False


def _set_password(cursor: Any, role: str, password: str) -> None:
    """Hashed before it is sent: a statement may stand in a log of the server."""
    hashed = extensions.encrypt_password(password, role, cursor.connection, "scram-sha-256")
    statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
    cursor.execute(statement.format(sql.Identifier(role), sql.Literal(hashed)))


def _grant(cursor: Any, role: str) -> int:
    """Gives what the application needs, takes what it had beside that; the number of tables."""
    cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    tables = [name for (name,) in cursor.fetchall()]
    for table in tables:
        rights = "SELECT" if table in READ + ADDED else "SELECT, INSERT, UPDATE, DELETE"
        _run(cursor, "REVOKE ALL ON TABLE public.{} FROM {}", table, role)
        _run(cursor, f"GRANT {rights} ON TABLE public.{{}} TO {{}}", table, role)
    for model in (AuditEvent, AuditSeal):
        _let_add(cursor, role, model)
    _run(cursor, "GRANT USAGE ON SCHEMA public TO {}", role)
    _run(cursor, "REVOKE CREATE ON SCHEMA public FROM {}, PUBLIC", role)
    _run(cursor, "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {}", role)
    _run(cursor, "GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}", connection.settings_dict["NAME"], role)
    for table in ADDED:
        for right in FORBIDDEN:
            cursor.execute("SELECT has_table_privilege(%s, %s, %s)", [role, f"public.{table}", right])
            if cursor.fetchone()[0]:
                raise CommandError(
                    f"{role} may {right} {table} by a grant to everybody. Revoke it from PUBLIC."
                )
    return len(tables)


def _let_add(cursor: Any, role: str, model: type[Model]) -> None:
    """Rows, but not with a number of its own choice: one at the end of all numbers would be the last that
    is sealed."""
    columns = [field.column for field in model._meta.local_fields if not isinstance(field, AutoField)]
    statement = sql.SQL("GRANT INSERT ({}) ON TABLE public.{} TO {}")
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    cursor.execute(statement.format(names, sql.Identifier(model._meta.db_table), sql.Identifier(role)))


def _run(cursor: Any, statement: str, *names: str) -> None:
    cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
