"""A mistaken entry is a reason of its own, and a period is a year of the therapist."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("surveys", "0009_count_wrong_tries_on_tablets"),
    ]

    operations = [
        migrations.AlterField(
            model_name="assignment",
            name="period",
            field=models.CharField(
                blank=True,
                help_text="Of a form about practice in general: entry, year-1, year-2 …",
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="session",
            name="reason",
            field=models.CharField(
                blank=True,
                choices=[
                    ("by_patient", "Cancelled by the patient"),
                    ("by_therapist", "Cancelled by the therapist"),
                    ("illness", "Illness"),
                    ("holiday", "Holiday"),
                    ("no_word", "No word from the patient"),
                    ("too_late", "Came too late to be seen"),
                    ("mistake", "Entered by mistake"),
                    ("other", "Another reason"),
                ],
                help_text="Why a session was not held, where it is known",
                max_length=12,
            ),
        ),
    ]
