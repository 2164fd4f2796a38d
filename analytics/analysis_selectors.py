"""Questions over analyses and what they can be asked of."""

from collections.abc import Sequence

from django.db.models import QuerySet

from analytics.models import Analysis, Snapshot
from surveys.composites import composites
from surveys.models import Study
from surveys.packs import InstrumentFile
from surveys.selectors import study_instruments


def study_analyses(study: Study) -> QuerySet[Analysis]:
    """The latest first, without their results, which are long."""
    rows = Analysis.objects.filter(study=study).select_related("snapshot", "asked_by", "lock")
    return rows.defer("result", "spec").order_by("-number")


def study_of(code: str) -> Study | None:
    """The study with this code that is or was in force, for an operator; no test run."""
    rows = Study.objects.filter(code=code, test_of=None, versions__active_from__isnull=False)
    return rows.select_related("clinic").distinct().first()


def has_been_asked(study: Study, spec_sha256: str) -> bool:
    return Analysis.objects.filter(study=study, spec_sha256=spec_sha256).exists()


def usable_snapshots(study: Study) -> QuerySet[Snapshot]:
    """Frozen and still there, the latest first."""
    return Snapshot.objects.filter(study=study, read_at__isnull=False, erased_at=None).order_by("-number")


def study_forms(study: Study) -> list[InstrumentFile]:
    """Every form of the study; of one code and rater the English one last, so that it names the scales in
    data files."""
    forms = [instrument.form for instrument in study_instruments(study)]
    return sorted(forms, key=lambda form: (form.code, form.rater, form.language == "en"))


def scale_titles(forms: Sequence[InstrumentFile], language: str = "en") -> dict[str, str]:
    """Titles of scales and composites by code, in this language where a form has it."""
    titles = {row.code: row.title for row in composites()}
    for form in sorted(forms, key=lambda form: form.language == language):
        titles |= {scale.code: scale.title for scale in form.scales}
    return titles
