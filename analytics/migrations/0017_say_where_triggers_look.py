"""What a trigger asks, it asks of the tables of this product, whatever else a session has made of that name.

A temporary table stands before all others where nothing is said of it: with one, the application's role could
have answered the question of a trigger itself.
"""

from django.db import migrations

FORWARD = """
DO $$
DECLARE
    found regprocedure;
BEGIN
    FOR found IN
        SELECT oid FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace AND prorettype = 'trigger'::regtype
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = public, pg_temp', found);
    END LOOP;
END $$
"""
BACKWARD = FORWARD.replace("SET search_path = public, pg_temp", "RESET search_path")


class Migration(migrations.Migration):
    dependencies = [
        ("analytics", "0016_keep_rows_of_clinics_apart"),
        ("surveys", "0032_keep_when_each_therapy_was_last_held"),
    ]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
