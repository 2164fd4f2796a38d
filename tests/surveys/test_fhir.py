"""Questionnaires and answers in FHIR: valid resources that say no more than their reader may see."""

import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.http import HttpResponse
from django.urls import reverse
from django.utils import timezone
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.operationoutcome import OperationOutcome
from fhir.resources.R4B.questionnaire import Questionnaire
from fhir.resources.R4B.questionnaireresponse import QuestionnaireResponse

from surveys import fhir, packs, scoring
from surveys.models import AuditEvent, Instrument, Licence, User
from tests import factories
from tests.conftest import Cast, signed_in

QUESTIONNAIRES, ANSWERS = "/api/v1/fhir/Questionnaire", "/api/v1/fhir/QuestionnaireResponse"
KINDS = {
    "Bundle": Bundle,
    "OperationOutcome": OperationOutcome,
    "Questionnaire": Questionnaire,
    "QuestionnaireResponse": QuestionnaireResponse,
}


def valid(resource: dict[str, Any]) -> dict[str, Any]:
    """The resource, checked against the definitions of FHIR R4B (4.3.0)."""
    KINDS[resource["resourceType"]].model_validate_json(json.dumps(resource))
    return resource


def leaves(resource: dict[str, Any], group: str) -> dict[str, dict[str, Any]]:
    (found,) = [row for row in resource["item"] if row["linkId"] == group]
    return {row["linkId"]: row for row in found["item"]}


def reason(item: dict[str, Any]) -> str:
    (extension,) = item["extension"]
    assert extension["url"] == fhir.ABSENT and "answer" not in item
    return extension["valueCode"]


# The mapping


@pytest.mark.parametrize("with_wording", [True, False])
def test_every_shipped_form_is_a_valid_questionnaire(with_wording: bool) -> None:
    for form in packs.built_in():
        resource = valid(fhir.questionnaire(form, str(uuid4()), with_wording=with_wording))
        items = leaves(resource, "items")
        assert [row["prefix"] for row in items.values()] == [str(item.number) for item in form.items]
        options = next(iter(items.values()))["answerOption"]
        assert [row["valueCoding"]["extension"][0]["valueDecimal"] for row in options] == [
            option.value for option in form.options
        ]


def test_without_its_wording_a_form_is_numbers() -> None:
    for form in packs.built_in():
        text = json.dumps(fhir.questionnaire(form, "1", with_wording=False), ensure_ascii=False)
        assert f'"Item {form.items[0].number}"' in text
        hidden = [form.instruction, *(item.text for item in form.items), *(o.label for o in form.options)]
        titles = {form.title, *(scale.title for scale in form.scales)}
        assert [words for words in hidden if words and words not in titles and f'"{words}"' in text] == []


def test_what_is_missing_says_why() -> None:
    (form,) = [f for f in packs.built_in() if (f.code, f.rater, f.language) == ("wai-s", "patient", "en")]
    answers = dict.fromkeys(range(1, 13), 4) | {
        1: scoring.SKIPPED,
        2: scoring.PREFER_NOT,
        3: scoring.NOT_SHOWN,
    }
    given = fhir.Given("1", "2", "2026-05-26", "patient", "T", answers, {"total": 4.0}, "P", "Y", 3)
    resource = valid(fhir.questionnaire_response(form, given))
    items = leaves(resource, "items")
    assert [reason(items[f"item-{number}"]) for number in (1, 2, 3)] == [
        "unknown",
        "asked-declined",
        "not-asked",
    ]
    assert items["item-4"]["answer"][0]["valueCoding"]["code"] == "4"
    scores = leaves(resource, "scores")
    assert scores["score-total"]["answer"] == [{"valueDecimal": 4.0}]
    assert reason(scores["score-bond"]) == "not-applicable"
    assert resource["questionnaire"] == f"urn:uuid:2|{form.version}"


def test_people_are_codes_and_nobody_is_left_out() -> None:
    form = packs.built_in()[0]
    about = fhir.Given("1", "2", "2026-05-26T14:00:00+00:00", "therapist", "T", {})
    practice = valid(fhir.questionnaire_response(form, about))
    assert practice["subject"] == practice["author"]
    assert practice["subject"]["identifier"] == {"system": "urn:alliance-tracker:therapist", "value": "T"}
    assert "encounter" not in practice
    of_session = fhir.Given("1", "2", "2026-05-26", "therapist", "T", {}, {}, "P", "Y", 3)
    resource = valid(fhir.questionnaire_response(form, of_session))
    people = {name: resource[name]["identifier"]["value"] for name in ("subject", "author", "encounter")}
    assert people == {"subject": "P", "author": "T", "encounter": "Y/3"}


def test_each_answer_names_an_option_of_its_questionnaire() -> None:
    for form in packs.built_in():
        answers = {item.number: form.maximum for item in form.items}
        offered = leaves(fhir.questionnaire(form, "2", with_wording=True), "items")
        given = fhir.Given("1", "2", "2026-05-26", form.rater, "T", answers)
        chosen = leaves(fhir.questionnaire_response(form, given, with_wording=True), "items")
        assert chosen.keys() == offered.keys()
        for name, row in chosen.items():
            assert row["answer"][0] in offered[name]["answerOption"]


# The addresses


def get(user: User, path: str, **query: object) -> HttpResponse:
    return signed_in(user).get(path, query)


@pytest.mark.django_db
def test_forms_are_found_in_parts(cast: Cast) -> None:
    first = get(cast.supervisor, QUESTIONNAIRES, _count=2)
    assert first["Content-Type"] == "application/fhir+json"
    bundle = valid(first.json())
    assert bundle["total"] == Instrument.objects.count() > 2 == len(bundle["entry"])
    links = {row["relation"]: row["url"] for row in bundle["link"]}
    second = signed_in(cast.supervisor).get(links["next"].removeprefix("http://testserver")).json()
    ids = [row["resource"]["id"] for row in (*bundle["entry"], *valid(second)["entry"])]
    assert len(set(ids)) == 4
    one = get(cast.supervisor, f"{QUESTIONNAIRES}/{ids[0]}")
    assert valid(one.json()) == bundle["entry"][0]["resource"]


def upload(cast: Cast) -> Instrument:
    """Wording of the clinic's own, as licensed wording is."""
    definition = {**factories.instrument("wai-s", "patient").definition, "demonstration": False}
    definition |= {"code": "own-form", "licence": "Granted by letter"}
    return Instrument.objects.create(
        clinic=cast.clinic,
        code="own-form",
        version=definition["version"],
        rater="patient",
        language="en",
        definition=definition,
    )


@pytest.mark.django_db
def test_licensed_wording_is_told_while_the_licence_is_valid(cast: Cast) -> None:
    form, today = upload(cast), timezone.localdate()
    path, sentence = f"{QUESTIONNAIRES}/{form.pk}", form.form.items[0].text

    def text() -> str:
        resource = valid(get(cast.therapist, path).json())
        return leaves(resource, "items")["item-1"]["text"]

    assert text() == "Item 1"
    fields = {"clinic": cast.clinic, "code": "own-form", "language": "en", "holder": "H", "reference": "R"}
    Licence.objects.create(**fields, valid_from=today, permitted_use="All")
    assert text() == sentence
    Licence.objects.create(
        **fields,
        valid_from=today - timedelta(days=9),
        valid_until=today - timedelta(days=1),
        permitted_use="All",
    )
    assert text() == "Item 1"


@pytest.mark.django_db
def test_another_clinic_s_upload_does_not_exist(cast: Cast) -> None:
    answer = get(cast.stranger, f"{QUESTIONNAIRES}/{upload(cast).pk}")
    assert answer.status_code == 404
    assert valid(answer.json())["issue"][0]["code"] == "not-found"
    assert get(cast.therapist, f"{QUESTIONNAIRES}/{Instrument.objects.get(code='own-form').pk}").status_code


def rated(cast: Cast, sharing: str, by_therapist: bool = True) -> Any:
    session = factories.hold_session(cast.therapy)
    answers = dict.fromkeys(range(1, 13), 6) | {2: scoring.PREFER_NOT}
    response = factories.give(factories.form_of(session, "patient"), answers, sharing=sharing)
    if by_therapist:
        factories.give(factories.form_of(session, "therapist"), 5, user=cast.therapist)
    return response


def found(cast: Cast) -> dict[str, dict[str, Any]]:
    """What the therapist finds about their therapy, by the code of who answered."""
    bundle = valid(get(cast.therapist, ANSWERS, therapy=cast.therapy.pk).json())
    rows = [row["resource"] for row in bundle.get("entry", [])]
    assert bundle["total"] == len(rows)
    return {valid(row)["author"]["type"]: row for row in rows}


@pytest.mark.django_db
def test_answers_are_told_as_the_patient_shares_them(cast: Cast) -> None:
    response = rated(cast, "answers")
    rows = found(cast)
    assert set(rows) == {"Patient", "Practitioner"}
    items = leaves(rows["Patient"], "items")
    assert items["item-1"]["answer"][0]["valueCoding"]["code"] == "6"
    assert reason(items["item-2"]) == "asked-declined"
    own = leaves(rows["Practitioner"], "items")
    assert own["item-1"]["answer"][0]["valueCoding"]["code"] == "5"
    assert rows["Patient"]["subject"]["identifier"]["value"] == cast.therapy.patient.code
    assert rows["Patient"] == get(cast.therapist, f"{ANSWERS}/{response.pk}").json()
    assert AuditEvent.objects.filter(act="answers.view", actor=cast.therapist).count() == 2


@pytest.mark.django_db
def test_of_shared_scores_no_answer_is_told_nor_which_was_left_out(cast: Cast) -> None:
    response = rated(cast, "scores")
    resource = get(cast.therapist, f"{ANSWERS}/{response.pk}").json()
    assert {reason(row) for row in leaves(resource, "items").values()} == {"masked"}
    assert leaves(resource, "scores")["score-total"]["answer"][0]["valueDecimal"] > 1


@pytest.mark.django_db
@pytest.mark.parametrize(("sharing", "by_therapist"), [("none", True), ("answers", False)])
def test_what_the_therapist_may_not_see_yet_or_at_all_is_not_there(
    cast: Cast, sharing: str, by_therapist: bool
) -> None:
    response = rated(cast, sharing, by_therapist)
    assert "Patient" not in found(cast)
    assert get(cast.therapist, f"{ANSWERS}/{response.pk}").status_code == 404


@pytest.mark.django_db
def test_answers_are_for_who_treats_the_patient_alone(cast: Cast) -> None:
    response = rated(cast, "answers")
    factories.set_visibility(cast.study, "feedback", is_open_to_supervisors=True)
    for user, status in (
        (cast.colleague, 404),
        (cast.stranger, 404),
        (cast.supervisor, 403),
        (cast.clinic_admin, 403),
        (cast.researcher, 403),
    ):
        for answer in (
            get(user, f"{ANSWERS}/{response.pk}"),
            get(user, ANSWERS, therapy=cast.therapy.pk),
        ):
            assert answer.status_code == status
            assert valid(answer.json())["resourceType"] == "OperationOutcome"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "query", [{}, {"therapy": "x"}, {"therapy": uuid4(), "_count": "0"}, {"subject": "P"}]
)
def test_a_search_that_means_nothing_says_so(cast: Cast, query: dict[str, object]) -> None:
    answer = get(cast.therapist, ANSWERS, **query)
    assert answer.status_code == 400
    assert valid(answer.json())["issue"][0]["code"] == "invalid"
    assert reverse("api-answers") == ANSWERS
