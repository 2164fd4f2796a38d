"""What imports ask of the database. All text is our own, values are parameters.

It works on temporary tables of one connection: `import_key` (who, which session, which day), `import_payload`
(answers and scores), `import_fault` (why a form is not taken over; the first reason counts), `import_episode`
(therapies that stand here), `import_known` (forms that stand here with the same content), then
`import_accepted` and `import_therapy` (what is stored).
"""

from surveys.models import Score

TABLES = """
    DROP TABLE IF EXISTS pg_temp.import_key, pg_temp.import_payload, pg_temp.import_fault,
        pg_temp.import_known,
        pg_temp.import_person, pg_temp.import_form, pg_temp.import_episode, pg_temp.import_compared;
    CREATE TEMP TABLE import_key (n int PRIMARY KEY, row int NOT NULL, patient int NOT NULL,
        therapist int NOT NULL, session smallint NOT NULL, day date, rater text NOT NULL);
    CREATE TEMP TABLE import_payload (n int PRIMARY KEY, answers jsonb NOT NULL, scores jsonb NOT NULL);
    CREATE TEMP TABLE import_fault (n int PRIMARY KEY, row int NOT NULL, "column" text NOT NULL,
        reason text NOT NULL, "values" jsonb NOT NULL);
    CREATE TEMP TABLE import_known (n int PRIMARY KEY);
    CREATE TEMP TABLE import_episode (n int PRIMARY KEY, therapy uuid NOT NULL);
    CREATE TEMP TABLE import_person (kind text, k int, id uuid NOT NULL, is_new bool NOT NULL,
        PRIMARY KEY (kind, k));
    CREATE TEMP TABLE import_form (rater text PRIMARY KEY, instrument uuid NOT NULL);
"""
# What has no fault so far.
LEFT = "(SELECT key.* FROM import_key key LEFT JOIN import_fault fault USING (n) WHERE fault.n IS NULL)"
FAULT = 'INSERT INTO import_fault (n, row, "column", reason, "values") '
# Therapies of the patients of the file in the study.
THERE = """
    JOIN import_person patient ON patient.kind = 'patient' AND patient.k = key.patient AND NOT patient.is_new
    JOIN surveys_therapy therapy ON therapy.patient_id = patient.id AND therapy.study_id = %(study)s
"""
STANDS = """
    JOIN import_episode episode USING (n)
    JOIN surveys_session session ON session.therapy_id = episode.therapy AND session.number = key.session
"""
OTHER_ROW = "CASE WHEN row = min(row) OVER w THEN max(row) OVER w ELSE min(row) OVER w END"
HELD_ON = "(session.held_at AT TIME ZONE %(zone)s)::date"
CHECKS = (
    f"""{FAULT} SELECT DISTINCT key.n, key.row, %(patient)s, 'left_out', '{{}}'::jsonb FROM {LEFT} key {THERE}
        WHERE therapy.excluded_at IS NOT NULL""",
    f"""{FAULT} SELECT n, row, %(therapist)s, 'two_therapists', '{{}}' FROM {LEFT} key
        WHERE patient IN (SELECT patient FROM {LEFT} own GROUP BY patient
            HAVING min(therapist) <> max(therapist))""",
    f"""INSERT INTO import_episode SELECT key.n, therapy.id FROM {LEFT} key {THERE}
        JOIN import_person therapist ON therapist.kind = 'therapist' AND therapist.k = key.therapist
        WHERE therapy.therapist_id = therapist.id AND therapy.batch_id IS NOT NULL""",
    f"""{FAULT} SELECT DISTINCT key.n, key.row, %(therapist)s, 'other_therapist', '{{}}'::jsonb
        FROM {LEFT} key {THERE} LEFT JOIN import_episode episode USING (n) WHERE episode.n IS NULL""",
    f"""{FAULT} SELECT n, row, %(session)s, 'double', jsonb_build_object('other', other) FROM (
            SELECT n, row, count(*) OVER w AS times, {OTHER_ROW} AS other
            FROM {LEFT} key WINDOW w AS (PARTITION BY patient, session, rater)) forms WHERE times > 1""",
    f"""{FAULT} SELECT n, row, %(day)s, 'two_dates', jsonb_build_object('other', other) FROM (
            SELECT n, row, min(day) OVER w <> max(day) OVER w AS differ, {OTHER_ROW} AS other
            FROM {LEFT} key WHERE day IS NOT NULL WINDOW w AS (PARTITION BY patient, session)) days
        WHERE differ""",
    f"""{FAULT} SELECT n, row, %(day)s, 'date_order', jsonb_build_object('other', latest[2]) FROM (
            SELECT n, row, day, max(ARRAY[day - DATE '1900-01-01', row]) OVER (PARTITION BY patient
                ORDER BY session RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS latest
            FROM {LEFT} key WHERE day IS NOT NULL) days
        WHERE day - DATE '1900-01-01' < latest[1]""",
    f"""{FAULT} SELECT key.n, key.row, %(day)s, CASE WHEN session.timing = 'order'
            THEN 'date_unknown_here' ELSE 'other_date' END, '{{}}'
        FROM {LEFT} key {STANDS}
        WHERE key.day IS NOT NULL AND (session.timing = 'order' OR key.day <> {HELD_ON})""",
    f"""{FAULT} SELECT key.n, key.row, %(day)s, 'date_before', '{{}}'
        FROM {LEFT} key JOIN import_episode episode USING (n)
        WHERE key.day < (SELECT max({HELD_ON}) FROM surveys_session session
            WHERE session.therapy_id = episode.therapy AND session.number < key.session
              AND session.timing <> 'order')""",
)
# Forms that stand here already; the same content or another.
COMPARED = f"""
    SELECT key.n, key.row, response.id IS NOT NULL AND response.answers = payload.answers
        AND (payload.answers <> '{{}}' OR (
            SELECT jsonb_object_agg(scale, mean) FROM surveys_score WHERE response_id = response.id) = (
            SELECT jsonb_object_agg(given.key, given.value -> 0) FROM jsonb_each(payload.scores) given))
        AS same
    FROM {LEFT} key {STANDS}
    JOIN import_form form ON form.rater = key.rater
    JOIN surveys_assignment assignment ON assignment.session_id = session.id AND assignment.rater = key.rater
        AND assignment.instrument_id = form.instrument
    JOIN import_payload payload ON payload.n = key.n
    LEFT JOIN surveys_response response ON response.assignment_id = assignment.id
"""
COMPARE = f"CREATE TEMP TABLE import_compared AS {COMPARED}"
KNOWN = "INSERT INTO import_known SELECT n FROM import_compared WHERE same"
DIFFERENT = f"{FAULT} SELECT n, row, '', 'other_answers', '{{}}' FROM import_compared WHERE NOT same"
COUNTS = f"""
    SELECT (SELECT count(*) FROM import_fault), (SELECT count(*) FROM import_known), count(*),
        count(DISTINCT patient), count(DISTINCT therapist)
    FROM {LEFT} key LEFT JOIN import_known known USING (n) WHERE known.n IS NULL
"""
KEEP_FAULTS = """
    INSERT INTO surveys_importrejection (batch_id, row, "column", reason, "values")
    SELECT %s, row, "column", reason, "values" FROM import_fault ORDER BY n
"""

# What `surveys.ids.uuid7` makes, made by the database.
UUID7 = """encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING substring(
    int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 52, 1), 53, 1),
    'hex')::uuid"""

ACCEPTED = f"""
    DROP TABLE IF EXISTS pg_temp.import_accepted, pg_temp.import_therapy, pg_temp.import_place;
    CREATE TEMP TABLE import_accepted AS
        SELECT row_number() OVER (ORDER BY key.patient, key.session, key.n)::int AS place, key.*,
            {UUID7} AS assignment, {UUID7} AS response
        FROM {LEFT} key LEFT JOIN import_known known USING (n) WHERE known.n IS NULL;
    CREATE UNIQUE INDEX ON import_accepted (place);
    CREATE TEMP TABLE import_therapy AS
        SELECT accepted.patient, min(accepted.therapist) AS therapist,
            min(episode.therapy::text)::uuid AS therapy,
            bool_and(episode.therapy IS NULL) AS is_new
        FROM import_accepted accepted LEFT JOIN import_episode episode USING (n) GROUP BY accepted.patient;
"""
SESSIONS = f"""
    WITH known AS (
        SELECT therapy.therapy, accepted.session AS number, max(accepted.day) AS day
        FROM import_accepted accepted JOIN import_therapy therapy USING (patient)
        WHERE therapy.patient >= %(first)s AND therapy.patient < %(last)s GROUP BY 1, 2
    ), there AS (
        SELECT therapy_id AS therapy, max(number) AS last, max(held_at) AS held_at,
            max((held_at AT TIME ZONE %(zone)s)::date) FILTER (WHERE timing <> 'order') AS day
        FROM surveys_session WHERE therapy_id IN (SELECT therapy FROM known) AND status = 'held' GROUP BY 1
    ), every AS (
        SELECT ends.therapy, number, known.day, there.day AS day_there, there.held_at
        FROM (SELECT therapy, max(number) AS last FROM known GROUP BY therapy) ends
        LEFT JOIN there USING (therapy)
        CROSS JOIN generate_series(coalesce(there.last, 0) + 1, ends.last) number
        LEFT JOIN known USING (therapy, number)
    ), placed AS (
        SELECT every.*, coalesce(
            greatest(day_there, max(day) OVER (PARTITION BY therapy ORDER BY number)),
            min(day) OVER (PARTITION BY therapy), DATE '1900-01-01') AS base FROM every
    )
    INSERT INTO surveys_session (id, therapy_id, held_at, status, reason, number, timing, batch_id,
        closed_by_id, closed_at)
    SELECT {UUID7}, therapy,
        greatest((base + TIME '12:00') AT TIME ZONE %(zone)s, held_at) + number * INTERVAL '1 microsecond',
        'held', '', number, CASE WHEN day IS NULL THEN 'order' ELSE 'day' END, %(batch)s, %(actor)s, now()
    FROM placed
"""
BLOCK_OF = "FROM import_accepted accepted JOIN import_therapy therapy USING (patient)"
IN_BLOCK = "accepted.place > %(first)s AND accepted.place <= %(last)s"
ASSIGNMENTS = f"""
    INSERT INTO surveys_assignment (id, study_id, version_id, session_id, period, rater, instrument_id,
        opens_at, closes_at, state, batch_id)
    SELECT accepted.assignment, %(study)s, %(version)s, session.id, '', accepted.rater, form.instrument,
        session.held_at, session.held_at + INTERVAL '1 hour', 'submitted', %(batch)s
    {BLOCK_OF} JOIN import_form form ON form.rater = accepted.rater
    JOIN surveys_session session ON session.therapy_id = therapy.therapy AND session.number = accepted.session
    WHERE {IN_BLOCK}
"""
RESPONSES = f"""
    INSERT INTO surveys_response (id, assignment_id, instrument_id, answers, elsewhere, client_key,
        receipt_code, layout, device, channel, language, with_staff_session, started_at, submitted_at,
        sharing)
    SELECT accepted.response, accepted.assignment, form.instrument, payload.answers, '[]', gen_random_uuid(),
        '', '', '', 'import', '', false, now(), now(), 'none'
    FROM import_accepted accepted JOIN import_form form ON form.rater = accepted.rater
    JOIN import_payload payload USING (n) WHERE {IN_BLOCK}
"""
SCORES = f"""
    INSERT INTO surveys_score (response_id, scale, mean, n_answered, n_items, scoring_version)
    SELECT accepted.response, score.key, (score.value ->> 0)::float, (score.value ->> 1)::smallint,
        (score.value ->> 2)::smallint,
        CASE WHEN payload.answers = '{{}}' THEN '{Score.GIVEN}'
            ELSE (SELECT definition ->> 'scoring_version' FROM surveys_instrument
                WHERE id = form.instrument) END
    FROM import_accepted accepted JOIN import_form form ON form.rater = accepted.rater
    JOIN import_payload payload USING (n) CROSS JOIN jsonb_each(payload.scores) score WHERE {IN_BLOCK}
"""
# First and last day of therapies that a file brought, from what is known of their sessions.
SETTLE = """
    UPDATE surveys_therapy therapy SET started_on = coalesce(days.first, %(unknown)s),
        ended_on = coalesce(days.last, %(unknown)s)
    FROM (SELECT own.id, min((session.held_at AT TIME ZONE %(zone)s)::date) AS first,
            max((session.held_at AT TIME ZONE %(zone)s)::date) AS last
        FROM surveys_therapy own LEFT JOIN surveys_session session
            ON session.therapy_id = own.id AND session.status = 'held' AND session.timing <> 'order'
        WHERE own.id = ANY(%(therapies)s) AND own.end_reason = 'imported' GROUP BY own.id) days
    WHERE therapy.id = days.id
        AND (therapy.started_on, therapy.ended_on) IS DISTINCT FROM
            (coalesce(days.first, %(unknown)s), coalesce(days.last, %(unknown)s))
"""

# Of a list of forms; what is left without its parent goes first.
TAKE_OUT_FORMS = (
    """DELETE FROM surveys_score WHERE response_id IN (
        SELECT id FROM surveys_response WHERE assignment_id = ANY(%s::uuid[]))""",
    "DELETE FROM surveys_response WHERE assignment_id = ANY(%s::uuid[])",
    "DELETE FROM surveys_assignment WHERE id = ANY(%s::uuid[])",
)
TAKE_OUT_SESSIONS = """
    DELETE FROM surveys_session WHERE id IN (SELECT id FROM surveys_session WHERE batch_id = %s LIMIT %s)
"""
