"""The one clock of the site: that of the database. Web processes and workers may be on machines whose clocks
differ; until when a form is open, and when a mail is due, must not depend on which of them is asked."""

from datetime import datetime

from django.db import connection
from django.db.models import DateTimeField, Func

# The time of this moment as a column of a row that is read or locked anyway: no statement of its own. Of who
# waits for a lock it may be the time before.
NOW = Func(function="clock_timestamp", output_field=DateTimeField())


def now() -> datetime:
    """One short statement, inside a transaction as well the time of this moment. Raises DatabaseError."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        at: datetime = cursor.fetchone()[0]
    return at
