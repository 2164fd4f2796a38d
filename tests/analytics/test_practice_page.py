"""The page of a therapist's own practice: its numbers against the raw answers, its comparison, its gaps."""

import json
import re
from statistics import mean

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from analytics.models import PracticeBasis
from analytics.practice import practice
from analytics.services.practice_bands import clinic_bases_make
from surveys.models import (
    Assignment,
    Clinic,
    Membership,
    Score,
    Study,
    StudyVersion,
    Therapist,
    Therapy,
    User,
)
from surveys.practice_access import session_feeling_scores
from surveys.services.people import supervisor_set
from surveys.services.sharing import sharing_set
from tests import factories
from tests.conftest import Cast, signed_in

pytestmark = pytest.mark.django_db

PAGE = "/practice/"
FORMS = ("dpccq-coping", "dpccq-difficulties", "dpccq-feelings-general", "dpccq-manner")
DIFFICULTIES = "general.dpccq-difficulties.0.5"
# The keys of the composites, told once more.
HEALING = [
    [("dpccq-manner", "invested")],
    [("dpccq-manner", "efficacious")],
    [("dpccq-manner", "affirming")],
    [("dpccq-feelings-general", "flow")],
    [("dpccq-coping", "constructive_coping")],
]
STRESSFUL = [
    [("dpccq-difficulties", code) for code in ("self_doubt", "frustrating_case", "negative_reaction")],
    [("dpccq-feelings-general", "anxiety")],
    [("dpccq-feelings-general", "boredom")],
    [("dpccq-coping", "avoidant_coping")],
]
RANGE = {"dpccq-coping": 5, "dpccq-difficulties": 5, "dpccq-feelings-general": 3, "dpccq-manner": 3}


def therapist_of(cast: Cast, user: User | None = None) -> Therapist:
    return Therapist.objects.get(clinic=cast.clinic, user=user or cast.therapist)


def fill(
    therapist: Therapist, study: Study, code: str, period: str = "entry", answers: dict[int, int] | int = 2
) -> None:
    form = factories.form_about_practice(therapist, study, code, period)
    factories.give(form, answers, browser="", user=therapist.user)


def spread(code: str, shift: int) -> dict[int, int]:
    """Answers of another value from item to item."""
    items = factories.instrument(code, "therapist").form.items
    return {item.number: (item.number * 2 + shift) % (RANGE[code] + 1) for item in items}


def a_test_run(study: Study) -> Study:
    """With the forms of the study."""
    run = Study.objects.create(clinic=study.clinic, code="RUN", name="A test run", test_of=study)
    version = StudyVersion.objects.create(study=run, number=1, visibility="feedback")
    for line in study.current.lines.all():
        line.pk, line.version = None, version
        line.save()
    factories.activate(version)
    return run


def page_of(user: User, address: str = PAGE) -> str:
    answer = signed_in(user).get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def chart_of(page: str, key: str) -> dict:
    found = re.search(rf'<script id="spec-{re.escape(key)}" type="application/json">(.*?)</script>', page)
    assert found, f"no chart of {key}"
    return json.loads(found[1])


def values_of(chart: dict, name: str = "points") -> list[float]:
    layer = next(layer for layer in chart["layer"] if layer.get("name") == name)
    return [row["value"] for row in layer["data"]["values"]]


def others(cast: Cast, n: int, values: tuple[int, ...] = (0, 1, 2, 3, 4, 5)) -> list[Therapist]:
    """So many others of the clinic with the form about difficulties, each with one value throughout."""
    people = [Therapist.objects.create(clinic=cast.clinic) for _ in range(n)]
    for at, person in enumerate(people):
        fill(person, cast.study, "dpccq-difficulties", answers=values[at % len(values)])
    return people


def renew(clinic: Clinic) -> None:
    clinic_bases_make(str(clinic.pk))()


def test_scales_and_composites_are_those_of_the_raw_answers(cast: Cast) -> None:
    own = therapist_of(cast)
    for shift, period in enumerate(("entry", "year-1")):
        for code in FORMS:
            fill(own, cast.study, code, period, spread(code, shift))
    page = page_of(cast.therapist)
    shares: list[dict] = [{}, {}]
    for code in FORMS:
        for scale in factories.instrument(code, "therapist").form.scales:
            expected = [mean(spread(code, shift)[item] for item in scale.items) for shift in (0, 1)]
            chart = chart_of(page, f"general.{code}.0.{RANGE[code]}.{scale.code}")
            assert values_of(chart) == pytest.approx(expected)
            assert chart["encoding"]["y"]["scale"]["domain"] == [0, RANGE[code]]
            assert f"The last value is {expected[1]:.1f} (Year 1, " in page
            for shift in (0, 1):
                shares[shift][code, scale.code] = expected[shift] / RANGE[code]
    expected_places = [
        [mean(mean(known[key] for key in part) for part in parts) for parts in (STRESSFUL, HEALING)]
        for known in shares
    ]
    plane = chart_of(page, "involvement")
    points = next(layer for layer in plane["layer"] if layer["name"] == "points")["data"]["values"]
    found = [[row["across"], row["value"]] for row in points]
    assert found == [pytest.approx(place) for place in expected_places]
    assert [row["label"] for row in points] == ["Entry", "Year 1"]
    assert f'data-label="Healing">{expected_places[1][1]:.2f}</td>' in page


def test_without_a_form_the_page_says_so_and_draws_nothing(cast: Cast) -> None:
    page = page_of(cast.therapist)
    assert "You have sent no form about your practice in general yet." in page
    assert "You have sent no form about your feelings in single sessions yet." in page
    assert "vega" not in page


def test_one_period_is_a_point_without_a_line(cast: Cast) -> None:
    own = therapist_of(cast)
    for code in FORMS:
        fill(own, cast.study, code)
    page = page_of(cast.therapist)
    for key in ("involvement", f"{DIFFICULTIES}.self_doubt"):
        names = [layer["name"] for layer in chart_of(page, key)["layer"]]
        assert "points" in names
        assert "line" not in names
    assert "One value so far: 2.0 (Entry, sent on" in page
    assert "One period so far, Entry: healing involvement" in page
    assert "The last value is" not in page


def test_a_scale_with_too_few_answers_and_a_composite_without_a_component_say_so(cast: Cast) -> None:
    own = therapist_of(cast)
    for code in FORMS:
        fill(own, cast.study, code)
    flow = {1, 4, 7, 10}
    some = {item: 2 for item in range(1, 13) if item not in flow}
    fill(own, cast.study, "dpccq-feelings-general", "year-1", some | dict.fromkeys(flow, -99))
    page = page_of(cast.therapist)
    assert "Year 1 has no value: too few items of this scale were answered." in page
    assert (
        "Healing involvement has no value for Year 1. Missing: invested agency, efficacious agency," in page
    )
    chart = chart_of(page, "general.dpccq-feelings-general.0.3.flow")
    assert values_of(chart) == [2.0]
    assert len(values_of(chart, "missing")) == 1
    plane = chart_of(page, "involvement")
    assert [row["label"] for row in plane["layer"][0]["data"]["values"]] == ["Entry"]


def test_a_scale_that_never_had_enough_answers_has_no_picture(cast: Cast) -> None:
    items = {1, 3, 5, 7, 9, 11}
    left_out = {item: -99 if item in items else 1 for item in range(1, 13)}
    fill(therapist_of(cast), cast.study, "dpccq-coping", answers=left_out)
    page = page_of(cast.therapist)
    assert "No value: too few items of this scale were answered." in page
    assert "spec-general.dpccq-coping.0.5.constructive_coping" not in page
    assert "No period has both values yet" in page


@pytest.fixture
def feelings(cast: Cast) -> Study:
    """A study that also asks therapists about their feelings in every session."""
    line = {"instrument": factories.instrument("dpccq-feelings", "therapist"), "every": 1, "sessions": []}
    factories.replan(cast.study, extra=[line])
    return cast.study


def feel(therapy: Therapy, months_ago: int, answer: int) -> Assignment:
    at = (timezone.localtime().replace(day=10, hour=12)) - timezone.timedelta(days=30 * months_ago + 15)
    session = factories.hold_session(therapy, at)
    form = session.assignments.get(instrument__code="dpccq-feelings")
    form.closes_at = timezone.now() + timezone.timedelta(days=1)
    form.save()
    factories.give(form, answer, user=therapy.therapist.user)
    return form


def test_feelings_in_sessions_are_means_by_month_and_stand_apart(cast: Cast, feelings: Study) -> None:
    feel(cast.therapy, 5, 1)
    feel(cast.therapy, 2, 3)
    feel(cast.therapy, 2, 0)
    fill(therapist_of(cast), cast.study, "dpccq-feelings-general", answers=2)
    page = page_of(cast.therapist)
    chart = chart_of(page, "sessions.dpccq-feelings.0.3.flow")
    by_month: dict[tuple[int, int], list[float]] = {}
    for score in Score.objects.filter(response__instrument__code="dpccq-feelings", scale="flow"):
        at = timezone.localtime(score.response.assignment.session.held_at)
        by_month.setdefault((at.year, at.month), []).append(score.mean)
    assert values_of(chart) == pytest.approx([mean(by_month[month]) for month in sorted(by_month)])
    assert len(chart["encoding"]["x"]["scale"]["domain"]) == 4
    line = next(layer for layer in chart["layer"] if layer["name"] == "line")
    assert line["encoding"]["detail"]["field"] == "run"
    assert len({row["run"] for row in line["data"]["values"]}) == 2, "nothing is drawn across a gap"
    assert "number of forms 2." in page
    assert '<td class="num">2 of 2</td>' in page
    assert values_of(chart_of(page, "general.dpccq-feelings-general.0.3.flow")) == [2.0]


def test_feelings_of_patients_in_test_runs_and_in_therapies_left_out_are_not_there(
    cast: Cast, feelings: Study
) -> None:
    """A clinic may name a form of its own for patients alike."""
    run = a_test_run(feelings)
    session = feel(cast.therapy, 5, 1).session
    feel(factories.make_therapy(run, cast.therapist), 4, 3)
    left_out = factories.make_therapy(cast.study, cast.therapist)
    feel(left_out, 3, 3)
    Therapy.objects.filter(pk=left_out.pk).update(excluded_at=timezone.now())
    own = factories.instrument("wai-s", "patient")
    own.pk, own.code = None, "dpccq-own"
    own.save()
    form = Assignment.objects.get(session=session, rater="patient")
    form.pk, form.instrument, form.closes_at = None, own, timezone.now() + timezone.timedelta(days=1)
    form.save()
    factories.give(form)
    assert values_of(chart_of(page_of(cast.therapist), "sessions.dpccq-feelings.0.3.flow")) == [1.0]
    scores = session_feeling_scores(cast.therapist, cast.therapy.therapist)
    assert set(scores.values_list("response__instrument__code", flat=True)) == {"dpccq-feelings"}


def test_who_reads_two_practices_finds_on_each_page_its_own_alone(cast: Cast, feelings: Study) -> None:
    for user, answer in ((cast.therapist, 1), (cast.colleague, 3)):
        therapist = therapist_of(cast, user)
        supervisor_set(therapist=therapist, supervisor=cast.supervisor)
        reader = str(cast.supervisor.pk)
        sharing_set(therapist=therapist, supervisor=reader, ratings=False, practice=True)
        fill(therapist, cast.study, "dpccq-difficulties", answers=answer)
        feel(factories.make_therapy(cast.study, user), 3, answer)
    for user, answer in ((cast.therapist, 1.0), (cast.colleague, 3.0)):
        page = page_of(cast.supervisor, f"/supervision/practices/{therapist_of(cast, user).pk}/")
        for name in ("sessions.dpccq-feelings.0.3.flow", f"{DIFFICULTIES}.self_doubt"):
            assert values_of(chart_of(page, name)) == [answer]


def test_four_others_are_too_few_and_five_are_enough(cast: Cast) -> None:
    own = therapist_of(cast)
    fill(own, cast.study, "dpccq-difficulties", answers=1)
    others(cast, 4)
    renew(cast.clinic)
    page = page_of(cast.therapist)
    assert "No comparison with others yet: it takes values of at least 5 other therapists" in page
    assert "middle half of 4" not in page
    others(cast, 1, (4,))
    renew(cast.clinic)
    page = page_of(cast.therapist)
    # 0, 1, 2, 3, 4: the quartiles lie at positions 1.67 and 4.33.
    assert "The middle half of 5 other therapists of this clinic: 0.7 to 3.3 (as of" in page
    layer = chart_of(page, f"{DIFFICULTIES}.self_doubt")["layer"][0]
    assert layer["name"] == "others"
    assert [layer["data"]["values"][0][key] for key in ("value", "upper")] == [0.7, 3.3]


@pytest.mark.parametrize("is_taken_back", [False, True])
def test_who_is_shared_with_is_compared_with_five_whose_values_they_never_saw(
    cast: Cast, is_taken_back: bool
) -> None:
    """The reader supervises one of the others, and could take that one out of the range."""
    Membership.objects.create(user=cast.therapist, clinic=cast.clinic, role="supervisor")
    fill(therapist_of(cast), cast.study, "dpccq-difficulties", answers=1)
    supervisee = others(cast, 5)[0]
    supervisor_set(therapist=supervisee, supervisor=cast.therapist)
    reader = str(cast.therapist.pk)
    sharing_set(therapist=supervisee, supervisor=reader, ratings=False, practice=True)
    if is_taken_back:
        sharing_set(therapist=supervisee, supervisor=reader, ratings=False, practice=False)
    renew(cast.clinic)
    page = page_of(cast.therapist)
    assert "some of them share their practice with you, or did" in page
    assert "The middle half of" not in page
    assert "No comparison with others: some" not in page_of(cast.colleague)
    others(cast, 4, (4,))
    renew(cast.clinic)
    assert "The middle half of 9 other therapists" in page_of(cast.therapist)


def test_the_comparison_does_not_move_with_one_form_and_not_with_three(cast: Cast) -> None:
    own = therapist_of(cast)
    fill(own, cast.study, "dpccq-difficulties", answers=1)
    people = others(cast, 6)
    renew(cast.clinic)
    before = page_of(cast.therapist)
    sentence = re.search(r"The middle half of 6[^(]*", before)[0]
    (newcomer,) = others(cast, 1, (5,))
    for person in people[:2]:
        fill(person, cast.study, "dpccq-difficulties", "year-1", 5)
    renew(cast.clinic)
    assert sentence in page_of(cast.therapist), "three changed, of whom the reader could be one"
    fill(people[2], cast.study, "dpccq-difficulties", "year-1", 5)
    renew(cast.clinic)
    after = page_of(cast.therapist)
    assert sentence not in after
    assert "The middle half of 7 other therapists" in after
    assert newcomer.code not in after


def test_the_same_person_s_new_forms_count_once(cast: Cast) -> None:
    fill(therapist_of(cast), cast.study, "dpccq-difficulties", answers=1)
    people = others(cast, 6)
    renew(cast.clinic)
    made = list(PracticeBasis.objects.values_list("made_at", flat=True))
    for year in range(1, 7):
        fill(people[0], cast.study, "dpccq-difficulties", f"year-{year}", 5)
        renew(cast.clinic)
    assert list(PracticeBasis.objects.values_list("made_at", flat=True)) == made


def test_others_who_all_say_the_same_are_not_told(cast: Cast) -> None:
    fill(therapist_of(cast), cast.study, "dpccq-difficulties", answers=1)
    others(cast, 7, (3,))
    renew(cast.clinic)
    page = page_of(cast.therapist)
    assert "their values lie so close together" in page
    assert "middle half of 7" not in page
    assert "others" not in [layer["name"] for layer in chart_of(page, f"{DIFFICULTIES}.self_doubt")["layer"]]


def test_the_reader_s_own_form_and_other_clinics_are_not_in_the_comparison(cast: Cast) -> None:
    own = therapist_of(cast)
    fill(own, cast.study, "dpccq-difficulties", answers=5)
    first, *_ = others(cast, 5, (1, 2, 1, 2, 1))
    stranger = Therapist.objects.get(user=cast.stranger)
    fill(stranger, cast.stranger_study, "dpccq-difficulties", answers=5)
    fill(first, a_test_run(cast.study), "dpccq-difficulties", period="later", answers=5)
    items = factories.instrument("dpccq-difficulties", "therapist").form.items
    too_few = dict.fromkeys((item.number for item in items), -99)
    fill(first, cast.study, "dpccq-difficulties", period="year-1", answers=too_few)
    renew(cast.clinic)
    assert "The middle half of 5 other therapists of this clinic: 1.0 to 2.0" in page_of(cast.therapist)


def test_an_erased_form_is_gone_from_the_comparison_at_once(cast: Cast) -> None:
    fill(therapist_of(cast), cast.study, "dpccq-difficulties", answers=1)
    gone = others(cast, 5)[0]
    renew(cast.clinic)
    assert "The middle half of 5" in page_of(cast.therapist)
    Score.objects.filter(response__assignment__therapist=gone).delete()
    assert "it takes values of at least 5 other therapists" in page_of(cast.therapist)


def test_a_form_about_practice_asks_for_the_comparison_and_a_rating_does_not(cast: Cast) -> None:
    def n_requests() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM surveys_job WHERE kind = 'practice_bands'")
            return cursor.fetchone()[0]

    factories.give(factories.form_of(factories.hold_session(cast.therapy), "patient"))
    assert n_requests() == 0
    fill(therapist_of(cast), cast.study, "dpccq-coping")
    assert n_requests() == 1


def test_two_studies_are_told_apart_and_test_runs_are_left_out(cast: Cast) -> None:
    own = therapist_of(cast)
    second = factories.make_study(cast.clinic, code="S9")
    run = a_test_run(cast.study)
    for study, answer in ((cast.study, 1), (second, 4), (run, 5)):
        fill(own, study, "dpccq-difficulties", answers=answer)
    chart = chart_of(page_of(cast.therapist), f"{DIFFICULTIES}.self_doubt")
    assert chart["encoding"]["x"]["scale"]["domain"] == ["Entry (S1)", "Entry (S9)"]
    assert values_of(chart) == [1.0, 4.0]


def test_the_same_form_on_another_answer_scale_is_another_picture(cast: Cast) -> None:
    own = therapist_of(cast)
    fill(own, cast.study, "dpccq-coping", answers=5)
    row = factories.instrument("dpccq-coping", "therapist")
    definition = {**row.definition, "version": "demo-9", "options": row.definition["options"][:4]}
    row.pk, row.id, row.version, row.definition = None, None, "demo-9", definition
    row._state.adding = True
    row.__dict__.pop("form", None)
    row.save()
    factories.give(
        factories.trait_form_assign(therapist=own, study=cast.study, instrument=row, period="year-1"), 3
    )
    page = page_of(cast.therapist)
    assert values_of(chart_of(page, "general.dpccq-coping.0.5.avoidant_coping")) == [5.0]
    assert values_of(chart_of(page, "general.dpccq-coping.0.3.avoidant_coping")) == [3.0]


def test_the_number_of_queries_does_not_grow_with_the_forms(cast: Cast, feelings: Study) -> None:
    own = therapist_of(cast)
    fill(own, cast.study, "dpccq-difficulties")
    feel(cast.therapy, 3, 1)
    others(cast, 6)
    renew(cast.clinic)
    client = signed_in(cast.therapist)

    def n_queries() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert client.get(PAGE).status_code == 200
        return len(queries)

    one = n_queries()
    for year in range(1, 20):
        fill(own, cast.study, "dpccq-difficulties", f"year-{year}")
    feel(cast.therapy, 1, 2)
    others(cast, 14)
    renew(cast.clinic)
    assert n_queries() == one


def test_a_picture_for_browsers_without_script_is_drawn_on_the_server(cast: Cast) -> None:
    own = therapist_of(cast)
    for code in FORMS:
        fill(own, cast.study, code)
    client = signed_in(cast.therapist)
    for key in ("involvement", f"{DIFFICULTIES}.self_doubt"):
        picture = client.get(f"/practices/{own.pk}/chart.svg?of={key}")
        assert picture["Content-Type"] == "image/svg+xml"
        assert "Entry: " in picture.content.decode()
    assert client.get(f"/practices/{own.pk}/chart.svg?of=nothing").status_code == 404
    assert client.get(f"/practices/{own.pk}/chart.svg").status_code == 404


def test_a_therapist_of_two_clinics_has_a_page_for_each(cast: Cast) -> None:
    elsewhere = factories.make_clinic("Valley Clinic")
    cast.therapist.memberships.create(clinic=elsewhere, role="therapist")
    second = Therapist.objects.create(clinic=elsewhere, user=cast.therapist)
    fill(therapist_of(cast), cast.study, "dpccq-coping")
    assert "Your practice in the clinic Valley Clinic" in page_of(cast.therapist)
    page = page_of(cast.therapist, f"{PAGE}?therapist={second.pk}")
    assert "You have sent no form about your practice in general yet." in page
    stranger = Therapist.objects.get(user=cast.stranger)
    assert signed_in(cast.therapist).get(f"{PAGE}?therapist={stranger.pk}").status_code == 404


def test_the_comparison_is_for_the_therapist_alone(cast: Cast) -> None:
    own = therapist_of(cast)
    fill(own, cast.study, "dpccq-difficulties", answers=1)
    others(cast, 6)
    renew(cast.clinic)
    Therapist.objects.filter(pk=own.pk).update(practice_shared_with=cast.supervisor)
    (mine,) = practice(cast.therapist, own).in_general
    (theirs,) = practice(cast.supervisor, own).in_general
    assert mine.scales[0].others is not None
    assert [scale.others for scale in theirs.scales] == [None, None, None]
    page = page_of(cast.supervisor, f"/supervision/practices/{own.pk}/")
    assert "middle half" not in page
    assert values_of(chart_of(page, f"{DIFFICULTIES}.self_doubt")) == [1.0]
