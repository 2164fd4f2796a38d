"""Tokens with which programs speak for a person: made by that person, for some uses and some time."""

from collections.abc import Collection
from datetime import timedelta
from functools import partial

from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from knox.models import AuthToken

from surveys import audit
from surveys.access import Actor
from surveys.models import ApiToken, Clinic, Scope, User
from surveys.services.notices import notice_send

DAYS = (30, 90, 365)
MOST = 20
# Written down at most this often: a request costs no write for it.
USE_IS_TOLD = timedelta(hours=1)


class TokenRefused(Exception):
    """No token was made; the sentence says why and what to do, `field` where it belongs on the page."""

    def __init__(self, sentence: str, field: str | None = None) -> None:
        super().__init__(sentence)
        self.field = field


@transaction.atomic
def token_create(*, user: User, name: str, scopes: Collection[str], days: int) -> str:
    """A new token, which leaves this room once: the database keeps its hash. Raises TokenRefused."""
    # A page that is sent twice at once makes one token.
    User.objects.select_for_update(no_key=True).get(pk=user.pk)
    if days not in DAYS:
        raise TokenRefused(_("Choose one of the list."), "days")
    if not scopes or set(scopes) - set(Scope.values):
        raise TokenRefused(_("Choose at least one use."), "scopes")
    running = AuthToken.objects.filter(Q(expiry=None) | Q(expiry__gt=timezone.now()), user=user)
    if running.filter(line__name=name).exists():
        raise TokenRefused(
            _("You have a token of this name. Choose another name, or revoke that token first."), "name"
        )
    if running.count() >= MOST:
        raise TokenRefused(_("You have as many tokens as one person may have. Revoke one first."))
    row, token = AuthToken.objects.create(user, expiry=timedelta(days=days))
    line = ApiToken.objects.create(token=row, name=name, scopes=sorted(scopes))
    audit.record("token.create", subject=line, actor=user, name=name, scopes=line.scopes, days=days)
    context = {"name": name, "uses": [Scope(scope).label for scope in line.scopes]}
    transaction.on_commit(partial(notice_send, "token-made", context, [user]))
    return str(token)


@transaction.atomic
def token_revoke(*, token: AuthToken, actor: User) -> None:
    """Ends a token at once."""
    line = ApiToken.objects.filter(token=token).first()
    name = line.name if line else ""
    audit.record("token.revoke", subject=line or token.user, actor=actor, name=name)
    token.delete()


@transaction.atomic
def tokens_end(*, user: User, actor: Actor | None = None, clinic: Clinic | None = None) -> int:
    """Ends all tokens of somebody at once; how many."""
    rows = AuthToken.objects.filter(user=user)
    n = rows.count()
    rows.delete()
    if n:
        audit.record("token.end", subject=user, actor=actor, clinic=clinic, n=n)
    return n


def token_used(token: AuthToken) -> None:
    """Keeps when a token was last used, to the hour."""
    now = timezone.now()
    stale = Q(last_used_at=None) | Q(last_used_at__lt=now - USE_IS_TOLD)
    ApiToken.objects.filter(stale, token=token).update(last_used_at=now)
