"""The trace says in which role, about which patient, what kind of thing and in which request, also what was
refused; and is sealed."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

FORWARD = """
CREATE TRIGGER seal_append_only BEFORE UPDATE OR DELETE ON surveys_auditseal
    FOR EACH ROW EXECUTE FUNCTION surveys_refuse();
"""
BACKWARD = "DROP TRIGGER seal_append_only ON surveys_auditseal;"


class Migration(migrations.Migration):
    dependencies = [
        ("surveys", "0019_let_programs_speak_for_people"),
    ]

    operations = [
        migrations.CreateModel(
            name="AuditSeal",
            fields=[
                ("number", models.PositiveIntegerField(primary_key=True, serialize=False)),
                ("made_at", models.DateTimeField()),
                ("rows", models.JSONField(help_text="Ids as ranges: [[first, last], ...], rising")),
                ("digests", models.BinaryField(help_text="16 bytes for each row, in the order of the ids")),
                (
                    "last_id",
                    models.BigIntegerField(help_text="The highest id under this seal and all before it"),
                ),
                ("sha256", models.CharField(max_length=64)),
            ],
        ),
        migrations.AddField(
            model_name="auditevent",
            name="fields",
            field=models.CharField(
                blank=True,
                choices=[
                    ("ratings", "Ratings and answers"),
                    ("progress", "Sessions and forms"),
                    ("identity", "Who somebody is"),
                    ("practice", "What a therapist says of their practice"),
                    ("results", "Results of analyses"),
                    ("coded", "Coded data"),
                    ("trace", "This trace"),
                ],
                help_text="What kind of thing was read; empty: a change",
                max_length=12,
            ),
        ),
        migrations.AddField(
            model_name="auditevent",
            name="patient",
            field=models.UUIDField(help_text="Id of the one patient whom the act was about", null=True),
        ),
        migrations.AddField(
            model_name="auditevent",
            name="request",
            field=models.UUIDField(
                help_text="What one request did has one id; its answer carries it", null=True
            ),
        ),
        migrations.AddField(
            model_name="auditevent",
            name="role",
            field=models.CharField(
                blank=True,
                choices=[
                    ("therapist", "Therapist"),
                    ("supervisor", "Supervisor"),
                    ("clinic_admin", "Clinic administrator"),
                    ("researcher", "Researcher"),
                ],
                help_text="In which the person acted; empty outside of a page",
                max_length=20,
            ),
        ),
        migrations.AddField(
            model_name="auditevent",
            name="status",
            field=models.PositiveSmallIntegerField(
                help_text="403 or 404 where it was refused; empty: it was done", null=True
            ),
        ),
        migrations.AlterField(
            model_name="auditevent",
            name="actor",
            field=models.ForeignKey(
                db_index=False,
                help_text="Empty: by a patient's link, or by the system",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AlterField(
            model_name="auditevent",
            name="clinic",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="surveys.clinic",
            ),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["clinic", "id"], name="audit_by_clinic"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["actor", "id"], name="audit_by_actor"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["patient", "id"], name="audit_by_patient"),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
