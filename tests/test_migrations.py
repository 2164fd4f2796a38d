"""The models and the migrations say the same, and every migration can be taken back."""

import pytest
from django.core.management import call_command


@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_migrations_run_backwards_and_forwards() -> None:
    call_command("migrate", "analytics", "zero", verbosity=0)
    call_command("migrate", "surveys", "0001", verbosity=0)
    call_command("migrate", verbosity=0)
