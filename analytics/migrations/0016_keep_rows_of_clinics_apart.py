"""The second net (surveys.0030) over what is derived from the answers of a clinic."""

from django.db import migrations

CLINICS = "(SELECT surveys_clinics())"
STUDIES = "(SELECT surveys_studies())"
BY_STUDY = (
    "snapshot", "analysislock", "analysis", "powerplan", "diprules", "diptally", "ratingchange",
    "therapysums", "ratingcount", "growthfit", "panel",
)  # fmt: skip


def rule(table: str, seen: str) -> migrations.RunSQL:
    return migrations.RunSQL(
        f"CREATE POLICY within_clinics ON {table} USING ({seen}) WITH CHECK ({seen})",
        f"DROP POLICY within_clinics ON {table}",
    )


def above(table: str, key: str, parent: str) -> str:
    look = f"(SELECT true FROM {parent} above WHERE above.id = {table}.{key})"  # noqa: S608  names of ours
    return f"{CLINICS} IS NULL OR {look}"


RULES = [
    rule("analytics_practicebasis", f"coalesce(clinic_id = ANY ({CLINICS}::uuid[]), true)"),
    *(rule(f"analytics_{name}", f"coalesce(study_id = ANY ({STUDIES}::uuid[]), true)") for name in BY_STUDY),
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
