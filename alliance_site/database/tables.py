"""Which tables the second net is over, and why not over the others. A test fails on a table without a line.

Both say how a row belongs to a clinic; the policies themselves were made by the migrations
`keep_rows_of_clinics_apart`, and a new table of a clinic gets its own in the migration that makes it.
"""

import re
from functools import lru_cache

# Table: the column by which a row is of a clinic, itself or through the row that it names.
PROTECTED: dict[str, str] = {
    "surveys_patient": "clinic_id",
    "surveys_therapist": "clinic_id",
    "surveys_study": "clinic_id",
    "surveys_tablet": "clinic_id",
    "surveys_startcode": "clinic_id",
    "surveys_importbatch": "clinic_id",
    "surveys_importmapping": "clinic_id",
    "surveys_emergencyaccess": "clinic_id",
    "surveys_keeprule": "clinic_id",
    "surveys_auditevent": "clinic_id",
    "analytics_practicebasis": "clinic_id",
    "surveys_studyversion": "study_id",
    "surveys_therapy": "study_id",
    "surveys_assignment": "study_id",
    "surveys_withdrawal": "study_id",
    "analytics_snapshot": "study_id",
    "analytics_analysislock": "study_id",
    "analytics_analysis": "study_id",
    "analytics_powerplan": "study_id",
    "analytics_diprules": "study_id",
    "analytics_diptally": "study_id",
    "analytics_ratingchange": "study_id",
    "analytics_therapysums": "study_id",
    "analytics_ratingcount": "study_id",
    "analytics_growthfit": "study_id",
    "analytics_panel": "study_id",
    "surveys_consenttext": "version_id",
    "surveys_planline": "version_id",
    "surveys_session": "therapy_id",
    "surveys_consent": "patient_id",
    "surveys_formlink": "assignment_id",
    "surveys_opening": "assignment_id",
    "surveys_draftanswer": "assignment_id",
    "surveys_response": "assignment_id",
    "surveys_message": "assignment_id",
    "surveys_score": "response_id",
    "analytics_dipreview": "response_id",
    "surveys_importchunk": "batch_id",
    "surveys_importrejection": "batch_id",
    "surveys_importedperson": "batch_id",
    "analytics_export": "snapshot_id",
    "analytics_exportapproval": "export_id",
    "analytics_storedfile": "snapshot_id or export_id",
    "analytics_storedchunk": "file_id",
}

_ACCOUNT = "an account belongs to a person, who may have roles in several clinics; nothing of a patient"
_MACHINE = "of the machine; ids and times, nothing of a patient"
_DJANGO = "of Django or a library; unused or without rows about people"
OPEN: dict[str, str] = {
    "surveys_clinic": "names of clinics; the scope itself is made from it",
    "surveys_membership": "who is what in which clinic: the scope itself is made from it",
    "surveys_user": _ACCOUNT,
    "surveys_signin": _ACCOUNT,
    "surveys_rolegrant": _ACCOUNT,
    "surveys_factorreset": _ACCOUNT,
    "surveys_apitoken": _ACCOUNT,
    "surveys_clientkey": _ACCOUNT,
    "knox_authtoken": _ACCOUNT,
    "account_emailaddress": _ACCOUNT,
    "account_emailconfirmation": _ACCOUNT,
    "mfa_authenticator": _ACCOUNT,
    "socialaccount_socialaccount": _ACCOUNT,
    "socialaccount_socialapp": _ACCOUNT,
    "socialaccount_socialtoken": _ACCOUNT,
    "surveys_instrument": "wordings of questionnaires, which every process keeps for all clinics",
    "surveys_licence": "which questionnaires a clinic may use; nothing of a patient",
    "analytics_publishedtable": "published for everybody, and checked for that before",
    "surveys_auditseal": "hashes over the trace of all clinics",
    "surveys_job": _MACHINE,
    "surveys_heartbeat": _MACHINE,
    "surveys_backuprun": _MACHINE,
    "cache": "counters, and secrets by their hash",
    "django_migrations": _DJANGO,
    "django_content_type": _DJANGO,
    "django_session": _DJANGO,
    "auth_permission": _DJANGO,
    "auth_group": _DJANGO,
    "auth_group_permissions": _DJANGO,
}

_NAMED = re.compile(r"\b(?:" + "|".join(sorted(PROTECTED, key=len, reverse=True)) + r")\b")


@lru_cache(maxsize=2048)
def names_protected(statement: str) -> bool:
    """Django's statements are the same ones again and again, without their values."""
    return _NAMED.search(statement) is not None
