"""An operator opens a patient's pages in an emergency; two people are told, the trace has a word for it."""

from datetime import timedelta

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.models import F, Q

import surveys.fields
import surveys.ids


class Migration(migrations.Migration):
    dependencies = [
        ("surveys", "0024_ask_a_second_person"),
    ]

    operations = [
        migrations.AlterField(
            model_name="auditevent",
            name="role",
            field=models.CharField(
                blank=True,
                choices=[
                    ("therapist", "Therapist"),
                    ("supervisor", "Supervisor"),
                    ("clinic_admin", "Clinic administrator"),
                    ("researcher", "Researcher"),
                    ("emergency", "Emergency"),
                ],
                help_text="In which the person acted; empty outside of a page",
                max_length=20,
            ),
        ),
        migrations.CreateModel(
            name="EmergencyAccess",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=surveys.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "reason",
                    surveys.fields.EncryptedText(
                        help_text="In the operator’s words; on the clinic’s page of its trace"
                    ),
                ),
                (
                    "told",
                    models.JSONField(help_text="Ids of the accounts that got a mail about it: two at least"),
                ),
                ("began_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                (
                    "ended_at",
                    models.DateTimeField(help_text="Before its time, by the operator", null=True),
                ),
                (
                    "by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="emergencies",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "clinic",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="surveys.clinic"
                    ),
                ),
                (
                    "patient",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="emergencies",
                        to="surveys.patient",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=Q(
                            ends_at__gt=F("began_at"), ends_at__lte=F("began_at") + timedelta(minutes=30)
                        ),
                        name="emergency_lasts_half_an_hour",
                    ),
                ],
            },
        ),
    ]
