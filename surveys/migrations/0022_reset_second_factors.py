"""Two people take away the second factor of somebody who lost it."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import surveys.ids


class Migration(migrations.Migration):
    dependencies = [
        ("surveys", "0021_keep_what_backups_did"),
    ]

    operations = [
        migrations.CreateModel(
            name="FactorReset",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=surveys.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("asked_at", models.DateTimeField()),
                (
                    "settled_at",
                    models.DateTimeField(
                        help_text="When it was confirmed or dropped; empty: it waits", null=True
                    ),
                ),
                (
                    "is_done",
                    models.BooleanField(default=False, help_text="Confirmed: the factor was taken away"),
                ),
                (
                    "asked_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "clinic",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="factor_resets",
                        to="surveys.clinic",
                    ),
                ),
                (
                    "settled_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        help_text="Whose factor it is",
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("settled_at", None)),
                        fields=("clinic", "user"),
                        name="factor_reset_waits_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("user", models.F("asked_by")), _negated=True),
                            models.Q(
                                ("settled_by", None),
                                models.Q(("user", models.F("settled_by")), _negated=True),
                                _connector="OR",
                            ),
                        ),
                        name="factor_reset_is_by_others",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("is_done", False),
                            models.Q(
                                ("settled_at__isnull", False),
                                ("settled_by__isnull", False),
                                models.Q(("asked_by", models.F("settled_by")), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="factor_reset_is_by_two",
                    ),
                ],
            },
        ),
    ]
