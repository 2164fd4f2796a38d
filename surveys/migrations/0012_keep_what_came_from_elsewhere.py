"""A response keeps which items were answered in another browser; like its answers, that never changes."""

from django.db import migrations, models

FORWARD = """
CREATE TRIGGER response_elsewhere_append_only BEFORE UPDATE ON surveys_response
    FOR EACH ROW WHEN (OLD.elsewhere IS DISTINCT FROM NEW.elsewhere) EXECUTE FUNCTION surveys_refuse();
"""
BACKWARD = "DROP TRIGGER response_elsewhere_append_only ON surveys_response;"


class Migration(migrations.Migration):
    dependencies = [
        ("surveys", "0011_let_test_runs_be_cleared"),
    ]

    operations = [
        migrations.AddField(
            model_name="response",
            name="elsewhere",
            field=models.JSONField(
                default=list,
                help_text="Items that were answered in another browser than the one that sent the form",
            ),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
