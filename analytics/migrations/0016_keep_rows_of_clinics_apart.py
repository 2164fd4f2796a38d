"""The second net (surveys.0030) over what is derived from the answers of a clinic."""

from django.db import migrations

ALL = "(SELECT current_setting('app.clinics', true) = '*' OR pg_trigger_depth() > 0)"
CLINICS = "(SELECT nullif(nullif(current_setting('app.clinics', true), ''), '*')::uuid[])::uuid[]"
BY_STUDY = (
    "snapshot", "analysislock", "analysis", "powerplan", "diprules", "diptally", "ratingchange",
    "therapysums", "ratingcount", "growthfit", "panel",
)  # fmt: skip


def rule(table: str, seen: str) -> migrations.RunSQL:
    return migrations.RunSQL(
        f"CREATE POLICY within_clinics ON {table} USING ({ALL} OR {seen}) WITH CHECK ({ALL} OR {seen})",
        f"DROP POLICY within_clinics ON {table}",
    )


def above(table: str, key: str, parent: str) -> str:
    return f"(SELECT true FROM {parent} above WHERE above.id = {table}.{key})"  # noqa: S608  names of ours


RULES = [
    rule("analytics_practicebasis", f"clinic_id = ANY ({CLINICS})"),
    *(rule(f"analytics_{name}", "study_id = ANY (ARRAY(SELECT id FROM surveys_study))") for name in BY_STUDY),
    rule("analytics_dipreview", above("analytics_dipreview", "response_id", "surveys_response")),
    rule("analytics_export", above("analytics_export", "snapshot_id", "analytics_snapshot")),
    rule("analytics_exportapproval", above("analytics_exportapproval", "export_id", "analytics_export")),
    rule(
        "analytics_storedfile",
        above("analytics_storedfile", "snapshot_id", "analytics_snapshot")
        + " OR "
        + above("analytics_storedfile", "export_id", "analytics_export"),
    ),
    rule("analytics_storedchunk", above("analytics_storedchunk", "file_id", "analytics_storedfile")),
]


class Migration(migrations.Migration):
    dependencies = [
        ("analytics", "0015_encrypt_what_is_written"),
        ("surveys", "0030_keep_rows_of_clinics_apart"),
    ]
    operations = RULES
