"""The queries behind the frozen tables. Each gives the columns of one table of `analytics.frozen`, in its
order; a test holds them together. All text is our own, values are parameters.

They read `chosen` (therapies) and `name` (pseudonyms), the temporary tables of `services.freeze`.
"""

from typing import Any

from analytics.frozen import Column, Table
from analytics.selection import Selection

CHOSEN = """
    CREATE TEMP TABLE chosen ON COMMIT DROP AS SELECT id, patient_id, therapist_id FROM surveys_therapy
    WHERE study_id = %(study)s AND excluded_at IS NULL AND {where}
"""
# Who is given a pseudonym, by its prefix. Therapists without a chosen therapy stand only in the data of a
# whole study: what they say of their practice is of no chosen patient.
PEOPLE = {
    "T": """
        SELECT therapist_id FROM chosen
        UNION SELECT therapist_id FROM surveys_assignment
        WHERE study_id = %(study)s AND session_id IS NULL AND therapist_id IS NOT NULL AND %(is_all)s
    """,
    "P": "SELECT DISTINCT patient_id FROM chosen",
    "E": "SELECT id FROM chosen",
}

# Read once: the definition of a form is long, and opened for each answer it takes most of the time.
INSTRUMENTS = """
    WITH instrument AS MATERIALIZED (
        SELECT id, code, version, language,
               ARRAY(SELECT jsonb_array_elements_text(definition -> 'reversed')::int) AS turned
        FROM surveys_instrument)
"""
FORM = """
    JOIN surveys_assignment form ON form.id = response.assignment_id
    JOIN instrument ON instrument.id = response.instrument_id
    JOIN surveys_studyversion version ON version.id = form.version_id
"""
SESSION = """
    JOIN surveys_session session ON session.id = form.session_id
    JOIN chosen ON chosen.id = session.therapy_id
    JOIN surveys_therapy therapy ON therapy.id = chosen.id
"""
NAMES = """
    JOIN name therapist_name ON therapist_name.id = therapy.therapist_id
    JOIN name patient_name ON patient_name.id = therapy.patient_id
    JOIN name therapy_name ON therapy_name.id = therapy.id
"""
IS_PATIENTS = "form.rater = 'patient'"

# What a file did not say stands in the database as a day that is none (`surveys.models.people`).
STARTED_ON = "nullif(therapy.started_on, DATE '1900-01-01')"

COLUMNS = {
    "therapist": "therapist_name.name",
    "patient": "patient_name.name",
    "therapy": "therapy_name.name",
    "session": "session.number",
    "occasion": "form.occasion",
    # The greatest of nothing and 0 would be 0.
    "week": "CASE WHEN {day_of_session} >= {started_on} THEN ({day_of_session} - {started_on}) / 7"
    " WHEN {day_of_session} < {started_on} THEN 0 END",
    "rater": "form.rater",
    "instrument": "instrument.code",
    "instrument_version": "instrument.version",
    "language": "instrument.language",
    "study_version": "version.number",
    "visibility": "version.visibility",
    "submitted_on": "CASE WHEN response.channel <> 'import'"
    " THEN (response.submitted_at AT TIME ZONE {zone})::date END",
    "minutes": "CASE WHEN response.channel NOT IN ('paper', 'import')"
    " THEN round(extract(epoch FROM response.submitted_at - response.started_at) / 60, 1) END",
    "channel": "response.channel",
    "device": "nullif(response.device, '')",
    "layout": "nullif(response.layout, '')",
    "scoring_version": "score.scoring_version",
    # Where an option stands for all answered items, of both directions.
    "straight_lined": """(SELECT (count(DISTINCT answer.value) = 1
          AND count(DISTINCT answer.key::int = ANY(instrument.turned)) = 2)::int
        FROM jsonb_each_text(response.answers) answer WHERE answer.value::int > -90)""",
    "consent_version": "consent.number",
    "sharing": f"CASE WHEN {IS_PATIENTS} THEN response.sharing END",
    "revealed": f"CASE WHEN {IS_PATIENTS} THEN (response.reveal_at IS NOT NULL)::int END",
    "hours_to_reveal": f"CASE WHEN {IS_PATIENTS}"
    " THEN round(extract(epoch FROM response.reveal_at - response.submitted_at) / 3600, 1) END",
    "about": "CASE WHEN form.session_id IS NULL THEN 'trait' ELSE 'state' END",
    "period": "nullif(form.period, '')",
    "line": "row_number() OVER (PARTITION BY session.therapy_id ORDER BY session.held_at, session.id)",
    "status": "session.status",
    "reason": "nullif(session.reason, '')",
    "held_on": "{day_of_session}",
    "arm": "nullif(therapy.arm, '')",
    "patient_language": "patient.language",
    "n_held": "(SELECT count(*) FROM surveys_session held WHERE held.therapy_id = therapy.id"
    " AND held.status = 'held')",
    "is_ended": "(therapy.ended_on IS NOT NULL)::int",
    "end_reason": "nullif(therapy.end_reason, '')",
    "transferred_from": "previous_name.name",
    "started_on": "{started_on}",
    "ended_on": "nullif(therapy.ended_on, DATE '1900-01-01')",
    "n_therapies": "(SELECT count(*) FROM chosen own WHERE own.therapist_id = therapist.id)",
    "n_patients": "(SELECT count(DISTINCT own.patient_id) FROM chosen own"
    " WHERE own.therapist_id = therapist.id)",
    "fate": """CASE WHEN form.state = 'declined' THEN 'declined' WHEN form.closes_at > %(at)s THEN 'open'
        WHEN EXISTS (SELECT 1 FROM surveys_opening opening WHERE opening.assignment_id = form.id)
        THEN 'begun' ELSE 'missed' END""",
}
CONSENT = """
    LEFT JOIN LATERAL (
        SELECT given.number FROM surveys_consent consent
        JOIN surveys_consenttext words ON words.id = consent.text_id
        JOIN surveys_studyversion given ON given.id = words.version_id
        WHERE form.rater = 'patient' AND consent.patient_id = therapy.patient_id
          AND given.study_id = form.study_id AND consent.agreed AND consent.at <= response.submitted_at
        ORDER BY consent.at DESC, consent.id DESC LIMIT 1) consent ON true
"""
SOURCES = {
    "ratings": f"""
        FROM surveys_response response {FORM} {SESSION} {NAMES} {CONSENT} {{scores}}
        WHERE form.study_id = %(study)s AND response.instrument_id = ANY(%(outcome)s)
        ORDER BY 1, 2, 3, 4, form.rater, instrument.code, response.id
    """,
    "practice": f"""
        FROM surveys_response response {FORM}
        LEFT JOIN surveys_session session ON session.id = form.session_id
        LEFT JOIN chosen ON chosen.id = session.therapy_id
        LEFT JOIN surveys_therapy therapy ON therapy.id = chosen.id
        JOIN name therapist_name ON therapist_name.id = coalesce(therapy.therapist_id, form.therapist_id)
        LEFT JOIN name patient_name ON patient_name.id = therapy.patient_id
        LEFT JOIN name therapy_name ON therapy_name.id = therapy.id
        {{scores}}
        WHERE form.study_id = %(study)s AND NOT response.instrument_id = ANY(%(outcome)s)
          AND form.rater = 'therapist' AND (form.session_id IS NULL OR chosen.id IS NOT NULL)
        ORDER BY therapist_name.name, form.period, therapy_name.name, session.number, instrument.code,
                 response.id
    """,
    "missing": f"""
        FROM surveys_assignment form JOIN instrument ON instrument.id = form.instrument_id
        {SESSION} {NAMES}
        WHERE form.study_id = %(study)s AND session.number IS NOT NULL
          AND form.state IN ('due', 'opened', 'declined') AND form.opens_at <= %(at)s
        ORDER BY 1, 2, 3, 4, form.rater, instrument.code
    """,
    "sessions": f"""
        FROM surveys_session session JOIN chosen ON chosen.id = session.therapy_id
        JOIN surveys_therapy therapy ON therapy.id = chosen.id {NAMES}
        WHERE session.reason <> 'mistake'
        ORDER BY 1, 2, 3, 4
    """,
    "therapies": f"""
        FROM surveys_therapy therapy JOIN chosen ON chosen.id = therapy.id {NAMES}
        JOIN surveys_patient patient ON patient.id = therapy.patient_id
        LEFT JOIN name previous_name ON previous_name.id = therapy.previous_id
        ORDER BY 1, 2, 3
    """,
    "therapists": """
        FROM surveys_therapist therapist JOIN name therapist_name ON therapist_name.id = therapist.id
        ORDER BY 1
    """,
}


def query(table: Table, zone: str) -> str:
    """The query of a table; parameters `study`, `at` (the moment) and `outcome` (ids of alliance forms)."""
    # The one value in the text: a setting of the site, quoted as Postgres quotes.
    quoted = "'" + zone.replace("'", "''") + "'"
    day = f"CASE WHEN session.timing <> 'order' THEN (session.held_at AT TIME ZONE {quoted})::date END"
    scales = [column.name for column in table.columns if _is_scale(column, table)]
    places = {"zone": quoted, "day_of_session": day, "started_on": STARTED_ON}
    shown = ", ".join(
        f"{_expression(column, scales).format(**places)} AS {column.name}" for column in table.columns
    )
    return f"{INSTRUMENTS} SELECT {shown} {SOURCES[table.name].format(scores=_scores(scales))}"


def condition(selection: Selection) -> tuple[str, dict[str, Any]]:
    """What a chosen therapy fulfils, as SQL with its parameters."""
    parts: list[str] = ["true"]
    values: dict[str, Any] = {}
    if selection.started_from:
        parts.append("started_on >= %(from)s")
        values["from"] = selection.started_from
    if selection.started_until:
        parts.append("started_on <= %(until)s AND started_on <> DATE '1900-01-01'")
        values["until"] = selection.started_until
    if selection.arms:
        parts.append("arm = ANY(%(arms)s)")
        values["arms"] = list(selection.arms)
    if selection.only_ended:
        parts.append("ended_on IS NOT NULL")
    return " AND ".join(parts), values


def _is_scale(column: Column, table: Table) -> bool:
    return f"{column.name}_answered" in {other.name for other in table.columns}


def _expression(column: Column, scales: list[str]) -> str:
    kind, _, number = column.name.partition("_")
    if kind == "item" and number.isdigit():
        return f"(response.answers ->> '{number}')::int"
    if column.name in scales or column.name.removesuffix("_answered") in scales:
        return f'score."{column.name}"'
    return COLUMNS[column.name]


SCORES = """
    LEFT JOIN (SELECT response_id, max(scoring_version) AS scoring_version{each} FROM surveys_score
        WHERE response_id IN (SELECT own.id FROM surveys_response own
            JOIN surveys_assignment asked ON asked.id = own.assignment_id WHERE asked.study_id = %(study)s)
        GROUP BY response_id) score ON score.response_id = response.id
"""


def _scores(scales: list[str]) -> str:
    """One row a form with every scale, by one pass over the scores. Codes of scales are plain names
    (`surveys.tables.CODE`)."""
    each = "".join(
        f", max(mean) FILTER (WHERE scale = '{code}') AS \"{code}\""
        f", max(n_answered) FILTER (WHERE scale = '{code}') AS \"{code}_answered\""
        for code in scales
    )
    return SCORES.format(each=each)
