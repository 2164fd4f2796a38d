"""What the page of a new analysis accepts."""

import re
from collections.abc import Sequence
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from analytics.growth.errors import SpecError
from analytics.growth.times import Linear, Log, Occasion, Piecewise, Quadratic, TimeCoding
from analytics.models import Snapshot
from analytics.research.spec import (
    STUDY_FORMS,
    STUDY_SESSIONS,
    AnalysisSpec,
    Predictor,
    available_predictors,
    outcome_forms,
    ranges_of,
)
from analytics.research.words import Words, key_title
from surveys.packs import RATERS, InstrumentFile
from surveys.text_fields import OwnWords

NEW, NONE = "new", "none"
MAX_SESSIONS = 60
TIMES = [
    ("linear", gettext_lazy("Straight line over sessions, growth per 10 sessions")),
    ("log", gettext_lazy("Logarithm: fast at first, then slower")),
    ("occasion", gettext_lazy("Planned occasions 0, 1, 2 …: needs the list of sessions below")),
    ("piecewise-12", gettext_lazy("Line with a bend at session 12 (no joint model)")),
    ("piecewise-20", gettext_lazy("Line with a bend at session 20 (no joint model)")),
    ("quadratic", gettext_lazy("Parabola (no joint model)")),
]
EFFECTS = [
    ("slope", gettext_lazy("Level and growth, correlated")),
    ("slope-uncorrelated", gettext_lazy("Level and growth, not correlated")),
    ("intercept", gettext_lazy("Level alone")),
]


class AnalysisForm(forms.Form):
    """`forms_of_study`: what the study can be asked about; `snapshots`: frozen data, the latest first."""

    title = OwnWords(label=gettext_lazy("Title"), max_length=120)
    exclusions = OwnWords(
        label=gettext_lazy("Whom the analysis leaves out, in words"),
        max_length=4000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 3, "dir": "auto"}),
        help_text=gettext_lazy("Beyond whom the patients’ own choices leave out. No names."),
    )
    snapshot = forms.ChoiceField(
        label=gettext_lazy("Data"),
        help_text=gettext_lazy("Frozen data never change, so that the answer can be computed again."),
    )
    patient_form = forms.ChoiceField(label=gettext_lazy("Patients’ form"))
    therapist_form = forms.ChoiceField(
        label=gettext_lazy("Therapists’ form"),
        help_text=gettext_lazy(
            "With the forms of both, the joint model tests whether the perspectives differ."
        ),
    )
    scale = forms.ChoiceField(label=gettext_lazy("Scale"))
    sessions = forms.CharField(
        label=gettext_lazy("Sessions"),
        required=False,
        help_text=gettext_lazy("Planned session numbers, as in 3, 12, 20, 40. Empty: all ratings."),
    )
    time = forms.ChoiceField(label=gettext_lazy("How time is counted"), choices=TIMES)
    origin = forms.IntegerField(
        label=gettext_lazy("Time 0 is session"),
        min_value=1,
        max_value=200,
        help_text=gettext_lazy("Level, and the variance of levels, are those at this session."),
    )
    predictors = forms.MultipleChoiceField(
        label=gettext_lazy("Predictors"), required=False, widget=forms.CheckboxSelectMultiple
    )
    trait_at = forms.ChoiceField(
        label=gettext_lazy("Of several forms about practice in general"),
        choices=[
            (
                "first",
                gettext_lazy(
                    "The therapist’s first: what was said before cannot follow from later alliances"
                ),
            ),
            ("latest", gettext_lazy("The latest")),
            ("mean", gettext_lazy("The mean of all")),
        ],
        widget=forms.RadioSelect,
    )
    scaling = forms.ChoiceField(
        label=gettext_lazy("Predictors are counted"),
        choices=[
            ("sd", gettext_lazy("in standard deviations over therapists (or therapies, or sessions)")),
            ("raw", gettext_lazy("in points of their form")),
        ],
        widget=forms.RadioSelect,
    )
    therapist = forms.ChoiceField(
        label=gettext_lazy("Therapists differ in"),
        choices=[*EFFECTS, ("none", gettext_lazy("Nothing: no level of therapists"))],
    )
    therapy = forms.ChoiceField(label=gettext_lazy("Therapies differ in"), choices=EFFECTS)
    method = forms.ChoiceField(label=gettext_lazy("Estimates by"), choices=[("reml", "REML"), ("ml", "ML")])
    sensitivity = forms.MultipleChoiceField(
        label=gettext_lazy("Would the answer change"),
        required=False,
        choices=[
            ("serial", gettext_lazy("if residuals near in time were alike (a minute or more)")),
            ("dropout", gettext_lazy("if those who dropped out had gone on better or worse")),
            ("leave_one_out", gettext_lazy("without one therapist at a time")),
        ],
        widget=forms.CheckboxSelectMultiple,
    )

    def __init__(
        self,
        *args: Any,
        forms_of_study: Sequence[InstrumentFile],
        snapshots: Sequence[Snapshot],
        words: Words,
        snapshot_words: Sequence[tuple[str, str]],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.known = list(forms_of_study)
        self.snapshots = {str(row.pk): row for row in snapshots}
        self._choose("snapshot", snapshot_words)
        scales: dict[str, str] = {}
        for rater in RATERS:
            own = outcome_forms(self.known, rater)
            scales |= {scale.code: words.title(scale.code) for form in own.values() for scale in form.scales}
            choices = [(code, form.title) for code, form in own.items()]
            self._choose(f"{rater}_form", [*choices, (NONE, _("not analysed"))])
        self._choose("scale", sorted(scales.items(), key=lambda pair: pair[0] != "total"))
        self._choose(
            "predictors",
            [(row.key, key_title(row.key, words)) for row in available_predictors(self.known)],
        )

    def _choose(self, name: str, choices: Sequence[tuple[str, str]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField), name
        field.choices = choices

    @staticmethod
    def defaults(forms_of_study: Sequence[InstrumentFile], snapshots: Sequence[Snapshot]) -> dict[str, Any]:
        """The question of the study that this grew out of, where there are its forms."""
        chosen = {f"{rater}_form": next(iter(outcome_forms(forms_of_study, rater)), NONE) for rater in RATERS}
        return chosen | {
            "title": _("Perspectives on the alliance"),
            "snapshot": str(snapshots[0].pk) if snapshots else NEW,
            "scale": "total",
            "sessions": ", ".join(map(str, STUDY_SESSIONS)),
            "time": "linear",
            "origin": STUDY_SESSIONS[0],
            "predictors": [
                row.key
                for row in available_predictors(forms_of_study)
                if row.source == "trait" and row.instrument in STUDY_FORMS
            ],
            "trait_at": "first",
            "scaling": "sd",
            "therapist": "slope",
            "therapy": "slope",
            "method": "reml",
        }

    def clean_sessions(self) -> tuple[int, ...]:
        text = self.cleaned_data["sessions"]
        parts = [part for part in re.split(r"[\s,;،]+", text) if part]
        if not all(part.isdecimal() and 0 < int(part) < 1000 for part in parts):
            raise forms.ValidationError(
                _("Write session numbers with commas between them, as in 3, 12, 20, 40.")
            )
        numbers = tuple(sorted({int(part) for part in parts}))
        if len(numbers) > MAX_SESSIONS:
            raise forms.ValidationError(
                _("Name at most %(n)d sessions, or none for all.") % {"n": MAX_SESSIONS}
            )
        return numbers

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self.errors:
            return cleaned
        codes = {rater: cleaned[f"{rater}_form"] for rater in RATERS if cleaned[f"{rater}_form"] != NONE}
        if not codes:
            self.add_error("patient_form", _("Choose the form of at least one perspective."))
        for rater, code in codes.items():
            form = outcome_forms(self.known, rater)[code]
            if cleaned["scale"] not in {scale.code for scale in form.scales}:
                self.add_error("scale", _("“%(form)s” has no such scale.") % {"form": form.title})
        if cleaned["time"] == "occasion" and len(cleaned["sessions"]) < 2:
            self.add_error("sessions", _("This way of counting time needs at least two planned sessions."))
        if not self.errors:
            try:
                self.spec = self._spec(cleaned, codes)
            except SpecError as error:
                self.add_error(None, _("This cannot be asked: %(why)s.") % {"why": error})
        return cleaned

    def _spec(self, cleaned: dict[str, Any], codes: dict[str, str]) -> AnalysisSpec:
        return AnalysisSpec(
            instruments=codes,
            scale=cleaned["scale"],
            time=_coding(cleaned["time"], cleaned["origin"], cleaned["sessions"]).to_dict(),
            sessions=cleaned["sessions"],
            predictors=tuple(Predictor.of(key) for key in cleaned["predictors"]),
            trait_at=cleaned["trait_at"],
            scaling=cleaned["scaling"],
            therapist=cleaned["therapist"],
            therapy=cleaned["therapy"],
            method=cleaned["method"],
            sensitivity=tuple(cleaned["sensitivity"]),
            ranges=ranges_of(self.known),
        )


def _coding(name: str, origin: int, sessions: tuple[int, ...]) -> TimeCoding:
    kind, _dash, knot = name.partition("-")
    if kind == "log":
        return Log(origin, origin)
    if kind == "occasion":
        return Occasion(sessions)
    if kind == "piecewise":
        return Piecewise(origin, 10, (float(knot),))
    return (Quadratic if kind == "quadratic" else Linear)(origin, 10)
