"""What may not change in the database, whoever asks.

Audit rows are never changed or deleted. What was answered, its scores and the content of an instrument are
never changed. A response may be deleted (erasure); its sharing may only be narrowed, and a reveal stays.
"""

from django.db import migrations

FORWARD = """
CREATE FUNCTION surveys_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON surveys_auditevent
    FOR EACH ROW EXECUTE FUNCTION surveys_refuse();
CREATE TRIGGER response_append_only BEFORE UPDATE ON surveys_response
    FOR EACH ROW WHEN (
        (OLD.id, OLD.assignment_id, OLD.instrument_id, OLD.answers, OLD.client_key, OLD.receipt_code,
         OLD.layout, OLD.device, OLD.channel, OLD.with_staff_session, OLD.started_at, OLD.submitted_at)
        IS DISTINCT FROM
        (NEW.id, NEW.assignment_id, NEW.instrument_id, NEW.answers, NEW.client_key, NEW.receipt_code,
         NEW.layout, NEW.device, NEW.channel, NEW.with_staff_session, NEW.started_at, NEW.submitted_at))
    EXECUTE FUNCTION surveys_refuse();
CREATE TRIGGER response_sharing_narrows BEFORE UPDATE OF sharing, reveal_at ON surveys_response
    FOR EACH ROW WHEN (
        array_position(ARRAY['none', 'scores', 'answers'], NEW.sharing::text)
        > array_position(ARRAY['none', 'scores', 'answers'], OLD.sharing::text)
        OR (OLD.reveal_at IS NOT NULL AND NEW.reveal_at IS DISTINCT FROM OLD.reveal_at))
    EXECUTE FUNCTION surveys_refuse();
CREATE TRIGGER instrument_append_only BEFORE UPDATE ON surveys_instrument
    FOR EACH ROW EXECUTE FUNCTION surveys_refuse();
CREATE TRIGGER score_append_only BEFORE UPDATE ON surveys_score
    FOR EACH ROW EXECUTE FUNCTION surveys_refuse();
"""
BACKWARD = """
DROP TRIGGER score_append_only ON surveys_score;
DROP TRIGGER instrument_append_only ON surveys_instrument;
DROP TRIGGER response_sharing_narrows ON surveys_response;
DROP TRIGGER response_append_only ON surveys_response;
DROP TRIGGER audit_append_only ON surveys_auditevent;
DROP FUNCTION surveys_refuse();
"""


class Migration(migrations.Migration):
    dependencies = [("surveys", "0001_create_domain")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
