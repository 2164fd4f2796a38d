"""A role that one person gives holds once another one has confirmed it."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.models import F, Q

import surveys.ids


class Migration(migrations.Migration):
    dependencies = [
        ("surveys", "0023_keep_sign_ins"),
    ]

    operations = [
        migrations.CreateModel(
            name="RoleGrant",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=surveys.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "role",
                    models.CharField(
                        choices=[
                            ("clinic_admin", "Clinic administrator"),
                            ("researcher", "Researcher"),
                            ("superuser", "Operator of the server"),
                        ],
                        max_length=20,
                    ),
                ),
                ("asked_at", models.DateTimeField()),
                ("decided_at", models.DateTimeField(null=True)),
                ("is_given", models.BooleanField(default=False)),
                (
                    "asked_by",
                    models.ForeignKey(
                        help_text="Empty: at the server, where no operator has an account",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "clinic",
                    models.ForeignKey(
                        help_text="Empty: operator",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="role_grants",
                        to="surveys.clinic",
                    ),
                ),
                (
                    "decided_by",
                    models.ForeignKey(
                        help_text="Empty: at the server",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="role_grants",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=Q(role="superuser", clinic=None)
                        | Q(role__in=["clinic_admin", "researcher"], clinic__isnull=False),
                        name="grant_role_has_its_place",
                    ),
                    models.CheckConstraint(
                        condition=Q(is_given=False)
                        | (
                            Q(decided_at__isnull=False)
                            & (
                                Q(decided_by=None)
                                | (
                                    ~Q(decided_by=F("user"))
                                    & (Q(asked_by=None) | ~Q(decided_by=F("asked_by")))
                                )
                            )
                        ),
                        name="grant_given_by_a_second_person",
                    ),
                    models.UniqueConstraint(
                        condition=Q(decided_at=None),
                        fields=("user", "clinic", "role"),
                        name="grant_asked_once",
                    ),
                    models.UniqueConstraint(
                        condition=Q(decided_at=None, clinic=None),
                        fields=("user", "role"),
                        name="grant_of_operator_asked_once",
                    ),
                ],
            },
        ),
    ]
