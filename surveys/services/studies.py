"""Setting a study up: a draft is changed step by step, activated whole, and frozen from then on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from surveys import audit
from surveys.access import Actor
from surveys.models import Clinic, ConsentText, Instrument, PlanLine, Rater, Study, StudyVersion, User
from surveys.readiness import Gap, form_languages, gaps

TEST_SUFFIX = "-test"


class StudyRefused(Exception):
    """Nothing was changed; the sentence says why and what to do, `field` where it belongs on the page."""

    def __init__(self, sentence: str, field: str | None = None) -> None:
        super().__init__(sentence)
        self.field = field


class NotReady(StudyRefused):
    """The draft lacks something; `gaps` says what."""

    def __init__(self, found: Sequence[Gap]) -> None:
        super().__init__(_("This draft is not complete, so it was not activated."))
        self.gaps = tuple(found)


@dataclass(frozen=True)
class LineSpec:
    """One line of a plan as it is to be; exactly one of sessions, every and period is given."""

    arm: str = ""
    sessions: Sequence[int] = ()
    every: int | None = None
    period: str = ""
    tolerance: int = 0
    catch_up: bool = False
    window_hours: int = 48


@transaction.atomic
def study_create(*, clinic: Clinic, code: str, name: str, actor: Actor | None = None) -> StudyVersion:
    """A study with an empty draft, which is returned. Raises StudyRefused for a code that is taken."""
    _refuse_code(code)
    study = _stored(Study(clinic=clinic, code=code, name=name))
    version = StudyVersion.objects.create(study=study, number=1)
    audit.record("study.create", subject=study, actor=actor, clinic=clinic, code=code)
    return version


@transaction.atomic
def study_describe(*, study: Study, code: str, name: str, actor: Actor | None = None) -> Study:
    """Name and, until the study was first active, code: it stands in every dataset."""
    row = Study.objects.select_for_update(no_key=True, of=("self",)).select_related("clinic").get(pk=study.pk)
    changed = ["name"]
    if code != row.code:
        changed.append("code")
        _refuse_code(code)
        if row.versions.filter(active_from__isnull=False).exists():
            raise StudyRefused(_("The code stands in datasets since the study is active; it stays."), "code")
    row.code, row.name = code, name
    # The code is a key: a row that is stored with it waits for everybody who refers to the study.
    _stored(row, changed)
    audit.record("study.describe", subject=row, actor=actor, clinic=row.clinic, code=code)
    return row


def _refuse_code(code: str) -> None:
    if code.endswith(TEST_SUFFIX):
        raise StudyRefused(_("Codes that end in -test belong to test runs. Choose another code."), "code")


def _stored(study: Study, changed: list[str] | None = None) -> Study:
    try:
        with transaction.atomic():
            study.save(update_fields=changed)
    except IntegrityError as error:
        raise StudyRefused(_("This code is taken. Choose another one."), "code") from error
    return study


@transaction.atomic
def draft_begin(*, study: Study, actor: Actor | None = None) -> StudyVersion:
    """The draft of the study: the one there is, or a copy of its latest version with the next number."""
    row = Study.objects.select_for_update(no_key=True, of=("self",)).select_related("clinic").get(pk=study.pk)
    draft = row.versions.filter(active_from=None).first()
    if draft is not None:
        return draft
    latest = row.versions.order_by("number").last()
    if latest is None:
        return StudyVersion.objects.create(study=row, number=1)
    draft = version_copy(version=latest, study=row, number=latest.number + 1)
    audit.record("study.draft", subject=draft, actor=actor, clinic=row.clinic, number=draft.number)
    return draft


def version_copy(*, version: StudyVersion, study: Study, number: int) -> StudyVersion:
    """A draft with the same visibility, reminders, lines and texts."""
    copy = StudyVersion.objects.create(
        study=study,
        number=number,
        visibility=version.visibility,
        is_open_to_supervisors=version.is_open_to_supervisors,
        reminder_hours=version.reminder_hours,
    )
    lines, texts = list(version.lines.all()), list(version.texts.all())
    for line in lines:
        line.pk, line.version = None, copy
    for text in texts:
        text.pk, text.version = None, copy
    PlanLine.objects.bulk_create(lines)
    ConsentText.objects.bulk_create(texts)
    return copy


@transaction.atomic
def draft_discard(*, version: StudyVersion, actor: Actor | None = None) -> bool:
    """Throws a draft away; with a study's only version goes the study. Whether the study is gone."""
    draft = _lock_draft(version)
    study = draft.study
    is_only = not study.versions.exclude(pk=draft.pk).exists()
    audit.record("study.discard", subject=study, actor=actor, clinic=study.clinic, number=draft.number)
    draft.delete()
    if is_only:
        if study.test_runs.exists():
            raise StudyRefused(_("A test run of this study is there. Clear it first."))
        study.delete()
    return is_only


@transaction.atomic
def plan_set(
    *,
    version: StudyVersion,
    instruments: Sequence[Instrument],
    lines: Sequence[LineSpec],
    actor: Actor | None = None,
) -> None:
    """Plans these forms by the same lines, in place of what was planned for them; no lines: not asked for.

    Raises StudyRefused for a form of another clinic and for lines that no plan may hold.
    """
    draft = _lock_draft(version)
    if len({line.arm for line in lines}) < len(lines):
        raise StudyRefused(_("An arm stands there twice. Give each arm one line."), "arm")
    PlanLine.objects.filter(version=draft, instrument__in=instruments).delete()
    for instrument in instruments:
        if instrument.clinic_id not in (None, draft.study.clinic_id):
            raise StudyRefused(_("This form is not one of the clinic’s."))
        for spec in lines:
            _line(draft, instrument, spec).save(force_insert=True)
    codes = [f"{form.code} ({form.rater})" for form in instruments]
    audit.record(
        "study.plan", subject=draft, actor=actor, clinic=draft.study.clinic, forms=codes, lines=len(lines)
    )


def _line(version: StudyVersion, instrument: Instrument, spec: LineSpec) -> PlanLine:
    line = PlanLine(
        version=version,
        instrument=instrument,
        arm=spec.arm,
        sessions=list(spec.sessions),
        every=spec.every,
        period=spec.period,
        tolerance=spec.tolerance,
        catch_up=spec.catch_up,
        window_hours=spec.window_hours,
    )
    if bool(line.period) != (instrument.form.level == "trait"):
        raise StudyRefused(
            _(
                "A form about practice in general is asked for by period, a form about sessions by session "
                "numbers."
            )
        )
    if line.period and (instrument.rater != Rater.THERAPIST or line.period not in PlanLine.Period.values):
        raise StudyRefused(_("Choose one of the periods."), "period")
    if not line.period:
        try:
            line.pure()
        except ValueError as error:
            raise StudyRefused(str(error)) from error
    return line


@transaction.atomic
def visibility_set(
    *,
    version: StudyVersion,
    visibility: str,
    is_open_to_supervisors: bool = False,
    actor: Actor | None = None,
) -> None:
    """Who sees the patients' ratings. A blind study is blind for supervisors as well, whatever is chosen."""
    if visibility not in StudyVersion.Visibility.values:
        raise StudyRefused(_("Choose one of the three."), "visibility")
    is_open = is_open_to_supervisors and visibility != StudyVersion.Visibility.BLIND
    _change(version, "study.visibility", actor, visibility=visibility, is_open_to_supervisors=is_open)


@transaction.atomic
def reminders_set(*, version: StudyVersion, hours: Sequence[int], actor: Actor | None = None) -> None:
    """Hours after the invitation, at most two; none: nobody is reminded."""
    if len(hours) > 2 or len(set(hours)) < len(hours) or any(not 1 <= hour <= 8784 for hour in hours):
        raise StudyRefused(_("Enter at most two different numbers of hours, each at least 1."))
    _change(version, "study.reminders", actor, reminder_hours=sorted(hours))


def _change(version: StudyVersion, act: str, actor: Actor | None, **fields: object) -> None:
    draft = _lock_draft(version)
    for name, value in fields.items():
        setattr(draft, name, value)
    draft.save(update_fields=list(fields))
    audit.record(act, subject=draft, actor=actor, clinic=draft.study.clinic, **fields)


@transaction.atomic
def text_set(
    *,
    version: StudyVersion,
    language: str,
    information: str,
    declaration: str = "",
    actor: Actor | None = None,
) -> None:
    """The texts of one language; both empty: none in this language."""
    draft = _lock_draft(version)
    if language not in form_languages():
        raise StudyRefused(_("Choose one of the languages."), "language")
    if not information.strip() and not declaration.strip():
        draft.texts.filter(language=language).delete()
    else:
        ConsentText.objects.update_or_create(
            version=draft,
            language=language,
            defaults={"information": information.strip(), "declaration": declaration.strip()},
        )
    audit.record("study.text", subject=draft, actor=actor, clinic=draft.study.clinic, language=language)


@transaction.atomic
def version_activate(*, version: StudyVersion, actor: Actor | None = None) -> StudyVersion:
    """Brings a draft into force from now on: sessions held from now on follow it, in running therapies too.
    Raises NotReady, with everything that is missing."""
    draft = _lock_draft(version)
    missing = gaps(draft)
    if missing:
        raise NotReady(missing)
    return version_put_in_force(draft=draft, at=timezone.now(), actor=actor)


def version_put_in_force(*, draft: StudyVersion, at: datetime, actor: Actor | None) -> StudyVersion:
    """Without looking at what may be missing: for `version_activate` and for test runs."""
    draft.active_from = at
    draft.activated_by = actor if isinstance(actor, User) else None
    draft.save(update_fields=["active_from", "activated_by"])
    audit.record(
        "study.activate",
        subject=draft,
        actor=actor,
        clinic=draft.study.clinic,
        number=draft.number,
        visibility=draft.visibility,
        is_open_to_supervisors=draft.is_open_to_supervisors,
    )
    return draft


def _lock_draft(version: StudyVersion) -> StudyVersion:
    """Of a change and an activation at the same moment the later one sees the earlier."""
    rows = StudyVersion.objects.select_for_update(of=("self",)).select_related("study__clinic")
    row = rows.filter(pk=version.pk).first()
    if row is None:
        raise StudyRefused(_("This draft was thrown away. Begin a new version."))
    if row.active_from is not None:
        raise StudyRefused(_("This version is in force and stays as it is. Begin a new version."))
    return row
