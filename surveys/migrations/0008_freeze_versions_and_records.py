"""What is in force does not change: an active version with its lines and texts, a consent, a withdrawal, a
licence record. A response also keeps the language it was shown in and who entered it."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION surveys_version_is_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE parent bigint;
BEGIN
    -- A line or text may not leave, enter or change in a version that is in force.
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
CREATE TRIGGER plan_line_is_frozen BEFORE INSERT OR UPDATE OR DELETE ON surveys_planline
    FOR EACH ROW EXECUTE FUNCTION surveys_version_is_frozen();
CREATE TRIGGER consent_text_is_frozen BEFORE INSERT OR UPDATE OR DELETE ON surveys_consenttext
    FOR EACH ROW EXECUTE FUNCTION surveys_version_is_frozen();
CREATE TRIGGER study_version_is_frozen BEFORE UPDATE OR DELETE ON surveys_studyversion
    FOR EACH ROW WHEN (OLD.active_from IS NOT NULL) EXECUTE FUNCTION surveys_refuse();

CREATE TRIGGER consent_append_only BEFORE UPDATE OR DELETE ON surveys_consent
    FOR EACH ROW EXECUTE FUNCTION surveys_refuse();
CREATE TRIGGER withdrawal_append_only BEFORE UPDATE OR DELETE ON surveys_withdrawal
    FOR EACH ROW EXECUTE FUNCTION surveys_refuse();
CREATE TRIGGER licence_append_only BEFORE UPDATE OR DELETE ON surveys_licence
    FOR EACH ROW EXECUTE FUNCTION surveys_refuse();

CREATE TRIGGER response_source_append_only BEFORE UPDATE ON surveys_response
    FOR EACH ROW WHEN ((OLD.language, OLD.entered_by_id) IS DISTINCT FROM (NEW.language, NEW.entered_by_id))
    EXECUTE FUNCTION surveys_refuse();

CREATE FUNCTION surveys_link_is_for_patients() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT rater FROM surveys_assignment WHERE id = NEW.assignment_id) <> 'patient' THEN
        RAISE EXCEPTION 'only a patient''s form has a link' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER link_is_for_patients BEFORE INSERT OR UPDATE OF assignment_id ON surveys_formlink
    FOR EACH ROW EXECUTE FUNCTION surveys_link_is_for_patients();

CREATE FUNCTION surveys_assignment_version_fits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.study_id <> (SELECT study_id FROM surveys_studyversion WHERE id = NEW.version_id) THEN
        RAISE EXCEPTION 'the version is of the study of the form' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER assignment_version_fits BEFORE INSERT OR UPDATE OF version_id, study_id ON surveys_assignment
    FOR EACH ROW EXECUTE FUNCTION surveys_assignment_version_fits();
"""
BACKWARD = """
DROP TRIGGER assignment_version_fits ON surveys_assignment;
DROP FUNCTION surveys_assignment_version_fits();
DROP TRIGGER link_is_for_patients ON surveys_formlink;
DROP FUNCTION surveys_link_is_for_patients();
DROP TRIGGER response_source_append_only ON surveys_response;
DROP TRIGGER licence_append_only ON surveys_licence;
DROP TRIGGER withdrawal_append_only ON surveys_withdrawal;
DROP TRIGGER consent_append_only ON surveys_consent;
DROP TRIGGER study_version_is_frozen ON surveys_studyversion;
DROP TRIGGER consent_text_is_frozen ON surveys_consenttext;
DROP TRIGGER plan_line_is_frozen ON surveys_planline;
DROP FUNCTION surveys_version_is_frozen();
"""


class Migration(migrations.Migration):
    dependencies = [("surveys", "0007_ask_by_version")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
