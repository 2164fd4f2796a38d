"""Sums of the logarithm of the session and of every scale of a form, for models of each.

Sums of the total in straight time alone are gone with this; a mark for every therapy has each study's next
refit, or the check of the night, make all sums.
"""

from django.db import migrations, models

AGAIN = """
DELETE FROM analytics_therapysums;
INSERT INTO analytics_ratingchange (study_id, therapy_id) SELECT study_id, id FROM surveys_therapy;
"""


class Migration(migrations.Migration):
    dependencies = [("analytics", "0005_leave_out_excluded_therapies")]
    operations = [
        migrations.RunSQL(AGAIN, AGAIN),
        migrations.RemoveConstraint(model_name="therapysums", name="therapy_sums_once"),
        migrations.RemoveConstraint(
            model_name="therapysums", name="therapy_sums_of_squares_are_not_negative"
        ),
        *(
            migrations.AddField(
                model_name="therapysums",
                name=name,
                field=models.FloatField(help_text=f"As {like}, of the logarithm of the session"),
            )
            for name, like in (("mean_log", "mean_time"), ("css_log", "css_time"), ("csp_log", "csp"))
        ),
        migrations.AddConstraint(
            model_name="therapysums",
            constraint=models.UniqueConstraint(
                fields=["study", "perspective", "instrument", "scale", "therapy"],
                include=["n"],
                name="therapy_sums_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="therapysums",
            constraint=models.CheckConstraint(
                condition=models.Q(css_time__gte=0, css_log__gte=0, css_y__gte=0),
                name="therapy_sums_of_squares_are_not_negative",
            ),
        ),
        migrations.RemoveIndex(model_name="growthfit", name="growth_fit_latest"),
        migrations.AddField(
            model_name="growthfit",
            name="coding",
            field=models.CharField(default="linear", help_text="How the model counts time", max_length=12),
        ),
        migrations.AddIndex(
            model_name="growthfit",
            index=models.Index(
                fields=["study", "perspective", "instrument", "coding", "scale", "-fitted_at"],
                name="growth_fit_latest",
            ),
        ),
    ]
