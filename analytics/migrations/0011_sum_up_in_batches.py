"""What is said of many patients together is kept as it was made; a newer one is added."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

FORWARD = """
CREATE TRIGGER panel_append_only BEFORE UPDATE ON analytics_panel
    FOR EACH ROW EXECUTE FUNCTION surveys_refuse();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("analytics", "0010_choose_whom_to_compare_with"),
        ("surveys", "0016_find_forms_by_time"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Panel",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "rater",
                    models.CharField(
                        choices=[("patient", "Patient"), ("therapist", "Therapist")], max_length=12
                    ),
                ),
                ("instrument", models.CharField(max_length=40)),
                (
                    "figures",
                    models.JSONField(
                        help_text="Numbers as `analytics.disclosure.Figures` names them, or what it lacks"
                    ),
                ),
                (
                    "made_at",
                    models.DateTimeField(help_text="The moment that it is of; what came later is not in it"),
                ),
                (
                    "study",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="surveys.study"
                    ),
                ),
                (
                    "supervisor",
                    models.ForeignKey(
                        help_text="Of whose team; empty: of the whole clinic",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        fields=["study", "supervisor", "rater", "instrument", "-id"], name="panel_latest"
                    )
                ],
            },
        ),
        migrations.RunSQL(FORWARD, "DROP TRIGGER panel_append_only ON analytics_panel;"),
    ]
