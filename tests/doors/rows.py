"""The rows of the town, made through services where a service makes them in real use."""

from collections.abc import Mapping
from datetime import timedelta
from uuid import uuid4

from django.http import HttpResponse
from django.utils import timezone

from analytics.models import Analysis, AnalysisLock, DipRules, Export, PowerPlan, PublishedTable, Snapshot
from surveys.models import (
    Assignment,
    EmergencyAccess,
    FormLink,
    Membership,
    Patient,
    PlanLine,
    RoleGrant,
    Study,
    StudyVersion,
    Therapist,
    Therapy,
    User,
)
from surveys.packs import parse
from surveys.services.api_tokens import token_create
from surveys.services.imports import import_upload
from surveys.services.instruments import instrument_upload
from surveys.services.invitations import link_issue
from surveys.services.sessions import session_close
from surveys.services.studies import draft_begin
from surveys.services.tablets import tablet_enrol
from surveys.services.testruns import test_run_begin
from surveys.tokens import token_hash
from surveys.visits import Visit, visit_begin
from tests import factories
from tests.analytics.clinics import frozen
from tests.analytics.test_analyses import spec_of
from tests.analytics.test_plans import SPEC as PLAN
from tests.doors.town import (
    ACTORS,
    ADMIN,
    BROWSER,
    HARBOUR,
    HILL,
    OPERATORS,
    PLACES,
    RESEARCHER,
    ROLES,
    USED_BROWSER,
    Place,
    Town,
    in_role,
    members,
    patients_of,
)
from tests.sign_in import give_passkey
from tests.surveys.test_import_store import form as old_form
from tests.surveys.test_import_store import table as old_table
from tests.surveys.test_packs import SMALL_FORM

N_SESSIONS = 8


def build() -> Town:
    town = Town()
    for name in (HARBOUR, HILL):
        town.clinics[name] = factories.make_clinic(name)
    _people(town)
    _studies(town)
    for at, place in PLACES.items():
        _care(town, at, place)
    _browsers(town)
    _administration(town)
    for at, clinic in (("own", HARBOUR), ("far", HILL)):
        _desk(town, at, clinic)
    _tokens(town)
    _operation(town)
    disabled = town.users["disabled therapist"]
    disabled.is_active = False
    disabled.save(update_fields=["is_active"])
    return town


def _people(town: Town) -> None:
    for actor, held in ROLES.items():
        mark = "qzx" + actor.replace(" ", "")
        user = factories.make_user(
            f"{mark}@example.org", name=f"{mark} of Somewhere", is_superuser=actor in OPERATORS
        )
        for role, clinic in held:
            Membership.objects.create(user=user, clinic=town.clinics[clinic], role=role)
        town.users[actor] = user
        town.mail_of[user.email] = actor
        known = frozenset().union(*(members(clinic) for _, clinic in held))
        town.canaries.plant(mark, known | {actor})
    # The former therapist's patients and their administration know them still.
    town.canaries.plant("qzxformertherapist", in_role(ADMIN, HARBOUR))
    town.canaries.plant("md5$")
    for actor in ("disabled therapist", "treating researcher"):
        Therapist.objects.create(clinic=town.clinics[HARBOUR], user=town.users[actor])
    Therapist.objects.create(clinic=town.clinics[HILL], user=town.users["former therapist"])


def _studies(town: Town) -> None:
    for at, clinic, mark in (
        ("own", HARBOUR, "qzxharbour"),
        # Of the same clinic, and closed to its supervisors.
        ("near", HARBOUR, "qzxclosed"),
        ("far", HILL, "qzxhill"),
    ):
        study = Study.objects.create(clinic=town.clinics[clinic], code=mark, name=f"{mark}name")
        version = StudyVersion.objects.create(
            study=study, number=1, visibility="feedback", is_open_to_supervisors=at != "near"
        )
        for rater in ("patient", "therapist"):
            PlanLine.objects.create(
                version=version,
                instrument=factories.instrument("wai-s", rater),
                sessions=list(range(1, 30)),
                window_hours=480,
            )
        factories.activate(version)
        town.canaries.plant(mark, members(clinic) | patients_of(clinic))
        # A published table names its study to everybody.
        town.canaries.plant(f"{mark}name", members(clinic) if at == "near" else ACTORS)
        town.studies[at] = study
        town.add("study", at, Place(clinic), study_id=study.pk)
    admin = town.users["clinic admin"]
    DipRules.objects.create(
        study=town.studies["own"], rules=["within-1"], chosen_by=admin, chosen_at=timezone.now()
    )


STUDY_AT = {"own": "own", "near": "near", "far": "far", "left": "own"}
# A rating's whole part, by place; the one of `own` that nobody may see is 1.
PATIENT_RATES = {"own": (5, 6, 5, 6, 2), "near": (4,), "far": (3,), "left": (1,)}
THERAPIST_RATES = {"own": 4, "near": 3, "far": 2, "left": 1}


def quarter(number: int) -> dict[int, int]:
    """Answers whose mean is this number and a quarter on every scale of the form."""
    return _ticked({item: number + (item in (1, 3, 4)) for item in range(1, 13)})


def three_quarters(number: int) -> dict[int, int]:
    return _ticked({item: number + (item not in (1, 3, 4)) for item in range(1, 13)})


def _ticked(effective: Mapping[int, int]) -> dict[int, int]:
    """Two items count the other way round."""
    return {item: 8 - value if item in (4, 10) else value for item, value in effective.items()}


def _care(town: Town, at: str, place: Place) -> None:
    """A therapy with ratings, one that is not shared, and forms that are open."""
    user = town.users[place.therapist]
    supervisor = town.users.get(place.supervisor)
    clinic = town.clinics[place.clinic]
    practice = Therapist.objects.create(
        clinic=clinic,
        user=user,
        supervisor=supervisor,
        practice_shared_with=supervisor if place.shares else None,
    )
    patient = Patient.objects.create(clinic=clinic, code=f"QZX{at}P", contact=f"qzxmail{at}@example.org")
    therapy = Therapy.objects.create(
        patient=patient,
        therapist=practice,
        study=town.studies[STUDY_AT[at]],
        code=f"QZX{at}T",
        started_on=timezone.localdate() - timedelta(days=90),
    )
    for code in ("dpccq-difficulties", "dpccq-feelings-general", "dpccq-coping", "dpccq-manner"):
        factories.give(factories.form_about_practice(practice, therapy.study, code, "entry"), 2, user=user)
    rates = PATIENT_RATES[at]
    begin = timezone.now() - timedelta(days=len(rates) + 3)
    shown = hidden = None
    for number, value in enumerate([*rates, 1]):
        session = session_close(
            therapy=therapy, held_at=begin + timedelta(days=number), status="held"
        ).session
        sharing = "none" if number == len(rates) or at == "left" else "answers"
        browser = USED_BROWSER if at == "own" else "Z" * 43
        response = factories.give(
            factories.form_of(session, "patient"), quarter(value), sharing=sharing, browser=browser
        )
        mine = factories.give(
            factories.form_of(session, "therapist"), three_quarters(THERAPIST_RATES[at]), user=user
        )
        shown, hidden = (response, hidden) if number < len(rates) else (shown, response)
        if number == len(rates) - 1:
            town.add(
                "response", at, place if sharing != "none" else Place(place.clinic), response_id=response.pk
            )
            town.add("response", f"{at}, the therapist's", place, response_id=mine.pk)
            # Only the last of the five ratings falls far enough.
            of_dip = place if at == "own" else Place(place.clinic)
            town.add("dip", at, of_dip, therapy_id=therapy.pk, response_id=response.pk)
    assert shown is not None and hidden is not None
    town.add("response", f"{at}, not shared", Place(place.clinic), response_id=hidden.pk)
    last = session_close(therapy=therapy, held_at=timezone.now() - timedelta(hours=2), status="held").session
    town.mail_of[patient.contact] = "patient" if at == "own" else f"patient {at}"
    _places_of_care(town, at, place, therapy)
    town.add("session", at, place, session_id=last.pk)
    town.add("patient form", at, place, assignment_id=factories.form_of(last, "patient").pk)
    town.add("own form", at, place, assignment_id=factories.form_of(last, "therapist").pk)
    _marks_of_care(town, at, place, therapy)


def _places_of_care(town: Town, at: str, place: Place, therapy: Therapy) -> None:
    town.add("therapy", at, place, therapy_id=therapy.pk)
    town.add("answers", at, place, therapy=therapy.pk)
    town.add("practice", at, place, therapist_id=therapy.therapist_id)
    town.add("picture", at, place, therapist_id=therapy.therapist_id, of="involvement")
    town.add("patient", at, place, patient_id=therapy.patient_id)
    town.add("part", at, place, patient_id=therapy.patient_id, study_id=therapy.study_id)
    works_at = HILL if at == "left" else place.clinic
    town.add("user", at, Place(works_at), user_id=town.users[place.therapist].pk)


def _marks_of_care(town: Town, at: str, place: Place, therapy: Therapy) -> None:
    """Who reads what of a therapy: who treats it today, who supervises it today, the administration."""
    plant, admins = town.canaries.plant, in_role(ADMIN, place.clinic)
    treats = {place.therapist} if at != "left" else set()
    if at == "own":
        treats |= {"emergency operator"}
    supervises = {place.supervisor} & in_role("supervisor", place.clinic)
    own_patient = {"patient", "former patient"} if at == "own" else set()
    for word in (therapy.code, therapy.patient.code, therapy.pk, therapy.patient_id):
        plant(word, treats | supervises | admins | own_patient)
    plant(f"qzxmail{at}", admins | ({"emergency operator"} if at == "own" else set()))
    for session in therapy.sessions.all():
        plant(session.pk, treats | admins)
        for form in session.assignments.all():
            plant(form.pk, treats | admins | own_patient)
            response = getattr(form, "response", None)
            if response is not None:
                is_seen = form.rater == "therapist" or response.sharing != "none"
                plant(response.pk, (treats if is_seen else set()) | own_patient)
                plant(response.receipt_code, own_patient if form.rater == "patient" else treats)
    for number in PATIENT_RATES[at]:
        plant(f"{number}.25", treats | supervises if at == "own" else treats)
    plant(f"{THERAPIST_RATES[at]}.75", treats)


def _browsers(town: Town) -> None:
    """Links of every state, the form that a browser opened, the one that another sent, and a tablet."""
    forms = {at: kwargs["assignment_id"] for at, (kwargs, _) in town.objects["patient form"].items()}
    for at, key in forms.items():
        form = Assignment.objects.get(pk=key)
        token = link_issue(assignment=form)
        town.canaries.plant(token, {"patient"} if at == "own" else set())
        _lead(town, at, token, form)
    own = Assignment.objects.get(pk=forms["own"])
    factories.open_form(own, browser=BROWSER)
    therapy = own.session.therapy
    first = therapy.sessions.order_by("held_at").first()
    used = factories.form_of(first, "patient")
    _lead(town, "used", _link(used, town.canaries.plant("K" * 43, {"former patient"})), used)
    late = factories.form_of(
        session_close(therapy=therapy, held_at=timezone.now() - timedelta(days=80), status="held").session,
        "patient",
    )
    Assignment.objects.filter(pk=late.pk).update(closes_at=late.opens_at + timedelta(hours=1), state="due")
    late.refresh_from_db()
    _lead(town, "late", _link(late, "L" * 43), late)
    for name, form, holders in (
        ("own", own, {"patient"}),
        ("used", used, {"former patient"}),
        ("far", Assignment.objects.get(pk=forms["far"]), set()),
    ):
        town.add("opening", name, Place("", holders=frozenset(holders)), assignment_id=form.pk)
    mine = Assignment.objects.get(pk=town.objects["own form"]["near"][0]["assignment_id"])
    factories.open_form(mine, user=town.users["colleague"])
    holders = frozenset({"colleague"})
    town.add("opening", "near", Place("", holders=holders), assignment_id=mine.pk)
    answer = HttpResponse()
    visit_begin(answer, Visit(therapy.patient_id, frozenset({used.response.pk})))
    town.cookies = {
        "patient": {"__Host-browser": BROWSER},
        "former patient": {
            "__Host-browser": USED_BROWSER,
            "__Host-your-data": answer.cookies["__Host-your-data"].value,
        },
    }
    own_part, far_part = town.studies["own"], town.studies["far"]
    visitors = frozenset({"former patient"})
    town.add("own part", "own", Place("", holders=visitors), study_id=own_part.pk)
    town.add("own part", "far", Place(""), study_id=far_part.pk)
    town.add("visit", "own", Place("", holders=visitors))
    town.add("lock page", "own", Place("", holders=frozenset({"tablet"})))
    town.add("key", "own", Place(""), uidb36="1", key="set-password")


def _link(form: Assignment, token: str) -> str:
    hashed = token_hash(token)
    FormLink.objects.create(assignment=form, token_hash=hashed, via="screen", issued_at=timezone.now())
    return token


def _lead(town: Town, at: str, token: str, form: Assignment) -> None:
    town.add("link", at, Place(""), token=token)
    town.behind[token] = {str(form.pk)}


def _administration(town: Town) -> None:
    for at, clinic in (("own", HARBOUR), ("far", HILL)):
        row, place = town.clinics[clinic], Place(clinic)
        town.add("clinic", at, place, clinic=row.pk)
        admin = town.users["clinic admin" if at == "own" else "foreign admin"]
        tablet, secret = tablet_enrol(clinic=row, name=f"qzxtablet{at}", pin="730915", actor=admin)
        town.add("tablet", at, place, tablet_id=tablet.pk)
        town.canaries.plant(f"qzxtablet{at}", in_role(ADMIN, clinic) | ({"tablet"} if at == "own" else set()))
        town.canaries.plant(secret, {"tablet"} if at == "own" else set())
        if at == "own":
            town.cookies["tablet"] = {"__Host-tablet": secret}
        study = town.studies[at]
        test = test_run_begin(version=study.current, actor=admin)
        town.add("test", at, place, test_id=test.pk)
        batch = import_upload(
            study=study,
            name=f"qzxfile{at}",
            pieces=[old_table(old_form(patient=f"qzxold{at}"))],
            actor=admin,
        )
        town.add("import", at, place, batch_id=batch.pk)
        for word in (f"qzxfile{at}", f"qzxold{at}"):
            town.canaries.plant(word, in_role(ADMIN, clinic))
        text = SMALL_FORM.replace("Stemning i timen", f"qzxwords{at}")
        upload = instrument_upload(clinic=row, actor=admin, form=parse(text.encode()))
        town.canaries.plant(f"qzxwords{at}", members(clinic))
        town.add("instrument", at, place, instrument_id=upload.pk)
        draft_begin(study=study)
        planned = factories.instrument("wai-s", "patient").pk
        town.add("planned form", at, place, study_id=study.pk, instrument_id=planned)
        town.add("step", at, place, study_id=study.pk, slug="name")
    shipped = factories.instrument("wai-s", "patient").pk
    town.add("instrument", "shipped", Place(""), instrument_id=shipped)


def _desk(town: Town, at: str, clinic: str) -> None:
    """Frozen data and what was made of them; at `own` also a file that somebody else asked for."""
    study, now = town.studies[at], timezone.now()
    name = "researcher" if at == "own" else "foreign researcher"
    asked_by, place = town.users[name], Place(clinic, asked_by=name)
    readers = in_role(RESEARCHER, clinic) - {"treating researcher"}
    snapshot = frozen(study)
    town.add("snapshot", at, place, snapshot_id=snapshot.pk)
    _export(town, at, snapshot, asked_by, place)
    if at == "own":
        other = Place(clinic, asked_by="treating researcher")
        _export(town, "near", snapshot, town.users["treating researcher"], other)
    spec = spec_of(study)
    common = {"study": study, "spec": spec.to_dict()}
    lock = AnalysisLock.objects.create(
        **common,
        title=f"qzxlock{at}",
        exclusions=f"qzxleftout{at}",
        sha256="1" * 64,
        locked_by=asked_by,
        locked_at=now,
    )
    analysis = Analysis.objects.create(
        **common,
        snapshot=snapshot,
        number=1,
        title=f"qzxanalysis{at}",
        spec_sha256="2" * 64,
        lock=lock,
        asked_by=asked_by,
        asked_at=now,
    )
    plan = PowerPlan.objects.create(
        study=study,
        number=1,
        title=f"qzxplan{at}",
        spec=PLAN.to_dict(),
        asked_by=asked_by,
        asked_at=now,
    )
    table = _published(study, analysis, snapshot, asked_by, at)
    town.add("lock", at, place, lock_id=lock.pk)
    town.add("analysis", at, place, analysis_id=analysis.pk)
    town.add("analysis model", at, place, analysis_id=analysis.pk, model="joint")
    town.add("plan", at, place, plan_id=plan.pk)
    town.add("published", at, place, table_id=table.pk)
    town.add("table", at, Place(""), code=table.code)
    town.add("table version", at, Place(""), code=table.code, version=1)
    marks = [f"qzx{word}{at}" for word in ("lock", "leftout", "analysis", "plan")]
    for mark in (*marks, lock.pk, analysis.pk, plan.pk, table.pk, snapshot.pk):
        town.canaries.plant(mark, readers)


def _export(town: Town, at: str, snapshot: Snapshot, user: User, place: Place) -> None:
    row = Export.objects.create(
        snapshot=snapshot,
        tier="items",
        purpose=f"qzxpurpose{at}",
        agreement=f"qzxfolder{at}",
        asked_by=user,
        asked_at=timezone.now(),
    )
    town.add("export", at, place, export_id=row.pk)
    readers = in_role(RESEARCHER, place.clinic) - {"treating researcher"} | in_role(ADMIN, place.clinic)
    for mark in (f"qzxpurpose{at}", f"qzxfolder{at}", row.pk):
        town.canaries.plant(mark, readers)


def _published(study: Study, analysis: Analysis, snapshot: Snapshot, user: User, at: str) -> PublishedTable:
    content = {
        "head": ["", "A"],
        "lines": [],
        "notes": [],
        "cells": [],
        "models": [],
        "analysis": {"number": 1, "spec_sha256": "2" * 64},
        "snapshot": {
            "number": 1,
            "id": str(uuid4()),
            "sha256": "0" * 64,
            "read_at": timezone.now().isoformat(),
            "n_left_out": 0,
        },
        "lock": None,
        "engine": "0",
    }
    return PublishedTable.objects.create(
        study=study,
        code=f"table-{at}",
        version=1,
        analysis=analysis,
        title="A published table",
        content=content,
        sha256="3" * 64,
        published_by=user,
        published_at=timezone.now(),
    )


def _operation(town: Town) -> None:
    """An emergency that is open, roles that wait, and what everybody may ask for."""
    now, patient = timezone.now(), Patient.objects.get(code__iexact="QZXownP")
    EmergencyAccess.objects.create(
        by=town.users["emergency operator"],
        clinic=patient.clinic,
        patient=patient,
        reason="qzxreason for all of it",
        told=[],
        began_at=now,
        ends_at=now + EmergencyAccess.LASTS,
    )
    # The clinic is told by whom and why.
    for mark in ("qzxreason", "qzxemergencyoperator"):
        town.canaries.plant(mark, {"emergency operator"} | in_role(ADMIN, HARBOUR))
    for at, clinic in (("own", HARBOUR), ("far", HILL)):
        row = RoleGrant.objects.create(
            user=factories.make_user(f"new-{at}@example.org"),
            clinic=town.clinics[clinic],
            role=RESEARCHER,
            asked_at=now,
        )
        town.add("grant", at, Place(clinic), grant_id=row.pk)
    for at, actor in (("own", "therapist"), ("near", "colleague"), ("far", "foreign therapist")):
        row = give_passkey(town.users[actor], f"qzxkey{at}")
        town.add("passkey", at, Place("", therapist=actor), pk=row.pk)
        town.canaries.plant(f"qzxkey{at}", {actor})
    town.add("provider", "own", Place(""), provider_id="sso")
    town.add("paper", "own", Place(""), code="record")


def _tokens(town: Town) -> None:
    owners = {"own": "therapist", "near": "colleague", "far": "foreign therapist"}
    for at, actor in owners.items():
        token = token_create(user=town.users[actor], name=f"qzxtoken{at}", scopes=["forms:read"], days=90)
        prefix = town.users[actor].auth_token_set.get().token_key
        place = Place("", therapist=actor)
        town.add("token", at, place, prefix=prefix)
        town.canaries.plant(f"qzxtoken{at}", {actor})
        assert token
