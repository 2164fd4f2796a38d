"""Leave to send a large file, given with the page that asks for it. Without it no page takes more than a
form: nobody who is not signed in fills the disk of the server."""

from django.core import signing

from surveys.models import User

_SALT = "surveys.uploads"
# A page may stand open for a working day.
_MAX_AGE = 12 * 3600
NAME = "leave"
# The largest file, and a little more for what the page sends with it.
MAX_FILE = 250_000_000
MAX_UPLOAD = MAX_FILE + 100_000


def upload_leave(user: User) -> str:
    return signing.dumps(str(user.pk), salt=_SALT)


def is_upload_leave(text: str) -> bool:
    """Whether this site gave the leave, and not too long ago. Who may use the page is asked there."""
    try:
        signing.loads(text, salt=_SALT, max_age=_MAX_AGE)
    except signing.BadSignature:
        return False
    return True
