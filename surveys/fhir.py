"""Questionnaires and answers as FHIR R4 (4.0.1) resources: plain dicts from a form and what was given.

People are logical references, by their codes under the systems below; nothing says who they are. What is not
there says why (data-absent-reason): `unknown` skipped, `asked-declined` prefer not to answer, `not-asked` not
shown, `masked` not shared with the reader, `not-applicable` a scale with too few answers to be scored.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from surveys.packs import InstrumentFile, Option
from surveys.scoring import NOT_SHOWN, PREFER_NOT, SKIPPED

Resource = dict[str, object]

SYSTEM = "urn:alliance-tracker"
ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
ORDINAL = "http://hl7.org/fhir/StructureDefinition/ordinalValue"
REASONS = {SKIPPED: "unknown", PREFER_NOT: "asked-declined", NOT_SHOWN: "not-asked"}


@dataclass(frozen=True)
class Given:
    """One received form, under codes. `authored` is a day or a time with offset, in ISO 8601, None where
    nobody knows it. `answers` by item number, None where the reader may see the scores alone; `scores` are
    item means by scale, None where too few items were answered. `patient`, `therapy` and `session` are None
    for a form about practice."""

    id: str
    questionnaire: str
    authored: str | None
    rater: str
    therapist: str
    answers: Mapping[int, int] | None
    scores: Mapping[str, float | None] = field(default_factory=dict)
    patient: str | None = None
    therapy: str | None = None
    session: int | None = None


def questionnaire(form: InstrumentFile, id: str, *, with_wording: bool) -> Resource:
    """A form as a Questionnaire. Without its wording it is numbers: items by number, options by value."""
    resource: Resource = {
        "resourceType": "Questionnaire",
        "id": id,
        "language": form.language,
        "url": f"urn:uuid:{id}",
        "identifier": [{"system": f"{SYSTEM}:instrument", "value": f"{form.code}:{form.rater}"}],
        "version": form.version,
        "name": _computer_name(form),
        "title": form.title,
        "status": "active",
        "experimental": form.demonstration,
        "subjectType": ["Patient" if form.level == "session" else "Practitioner"],
        "item": [*_instruction(form, with_wording), _items(form, with_wording), _scales(form)],
    }
    if form.licence:
        resource["copyright"] = form.licence
    return resource


def _computer_name(form: InstrumentFile) -> str:
    words = re.split(r"[^A-Za-z0-9]+", f"{form.code} {form.rater} {form.language}")
    return "".join(word.capitalize() for word in words)


def _instruction(form: InstrumentFile, with_wording: bool) -> list[Resource]:
    if not with_wording or not form.instruction:
        return []
    return [{"linkId": "instruction", "type": "display", "text": form.instruction}]


def _items(form: InstrumentFile, with_wording: bool) -> Resource:
    options = [{"valueCoding": _coding(form, option, with_wording)} for option in form.options]
    return {
        "linkId": "items",
        "type": "group",
        "item": [
            {
                "linkId": f"item-{item.number}",
                "prefix": str(item.number),
                "text": item.text if with_wording else f"Item {item.number}",
                "type": "choice",
                "required": False,
                "answerOption": options,
            }
            for item in form.items
        ],
    }


def _scales(form: InstrumentFile) -> Resource:
    """What is computed from the answers."""
    return {
        "linkId": "scores",
        "type": "group",
        "readOnly": True,
        "item": [
            {"linkId": f"score-{scale.code}", "text": scale.title, "type": "decimal", "readOnly": True}
            for scale in form.scales
        ],
    }


def _coding(form: InstrumentFile, option: Option, with_wording: bool) -> Resource:
    coding: Resource = {
        "extension": [{"url": ORDINAL, "valueDecimal": option.value}],
        "system": f"{SYSTEM}:options:{form.code}",
        "code": str(option.value),
    }
    return coding | ({"display": option.label} if with_wording else {})


def questionnaire_response(
    form: InstrumentFile, given: Given, *, with_wording: bool = False, system: str = SYSTEM
) -> Resource:
    """A received form as a QuestionnaireResponse to the Questionnaire of the same form. Codes of people are
    those of this system."""

    def person(kind: str, what: str, code: str) -> Resource:
        return {"type": kind, "identifier": {"system": f"{system}:{what}", "value": code}}

    therapist = person("Practitioner", "therapist", given.therapist)
    patient = person("Patient", "patient", given.patient) if given.patient else None
    resource: Resource = {
        "resourceType": "QuestionnaireResponse",
        "id": given.id,
        "language": form.language,
        "identifier": {"system": f"{system}:response", "value": given.id},
        "questionnaire": f"urn:uuid:{given.questionnaire}|{form.version}",
        "status": "completed",
        "subject": patient or therapist,
        "author": patient if given.rater == "patient" and patient else therapist,
        "item": [_given_items(form, given, with_wording), _given_scores(form, given)],
    }
    if given.authored is not None:
        resource["authored"] = given.authored
    if given.therapy is not None and given.session is not None:
        number = f"{given.therapy}/{given.session}"
        resource["encounter"] = person("Encounter", "session", number)
    return resource


def _given_items(form: InstrumentFile, given: Given, with_wording: bool) -> Resource:
    options = {option.value: option for option in form.options}
    rows: list[Resource] = []
    for item in form.items:
        row: Resource = {"linkId": f"item-{item.number}"}
        value = SKIPPED if given.answers is None else given.answers.get(item.number, SKIPPED)
        if given.answers is None:
            row["extension"] = [_absent("masked")]
        elif value in REASONS:
            row["extension"] = [_absent(REASONS[value])]
        else:
            row["answer"] = [{"valueCoding": _coding(form, options[value], with_wording)}]
        rows.append(row)
    return {"linkId": "items", "item": rows}


def _given_scores(form: InstrumentFile, given: Given) -> Resource:
    rows: list[Resource] = []
    for scale in form.scales:
        row: Resource = {"linkId": f"score-{scale.code}"}
        mean = given.scores.get(scale.code)
        if mean is None:
            row["extension"] = [_absent("not-applicable")]
        else:
            # Six digits, as FHIR expects of a decimal: no tail of a binary fraction.
            row["answer"] = [{"valueDecimal": round(mean, 6)}]
        rows.append(row)
    return {"linkId": "scores", "item": rows}


def _absent(reason: str) -> Resource:
    return {"url": ABSENT, "valueCode": reason}


def search_bundle(
    resources: Sequence[Resource], *, total: int, address: str, links: Iterable[tuple[str, str]]
) -> Resource:
    """What was found, as a Bundle. `address` is that of the search; `links` are (relation, address)."""
    base = address.partition("?")[0].rstrip("/")
    relations = [("self", address), *(("previous" if name == "prev" else name, url) for name, url in links)]
    return {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": total,
        "link": [{"relation": name, "url": url} for name, url in relations],
        **(
            {
                "entry": [
                    {"fullUrl": f"{base}/{row['id']}", "resource": row, "search": {"mode": "match"}}
                    for row in resources
                ]
            }
            if resources
            else {}
        ),
    }


def outcome(code: str, sentences: Iterable[str]) -> Resource:
    """Why something was not done, as an OperationOutcome; `code` is one of FHIR's issue types."""
    return {
        "resourceType": "OperationOutcome",
        "issue": [
            {"severity": "error", "code": code, "diagnostics": sentence}
            for sentence in (list(sentences) or ["It was not done."])
        ],
    }
