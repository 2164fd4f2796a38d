"""With which scores therapists are compared about their practice; where there are any, a job chooses them."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

REQUEST = """
INSERT INTO surveys_job (kind, scope, state, attempts, due_at, requested_at, fence, error)
SELECT DISTINCT 'practice_bands', therapist.clinic_id::text, 'pending', 0, now(), now(), 0, ''
FROM surveys_response response
JOIN surveys_assignment form ON form.id = response.assignment_id
JOIN surveys_therapist therapist ON therapist.id = form.therapist_id
ON CONFLICT (kind, scope) WHERE state = 'pending' DO NOTHING
"""


class Migration(migrations.Migration):
    dependencies = [
        ("analytics", "0009_count_ratings"),
        ("surveys", "0015_say_what_supervisors_may_see"),
    ]

    operations = [
        migrations.CreateModel(
            name="PracticeBasis",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("instrument", models.CharField(max_length=40)),
                ("minimum", models.SmallIntegerField(help_text="Of the answer scale, as maximum")),
                ("maximum", models.SmallIntegerField()),
                ("scale", models.CharField(max_length=40)),
                (
                    "scores",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.BigIntegerField(),
                        help_text="Ids of scores, one of each therapist",
                        size=None,
                    ),
                ),
                ("made_at", models.DateTimeField()),
                (
                    "clinic",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="surveys.clinic"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "practice bases",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("clinic", "instrument", "minimum", "maximum", "scale"),
                        name="practice_basis_once",
                    )
                ],
            },
        ),
        migrations.RunSQL(REQUEST, migrations.RunSQL.noop),
    ]
