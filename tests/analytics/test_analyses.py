"""Asking, cancelling and reading an analysis: pages, job, files, command."""

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone

import analytics.tasks  # noqa: F401  registers the job
from analytics.analysis_selectors import study_forms
from analytics.models import Analysis, Snapshot
from analytics.research.spec import AnalysisSpec, ranges_of
from analytics.selection import Selection
from analytics.services.analyses import JOB, analysis_ask
from analytics.services.locks import lock_make
from surveys import jobs
from surveys.models import AuditEvent, Job, Role, Study, Therapist, Therapy
from tests import factories
from tests.analytics.clinics import rated_clinic
from tests.conftest import signed_in

pytestmark = pytest.mark.django_db

ANSWERS = {
    "title": "Do they differ?",
    "snapshot": "new",
    "patient_form": "wai-s",
    "therapist_form": "wai-s",
    "scale": "total",
    "sessions": "1, 2, 3",
    "time": "linear",
    "origin": "1",
    "predictors": ["therapy:n_held", "therapist:n_therapies"],
    "trait_at": "first",
    "scaling": "sd",
    "therapist": "intercept",
    "therapy": "slope",
    "method": "reml",
}


def spec_of(study: Study) -> AnalysisSpec:
    instruments = {"patient": "wai-s", "therapist": "wai-s"}
    return AnalysisSpec(instruments=instruments, therapist="intercept", ranges=ranges_of(study_forms(study)))


def asked(study: Study, spec: AnalysisSpec | None = None) -> Analysis:
    return analysis_ask(study=study, spec=spec or spec_of(study), title="T", snapshot=None, actor=None)


def answered(study: Study, spec: AnalysisSpec | None = None) -> Analysis:
    analysis = asked(study, spec)
    jobs.run_due(30, is_long=True)
    analysis.refresh_from_db()
    return analysis


def test_a_question_is_asked_answered_and_traced_to_its_data() -> None:
    study, _ = rated_clinic(n_therapists=6, n_therapies=3)
    researcher = factories.make_user("r@example.org", Role.RESEARCHER, clinic=study.clinic)
    client = signed_in(researcher)
    response = client.post(reverse("desk-analysis-new", args=[study.pk]), ANSWERS)
    analysis = Analysis.objects.get()
    address = reverse("desk-analysis", args=[analysis.pk])
    assert (response.status_code, response["Location"]) == (302, address)
    assert "Waiting for its turn" in client.get(address).content.decode()
    # Taken, and not heard of yet.
    Job.objects.update(state="running")
    assert "At work" in client.get(address).content.decode()
    Job.objects.update(state="pending")
    jobs.run_due(30, is_long=True)
    page = client.get(address).content.decode()
    snapshot = Snapshot.objects.get()
    assert snapshot.sha256 in page and "What the data cannot tell" not in page, "no predictor varies"
    assert "was left out" in page and "Where the ratings vary" in page
    assert "vega-chart" in page and "<img" not in page, "there is no picture without script, only its table"
    for key in ("joint", "patient.unconditional"):
        trace = client.get(reverse("desk-analysis-trace", args=[analysis.pk, key])).content.decode()
        assert snapshot.sha256 in trace and "therapist:therapy" in trace
    assert client.get(reverse("desk-analysis-trace", args=[analysis.pk, "none"])).status_code == 404
    assert AuditEvent.objects.filter(act="analysis.ask", actor=researcher).count() == 1


def test_the_table_is_a_page_and_three_files_and_each_file_is_written_down() -> None:
    study, _ = rated_clinic(n_therapists=6, n_therapies=3)
    analysis = answered(study)
    client = signed_in(factories.make_user("r@example.org", Role.RESEARCHER, clinic=study.clinic))
    assert client.get(reverse("desk-analysis-table", args=[analysis.pk])).status_code == 200
    for ending, sign in (("tex", r"\toprule"), ("csv", "name,value"), ("html", "<table>")):
        response = client.get(reverse(f"desk-analysis-table-{ending}", args=[analysis.pk]))
        assert sign in response.content.decode()
        assert response["Content-Disposition"] == f'attachment; filename="S1-analysis-1.{ending}"'
    written = AuditEvent.objects.filter(act="analysis.table").values_list("detail__route", flat=True)
    page = "desk-analysis-table"
    assert sorted(written) == [page, f"{page}-csv", f"{page}-html", f"{page}-tex"]


def test_what_was_typed_stays_where_a_question_is_not_understood() -> None:
    study, _ = rated_clinic(n_therapists=1, n_therapies=1)
    client = signed_in(factories.make_user("r@example.org", Role.RESEARCHER, clinic=study.clinic))
    address = reverse("desk-analysis-new", args=[study.pk])
    for wrong, words in (
        ({"sessions": "three"}, "Write session numbers with commas"),
        ({"patient_form": "none", "therapist_form": "none"}, "at least one perspective"),
        ({"time": "occasion", "sessions": ""}, "at least two planned sessions"),
    ):
        response = client.post(address, ANSWERS | wrong)
        page = response.content.decode()
        assert response.status_code == 422 and words in page and "Do they differ?" in page
    assert not Analysis.objects.exists()


def test_too_few_therapists_are_a_sentence_and_not_a_number() -> None:
    study, _ = rated_clinic(n_therapists=3, n_therapies=2)
    analysis = answered(study)
    assert analysis.status == Analysis.Status.REFUSED and "3 therapists are too few" in analysis.message
    client = signed_in(factories.make_user("r@example.org", Role.RESEARCHER, clinic=study.clinic))
    page = client.get(reverse("desk-analysis", args=[analysis.pk])).content.decode()
    assert "These data cannot carry the question" in page and "3 therapists are too few" in page
    assert client.get(reverse("desk-analysis-table", args=[analysis.pk])).status_code == 404


def test_no_door_freezes_data_of_few_or_data_that_tell_few_apart_from_a_selection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study, _ = rated_clinic(n_therapists=3, n_therapies=2)
    researcher = factories.make_user("r@example.org", Role.RESEARCHER, clinic=study.clinic)
    client, spec = signed_in(researcher), spec_of(study)
    question = lock_make(study=study, title="T", spec=spec, exclusions="", actor=researcher)
    monkeypatch.setattr("analytics.views.desk_analyses.study_table", lambda forms: spec)
    monkeypatch.setattr("analytics.management.commands.analyse.study_table", lambda forms: spec)
    new = reverse("desk-analysis-new", args=[study.pk])
    doors = [
        (new, ANSWERS),
        (reverse("desk-analysis-ask-table", args=[study.pk]), {}),
        (reverse("desk-lock", args=[question.pk]), {"data": "now"}),
    ]

    def assert_closed(words: str) -> None:
        for address, answers in doors:
            assert words in client.post(address, answers, follow=True).content.decode(), address
        with pytest.raises(CommandError, match=words):
            call_command("analyse", "S1", stdout=StringIO())
        with pytest.raises(CommandError, match=words):
            call_command("export_bundle", "S1", out=Path("never.zip"))
        assert not Analysis.objects.exists()

    one, *_ = Therapy.objects.filter(study=study)
    Snapshot.objects.create(
        study=study,
        number=1,
        selection=Selection(only_ended=True).to_dict(),
        patients=[row.patient_id for row in Therapy.objects.filter(study=study).exclude(pk=one.pk)],
        asked_at=timezone.now(),
        read_at=timezone.now(),
        sha256="0" * 64,
        erased_at=timezone.now(),
    )
    assert_closed("differ by 1 patient from those of snapshot 1")
    assert ANSWERS["title"] in client.post(new, ANSWERS).content.decode(), "what was typed is kept"
    Therapy.objects.filter(study=study).exclude(pk=one.pk).update(excluded_at=timezone.now())
    assert_closed("Fewer than 5 patients are in it")


def test_a_question_that_waits_is_cancelled_and_stays_without_an_answer() -> None:
    study, _ = rated_clinic(n_therapists=3, n_therapies=2)
    client = signed_in(factories.make_user("r@example.org", Role.RESEARCHER, clinic=study.clinic))
    analysis = asked(study)
    client.post(reverse("desk-analysis-cancel", args=[analysis.pk]))
    jobs.run_due(30, is_long=True)
    analysis.refresh_from_db()
    assert analysis.status == "" and jobs.latest(JOB, analysis.pk).state == "cancelled"
    page = client.get(reverse("desk-analysis", args=[analysis.pk])).content.decode()
    assert "It was cancelled" in page and "Ask another question" in page


def test_an_answer_is_given_once() -> None:
    study, _ = rated_clinic(n_therapists=6, n_therapies=2)
    analysis = answered(study)
    jobs.request(JOB, analysis.pk)
    jobs.run_due(30, is_long=True)
    before = analysis.finished_at
    analysis.refresh_from_db()
    assert analysis.finished_at == before is not None


def test_nobody_else_reads_an_analysis() -> None:
    study, therapist = rated_clinic(n_therapists=6, n_therapies=2)
    analysis = answered(study)
    elsewhere = factories.make_clinic("Hill Clinic")
    stranger = factories.make_user("s@example.org", Role.RESEARCHER, clinic=elsewhere)
    treats = factories.make_user("b@example.org", Role.RESEARCHER, clinic=study.clinic)
    Therapist.objects.create(clinic=study.clinic, user=treats)
    for name in ("desk-analysis", "desk-analysis-table", "desk-analysis-table-csv"):
        address = reverse(name, args=[analysis.pk])
        assert signed_in(stranger).get(address).status_code == 404
        assert signed_in(treats).get(address).status_code == 404
        assert signed_in(therapist).get(address).status_code == 403


def test_the_study_s_table_says_which_forms_it_needs() -> None:
    study, _ = rated_clinic(n_therapists=1, n_therapies=1)
    client = signed_in(factories.make_user("r@example.org", Role.RESEARCHER, clinic=study.clinic))
    needs = "needs ratings of the alliance by patients and therapists, and forms"
    assert needs in client.get(reverse("desk-analyses", args=[study.pk])).content.decode()
    response = client.post(reverse("desk-analysis-ask-table", args=[study.pk]), follow=True)
    assert needs in response.content.decode() and not Analysis.objects.exists()
    with pytest.raises(CommandError, match="forms of the therapists"):
        call_command("analyse", "S1", stdout=StringIO())
    with pytest.raises(CommandError, match="no study 'S9'"):
        call_command("analyse", "S9", stdout=StringIO())
