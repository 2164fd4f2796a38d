"""Questions of the clinic's desk: how far the set-up of its studies is, its people, what needs attention."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db.models import Count, Prefetch, Q, QuerySet
from django.utils import timezone

from surveys.access import clinic_instruments
from surveys.licences import FormVersion, form_versions
from surveys.models import Clinic, Instrument, PlanLine, Rater, Study, StudyVersion
from surveys.plans import Place, in_words, picture


@dataclass(frozen=True)
class PlannedForm:
    """One form that a clinic may ask for, and what a version plans for it."""

    form: FormVersion
    lines: tuple[PlanLine, ...]

    @property
    def instrument(self) -> Instrument:
        """The wording that the plan names whoever reads the page: the English one, or the first."""
        by_language = {wording.instrument.language: wording.instrument for wording in self.form.wordings}
        return by_language.get("en") or self.form.wordings[0].instrument

    @property
    def is_trait(self) -> bool:
        return self.instrument.form.level == "trait"

    @property
    def words(self) -> list[tuple[str, str]]:
        """Arm and plan of each line, the one of all therapies first."""
        return [(line.arm, in_words(line)) for line in self.lines]


def planned_forms(version: StudyVersion) -> list[PlannedForm]:
    """Every form that the clinic may ask for, with the version's lines for it; patients' forms first."""
    clinic = version.study.clinic
    lines = list(version.lines.select_related("instrument").order_by("arm", "pk"))
    rows = clinic_instruments(clinic)
    forms = []
    for form in form_versions(clinic, rows, timezone.localdate()):
        wordings = {wording.instrument.pk for wording in form.wordings}
        own = tuple(line for line in lines if line.instrument_id in wordings)
        forms.append(PlannedForm(form, own))
    return sorted(
        forms, key=lambda row: (row.form.rater != Rater.PATIENT, row.form.code, not row.form.is_own)
    )


def planned_form(version: StudyVersion, instrument: Instrument) -> PlannedForm | None:
    """The form that this wording belongs to; None for one that the clinic may not ask for."""
    for row in planned_forms(version):
        if instrument.pk in {wording.instrument.pk for wording in row.form.wordings}:
            return row
    return None


def counterpart(version: StudyVersion, row: PlannedForm) -> PlannedForm | None:
    """The same form of the other rater, where it is not planned yet."""
    key = (row.form.code, row.form.version, row.form.is_own)
    for other in planned_forms(version):
        if (other.form.code, other.form.version, other.form.is_own) == key and (
            other.form.rater != row.form.rater and not other.lines
        ):
            return other
    return None


@dataclass(frozen=True)
class ArmPicture:
    """What is asked of one arm, session by session; the arm "" is every therapy without one."""

    arm: str
    places: Sequence[Place]


def pictures(lines: Iterable[PlanLine]) -> list[ArmPicture]:
    lines = [line for line in lines if not line.period]
    arms = dict.fromkeys(["", *(line.arm for line in lines)])
    of_arm = {arm: [line for line in lines if line.arm in ("", arm)] for arm in arms}
    return [ArmPicture(arm, picture(of_arm[arm])) for arm in arms if of_arm[arm]]


def draft_of(study: Study) -> StudyVersion | None:
    return study.versions.filter(active_from=None).select_related("study__clinic").first()


def study_versions(study: Study) -> QuerySet[StudyVersion]:
    """All versions, the newest first, with lines and texts."""
    lines = PlanLine.objects.select_related("instrument").order_by("-instrument__rater", "instrument", "arm")
    return (
        study.versions.select_related("study__clinic", "activated_by")
        .prefetch_related(Prefetch("lines", queryset=lines), "texts")
        .order_by("-number")
    )


def with_progress(studies: QuerySet[Study]) -> QuerySet[Study]:
    """Studies with their draft, version in force and number of running therapies."""
    return studies.annotate(
        n_running=Count("therapies", filter=Q(therapies__ended_on=None), distinct=True),
        n_drafts=Count("versions", filter=Q(versions__active_from=None), distinct=True),
    ).order_by("name", "code")


def own_studies(clinic: Clinic) -> QuerySet[Study]:
    return with_progress(Study.objects.filter(clinic=clinic, test_of=None))
