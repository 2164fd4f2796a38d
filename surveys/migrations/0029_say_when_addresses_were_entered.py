"""When a patient's address was entered, from now on: whoever comes back gives it before the new therapy
begins. An empty column, which is there at once however many patients there are."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("surveys", "0028_find_rows_among_a_million")]
    operations = [
        migrations.AddField(
            model_name="patient",
            name="contact_at",
            field=models.DateTimeField(
                null=True,
                blank=True,
                help_text="When the address was entered; empty: not known, or there is none",
            ),
        ),
        migrations.AlterField(
            model_name="emergencyaccess",
            name="told",
            field=models.JSONField(
                help_text="Ids of the accounts that are to get a mail about it, two at least;"
                " the trace says who got it"
            ),
        ),
        migrations.AlterField(
            model_name="emergencyaccess",
            name="ended_at",
            field=models.DateTimeField(
                null=True,
                help_text="Before its time, by the operator or because not two people could be told",
            ),
        ),
    ]
