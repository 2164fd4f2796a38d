"""The sums of a therapy that is left out of the research go at once; taken in again, it is summed again."""

from django.db import migrations

FORWARD = """
DROP TRIGGER therapy_moves ON surveys_therapy;
CREATE TRIGGER therapy_moves AFTER UPDATE OF therapist_id, study_id, excluded_at ON surveys_therapy
    FOR EACH ROW WHEN ((OLD.therapist_id, OLD.study_id) IS DISTINCT FROM (NEW.therapist_id, NEW.study_id)
                       OR (OLD.excluded_at IS NULL) <> (NEW.excluded_at IS NULL))
    EXECUTE FUNCTION analytics_mark_therapy();

-- Not left to the next refit: an erased answer could be read from the sum of one rating.
CREATE FUNCTION analytics_forget_therapy() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM analytics_therapysums WHERE therapy_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER therapy_is_left_out AFTER UPDATE OF excluded_at ON surveys_therapy
    FOR EACH ROW WHEN (OLD.excluded_at IS NULL AND NEW.excluded_at IS NOT NULL)
    EXECUTE FUNCTION analytics_forget_therapy();

-- What was left out before models knew of it.
INSERT INTO analytics_ratingchange (study_id, therapy_id)
    SELECT study_id, id FROM surveys_therapy WHERE excluded_at IS NOT NULL;
"""
BACKWARD = """
DROP TRIGGER therapy_is_left_out ON surveys_therapy;
DROP FUNCTION analytics_forget_therapy();
DROP TRIGGER therapy_moves ON surveys_therapy;
CREATE TRIGGER therapy_moves AFTER UPDATE OF therapist_id, study_id ON surveys_therapy
    FOR EACH ROW WHEN ((OLD.therapist_id, OLD.study_id) IS DISTINCT FROM (NEW.therapist_id, NEW.study_id))
    EXECUTE FUNCTION analytics_mark_therapy();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("analytics", "0004_let_a_fit_time_out"),
        ("surveys", "0005_add_versions_consent_and_messages"),
    ]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
