"""The doors to what belongs to an account: where its owner is signed in."""

from django.db.models import QuerySet
from django.utils import timezone

from surveys.access import Actor
from surveys.models import SignIn, User


def own_sign_ins(user: Actor) -> QuerySet[SignIn]:
    """The user's own that have not ended, the last used first."""
    if not isinstance(user, User):
        return SignIn.objects.none()
    return user.sign_ins.filter(expire_date__gt=timezone.now()).order_by("-used_at")
