"""What the planner's page accepts: the truth of a study to come, its designs, and what is asked of them."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from analytics.growth.errors import SpecError
from analytics.plan_words import effect_words
from analytics.research.plan import EFFECTS, MAX_DESIGNS, MAX_STUDIES, RATERS, PlanSpec, View
from surveys.text_fields import OwnWords

NUMBER = gettext_lazy("Give a number; decimals after a point.")
WHOLE = gettext_lazy("Give a whole number.")
FILL_IN = gettext_lazy("Fill this in.")

# Of each rater, in the order of the page: name, words, least, most, and what stands there at first for
# patient and therapist. The SDs are those that were published for the WAI on its 1 to 7 scale, or near.
OF_RATER = (
    ("level", gettext_lazy("Effect of one SD on the level"), -3, 3, ("-0.20", "0.00")),
    ("growth", gettext_lazy("Effect of one SD on the growth in ten sessions"), -2, 2, ("-0.05", "0.00")),
    ("therapist_level", gettext_lazy("SD of the level between therapists"), 0, 5, ("0.20", "0.35")),
    ("therapist_growth", gettext_lazy("SD of the growth between therapists"), 0, 3, ("0.05", "0.05")),
    (
        "therapy_level",
        gettext_lazy("SD of the level between patients of a therapist"),
        0,
        5,
        ("0.70", "0.50"),
    ),
    (
        "therapy_growth",
        gettext_lazy("SD of the growth between patients of a therapist"),
        0,
        3,
        ("0.15", "0.10"),
    ),
    ("residual", gettext_lazy("SD of single ratings about a patient’s course"), 0.01, 5, ("0.45", "0.40")),
    ("missing", gettext_lazy("Share of single ratings that are lost, in percent"), 0, 90, ("10", "10")),
)
CORRELATIONS = (
    ("within", gettext_lazy("Level and growth of one rater"), "-0.2"),
    ("therapists_alike", gettext_lazy("The raters’ levels, and growths, between therapists"), "0.3"),
    ("therapies_alike", gettext_lazy("The raters’ levels, and growths, between patients"), "0.4"),
    ("residuals_alike", gettext_lazy("The two ratings of one session, beyond both courses"), "0.3"),
)


def _numbers(text: str, most: int) -> tuple[int, ...]:
    """Whole numbers with commas; raises ValidationError."""
    try:
        numbers = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise forms.ValidationError(_("Whole numbers with commas between them, like 20, 40, 80.")) from None
    if not numbers or min(numbers) < 1 or max(numbers) > most:
        raise forms.ValidationError(_("Between 1 and %(most)d, with commas between them.") % {"most": most})
    return tuple(dict.fromkeys(numbers))


class PlanForm(forms.Form):
    title = OwnWords(
        label=gettext_lazy("Name of this plan"), max_length=120, error_messages={"required": FILL_IN}
    )
    effects = forms.MultipleChoiceField(
        label=gettext_lazy("Effects that the study is to find"),
        choices=[(code, gettext_lazy(effect_words(code))) for code in EFFECTS],
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy(
            "A difference between the raters needs the joint model of both, which takes much longer."
        ),
        error_messages={"required": gettext_lazy("Choose at least one.")},
    )
    n_therapists = forms.CharField(
        label=gettext_lazy("Numbers of therapists"),
        max_length=60,
        help_text=gettext_lazy("Several with commas: each is a design of its own."),
        error_messages={"required": FILL_IN},
    )
    n_patients = forms.CharField(
        label=gettext_lazy("Patients of each therapist"),
        max_length=60,
        help_text=gettext_lazy("Several with commas; every pair with a number of therapists is a design."),
        error_messages={"required": FILL_IN},
    )
    sessions = forms.CharField(
        label=gettext_lazy("Sessions with a rating"),
        max_length=200,
        help_text=gettext_lazy("Numbers with commas: 3, 12, 20, 40."),
        error_messages={"required": FILL_IN},
    )
    dropout = forms.FloatField(
        label=gettext_lazy(
            "Share of therapies that have ended before the last of these sessions, in percent"
        ),
        min_value=0,
        max_value=95,
        error_messages={"required": FILL_IN, "invalid": NUMBER},
    )
    n_studies = forms.IntegerField(
        label=gettext_lazy("Simulated studies of each design"),
        min_value=50,
        max_value=MAX_STUDIES,
        help_text=gettext_lazy("With 400, a power of about 80 percent has an error of 4 points either way."),
        error_messages={"required": FILL_IN, "invalid": WHOLE},
    )
    seed = forms.IntegerField(
        label=gettext_lazy("Seed"),
        min_value=0,
        max_value=2**31,
        help_text=gettext_lazy("The same plan with the same seed gives the same numbers."),
        error_messages={"required": FILL_IN, "invalid": WHOLE},
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        invalid = {"required": FILL_IN, "invalid": NUMBER}
        for rater in RATERS:
            for name, words, least, most, _firsts in OF_RATER:
                self.fields[f"{rater}_{name}"] = forms.FloatField(
                    label=words, min_value=least, max_value=most, error_messages=invalid
                )
        for name, words, _first in CORRELATIONS:
            self.fields[name] = forms.FloatField(
                label=words, min_value=-0.95, max_value=0.95, error_messages=invalid
            )

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The truth as a table: one line a quantity, one cell a rater."""
        return [
            {"label": words, "cells": [self[f"{rater}_{name}"] for rater in RATERS]}
            for name, words, *_rest in OF_RATER
        ]

    @property
    def correlations(self) -> list[Any]:
        return [self[name] for name, *_rest in CORRELATIONS]

    def clean_n_therapists(self) -> tuple[int, ...]:
        return _numbers(self.cleaned_data["n_therapists"], 1000)

    def clean_n_patients(self) -> tuple[int, ...]:
        return _numbers(self.cleaned_data["n_patients"], 200)

    def clean_sessions(self) -> tuple[int, ...]:
        return tuple(sorted(_numbers(self.cleaned_data["sessions"], 500)))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self.errors:
            return cleaned
        n = len(cleaned["n_therapists"]) * len(cleaned["n_patients"])
        if n > MAX_DESIGNS:
            words = _("These are %(n)d designs; a plan holds at most %(most)d. Take some numbers away.")
            raise forms.ValidationError(words % {"n": n, "most": MAX_DESIGNS})
        try:
            cleaned["spec"] = self._spec(cleaned)
        except SpecError as error:
            words = _("This truth or these designs cannot be simulated: %(reason)s. Change them.")
            raise forms.ValidationError(words % {"reason": error}) from error
        return cleaned

    def _spec(self, values: Mapping[str, Any]) -> PlanSpec:
        first, second = (
            View(
                level=values[f"{rater}_level"],
                growth=values[f"{rater}_growth"],
                therapist_sd=(values[f"{rater}_therapist_level"], values[f"{rater}_therapist_growth"]),
                therapy_sd=(values[f"{rater}_therapy_level"], values[f"{rater}_therapy_growth"]),
                residual_sd=values[f"{rater}_residual"],
                missing=values[f"{rater}_missing"] / 100,
            )
            for rater in RATERS
        )
        return PlanSpec(
            views=(first, second),
            **{name: values[name] for name, *_rest in CORRELATIONS},
            n_therapists=values["n_therapists"],
            n_patients=values["n_patients"],
            sessions=values["sessions"],
            dropout=values["dropout"] / 100,
            effects=tuple(values["effects"]),
            n_studies=values["n_studies"],
            seed=values["seed"],
        )


def first_values() -> dict[str, object]:
    """What stands in the form at first: a study like the one that this product grew out of."""
    of_raters = {
        f"{rater}_{name}": firsts[place]
        for place, rater in enumerate(RATERS)
        for name, _words, _least, _most, firsts in OF_RATER
    }
    between = {name: first for name, _words, first in CORRELATIONS}
    return {
        **of_raters,
        **between,
        "effects": ["patient.level", "difference.level"],
        "n_therapists": "20, 40, 80",
        "n_patients": "4",
        "sessions": "3, 12, 20, 40",
        "dropout": "20",
        "n_studies": "200",
        "seed": "1",
    }


def values_of(estimates: Mapping[str, Any]) -> dict[str, object]:
    """What `analytics.research.plan.from_result` found, as the form shows it."""
    values: dict[str, object] = {name: f"{estimates[name]:.2f}" for name, *_rest in CORRELATIONS}
    for rater, view in zip(RATERS, estimates["views"], strict=True):
        numbers = {
            "level": view.level,
            "growth": view.growth,
            "therapist_level": view.therapist_sd[0],
            "therapist_growth": view.therapist_sd[1],
            "therapy_level": view.therapy_sd[0],
            "therapy_growth": view.therapy_sd[1],
            "residual": view.residual_sd,
        }
        values |= {f"{rater}_{name}": f"{number:.3f}" for name, number in numbers.items()}
    return values
