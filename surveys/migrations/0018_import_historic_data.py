"""Ratings that were collected elsewhere: files, what they brought, and what is known of a session's time."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import surveys.fields
import surveys.ids


class Migration(migrations.Migration):
    dependencies = [
        ("surveys", "0017_run_long_jobs"),
    ]

    operations = [
        migrations.CreateModel(
            name="ImportBatch",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=surveys.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "file_name",
                    models.CharField(
                        help_text="As the browser named it; nothing follows from it", max_length=200
                    ),
                ),
                ("sha256", models.CharField(max_length=64)),
                ("n_bytes", models.PositiveBigIntegerField()),
                ("kind", models.CharField(choices=[("csv", "CSV"), ("sav", "SPSS")], max_length=4)),
                (
                    "head",
                    surveys.fields.EncryptedText(
                        blank=True,
                        help_text="Columns, labels and first rows as JSON; emptied with the file itself",
                    ),
                ),
                (
                    "mapping",
                    models.JSONField(
                        default=dict,
                        help_text="As `surveys.imports.mapping.Mapping` writes it; empty: not chosen yet",
                    ),
                ),
                (
                    "counts",
                    models.JSONField(
                        default=dict,
                        help_text="What the last check of the whole file found; empty: not checked yet",
                    ),
                ),
                (
                    "consent",
                    models.TextField(
                        blank=True,
                        help_text="Under which consent the data were collected, in words",
                        max_length=2000,
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("open", "Not stored yet"),
                            ("stored", "Stored"),
                            ("dropped", "Dropped before it was stored"),
                            ("undone", "Taken out again"),
                        ],
                        default="open",
                        max_length=8,
                    ),
                ),
                ("uploaded_at", models.DateTimeField(auto_now_add=True)),
                ("stored_at", models.DateTimeField(null=True)),
                (
                    "ended_at",
                    models.DateTimeField(help_text="When it was dropped or taken out again", null=True),
                ),
            ],
            options={
                "verbose_name_plural": "import batches",
            },
        ),
        migrations.CreateModel(
            name="ImportChunk",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.PositiveIntegerField()),
                ("content", models.BinaryField()),
            ],
        ),
        migrations.CreateModel(
            name="ImportedPerson",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("code", surveys.fields.EncryptedText()),
            ],
            options={
                "verbose_name_plural": "imported people",
            },
        ),
        migrations.CreateModel(
            name="ImportMapping",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=80)),
                ("columns_sha256", models.CharField(max_length=64)),
                ("mapping", models.JSONField()),
                ("saved_at", models.DateTimeField(auto_now=True)),
            ],
        ),
        migrations.CreateModel(
            name="ImportRejection",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "row",
                    models.PositiveIntegerField(
                        help_text="As a spreadsheet counts: the names of the columns are row 1"
                    ),
                ),
                ("column", models.CharField(blank=True, max_length=120)),
                ("reason", models.CharField(help_text="A code of `surveys.imports.reasons`", max_length=40)),
                (
                    "values",
                    models.JSONField(default=dict, help_text="Of the sentence; never a code of a person"),
                ),
            ],
        ),
        migrations.RemoveConstraint(
            model_name="response",
            name="response_channel_is_known",
        ),
        migrations.AddField(
            model_name="session",
            name="timing",
            field=models.CharField(
                choices=[
                    ("exact", "Day and time are known"),
                    ("day", "The day is known"),
                    ("order", "Only its place in the order is known"),
                ],
                db_default="exact",
                default="exact",
                help_text="What of `held_at` is known: of a session from a file perhaps its place alone",
                max_length=5,
            ),
        ),
        migrations.AlterField(
            model_name="consent",
            name="channel",
            field=models.CharField(
                choices=[
                    ("link", "Link"),
                    ("tablet", "Tablet of the clinic"),
                    ("staff", "After signing in"),
                    ("paper", "Paper, entered by staff"),
                    ("import", "Taken over from a file"),
                ],
                max_length=12,
            ),
        ),
        migrations.AlterField(
            model_name="opening",
            name="channel",
            field=models.CharField(
                choices=[
                    ("link", "Link"),
                    ("tablet", "Tablet of the clinic"),
                    ("staff", "After signing in"),
                    ("paper", "Paper, entered by staff"),
                    ("import", "Taken over from a file"),
                ],
                default="link",
                max_length=12,
            ),
        ),
        migrations.AlterField(
            model_name="response",
            name="channel",
            field=models.CharField(
                choices=[
                    ("link", "Link"),
                    ("tablet", "Tablet of the clinic"),
                    ("staff", "After signing in"),
                    ("paper", "Paper, entered by staff"),
                    ("import", "Taken over from a file"),
                ],
                max_length=12,
            ),
        ),
        migrations.AlterField(
            model_name="score",
            name="n_answered",
            field=models.PositiveSmallIntegerField(
                help_text="Null where a file gave the score without the answers", null=True
            ),
        ),
        migrations.AlterField(
            model_name="therapy",
            name="end_reason",
            field=models.CharField(
                blank=True,
                choices=[
                    ("completed", "Completed"),
                    ("dropout", "Ended early by the patient"),
                    ("transfer", "Transferred to another therapist"),
                    ("imported", "Taken over from a file; how it ended is not known"),
                ],
                max_length=12,
            ),
        ),
        migrations.AddConstraint(
            model_name="response",
            constraint=models.CheckConstraint(
                condition=models.Q(("channel__in", ["link", "tablet", "staff", "paper", "import"])),
                name="response_channel_is_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="score",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("n_answered__isnull", False), ("scoring_version", "given"), _connector="OR"
                ),
                name="score_counts_its_answers",
            ),
        ),
        migrations.AddField(
            model_name="importbatch",
            name="clinic",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="imports", to="surveys.clinic"
            ),
        ),
        migrations.AddField(
            model_name="importbatch",
            name="ended_by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="importbatch",
            name="stored_by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="importbatch",
            name="study",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="imports", to="surveys.study"
            ),
        ),
        migrations.AddField(
            model_name="importbatch",
            name="uploaded_by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="assignment",
            name="batch",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                help_text="The file that brought it; nobody was asked for it here",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="assignments",
                to="surveys.importbatch",
            ),
        ),
        migrations.AddField(
            model_name="session",
            name="batch",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="sessions",
                to="surveys.importbatch",
            ),
        ),
        migrations.AddField(
            model_name="therapy",
            name="batch",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="therapies",
                to="surveys.importbatch",
            ),
        ),
        migrations.AddIndex(
            model_name="assignment",
            index=models.Index(
                condition=models.Q(("batch__isnull", False)), fields=["batch"], name="assignment_by_import"
            ),
        ),
        migrations.AddIndex(
            model_name="session",
            index=models.Index(
                condition=models.Q(("batch__isnull", False)), fields=["batch"], name="session_by_import"
            ),
        ),
        migrations.AddConstraint(
            model_name="session",
            constraint=models.CheckConstraint(
                condition=models.Q(("timing__in", ["exact", "day", "order"])), name="session_timing_is_known"
            ),
        ),
        migrations.AddField(
            model_name="importchunk",
            name="batch",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="chunks", to="surveys.importbatch"
            ),
        ),
        migrations.AddField(
            model_name="importedperson",
            name="batch",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="people", to="surveys.importbatch"
            ),
        ),
        migrations.AddField(
            model_name="importedperson",
            name="patient",
            field=models.OneToOneField(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="imported",
                to="surveys.patient",
            ),
        ),
        migrations.AddField(
            model_name="importedperson",
            name="therapist",
            field=models.OneToOneField(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="imported",
                to="surveys.therapist",
            ),
        ),
        migrations.AddField(
            model_name="importmapping",
            name="clinic",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="import_mappings",
                to="surveys.clinic",
            ),
        ),
        migrations.AddField(
            model_name="importmapping",
            name="saved_by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="importrejection",
            name="batch",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="rejections",
                to="surveys.importbatch",
            ),
        ),
        migrations.AddConstraint(
            model_name="importbatch",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state__in", ["open", "dropped"]), ("stored_at", None)),
                    models.Q(
                        ("state__in", ["stored", "undone"]),
                        ("stored_at__isnull", False),
                        models.Q(("consent", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="import_stored_has_its_consent",
            ),
        ),
        migrations.AddConstraint(
            model_name="importbatch",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ["csv", "sav"])), name="import_kind_is_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="importchunk",
            constraint=models.UniqueConstraint(fields=("batch", "number"), name="import_chunk_once"),
        ),
        migrations.AddConstraint(
            model_name="importedperson",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("patient", None), ("therapist__isnull", False)),
                    models.Q(("patient__isnull", False), ("therapist", None)),
                    _connector="OR",
                ),
                name="imported_person_is_one_of_both",
            ),
        ),
        migrations.AddConstraint(
            model_name="importmapping",
            constraint=models.UniqueConstraint(
                fields=("clinic", "name"), name="import_mapping_once_per_clinic"
            ),
        ),
        migrations.AddIndex(
            model_name="importrejection",
            index=models.Index(fields=["batch", "row", "id"], name="import_rejection_by_row"),
        ),
    ]
