"""The end of sign-ins before their time."""

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from surveys import audit
from surveys.access import Actor
from surveys.models import Clinic, SignIn, User


@transaction.atomic
def sign_ins_end(
    *,
    user: User,
    rows: QuerySet[SignIn] | None = None,
    actor: Actor | None = None,
    clinic: Clinic | None = None,
) -> int:
    """Ends somebody's sign-ins at once, all of them or `rows`; how many had not ended yet. A browser that is
    in the middle of a request gets its answer, and no next one."""
    found = SignIn.objects.filter(user=user)
    if rows is not None:
        found = found.filter(pk__in=rows.values("pk"))
    n = found.filter(expire_date__gt=timezone.now()).count()
    found.delete()
    if n:
        audit.record("account.sign_out", subject=user, actor=actor, clinic=clinic, n=n)
    return n


def sign_ins_clear() -> None:
    """Deletes what has ended by itself."""
    SignIn.objects.filter(expire_date__lte=timezone.now()).delete()
