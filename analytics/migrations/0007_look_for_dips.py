"""What is stored about possible dips: rules chosen, what was done, and counts; never a dip itself."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("analytics", "0006_keep_sums_by_logarithm"),
        ("surveys", "0014_ask_about_practice_in_every_study"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="DipRules",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "rules",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=20),
                        blank=True,
                        help_text="Codes of `analytics.dips.RULES`; empty: none",
                        size=None,
                    ),
                ),
                ("chosen_at", models.DateTimeField()),
                (
                    "chosen_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "study",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="surveys.study"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "dip rules",
            },
        ),
        migrations.CreateModel(
            name="DipTally",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("counted_at", models.DateTimeField()),
                (
                    "fitted_at",
                    models.DateTimeField(
                        help_text="Of the oldest model used; empty: there was none", null=True
                    ),
                ),
                (
                    "n_ratings",
                    models.PositiveIntegerField(help_text="Patients' ratings that their therapists may see"),
                ),
                (
                    "rules",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=20),
                        blank=True,
                        help_text="Those in force at that time",
                        size=None,
                    ),
                ),
                (
                    "counts",
                    models.JSONField(help_text="By the rule's code: numbers, as `DipCount` names them"),
                ),
                (
                    "study",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="surveys.study"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "dip tallies",
            },
        ),
        migrations.CreateModel(
            name="DipReview",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("rule", models.CharField(max_length=20)),
                (
                    "state",
                    models.CharField(
                        choices=[("seen", "Seen"), ("acted", "Acted on"), ("dismissed", "Dismissed")],
                        max_length=12,
                    ),
                ),
                (
                    "reason",
                    models.TextField(
                        blank=True,
                        help_text="What was done, or why it was dismissed; empty only if seen",
                        max_length=1000,
                    ),
                ),
                ("at", models.DateTimeField()),
                (
                    "by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "response",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="surveys.response"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("reason", ""), ("state", "seen")),
                            models.Q(
                                ("state__in", ["acted", "dismissed"]), models.Q(("reason", ""), _negated=True)
                            ),
                            _connector="OR",
                        ),
                        name="dip_review_has_its_reason",
                    )
                ],
            },
        ),
    ]
