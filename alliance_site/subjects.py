"""Whom an address is about: clinic, patient and therapist of the row whose id it holds, for the trace alone.

No door: it finds the row also for whoever may not see it, so that a refusal stands with the clinic that was
knocked at.
"""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from django.db.models import F, Model

from analytics.models import Analysis, AnalysisLock, Export, PowerPlan, PublishedTable, Snapshot
from surveys import scope
from surveys.models import (
    Assignment,
    ImportBatch,
    Patient,
    Response,
    Role,
    RoleGrant,
    Session,
    Study,
    Tablet,
    Therapist,
    Therapy,
    User,
)


@dataclass(frozen=True)
class Kind:
    """Where a row keeps its clinic, its patient and its therapist; empty: it has none."""

    model: type[Model]
    clinic: str = ""
    patient: str = ""
    therapist: str = ""


# By the name that the argument has in the address.
KINDS: dict[str, Kind] = {
    "therapy_id": Kind(Therapy, "study__clinic", "patient", "therapist"),
    "patient_id": Kind(Patient, "clinic", "pk"),
    "session_id": Kind(Session, "therapy__study__clinic", "therapy__patient", "therapy__therapist"),
    "assignment_id": Kind(
        Assignment, "study__clinic", "session__therapy__patient", "session__therapy__therapist"
    ),
    "response_id": Kind(
        Response,
        "assignment__study__clinic",
        "assignment__session__therapy__patient",
        "assignment__session__therapy__therapist",
    ),
    "therapist_id": Kind(Therapist, "clinic", therapist="pk"),
    "study_id": Kind(Study, "clinic"),
    "test_id": Kind(Study, "clinic"),
    "tablet_id": Kind(Tablet, "clinic"),
    "batch_id": Kind(ImportBatch, "clinic"),
    "user_id": Kind(User),
    "grant_id": Kind(RoleGrant, "clinic"),
    "analysis_id": Kind(Analysis, "study__clinic"),
    "snapshot_id": Kind(Snapshot, "study__clinic"),
    "export_id": Kind(Export, "snapshot__study__clinic"),
    "plan_id": Kind(PowerPlan, "study__clinic"),
    "lock_id": Kind(AnalysisLock, "study__clinic"),
    "table_id": Kind(PublishedTable, "study__clinic"),
}


@dataclass(frozen=True)
class Subject:
    """`therapist` and `supervisor` are the accounts of who treats and who supervises that."""

    name: str = ""
    clinic: UUID | None = None
    patient: UUID | None = None
    therapist: UUID | None = None
    supervisor: UUID | None = None


NOBODY = Subject()


@scope.everything()
def subject_of(kind: str, key: UUID) -> Subject:
    """One question to the database; of a row that is not there, its name alone."""
    place = KINDS[kind]
    therapist = place.therapist.removesuffix("pk")
    person = f"{therapist}__" if therapist else ""
    paths = {
        "clinic": place.clinic,
        "patient": place.patient,
        "therapist": f"{person}user" if place.therapist else "",
        "supervisor": f"{person}supervisor" if place.therapist else "",
    }
    columns = {f"its_{name}": F(path) for name, path in paths.items() if path}
    found = place.model._default_manager.filter(pk=key).annotate(**columns).values(*columns).first() or {}
    named = {name.removeprefix("its_"): value for name, value in found.items() if name in columns}
    return Subject(f"{place.model._meta.model_name}:{key}", **named)


def acting_role(
    allowed: Collection[str], held: Collection[tuple[UUID, str]], subject: Subject, person: UUID
) -> tuple[str, UUID | None]:
    """In which role somebody with the roles `held` (clinic and role) opened a page for the roles `allowed`,
    and in which clinic: who treats as therapist, who supervises that as supervisor, else by the first that
    fits. Where none does, the page was refused, and it is the first that they have."""
    own = {Role.THERAPIST.value: subject.therapist, Role.SUPERVISOR.value: subject.supervisor}
    rank = sorted(Role.values, key=lambda role: own.get(role) != person)
    here = [row for row in held if subject.clinic in (None, row[0])]
    fitting = [row for row in here if row[1] in allowed] or [row for row in held if row[1] in allowed] or held
    clinic, role = min(fitting, key=lambda row: (rank.index(row[1]), str(row[0])), default=(None, ""))
    return role, clinic
