"""The second net: rules by which the database shows rows within `app.clinics` alone. They say nothing until
`manage.py rows_guard` switches them on, after every process of the version before has ended.

A row without a clinic of its own is shown with the one that it hangs on: of a study by its key among those
that are shown, which are asked for once; below that by one look at the parent, whose own rule holds there.
What a trigger of ours does, it does for all clinics; `*` is everything.

Each rule is planned anew with each statement, so what can be is in functions, whose plans are kept; those
that are asked once in a statement are NULL for everything. Row by row a function would be dear: so only
where a statement has few.
"""

from django.db import migrations

CLINICS = "(SELECT surveys_clinics())"
STUDIES = "(SELECT surveys_studies())"
NO_CLINIC = "'00000000-0000-0000-0000-000000000000'"
BY_CLINIC = (
    "patient", "therapist", "study", "tablet", "startcode", "importbatch", "importmapping",
    "emergencyaccess", "keeprule",
)  # fmt: skip
BY_STUDY = ("studyversion", "therapy", "assignment", "withdrawal")
OF_FORMS = ("formlink", "opening", "draftanswer")
BY_PARENT = {
    "consenttext": ("version_id", "studyversion"),
    "planline": ("version_id", "studyversion"),
    "session": ("therapy_id", "therapy"),
    "consent": ("patient_id", "patient"),
    "response": ("assignment_id", "assignment"),
    "message": ("assignment_id", "assignment"),
    "score": ("response_id", "response"),
    "importchunk": ("batch_id", "importbatch"),
    "importrejection": ("batch_id", "importbatch"),
    "importedperson": ("batch_id", "importbatch"),
}

FUNCTIONS = """
CREATE FUNCTION surveys_clinics() RETURNS uuid[] LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
BEGIN
    IF current_setting('app.clinics', true) = '*' OR pg_trigger_depth() > 0 THEN
        RETURN NULL;
    END IF;
    RETURN coalesce(nullif(current_setting('app.clinics', true), ''), '{}')::uuid[];
END $$;
CREATE FUNCTION surveys_studies() RETURNS uuid[] LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
BEGIN
    IF current_setting('app.clinics', true) = '*' OR pg_trigger_depth() > 0 THEN
        RETURN NULL;
    END IF;
    RETURN ARRAY(SELECT id FROM public.surveys_study);
END $$;
CREATE FUNCTION surveys_sees_form(assignment uuid) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
BEGIN
    IF current_setting('app.clinics', true) = '*' OR pg_trigger_depth() > 0 THEN
        RETURN true;
    END IF;
    RETURN EXISTS (SELECT FROM public.surveys_assignment WHERE id = assignment);
END $$;
"""
NO_FUNCTIONS = """
DROP FUNCTION surveys_sees_form(uuid);
DROP FUNCTION surveys_studies();
DROP FUNCTION surveys_clinics();
"""


def rule(table: str, seen: str) -> migrations.RunSQL:
    return migrations.RunSQL(
        f"CREATE POLICY within_clinics ON {table} USING ({seen}) WITH CHECK ({seen})",
        f"DROP POLICY within_clinics ON {table}",
    )


def above(table: str, key: str, parent: str) -> str:
    look = f"(SELECT true FROM {parent} above WHERE above.id = {table}.{key})"  # noqa: S608  names of ours
    return f"{CLINICS} IS NULL OR {look}"


RULES = [
    *(rule(f"surveys_{name}", f"coalesce(clinic_id = ANY ({CLINICS}::uuid[]), true)") for name in BY_CLINIC),
    # Of no clinic is also the clinic of nobody.
    rule("surveys_auditevent", f"coalesce(coalesce(clinic_id, {NO_CLINIC}) = ANY ({CLINICS}::uuid[]), true)"),
    *(rule(f"surveys_{name}", f"coalesce(study_id = ANY ({STUDIES}::uuid[]), true)") for name in BY_STUDY),
    *(rule(f"surveys_{name}", "surveys_sees_form(assignment_id)") for name in OF_FORMS),
    *(
        rule(f"surveys_{name}", above(f"surveys_{name}", key, f"surveys_{parent}"))
        for name, (key, parent) in BY_PARENT.items()
    ),
]


class Migration(migrations.Migration):
    dependencies = [("surveys", "0029_say_when_addresses_were_entered")]
    operations = [migrations.RunSQL(FUNCTIONS, NO_FUNCTIONS), *RULES]
