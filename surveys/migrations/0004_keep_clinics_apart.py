"""One clinic's rows never hang on another's, and a form belongs to the study and rater that it says.

No foreign key can say this without a clinic column in every table, so triggers do.
"""

from django.db import migrations

FORWARD = """
CREATE FUNCTION surveys_therapy_in_one_clinic() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(DISTINCT clinic_id) FROM (
            SELECT clinic_id FROM surveys_therapist WHERE id = NEW.therapist_id
            UNION ALL SELECT clinic_id FROM surveys_patient WHERE id = NEW.patient_id
            UNION ALL SELECT clinic_id FROM surveys_study WHERE id = NEW.study_id) rows) <> 1 THEN
        RAISE EXCEPTION 'therapist, patient and study of a therapy belong to one clinic'
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER therapy_in_one_clinic BEFORE INSERT OR UPDATE OF therapist_id, patient_id, study_id
    ON surveys_therapy FOR EACH ROW EXECUTE FUNCTION surveys_therapy_in_one_clinic();

CREATE FUNCTION surveys_assignment_fits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.rater <> (SELECT rater FROM surveys_instrument WHERE id = NEW.instrument_id) THEN
        RAISE EXCEPTION 'the instrument is for the other rater' USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.session_id IS NOT NULL AND NEW.study_id <> (
            SELECT therapy.study_id FROM surveys_session session
            JOIN surveys_therapy therapy ON therapy.id = session.therapy_id
            WHERE session.id = NEW.session_id) THEN
        RAISE EXCEPTION 'the form is of the study of its therapy' USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.therapist_id IS NOT NULL AND (
            SELECT clinic_id FROM surveys_therapist WHERE id = NEW.therapist_id) <> (
            SELECT clinic_id FROM surveys_study WHERE id = NEW.study_id) THEN
        RAISE EXCEPTION 'therapist and study belong to one clinic' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER assignment_fits
    BEFORE INSERT OR UPDATE OF rater, instrument_id, session_id, study_id, therapist_id ON surveys_assignment
    FOR EACH ROW EXECUTE FUNCTION surveys_assignment_fits();
"""
BACKWARD = """
DROP TRIGGER assignment_fits ON surveys_assignment;
DROP FUNCTION surveys_assignment_fits();
DROP TRIGGER therapy_in_one_clinic ON surveys_therapy;
DROP FUNCTION surveys_therapy_in_one_clinic();
"""


class Migration(migrations.Migration):
    dependencies = [("surveys", "0003_create_cache_table")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
