"""When each therapy of a large clinic was last held: what the list of reception is ordered by. And who once
supervised whom, a few rows of a long trace."""

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("surveys", "0027_keep_retention_rules")]
    operations = [
        migrations.AddIndex(
            model_name="session",
            index=models.Index(
                fields=["therapy", "held_at"], condition=Q(status="held"), name="session_last_held"
            ),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(
                fields=["subject", "act"],
                condition=Q(act__in=["therapist.sharing", "therapist.supervisor"]),
                name="audit_of_supervision",
            ),
        ),
    ]
