"""Forms of a period, and what came to be shown since a moment, without reading all of them."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("surveys", "0015_say_what_supervisors_may_see")]
    operations = [
        migrations.AddIndex(
            model_name="assignment",
            index=models.Index(fields=["study", "opens_at"], name="assignment_by_opening"),
        ),
        migrations.AddIndex(
            model_name="response",
            index=models.Index(fields=["reveal_at"], name="response_by_reveal"),
        ),
    ]
