"""The coded dataset in long form: one row a received form."""

import csv
from collections.abc import Iterator
from io import StringIO

from django.utils import timezone

from analytics.export.codebook import columns
from surveys.models import Channel, Rater, Response, Study
from surveys.packs import InstrumentFile
from surveys.scoring import is_straight_lined
from surveys.selectors import export_rows, study_instruments


def csv_lines(study: Study) -> Iterator[str]:
    """CSV (UTF-8, RFC 4180) line by line, header first; columns as the codebook lists them."""
    names = [column.name for column in columns(study)]
    # Read once: each row comes with an instrument object of its own.
    forms = {instrument.pk: instrument.form for instrument in study_instruments(study)}
    buffer = StringIO()
    writer = csv.DictWriter(buffer, names, restval="", lineterminator="\r\n")
    writer.writeheader()
    for response in export_rows(study):
        writer.writerow(_row(study, response, forms[response.instrument_id]))
        yield _drain(buffer)
    yield _drain(buffer)


def _drain(buffer: StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text


def _minutes(response: Response) -> float:
    return round((response.submitted_at - response.started_at).total_seconds() / 60, 1)


def _row(study: Study, response: Response, form: InstrumentFile) -> dict[str, object]:
    assignment = response.assignment
    session = assignment.session
    therapist = session.therapy.therapist if session else assignment.therapist
    assert therapist is not None, "a form belongs to a session or to a therapist"
    is_patients = assignment.rater == Rater.PATIENT
    consent: int | None = vars(response)["consent_version"]
    return {
        "study": study.code,
        "therapist": therapist.code,
        "patient": session.therapy.patient.code if session else "",
        "therapy": session.therapy.code if session else "",
        "session": session.number if session else "",
        "occasion": assignment.occasion if session else "",
        "study_version": assignment.version.number,
        "period": assignment.period,
        "rater": assignment.rater,
        "instrument": response.instrument.code,
        "instrument_version": response.instrument.version,
        "language": response.instrument.language,
        "consent_version": "" if consent is None else consent,
        # When a form from a file was filled, nobody knows here.
        "submitted_on": ""
        if response.channel == Channel.IMPORT
        else timezone.localdate(response.submitted_at).isoformat(),
        "minutes": "" if response.channel in (Channel.PAPER, Channel.IMPORT) else _minutes(response),
        "channel": response.channel,
        "device": response.device,
        "layout": response.layout,
        "sharing": response.sharing if is_patients else "",
        "revealed": int(response.reveal_at is not None) if is_patients else "",
        "straight_lined": int(is_straight_lined(form, {int(k): v for k, v in response.answers.items()})),
        **{f"item_{item}": value for item, value in response.answers.items()},
        **{
            field: value
            for score in response.scores.all()
            for field, value in (
                (score.scale, "" if score.mean is None else score.mean),
                (f"{score.scale}_answered", "" if score.n_answered is None else score.n_answered),
            )
        },
    }
