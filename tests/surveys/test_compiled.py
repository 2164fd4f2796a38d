"""A question whose SQL is written once gives what Django's own gives, and refuses what it cannot carry."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import transaction
from django.db.models import Model, Q, QuerySet

from surveys import access, compiled
from surveys.access import browser_hash
from surveys.models import Assignment, FormLink
from surveys.services import responses
from surveys.services.invitations import link_issue
from surveys.tokens import token_hash
from tests import factories
from tests.conftest import Cast

pytestmark = pytest.mark.django_db


def whole(row: Model | None) -> Any:
    """Everything that a row and those that hang on it hold."""
    if row is None:
        return None
    own = {name: value for name, value in vars(row).items() if name != "_state"}
    return type(row), own, {name: whole(other) for name, other in row._state.fields_cache.items()}


def asked(rows: Callable[..., QuerySet[Any]], *values: compiled.Value) -> Any:
    with transaction.atomic():
        theirs = rows(*values).first()
        ours = compiled.first(rows, *values)
    found, expected = whole(ours), whole(theirs)
    if theirs is not None:
        assert ours._state.adding is False and ours._state.db == "default"
        for of in (found, expected):
            of[1].pop("now", None)
    assert found == expected
    return ours


def test_every_such_question_answers_as_django_s_own_whatever_is_asked(cast: Cast) -> None:
    secrets = ["first", "second"]
    therapies = [factories.make_therapy(cast.study) for _ in secrets]
    forms = [factories.form_of(factories.hold_session(therapy), "patient") for therapy in therapies]
    for form, therapy, secret in zip(forms, therapies, secrets, strict=True):
        factories.open_form(form, secret)
        # Encrypted in the database.
        therapy.patient.contact = f"{secret}@example.org"
        therapy.patient.save()
    for form, secret in zip(forms, secrets, strict=True):
        own = browser_hash(AnonymousUser(), secret)
        for rows in (access._page_of_browser, access._answers_of_browser):
            assert asked(rows, own, form.pk).assignment_id == form.pk
            assert asked(rows, own, uuid4()) is None
            assert asked(rows, browser_hash(AnonymousUser(), "a third"), form.pk) is None
        assert asked(responses._form_to_lock, form.pk).pk == form.pk
        token = link_issue(assignment=form, actor=cast.clinic_admin)
        assert asked(access._live_links, token_hash(token)).assignment_id == form.pk
    assert asked(access._live_links, token_hash("none")) is None


def twice(pk: UUID) -> QuerySet[Assignment]:
    return Assignment.objects.filter(Q(pk=pk) | Q(study=pk))


def never(_pk: UUID) -> QuerySet[FormLink]:
    return FormLink.objects.all()


def prefetched(pk: UUID) -> QuerySet[Assignment]:
    return Assignment.objects.filter(pk=pk).prefetch_related("openings")


@pytest.mark.parametrize("rows", [twice, never, prefetched])
def test_what_needs_more_than_other_values_is_refused(rows: Callable[..., QuerySet[Any]]) -> None:
    with pytest.raises(compiled.NotCompiled):
        compiled.first(rows, uuid4())


def test_a_function_that_gets_other_code_asks_another_question(cast: Cast) -> None:
    def rows(pk: UUID) -> QuerySet[Assignment]:
        return Assignment.objects.filter(pk=pk)

    def none(pk: UUID) -> QuerySet[Assignment]:
        return Assignment.objects.filter(pk=pk, state="no such state")

    form = factories.form_of(factories.hold_session(factories.make_therapy(cast.study)), "patient")
    assert compiled.first(rows, form.pk) == form
    rows.__code__ = none.__code__
    assert compiled.first(rows, form.pk) is None


@pytest.mark.django_db(transaction=True)
def test_outside_of_a_transaction_nothing_is_locked_and_so_nothing_is_answered() -> None:
    with transaction.atomic():
        assert compiled.first(responses._form_to_lock, uuid4()) is None
    with pytest.raises(transaction.TransactionManagementError):
        compiled.first(responses._form_to_lock, uuid4())
