"""The domain. One file per topic; import the models from here."""

from surveys.models.api import ApiToken, ClientKey, Scope
from surveys.models.audit import EMERGENCY, AuditEvent, AuditSeal, Fields
from surveys.models.clinic import Clinic, Membership, Role, User
from surveys.models.consent import Consent, Withdrawal
from surveys.models.emergency import EmergencyAccess
from surveys.models.grants import OPERATOR, RoleGrant
from surveys.models.imports import (
    ImportBatch,
    ImportChunk,
    ImportedPerson,
    ImportMapping,
    ImportRejection,
)
from surveys.models.instruments import OUTCOME_SCALE, Instrument, Licence, Rater
from surveys.models.jobs import Heartbeat, Job
from surveys.models.messages import Message
from surveys.models.operation import BackupRun
from surveys.models.people import Patient, Therapist, Therapy
from surveys.models.resets import RESET_DAYS, FactorReset
from surveys.models.responses import Channel, DraftAnswer, Opening, Response, Score, Sharing
from surveys.models.retention import KeepRule
from surveys.models.schedule import (
    Assignment,
    ConsentText,
    FormLink,
    PlanLine,
    Session,
    Study,
    StudyVersion,
)
from surveys.models.sign_ins import SignIn
from surveys.models.tablets import StartCode, Tablet

__all__ = [
    "EMERGENCY",
    "OPERATOR",
    "OUTCOME_SCALE",
    "RESET_DAYS",
    "ApiToken",
    "Assignment",
    "AuditEvent",
    "AuditSeal",
    "BackupRun",
    "Channel",
    "ClientKey",
    "Clinic",
    "Consent",
    "ConsentText",
    "DraftAnswer",
    "EmergencyAccess",
    "FactorReset",
    "Fields",
    "FormLink",
    "Heartbeat",
    "ImportBatch",
    "ImportChunk",
    "ImportMapping",
    "ImportRejection",
    "ImportedPerson",
    "Instrument",
    "Job",
    "KeepRule",
    "Licence",
    "Membership",
    "Message",
    "Opening",
    "Patient",
    "PlanLine",
    "Rater",
    "Response",
    "Role",
    "RoleGrant",
    "Scope",
    "Score",
    "Session",
    "Sharing",
    "SignIn",
    "StartCode",
    "Study",
    "StudyVersion",
    "Tablet",
    "Therapist",
    "Therapy",
    "User",
    "Withdrawal",
]
