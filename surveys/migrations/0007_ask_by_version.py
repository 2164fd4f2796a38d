"""Plan and policy stand in versions only, and links in rows of their own."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("surveys", "0006_move_studies_into_versions")]
    operations = [
        migrations.RemoveConstraint(
            model_name="assignment",
            name="assignment_link_is_for_patients",
        ),
        migrations.RemoveConstraint(
            model_name="planline",
            name="plan_line_once",
        ),
        migrations.RemoveConstraint(
            model_name="study",
            name="study_visibility_is_known",
        ),
        migrations.RemoveField(
            model_name="assignment",
            name="token_hash",
        ),
        migrations.RemoveField(
            model_name="planline",
            name="study",
        ),
        migrations.RemoveField(
            model_name="study",
            name="visibility",
        ),
        migrations.AlterField(
            model_name="assignment",
            name="version",
            field=models.ForeignKey(
                help_text="Under whose visibility, texts and reminders it was asked for",
                on_delete=django.db.models.deletion.PROTECT,
                related_name="assignments",
                to="surveys.studyversion",
            ),
        ),
        migrations.AlterField(
            model_name="planline",
            name="version",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="lines", to="surveys.studyversion"
            ),
        ),
        migrations.AddConstraint(
            model_name="planline",
            constraint=models.UniqueConstraint(
                fields=("version", "instrument", "arm"), name="plan_line_once"
            ),
        ),
    ]
