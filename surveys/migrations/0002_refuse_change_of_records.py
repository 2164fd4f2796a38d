"""Audit rows are never changed or deleted; what was answered in a response is never changed.

A response may be deleted (erasure) and its sharing and reveal time may change.
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
CREATE TRIGGER score_append_only BEFORE UPDATE ON surveys_score
    FOR EACH ROW EXECUTE FUNCTION surveys_refuse();
"""
BACKWARD = """
DROP TRIGGER score_append_only ON surveys_score;
DROP TRIGGER response_append_only ON surveys_response;
DROP TRIGGER audit_append_only ON surveys_auditevent;
DROP FUNCTION surveys_refuse();
"""


class Migration(migrations.Migration):
    dependencies = [("surveys", "0001_create_domain")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
