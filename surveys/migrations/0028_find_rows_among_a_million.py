"""When each therapy of a large clinic was last held: what the list of reception is ordered by. And who once
supervised whom, a few rows of a long trace. Nobody waits meanwhile; an index that an earlier try left half
made is made anew."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import Q


def _anew(name: str) -> migrations.RunSQL:
    return migrations.RunSQL(f"DROP INDEX CONCURRENTLY IF EXISTS {name}", migrations.RunSQL.noop)


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("surveys", "0027_keep_retention_rules")]
    operations = [
        _anew("session_last_held"),
        AddIndexConcurrently(
            model_name="session",
            index=models.Index(
                fields=["therapy", "held_at"], condition=Q(status="held"), name="session_last_held"
            ),
        ),
        _anew("audit_of_supervision"),
        AddIndexConcurrently(
            model_name="auditevent",
            index=models.Index(
                fields=["subject", "act"],
                condition=Q(act__in=["therapist.sharing", "therapist.supervisor"]),
                name="audit_of_supervision",
            ),
        ),
    ]
