"""Who sends a request to the API: the owner of a token, or who is signed in in the browser."""

import re

from knox.auth import TokenAuthentication
from knox.models import AuthToken
from rest_framework.exceptions import AuthenticationFailed

from surveys.models import User
from surveys.services.api_tokens import token_used

# As knox makes them; anything else need not be looked for, and cannot break the search.
TOKEN = re.compile(rb"[0-9a-f]{64}")


class ApiTokenAuthentication(TokenAuthentication):
    """Knox's, which also keeps when a token was last used."""

    def authenticate_credentials(self, token: bytes) -> tuple[User, AuthToken]:
        if not TOKEN.fullmatch(token):
            raise AuthenticationFailed("This is no token.")
        user, row = super().authenticate_credentials(token)
        token_used(row)
        return user, row
