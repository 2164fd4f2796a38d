"""Sums per therapy beside the ratings, and triggers that mark a therapy whose ratings change.

A mark is part of the transaction that changes the ratings, whoever makes the change: no mark is missing
once the change can be read. A change is a score that comes or goes, a form that goes, a session with another
number or therapy, a therapy with another therapist or study; the rest of a rating's way is never changed.
"""

import django.db.models.deletion
from django.db import migrations, models

FORWARD = """
CREATE FUNCTION analytics_mark_scores() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO analytics_ratingchange (study_id, therapy_id)
        SELECT DISTINCT assignment.study_id, session.therapy_id FROM changed
        JOIN surveys_response response ON response.id = changed.response_id
        JOIN surveys_assignment assignment ON assignment.id = response.assignment_id
        JOIN surveys_session session ON session.id = assignment.session_id;
    RETURN NULL;
END $$;
CREATE TRIGGER rating_comes AFTER INSERT ON surveys_score REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION analytics_mark_scores();
CREATE TRIGGER rating_goes AFTER DELETE ON surveys_score REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION analytics_mark_scores();

-- Foreign keys are checked at the end of a transaction: a response may go before its scores.
CREATE FUNCTION analytics_mark_response() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO analytics_ratingchange (study_id, therapy_id)
        SELECT assignment.study_id, session.therapy_id FROM surveys_assignment assignment
        JOIN surveys_session session ON session.id = assignment.session_id
        WHERE assignment.id = OLD.assignment_id;
    RETURN NULL;
END $$;
CREATE TRIGGER form_goes AFTER DELETE ON surveys_response
    FOR EACH ROW EXECUTE FUNCTION analytics_mark_response();

CREATE FUNCTION analytics_mark_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO analytics_ratingchange (study_id, therapy_id)
        SELECT study_id, id FROM surveys_therapy WHERE id IN (OLD.therapy_id, NEW.therapy_id)
        UNION SELECT assignment.study_id, therapy FROM surveys_assignment assignment,
            unnest(ARRAY[OLD.therapy_id, NEW.therapy_id]) therapy WHERE assignment.session_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER session_moves AFTER UPDATE OF number, therapy_id ON surveys_session
    FOR EACH ROW WHEN ((OLD.number, OLD.therapy_id) IS DISTINCT FROM (NEW.number, NEW.therapy_id))
    EXECUTE FUNCTION analytics_mark_session();

CREATE FUNCTION analytics_mark_therapy() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO analytics_ratingchange (study_id, therapy_id)
        SELECT study_id, NEW.id FROM (VALUES (OLD.study_id), (NEW.study_id)) studies (study_id)
        UNION SELECT assignment.study_id, NEW.id FROM surveys_assignment assignment
            JOIN surveys_session session ON session.id = assignment.session_id
            WHERE session.therapy_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER therapy_moves AFTER UPDATE OF therapist_id, study_id ON surveys_therapy
    FOR EACH ROW WHEN ((OLD.therapist_id, OLD.study_id) IS DISTINCT FROM (NEW.therapist_id, NEW.study_id))
    EXECUTE FUNCTION analytics_mark_therapy();

-- What was rated before there were sums is summed by each study's next refit.
INSERT INTO analytics_ratingchange (study_id, therapy_id) SELECT study_id, id FROM surveys_therapy;
"""
BACKWARD = """
DROP TRIGGER therapy_moves ON surveys_therapy;
DROP FUNCTION analytics_mark_therapy();
DROP TRIGGER session_moves ON surveys_session;
DROP FUNCTION analytics_mark_session();
DROP TRIGGER form_goes ON surveys_response;
DROP FUNCTION analytics_mark_response();
DROP TRIGGER rating_goes ON surveys_score;
DROP TRIGGER rating_comes ON surveys_score;
DROP FUNCTION analytics_mark_scores();
"""


class Migration(migrations.Migration):
    dependencies = [("analytics", "0002_refuse_change_of_fits"), ("surveys", "0004_keep_clinics_apart")]
    operations = [
        migrations.CreateModel(
            name="RatingChange",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        primary_key=True, auto_created=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "study",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="surveys.study",
                    ),
                ),
                (
                    "therapy",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="surveys.therapy",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="TherapySums",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        primary_key=True, auto_created=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "perspective",
                    models.CharField(
                        choices=[("patient", "Patient"), ("therapist", "Therapist")],
                        help_text="Whose ratings are summed",
                        max_length=12,
                    ),
                ),
                ("instrument", models.CharField(max_length=40)),
                ("scale", models.CharField(max_length=40)),
                ("n", models.PositiveIntegerField()),
                ("mean_time", models.FloatField()),
                ("mean_y", models.FloatField()),
                ("css_time", models.FloatField(help_text="Sum of (time - mean_time)^2")),
                ("csp", models.FloatField(help_text="Sum of (time - mean_time) (y - mean_y)")),
                ("css_y", models.FloatField(help_text="Sum of (y - mean_y)^2")),
                (
                    "study",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="surveys.study",
                    ),
                ),
                (
                    "therapist",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="surveys.therapist",
                    ),
                ),
                (
                    "therapy",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="surveys.therapy"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "therapy sums",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("study", "perspective", "instrument", "scale", "therapy"),
                        name="therapy_sums_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("n__gte", 1)), name="therapy_sums_of_a_rating"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("css_time__gte", 0), ("css_y__gte", 0)),
                        name="therapy_sums_of_squares_are_not_negative",
                    ),
                ],
            },
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
