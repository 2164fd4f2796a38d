"""Data frozen at one moment, and what is asked of them; erasing a patient's data ends the frozen copies."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import surveys.ids

FORWARD = """
CREATE FUNCTION analytics_erase_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    hit uuid[];
BEGIN
    UPDATE analytics_snapshot SET erased_at = now(), patients = array_remove(patients, NEW.patient_id)
    WHERE study_id = NEW.study_id AND patients @> ARRAY[NEW.patient_id] AND erased_at IS NULL;
    hit := ARRAY(SELECT id FROM analytics_snapshot WHERE study_id = NEW.study_id AND erased_at IS NOT NULL);
    DELETE FROM analytics_storedchunk WHERE file_id IN (
        SELECT id FROM analytics_storedfile WHERE snapshot_id = ANY(hit)
        OR export_id IN (SELECT id FROM analytics_export WHERE snapshot_id = ANY(hit)));
    DELETE FROM analytics_storedfile WHERE snapshot_id = ANY(hit)
        OR export_id IN (SELECT id FROM analytics_export WHERE snapshot_id = ANY(hit));
    RETURN NULL;
END $$;
CREATE TRIGGER withdrawal_erases_frozen AFTER INSERT ON surveys_withdrawal
    FOR EACH ROW WHEN (NEW.choice = 'erase') EXECUTE FUNCTION analytics_erase_frozen();
CREATE TRIGGER analysis_lock_append_only BEFORE UPDATE OR DELETE ON analytics_analysislock
    FOR EACH ROW EXECUTE FUNCTION surveys_refuse();
"""
BACKWARD = """
DROP TRIGGER analysis_lock_append_only ON analytics_analysislock;
DROP TRIGGER withdrawal_erases_frozen ON surveys_withdrawal;
DROP FUNCTION analytics_erase_frozen();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("analytics", "0011_sum_up_in_batches"),
        ("surveys", "0017_run_long_jobs"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="AnalysisLock",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=surveys.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("title", models.CharField(max_length=120)),
                ("spec", models.JSONField(help_text="As `analytics.research.spec.AnalysisSpec` writes it")),
                (
                    "exclusions",
                    models.TextField(
                        blank=True, help_text="In words: what is left out, and why", max_length=4000
                    ),
                ),
                (
                    "sha256",
                    models.CharField(
                        help_text="Of title, spec and exclusions in one canonical form", max_length=64
                    ),
                ),
                ("locked_at", models.DateTimeField()),
                (
                    "locked_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "study",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="analysis_locks",
                        to="surveys.study",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Snapshot",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=surveys.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("number", models.PositiveIntegerField(help_text="Of the study's snapshots, from 1")),
                (
                    "selection",
                    models.JSONField(
                        default=dict,
                        help_text="Which therapies, as `analytics.selection.Selection` writes it",
                    ),
                ),
                ("asked_at", models.DateTimeField()),
                ("read_at", models.DateTimeField(help_text="The moment that the data are of", null=True)),
                (
                    "sha256",
                    models.CharField(
                        blank=True, help_text="Of its frozen tables, one after another", max_length=64
                    ),
                ),
                (
                    "counts",
                    models.JSONField(
                        default=dict, help_text="Numbers, as `analytics.services.freeze` names them"
                    ),
                ),
                (
                    "patients",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.UUIDField(),
                        default=list,
                        help_text="Whose data are in it",
                        size=None,
                    ),
                ),
                ("erased_at", models.DateTimeField(null=True)),
                (
                    "asked_by",
                    models.ForeignKey(
                        help_text="Empty: the operator",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "study",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="snapshots",
                        to="surveys.study",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Export",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=surveys.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "tier",
                    models.CharField(
                        choices=[
                            ("scores", "Scale scores, without dates"),
                            ("items", "Every answer, with dates"),
                        ],
                        max_length=8,
                    ),
                ),
                ("purpose", models.TextField(max_length=1000)),
                ("asked_at", models.DateTimeField()),
                (
                    "decision",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("approved", "Approved"),
                            ("declined", "Declined"),
                            ("withdrawn", "Withdrawn"),
                        ],
                        max_length=12,
                    ),
                ),
                ("decided_at", models.DateTimeField(null=True)),
                ("reason", models.TextField(blank=True, max_length=1000)),
                ("report", models.JSONField(default=dict, help_text="What the disclosure check found")),
                ("built_at", models.DateTimeField(null=True)),
                ("expires_at", models.DateTimeField(null=True)),
                ("sha256", models.CharField(blank=True, help_text="Of the file", max_length=64)),
                (
                    "asked_by",
                    models.ForeignKey(
                        help_text="Empty: the operator",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "decided_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "snapshot",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="exports",
                        to="analytics.snapshot",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Analysis",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=surveys.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("number", models.PositiveIntegerField(help_text="Of the study's analyses, from 1")),
                ("title", models.CharField(max_length=120)),
                ("spec", models.JSONField(help_text="As `analytics.research.spec.AnalysisSpec` writes it")),
                ("spec_sha256", models.CharField(max_length=64)),
                ("asked_at", models.DateTimeField()),
                (
                    "status",
                    models.CharField(
                        blank=True,
                        choices=[("answered", "Answered"), ("refused", "The data cannot carry it")],
                        help_text="Empty: not done yet",
                        max_length=12,
                    ),
                ),
                ("message", models.CharField(blank=True, max_length=500)),
                ("result", models.JSONField(help_text="As `analytics.research.run` writes it", null=True)),
                ("engine_version", models.CharField(blank=True, max_length=40)),
                ("seconds", models.FloatField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "asked_by",
                    models.ForeignKey(
                        help_text="Empty: the operator",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "study",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="analyses",
                        to="surveys.study",
                    ),
                ),
                (
                    "lock",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="analyses",
                        to="analytics.analysislock",
                    ),
                ),
                (
                    "snapshot",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="analyses",
                        to="analytics.snapshot",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "analyses",
            },
        ),
        migrations.CreateModel(
            name="StoredFile",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=80)),
                ("n_bytes", models.PositiveBigIntegerField()),
                ("sha256", models.CharField(max_length=64)),
                (
                    "export",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="files",
                        to="analytics.export",
                    ),
                ),
                (
                    "snapshot",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="files",
                        to="analytics.snapshot",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="StoredChunk",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.PositiveIntegerField()),
                ("content", models.BinaryField()),
                (
                    "file",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="chunks",
                        to="analytics.storedfile",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="PowerPlan",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=surveys.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("number", models.PositiveIntegerField(help_text="Of the study's plans, from 1")),
                ("title", models.CharField(max_length=120)),
                (
                    "spec",
                    models.JSONField(
                        help_text="Truth, designs and seed, as `analytics.research.plan` writes them"
                    ),
                ),
                ("asked_at", models.DateTimeField()),
                ("result", models.JSONField(null=True)),
                ("engine_version", models.CharField(blank=True, max_length=40)),
                ("seconds", models.FloatField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "asked_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "study",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="power_plans",
                        to="surveys.study",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("study", "number"), name="power_plan_number_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="PublishedTable",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=surveys.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("code", models.SlugField(help_text="Of all versions; the address", max_length=40)),
                ("version", models.PositiveIntegerField()),
                ("title", models.CharField(max_length=200)),
                ("content", models.JSONField(help_text="What the table shows, as it was published")),
                ("sha256", models.CharField(help_text="Of the content in one canonical form", max_length=64)),
                ("published_at", models.DateTimeField()),
                ("withdrawn_at", models.DateTimeField(null=True)),
                ("reason", models.TextField(blank=True, help_text="Why it was withdrawn", max_length=1000)),
                (
                    "analysis",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="published_tables",
                        to="analytics.analysis",
                    ),
                ),
                (
                    "published_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "study",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="published_tables",
                        to="surveys.study",
                    ),
                ),
                (
                    "withdrawn_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("code", "version"), name="published_table_version_once"),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("reason", ""), ("withdrawn_at", None)),
                            models.Q(
                                ("withdrawn_at__isnull", False), models.Q(("reason", ""), _negated=True)
                            ),
                            _connector="OR",
                        ),
                        name="published_table_withdrawn_with_reason",
                    ),
                ],
            },
        ),
        migrations.AddConstraint(
            model_name="snapshot",
            constraint=models.UniqueConstraint(fields=("study", "number"), name="snapshot_number_once"),
        ),
        migrations.AddConstraint(
            model_name="snapshot",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("read_at", None), ("sha256", "")),
                    models.Q(("read_at__isnull", False), models.Q(("sha256", ""), _negated=True)),
                    _connector="OR",
                ),
                name="snapshot_has_its_hash",
            ),
        ),
        migrations.AddConstraint(
            model_name="export",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("decided_at", None), ("decision", "")),
                    models.Q(models.Q(("decision", ""), _negated=True), ("decided_at__isnull", False)),
                    _connector="OR",
                ),
                name="export_decision_has_its_time",
            ),
        ),
        migrations.AddConstraint(
            model_name="export",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("decided_by", None),
                    ("asked_by", None),
                    models.Q(("decided_by", models.F("asked_by")), _negated=True),
                    ("decision", "withdrawn"),
                    _connector="OR",
                ),
                name="export_is_decided_by_a_second_person",
            ),
        ),
        migrations.AddConstraint(
            model_name="export",
            constraint=models.CheckConstraint(
                condition=models.Q(("tier__in", ["scores", "items"])), name="export_tier_is_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="analysis",
            constraint=models.UniqueConstraint(fields=("study", "number"), name="analysis_number_once"),
        ),
        migrations.AddConstraint(
            model_name="analysis",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("result__isnull", True), ("status", "")),
                    models.Q(("result__isnull", False), ("status", "answered")),
                    ("status", "refused"),
                    _connector="OR",
                ),
                name="analysis_has_its_result",
            ),
        ),
        migrations.AddConstraint(
            model_name="storedfile",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("export__isnull", False), ("snapshot", None)),
                    models.Q(("export", None), ("snapshot__isnull", False)),
                    _connector="OR",
                ),
                name="stored_file_has_one_owner",
            ),
        ),
        migrations.AddConstraint(
            model_name="storedfile",
            constraint=models.UniqueConstraint(
                fields=("snapshot", "export", "name"), name="stored_file_once", nulls_distinct=False
            ),
        ),
        migrations.AddConstraint(
            model_name="storedchunk",
            constraint=models.UniqueConstraint(fields=("file", "number"), name="stored_chunk_once"),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
