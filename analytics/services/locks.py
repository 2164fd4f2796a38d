"""Fixing a question before the data are looked at: what is to be computed and whom it leaves out, with hash
and time, so that everybody can see later whether it was the question that was asked."""

import hashlib
import json

from django.db import transaction
from django.utils import timezone

from analytics.models import Analysis, AnalysisLock, Snapshot
from analytics.research.spec import AnalysisSpec
from analytics.services.analyses import analysis_ask
from surveys import audit
from surveys.models import Study, User


def lock_sha256(title: str, spec: AnalysisSpec, exclusions: str) -> str:
    """Of the three in one canonical form: JSON with sorted keys and no spaces, UTF-8."""
    values = {"title": title, "spec": spec.to_dict(), "exclusions": exclusions}
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@transaction.atomic
def lock_make(*, study: Study, title: str, spec: AnalysisSpec, exclusions: str, actor: User) -> AnalysisLock:
    """From now on fixed; a trigger refuses change and deletion."""
    lock = AnalysisLock.objects.create(
        study=study,
        title=title,
        spec=spec.to_dict(),
        exclusions=exclusions,
        sha256=lock_sha256(title, spec, exclusions),
        locked_by=actor,
        locked_at=timezone.now(),
    )
    audit.record("analysis.lock", subject=lock, actor=actor, clinic=study.clinic, sha256=lock.sha256)
    return lock


@transaction.atomic
def lock_run(*, lock: AnalysisLock, snapshot: Snapshot | None, actor: User) -> Analysis:
    """Asks the locked question, of a snapshot or of the data as they are now. Raises SelectionRefused."""
    analysis = analysis_ask(
        study=lock.study,
        spec=AnalysisSpec.from_dict(lock.spec),
        title=lock.title,
        snapshot=snapshot,
        actor=actor,
    )
    analysis.lock = lock
    analysis.save(update_fields=["lock"])
    return analysis
