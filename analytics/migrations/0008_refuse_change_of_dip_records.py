"""Which rules were chosen and what was done about a possible dip stays as it was written.

A review goes only with its response (erasure). Django deletes it first, so that is looked at when the
transaction ends.
"""

from django.db import migrations

FORWARD = """
CREATE TRIGGER dip_rules_append_only BEFORE UPDATE OR DELETE ON analytics_diprules
    FOR EACH ROW EXECUTE FUNCTION surveys_refuse();
CREATE TRIGGER dip_review_append_only BEFORE UPDATE ON analytics_dipreview
    FOR EACH ROW EXECUTE FUNCTION surveys_refuse();

CREATE FUNCTION analytics_review_goes_with_response() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM surveys_response WHERE id = OLD.response_id) THEN
        RAISE EXCEPTION 'analytics_dipreview is append-only' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER dip_review_goes_with_response AFTER DELETE ON analytics_dipreview
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION analytics_review_goes_with_response();
"""
BACKWARD = """
DROP TRIGGER dip_review_goes_with_response ON analytics_dipreview;
DROP FUNCTION analytics_review_goes_with_response();
DROP TRIGGER dip_review_append_only ON analytics_dipreview;
DROP TRIGGER dip_rules_append_only ON analytics_diprules;
"""


class Migration(migrations.Migration):
    dependencies = [("analytics", "0007_look_for_dips")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
