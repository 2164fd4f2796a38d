"""Long jobs say how far they are and can be cancelled."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("surveys", "0016_find_forms_by_time"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="job",
            name="job_state_is_known",
        ),
        migrations.AddField(
            model_name="job",
            name="cancel_at",
            field=models.DateTimeField(help_text="When somebody asked for its end", null=True),
        ),
        migrations.AddField(
            model_name="job",
            name="n_done",
            field=models.PositiveIntegerField(db_default=0),
        ),
        migrations.AddField(
            model_name="job",
            name="n_total",
            field=models.PositiveIntegerField(db_default=0, help_text="0: not known"),
        ),
        migrations.AddField(
            model_name="job",
            name="stage",
            field=models.CharField(
                blank=True, db_default="", help_text="A code of the kind's own", max_length=40
            ),
        ),
        migrations.AlterField(
            model_name="job",
            name="state",
            field=models.CharField(
                choices=[
                    ("pending", "Waiting"),
                    ("running", "Running"),
                    ("done", "Done"),
                    ("failed", "Failed"),
                    ("cancelled", "Cancelled"),
                ],
                default="pending",
                max_length=12,
            ),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["pending", "running", "done", "failed", "cancelled"])),
                name="job_state_is_known",
            ),
        ),
    ]
