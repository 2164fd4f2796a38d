"""The second net: rules by which the database shows rows within `app.clinics` alone. They say nothing until
`manage.py rows_guard` switches them on, after every process of the version before has ended.

A row without a clinic of its own is shown with the one that it hangs on: of a study by its key among those
that are shown, which are asked for once; below that by one look at the parent, whose own rule holds there.
What a trigger of ours does, it does for all clinics; `*` is everything.
"""

from django.db import migrations

ALL = "(SELECT current_setting('app.clinics', true) = '*' OR pg_trigger_depth() > 0)"
CLINICS = "(SELECT nullif(nullif(current_setting('app.clinics', true), ''), '*')::uuid[])::uuid[]"
BY_CLINIC = (
    "patient", "therapist", "study", "tablet", "startcode", "importbatch", "importmapping",
    "emergencyaccess", "keeprule", "auditevent",
)  # fmt: skip
BY_STUDY = ("studyversion", "therapy", "assignment", "withdrawal")
BY_PARENT = {
    "consenttext": ("version_id", "studyversion"),
    "planline": ("version_id", "studyversion"),
    "session": ("therapy_id", "therapy"),
    "consent": ("patient_id", "patient"),
    "formlink": ("assignment_id", "assignment"),
    "opening": ("assignment_id", "assignment"),
    "draftanswer": ("assignment_id", "assignment"),
    "response": ("assignment_id", "assignment"),
    "message": ("assignment_id", "assignment"),
    "score": ("response_id", "response"),
    "importchunk": ("batch_id", "importbatch"),
    "importrejection": ("batch_id", "importbatch"),
    "importedperson": ("batch_id", "importbatch"),
}


def rule(table: str, seen: str) -> migrations.RunSQL:
    return migrations.RunSQL(
        f"CREATE POLICY within_clinics ON {table} USING ({ALL} OR {seen}) WITH CHECK ({ALL} OR {seen})",
        f"DROP POLICY within_clinics ON {table}",
    )


RULES = [
    *(rule(f"surveys_{name}", f"clinic_id = ANY ({CLINICS})") for name in BY_CLINIC),
    *(rule(f"surveys_{name}", "study_id = ANY (ARRAY(SELECT id FROM surveys_study))") for name in BY_STUDY),
    *(
        rule(
            f"surveys_{name}",
            f"(SELECT true FROM surveys_{parent} above WHERE above.id = surveys_{name}.{key})",  # noqa: S608  names of ours
        )
        for name, (key, parent) in BY_PARENT.items()
    ),
]


class Migration(migrations.Migration):
    dependencies = [("surveys", "0029_say_when_addresses_were_entered")]
    operations = RULES
