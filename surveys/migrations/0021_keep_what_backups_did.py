"""What backups and drills did is added, never changed."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("surveys", "0020_say_who_read_what"),
    ]

    operations = [
        migrations.CreateModel(
            name="BackupRun",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("backup", "Backup"),
                            ("drill", "Restore drill"),
                            ("restore", "Restoration"),
                        ],
                        max_length=8,
                    ),
                ),
                ("is_good", models.BooleanField(help_text="Every check passed")),
                ("began_at", models.DateTimeField()),
                ("seconds", models.FloatField(help_text="How long it took")),
                (
                    "taken_at",
                    models.DateTimeField(help_text="The moment that the data in the file are of", null=True),
                ),
                ("file", models.CharField(help_text="Its name, without the folder", max_length=200)),
                ("n_bytes", models.PositiveBigIntegerField(null=True)),
                (
                    "n_rows",
                    models.PositiveBigIntegerField(help_text="In all tables of the backup", null=True),
                ),
                ("problem", models.CharField(blank=True, max_length=500)),
            ],
            options={
                "indexes": [models.Index(fields=["kind", "-began_at"], name="backup_by_kind")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ["backup", "drill", "restore"])),
                        name="backup_kind_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("is_good", True), ("problem", "")),
                            models.Q(("is_good", False), models.Q(("problem", ""), _negated=True)),
                            _connector="OR",
                        ),
                        name="backup_failed_with_a_reason",
                    ),
                ],
            },
        ),
        migrations.RunSQL(
            "CREATE TRIGGER backup_append_only BEFORE UPDATE OR DELETE ON surveys_backuprun"
            " FOR EACH ROW EXECUTE FUNCTION surveys_refuse()",
            "DROP TRIGGER backup_append_only ON surveys_backuprun",
        ),
    ]
