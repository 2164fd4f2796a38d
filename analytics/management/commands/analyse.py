"""The study's table of one study, for an operator."""

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from analytics.analysis_page import heading
from analytics.analysis_selectors import has_been_asked, scale_titles, study_forms, study_of
from analytics.data_words import refusal
from analytics.growth.errors import SpecError
from analytics.models import Analysis
from analytics.research.spec import study_table
from analytics.research.table import as_text
from analytics.research.words import Words, in_short
from analytics.services.analyses import analysis_answer_now, analysis_ask
from analytics.services.snapshots import SelectionRefused

TITLE = "The study's table"


class Command(BaseCommand):
    help = "Freeze a study's data, compute the study's table of them and print it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", metavar="STUDY_CODE")
        parser.add_argument("--later", action="store_true", help="only ask; the worker computes it")
        parser.add_argument("--once", action="store_true", help="nothing where it has been asked before")

    def handle(self, *_args: object, study: str, later: bool, once: bool, **_options: object) -> None:
        row = study_of(study)
        if row is None:
            raise CommandError(f"There is no study {study!r} in force.")
        forms = study_forms(row)
        try:
            spec = study_table(forms)
        except SpecError as error:
            raise CommandError(f"{study}: {error}.") from error
        if once and has_been_asked(row, spec.sha256):
            return
        try:
            analysis = analysis_ask(study=row, spec=spec, title=TITLE, snapshot=None, actor=None)
        except SelectionRefused as error:
            raise CommandError(f"{study}: {refusal(error)}") from error
        if later:
            self.stdout.write(f"Analysis {analysis.number} of {study} is asked for.")
            return
        analysis = analysis_answer_now(analysis)
        if analysis.status != Analysis.Status.ANSWERED or analysis.result is None:
            raise CommandError(f"{study}: {analysis.message}")
        words = Words(titles=scale_titles(forms))
        self.stdout.write(as_text(analysis.result, heading(analysis, words), words))
        self.stdout.write("\n" + "\n".join(in_short(analysis.result, words)))
