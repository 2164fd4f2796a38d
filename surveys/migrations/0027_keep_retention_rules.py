"""How long a clinic keeps what it may choose about."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


def _person() -> models.ForeignKey:
    return models.ForeignKey(
        null=True,
        on_delete=django.db.models.deletion.PROTECT,
        related_name="+",
        to=settings.AUTH_USER_MODEL,
    )


class Migration(migrations.Migration):
    dependencies = [("surveys", "0026_encrypt_what_is_written")]
    operations = [
        migrations.CreateModel(
            name="KeepRule",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("answers", "Answers and results, of patients and therapists"),
                            ("contacts", "Patients’ e-mail addresses"),
                            ("messages", "The list of e-mails sent"),
                            ("imports", "Imported files that are not stored, and rejected rows"),
                        ],
                        max_length=12,
                    ),
                ),
                ("days", models.PositiveIntegerField(help_text="Empty: kept for good", null=True)),
                ("proposed_at", models.DateTimeField()),
                ("approved_at", models.DateTimeField(null=True)),
                ("approved_by", _person()),
                (
                    "clinic",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="keep_rules",
                        to="surveys.clinic",
                    ),
                ),
                ("proposed_by", _person()),
            ],
            options={
                "indexes": [models.Index(fields=["clinic", "kind", "-id"], name="keep_rule_latest")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ["answers", "contacts", "messages", "imports"])),
                        name="keep_rule_kind_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("days", None), ("days__gte", 30), _connector="OR"),
                        name="keep_rule_is_not_at_once",
                    ),
                ],
            },
        ),
    ]
