"""The domain. One file per topic; import the models from here."""

from surveys.models.audit import AuditEvent
from surveys.models.clinic import Clinic, Membership, Role, User
from surveys.models.instruments import Instrument, Rater
from surveys.models.jobs import Heartbeat, Job
from surveys.models.people import Patient, Therapist, Therapy
from surveys.models.responses import DraftAnswer, Opening, Response, Score, Sharing
from surveys.models.schedule import Assignment, PlanLine, Session, Study

__all__ = [
    "Assignment",
    "AuditEvent",
    "Clinic",
    "DraftAnswer",
    "Heartbeat",
    "Instrument",
    "Job",
    "Membership",
    "Opening",
    "Patient",
    "PlanLine",
    "Rater",
    "Response",
    "Role",
    "Score",
    "Session",
    "Sharing",
    "Study",
    "Therapist",
    "Therapy",
    "User",
]
