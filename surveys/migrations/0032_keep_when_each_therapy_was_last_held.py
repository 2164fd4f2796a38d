"""When each therapy was last held stands in its row: a list by it reads no session. Kept by the database in
the transaction that changes a session, whoever changes it; with an index that has the order of the lists.

Nobody waits meanwhile: the column is empty at first and filled in steps that each lock some therapies. What
an earlier try left half done is done again.
"""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import connection, migrations, models
from django.db.models import F

BATCH = 2_000

FORWARD = """
-- Locked first: what is counted then holds every session that another transaction has added.
CREATE OR REPLACE FUNCTION surveys_keep_last_held(therapies uuid[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM surveys_therapy WHERE id = ANY(therapies) ORDER BY id FOR NO KEY UPDATE;
    UPDATE surveys_therapy therapy SET last_held_at = found.at
        FROM (SELECT given.id, (SELECT max(session.held_at) FROM surveys_session session
                                WHERE session.therapy_id = given.id AND session.status = 'held') AS at
              FROM unnest(therapies) given (id)) found
        WHERE therapy.id = found.id AND therapy.last_held_at IS DISTINCT FROM found.at;
END $$;

CREATE OR REPLACE FUNCTION surveys_keep_last_held_of_many() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM surveys_keep_last_held(ARRAY(SELECT DISTINCT therapy_id FROM changed));
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER last_held_comes AFTER INSERT ON surveys_session REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION surveys_keep_last_held_of_many();
CREATE OR REPLACE TRIGGER last_held_goes AFTER DELETE ON surveys_session REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION surveys_keep_last_held_of_many();

CREATE OR REPLACE FUNCTION surveys_keep_last_held_of_one() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM surveys_keep_last_held(ARRAY[OLD.therapy_id, NEW.therapy_id]);
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER last_held_moves AFTER UPDATE OF held_at, status, therapy_id ON surveys_session
    FOR EACH ROW WHEN (
        (OLD.held_at, OLD.status, OLD.therapy_id) IS DISTINCT FROM (NEW.held_at, NEW.status, NEW.therapy_id))
    EXECUTE FUNCTION surveys_keep_last_held_of_one();
"""
BACKWARD = """
DROP TRIGGER last_held_moves ON surveys_session;
DROP TRIGGER last_held_goes ON surveys_session;
DROP TRIGGER last_held_comes ON surveys_session;
DROP FUNCTION surveys_keep_last_held_of_one();
DROP FUNCTION surveys_keep_last_held_of_many();
DROP FUNCTION surveys_keep_last_held(uuid[]);
"""
ADD = "ALTER TABLE surveys_therapy ADD COLUMN IF NOT EXISTS last_held_at timestamptz"
DROP = "ALTER TABLE surveys_therapy DROP COLUMN IF EXISTS last_held_at"


def fill(apps, _schema_editor):
    """Each batch is a transaction of its own."""
    last = None
    therapies = apps.get_model("surveys", "Therapy").objects.order_by("pk").values_list("pk", flat=True)
    while True:
        batch = list((therapies if last is None else therapies.filter(pk__gt=last))[:BATCH])
        if not batch:
            return
        with connection.cursor() as cursor:
            cursor.execute("SELECT surveys_keep_last_held(%s::uuid[])", [batch])
        last = batch[-1]


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("surveys", "0031_encrypt_rejected_cells")]
    operations = [
        migrations.SeparateDatabaseAndState(
            [migrations.RunSQL(ADD, DROP)],
            [
                migrations.AddField(
                    model_name="therapy",
                    name="last_held_at",
                    field=models.DateTimeField(
                        null=True, editable=False, help_text="Of its last held session; the database keeps it"
                    ),
                )
            ],
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.RunSQL(
            "DROP INDEX CONCURRENTLY IF EXISTS therapy_last_held_first", migrations.RunSQL.noop
        ),
        AddIndexConcurrently(
            model_name="therapy",
            index=models.Index(
                F("ended_on").desc(nulls_first=True),
                F("last_held_at").desc(nulls_last=True),
                "code",
                name="therapy_last_held_first",
            ),
        ),
    ]
