"""What every page knows."""

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.utils.crypto import salted_hmac
from django.utils.functional import SimpleLazyObject

from alliance_site.factors import is_proven
from analytics.data_selectors import request_news
from analytics.selectors import SILENCE
from surveys.access import administered_clinics, roles
from surveys.browsers import tablet_secret
from surveys.emergency_access import open_emergency
from surveys.jobs import worker_silence
from surveys.models import User


def site(request: HttpRequest) -> dict[str, object]:
    """What asks the database does so only where a template looks at it: a page about a lost database must
    not."""
    # A request that was refused before the sign-in was read has no user.
    user = getattr(request, "user", AnonymousUser())
    return {
        "demo": settings.DEMO,
        "version": settings.VERSION,
        "on_tablet": bool(tablet_secret(request)),
        # The menu of who has not given a second factor leads nowhere yet.
        "roles": SimpleLazyObject(lambda: roles(user) if is_proven(request, user) else frozenset()),
        # Under which a browser keeps what a person typed and could not send.
        "who": SimpleLazyObject(lambda: _who(request, user)),
        "is_proven": SimpleLazyObject(lambda: is_proven(request, user)),
        "sso": settings.OIDC_NAME,
        "worker_silence": SimpleLazyObject(lambda: worker_silence(SILENCE)),
        "request_news": SimpleLazyObject(lambda: request_news(user)),
        "emergency": SimpleLazyObject(lambda: open_emergency(user)),
        "has_clinics": SimpleLazyObject(lambda: administered_clinics(user).count() > 1),
    }


def _who(request: HttpRequest, user: User | AnonymousUser) -> str:
    """The same letters for the same person, from which nobody finds out who; empty for nobody."""
    if not user.is_authenticated or not is_proven(request, user):
        return ""
    return salted_hmac("alliance_site.unsent", str(user.pk)).hexdigest()[:16]
