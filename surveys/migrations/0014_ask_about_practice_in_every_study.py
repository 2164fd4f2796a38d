"""Two studies that ask a therapist about practice in general each have forms of their own."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("surveys", "0013_say_what_licences_permit"),
    ]

    operations = [
        migrations.RemoveConstraint(model_name="assignment", name="assignment_once_per_period"),
        migrations.AddConstraint(
            model_name="assignment",
            constraint=models.UniqueConstraint(
                fields=["study", "therapist", "instrument", "period"], name="assignment_once_per_period"
            ),
        ),
    ]
