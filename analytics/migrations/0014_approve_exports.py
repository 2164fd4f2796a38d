"""Files leave with the approval of a second person; every answer with that of two, and with an agreement."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

FORWARD = """
CREATE FUNCTION analytics_second_person() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM analytics_export WHERE id = NEW.export_id AND asked_by_id = NEW.by_id) THEN
        RAISE EXCEPTION 'an export is approved by a second person' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER export_approval_by_a_second_person BEFORE INSERT ON analytics_exportapproval
    FOR EACH ROW EXECUTE FUNCTION analytics_second_person();
CREATE TRIGGER export_approval_append_only BEFORE UPDATE OR DELETE ON analytics_exportapproval
    FOR EACH ROW EXECUTE FUNCTION surveys_refuse();
"""
BACKWARD = """
DROP TRIGGER export_approval_append_only ON analytics_exportapproval;
DROP TRIGGER export_approval_by_a_second_person ON analytics_exportapproval;
DROP FUNCTION analytics_second_person();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("analytics", "0012_freeze_data_and_ask_them"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ExportApproval",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "is_admin",
                    models.BooleanField(
                        help_text="As administrator of the clinic, not as another researcher"
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
                    "export",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="approvals",
                        to="analytics.export",
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="export",
            name="agreement",
            field=models.CharField(
                blank=True,
                help_text="Of every answer: where the signed agreement about it is kept",
                max_length=200,
            ),
        ),
        migrations.AddField(
            model_name="export",
            name="confirmed_at",
            field=models.DateTimeField(
                help_text="When who asked gave their password to fetch the file as it was built", null=True
            ),
        ),
        migrations.AddConstraint(
            model_name="export",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("tier", "items"), _negated=True),
                    models.Q(("agreement", ""), _negated=True),
                    _connector="OR",
                ),
                name="export_of_items_has_an_agreement",
            ),
        ),
        migrations.AddConstraint(
            model_name="exportapproval",
            constraint=models.UniqueConstraint(fields=("export", "by"), name="export_approval_once"),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
