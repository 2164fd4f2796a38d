"""A test run holds nobody's answers and may be cleared; a study is a test run from its beginning or never."""

from django.db import migrations

FORWARD = """
CREATE OR REPLACE FUNCTION surveys_version_is_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE parent bigint;
BEGIN
    -- A line or text may not leave, enter or change in a version that is in force.
    FOREACH parent IN ARRAY CASE TG_OP
        WHEN 'INSERT' THEN ARRAY[NEW.version_id]
        WHEN 'DELETE' THEN ARRAY[OLD.version_id]
        ELSE ARRAY[OLD.version_id, NEW.version_id] END
    LOOP
        IF EXISTS (SELECT 1 FROM surveys_studyversion version
                JOIN surveys_study study ON study.id = version.study_id
                WHERE version.id = parent AND version.active_from IS NOT NULL
                AND NOT (TG_OP = 'DELETE' AND study.test_of_id IS NOT NULL)) THEN
            RAISE EXCEPTION 'this version of the study is in force; a change needs a new version'
                USING ERRCODE = 'restrict_violation';
        END IF;
    END LOOP;
    RETURN COALESCE(NEW, OLD);
END $$;

CREATE FUNCTION surveys_refuse_unless_test() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE old_row jsonb := to_jsonb(OLD); study_of uuid;
BEGIN
    IF TG_OP = 'DELETE' THEN
        study_of := COALESCE((old_row ->> 'study_id')::uuid, (
            SELECT version.study_id FROM surveys_consenttext words
            JOIN surveys_studyversion version ON version.id = words.version_id
            WHERE words.id = (old_row ->> 'text_id')::bigint));
        IF EXISTS (SELECT 1 FROM surveys_study WHERE id = study_of AND test_of_id IS NOT NULL) THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
DROP TRIGGER study_version_is_frozen ON surveys_studyversion;
CREATE TRIGGER study_version_is_frozen BEFORE UPDATE OR DELETE ON surveys_studyversion
    FOR EACH ROW WHEN (OLD.active_from IS NOT NULL) EXECUTE FUNCTION surveys_refuse_unless_test();
DROP TRIGGER consent_append_only ON surveys_consent;
CREATE TRIGGER consent_append_only BEFORE UPDATE OR DELETE ON surveys_consent
    FOR EACH ROW EXECUTE FUNCTION surveys_refuse_unless_test();
DROP TRIGGER withdrawal_append_only ON surveys_withdrawal;
CREATE TRIGGER withdrawal_append_only BEFORE UPDATE OR DELETE ON surveys_withdrawal
    FOR EACH ROW EXECUTE FUNCTION surveys_refuse_unless_test();

CREATE TRIGGER study_stays_test_or_not BEFORE UPDATE OF test_of_id ON surveys_study
    FOR EACH ROW WHEN (OLD.test_of_id IS DISTINCT FROM NEW.test_of_id) EXECUTE FUNCTION surveys_refuse();
"""
BACKWARD = """
DROP TRIGGER study_stays_test_or_not ON surveys_study;
DROP TRIGGER withdrawal_append_only ON surveys_withdrawal;
CREATE TRIGGER withdrawal_append_only BEFORE UPDATE OR DELETE ON surveys_withdrawal
    FOR EACH ROW EXECUTE FUNCTION surveys_refuse();
DROP TRIGGER consent_append_only ON surveys_consent;
CREATE TRIGGER consent_append_only BEFORE UPDATE OR DELETE ON surveys_consent
    FOR EACH ROW EXECUTE FUNCTION surveys_refuse();
DROP TRIGGER study_version_is_frozen ON surveys_studyversion;
CREATE TRIGGER study_version_is_frozen BEFORE UPDATE OR DELETE ON surveys_studyversion
    FOR EACH ROW WHEN (OLD.active_from IS NOT NULL) EXECUTE FUNCTION surveys_refuse();
DROP FUNCTION surveys_refuse_unless_test();
CREATE OR REPLACE FUNCTION surveys_version_is_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE parent bigint;
BEGIN
    FOREACH parent IN ARRAY CASE TG_OP
        WHEN 'INSERT' THEN ARRAY[NEW.version_id]
        WHEN 'DELETE' THEN ARRAY[OLD.version_id]
        ELSE ARRAY[OLD.version_id, NEW.version_id] END
    LOOP
        IF EXISTS (SELECT 1 FROM surveys_studyversion WHERE id = parent AND active_from IS NOT NULL) THEN
            RAISE EXCEPTION 'this version of the study is in force; a change needs a new version'
                USING ERRCODE = 'restrict_violation';
        END IF;
    END LOOP;
    RETURN COALESCE(NEW, OLD);
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("surveys", "0010_say_when_and_why")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
