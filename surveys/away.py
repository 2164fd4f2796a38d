"""What it looks like from here when the database has gone."""

from django.db import DatabaseError, InterfaceError, OperationalError


def is_database_away(error: BaseException) -> bool:
    """Whether the connection is lost, or none could be made: the same request may succeed in a moment.

    A server that ends in the middle of a query leaves an error of the general class without a code; Django's
    own errors of that class have no cause.
    """
    if isinstance(error, OperationalError | InterfaceError):
        return True
    is_general = type(error) is DatabaseError and error.__cause__ is not None
    return is_general and getattr(error.__cause__, "pgcode", "") is None
