"""Plans of further studies: what is asked, what is simulated, what the page says of it."""

from dataclasses import replace
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

import analytics.tasks  # noqa: F401  registers the job
from analytics.access import joint_estimates
from analytics.growth import JointSpec, SpecError, fit_joint
from analytics.growth.simulate import simulate
from analytics.models import Analysis, PowerPlan, Snapshot
from analytics.plan_forms import first_values, values_of
from analytics.plan_words import reading
from analytics.research.plan import EFFECTS, PlanSpec, View, from_result, run_plan
from surveys import jobs
from surveys.models import AuditEvent, Job
from tests import factories
from tests.conftest import Cast, signed_in

VIEWS = (
    View(-0.3, -0.1, (0.2, 0.05), (0.7, 0.15), 0.45, 0.1),
    View(0.0, 0.0, (0.35, 0.05), (0.5, 0.1), 0.4, 0.1),
)
SPEC = PlanSpec(
    views=VIEWS,
    within=-0.2,
    therapists_alike=0.3,
    therapies_alike=0.4,
    residuals_alike=0.3,
    n_therapists=(8, 40),
    n_patients=(3,),
    sessions=(3, 12, 20, 40),
    dropout=0.2,
    effects=("patient.level", "therapist.growth"),
    n_studies=12,
    seed=3,
)


def done(spec: PlanSpec) -> list[dict[str, Any]]:
    return run_plan(spec, lambda done, total: None)["designs"]


def test_a_plan_survives_the_database() -> None:
    assert PlanSpec.from_dict(SPEC.to_dict()) == SPEC


@pytest.mark.slow
def test_the_same_plan_gives_the_same_numbers_and_more_therapists_more_power() -> None:
    small, large = done(SPEC)
    assert [small, large] == done(SPEC)
    power = [row["effects"]["patient.level"]["rejected"]["share"] for row in (small, large)]
    assert power[0] < power[1]
    widths = [row["effects"]["patient.level"]["half_width"] for row in (small, large)]
    assert widths[1] < widths[0]
    # No effect: what is left is the size of the test.
    assert large["effects"]["therapist.growth"]["rejected"]["share"] <= 0.25


def test_a_difference_is_tested_by_the_joint_model_and_so_is_what_is_asked_beside_it() -> None:
    spec = replace(SPEC, effects=tuple(EFFECTS), n_therapists=(20,), n_studies=3)
    (row,) = done(spec)
    assert set(row["effects"]) == set(EFFECTS)
    model = JointSpec("y", "rater", "session", "time", ("x",))
    first = fit_joint(simulate(spec.truth, spec.design(20, 3), _first_seed(spec)), model)
    shown = {(c.predictor, c.effect): c.p for c in first.contrasts}
    assert len(shown) == 2 and all(0 <= p <= 1 for p in shown.values())


def _first_seed(spec: PlanSpec) -> Any:
    from analytics.growth.power import study_seeds

    return study_seeds(spec.seed, spec.n_studies)[0]


def test_the_stated_share_of_therapies_is_gone_at_the_last_session() -> None:
    views = (replace(VIEWS[0], missing=0.0), replace(VIEWS[1], missing=0.0))
    columns = simulate(replace(SPEC, views=views).truth, SPEC.design(400, 5), 1)
    last = columns["session"] == 40
    gone = sum(map(int, columns["y"][last] != columns["y"][last])) / int(last.sum())
    assert abs(gone - 0.2) < 0.03


@pytest.mark.parametrize(
    "change",
    [
        {"effects": ()},
        {"n_studies": 0},
        {"n_therapists": tuple(range(5, 31))},
        {"therapists_alike": 1.5},
        {"sessions": (12, 3)},
        {"n_studies": 2000, "n_therapists": (1000,), "n_patients": (200,)},
    ],
)
def test_what_cannot_be_simulated_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        replace(SPEC, **change)


def test_a_plan_is_made_from_the_study_s_own_estimates() -> None:
    model = JointSpec("y", "rater", "session", "time", ("x",))
    truth = replace(SPEC, n_therapists=(60,), n_patients=(6,)).truth
    result = fit_joint(simulate(truth, SPEC.design(60, 6), 5), model)
    known = from_result(result, "x")
    assert abs(known["views"][0].level - -0.3) < 0.15
    assert abs(known["views"][1].residual_sd - 0.4) < 0.05
    assert abs(known["residuals_alike"] - 0.3) < 0.15
    assert PlanSpec(**(vars(SPEC) | known)).truth.rho == known["residuals_alike"]


def found(share: float, lower: float, n_therapists: int) -> dict[str, Any]:
    rejected = {"share": share, "lower": lower, "upper": min(1, share + 0.05)}
    return {
        "n_therapists": n_therapists,
        "n_patients": 4,
        "effects": {"patient.level": {"rejected": rejected}},
    }


def test_the_reading_names_the_smallest_design_that_is_enough_beyond_the_error() -> None:
    designs = [found(0.5, 0.45, 20), found(0.82, 0.78, 40), found(0.9, 0.87, 60), found(0.99, 0.97, 80)]
    assert "60 therapists" in reading(designs, "patient.level")
    assert "None of these designs" in reading(designs[:2], "patient.level")
    assert "82 % (78 to 87)" in reading(designs[:2], "patient.level")
    designs[0]["effects"]["patient.level"]["rejected"] = None
    assert "too small for the model" in reading(designs[:1], "patient.level")


def test_an_effect_that_is_taken_to_be_zero_is_not_said_to_be_found() -> None:
    designs = [found(0.06, 0.04, 20)]
    text = reading(designs, "patient.level", is_zero=True)
    assert "false finding" in text and "finds the effect" not in text
    views = (replace(SPEC.views[0], level=0.2, growth=0.0), replace(SPEC.views[1], level=0.2, growth=-0.1))
    spec = replace(SPEC, views=views)
    true = {effect: spec.true_effect(effect) for effect in EFFECTS}
    assert true["difference.level"] == true["patient.growth"] == 0
    assert (true["therapist.level"], true["difference.growth"]) == (0.2, 0.1)


@pytest.fixture
def asked(cast: Cast) -> dict[str, Any]:
    return first_values() | {
        "title": "A second study",
        "n_therapists": "12",
        "n_studies": "50",
        "effects": ["patient.level"],
    }


@pytest.mark.slow
@pytest.mark.judge
def test_a_plan_is_asked_for_simulated_and_read(cast: Cast, asked: dict[str, Any]) -> None:
    client = signed_in(cast.researcher)
    answer = client.post(reverse("desk-plan-new", args=[cast.study.pk]), asked)
    plan = PowerPlan.objects.get()
    assert answer.status_code == 302 and answer["Location"] == reverse("desk-plan", args=[plan.pk])
    page = client.get(answer["Location"]).content.decode()
    assert "Waiting for its turn" in page and "Half of the 95 % interval" not in page
    assert jobs.run_due(is_long=True) == 1
    page = client.get(answer["Location"]).content.decode()
    assert "Half of the 95 % interval" in page and "Waiting" not in page
    assert "finds each less often" in page
    assert "50 simulated studies" in page and "Seed 1" in page and "analytics.growth" in page
    assert "A second study" in client.get(reverse("desk-plans", args=[cast.study.pk])).content.decode()
    assert AuditEvent.objects.filter(act="plan.ask", actor=cast.researcher).exists()


def test_a_plan_that_is_cancelled_is_not_simulated(cast: Cast, asked: dict[str, Any]) -> None:
    client = signed_in(cast.researcher)
    client.post(reverse("desk-plan-new", args=[cast.study.pk]), asked)
    plan = PowerPlan.objects.get()
    client.post(reverse("desk-plan-cancel", args=[plan.pk]))
    assert Job.objects.get(kind="plan").state == "cancelled"
    assert jobs.run_due(is_long=True) == 0
    assert "Nothing of it was kept" in client.get(reverse("desk-plan", args=[plan.pk])).content.decode()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("n_therapists", "twenty", "Whole numbers with commas"),
        ("n_therapists", "1,2,3,4,5,6,7,8,9,10,11,12,13", "13 designs"),
        ("patient_level", "a lot", "Give a number"),
        ("effects", [], "Choose at least one"),
        ("therapies_alike", "0.95", "cannot be simulated"),
    ],
)
def test_a_refusal_says_why_and_loses_nothing(
    cast: Cast, asked: dict[str, Any], field: str, value: Any, words: str
) -> None:
    values = asked | {field: value, "within": "-0.95" if field == "therapies_alike" else "-0.2"}
    if field == "therapies_alike":
        values |= {"therapists_alike": "-0.95", "patient_residual": "0"}
        words = "greater than or equal"
    answer = signed_in(cast.researcher).post(reverse("desk-plan-new", args=[cast.study.pk]), values)
    page = answer.content.decode()
    assert answer.status_code == 422 and words in page
    assert "A second study" in page
    assert not PowerPlan.objects.exists()


def test_another_clinic_s_plan_does_not_exist(cast: Cast, asked: dict[str, Any]) -> None:
    signed_in(cast.researcher).post(reverse("desk-plan-new", args=[cast.study.pk]), asked)
    plan = PowerPlan.objects.get()
    for name in ("desk-plan", "desk-plan-cancel"):
        method = "POST" if name == "desk-plan-cancel" else "GET"
        answer = signed_in(cast.stranger).generic(method, reverse(name, args=[plan.pk]))
        assert answer.status_code == 404
    assert Job.objects.get(kind="plan").state == "pending"


def test_numbers_may_be_taken_from_an_analysis_of_the_study(cast: Cast) -> None:
    model = JointSpec("y", "rater", "session", "time", ("x",))
    result = fit_joint(simulate(SPEC.truth, SPEC.design(40, 4), 5), model)
    joint = {"kind": "joint", "joint": {"predictors": ["x"]}, "result": result.to_dict()}
    models = [joint, joint | {"kind": "growth"}, joint | {"result": {**result.to_dict(), "fixed": []}}]
    tens = {"name": "linear", "origin": 3, "unit": 10}
    usual = {"number": 1, "study": cast.study, "status": "answered", "result": {"models": models}}
    other = factories.make_study(cast.clinic, code="OTHER")
    for changed in (  # all but the first are not to plan with
        {"time": tens},
        {"time": tens | {"unit": 1}, "number": 2},
        {"time": tens, "number": 3, "status": "refused"},
        {"time": tens, "number": 4, "study": other},
        {"time": tens, "number": 5, "result": {"models": models[1:]}},
    ):
        of = usual | changed
        snapshot = Snapshot.objects.create(study=of["study"], number=of["number"], asked_at=timezone.now())
        spec = {"time": of.pop("time")}
        Analysis.objects.create(snapshot=snapshot, title="T", spec=spec, asked_at=timezone.now(), **of)
    known = joint_estimates(cast.researcher, cast.study)
    assert list(known) == ["1-x"]
    assert joint_estimates(cast.stranger, cast.study) == {}
    url = reverse("desk-plan-new", args=[cast.study.pk])
    page = signed_in(cast.researcher).get(f"{url}?from=1-x").content.decode()
    shown = str(values_of(known["1-x"].estimates)["patient_level"])
    assert f'value="{shown}"' in page and "estimates of analysis 1" in page
