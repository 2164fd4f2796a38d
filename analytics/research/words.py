"""Pure: an analysis in words, English unless the caller brings a `Words`. A number is said as it is printed;
what the data cannot tell is said as plainly as what they tell; nothing is good or bad."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analytics.wording import PATIENT, Writing

ALPHA = 0.05
# What follows the number, its standard error for one, goes on in the page's own direction.
ISOLATED, UNTIL_HERE = "\N{LEFT-TO-RIGHT ISOLATE}", "\N{POP DIRECTIONAL ISOLATE}"
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Words(Writing):
    """`digits`: a number with so many decimals. `titles`: names of scales and composites by their code."""

    digits: Callable[[float, int], str] = lambda value, n: f"{value:.{n}f}"
    titles: Mapping[str, str] = None  # type: ignore[assignment]

    def title(self, code: str) -> str:
        return (self.titles or {}).get(code, code)


def number(value: float | None, words: Words, n: int = 3) -> str:
    """With a true minus, which stays before the number where reading goes from right to left; nothing that is
    no number, and no minus before a zero."""
    if value is None:
        return "–"
    text = words.digits(abs(value), n)
    if round(value, n) >= 0:
        return text
    negative = f"\N{MINUS SIGN}{text}"
    return f"{ISOLATED}{negative}{UNTIL_HERE}" if words.is_rtl else negative


def p_value(p: float | None, words: Words) -> str:
    if p is None:
        return "–"
    return f"< {words.digits(0.001, 3)}" if p < 0.001 else words.digits(p, 3)


def interval(lower: float | None, upper: float | None, words: Words) -> str:
    if lower is None or upper is None:
        return "–"
    _ = words.translate
    ends = {"lower": number(lower, words), "upper": number(upper, words)}
    return _("%(lower)s to %(upper)s") % ends


def rater_title(rater: str, words: Words) -> str:
    _ = words.translate
    return _("Patients’ ratings") if rater == PATIENT else _("Therapists’ ratings")


def predictor_title(column: Values, words: Words) -> str:
    """Of a column of the frame, as `analytics.research.frames.Column.to_dict` gives it."""
    _ = words.translate
    source, code = column["key"].split(":")[0], column["key"].split(":")[-1]
    if source == "state":
        part = (
            _("%(scale)s, mean of the therapy")
            if column["unit"] == "therapy"
            else _("%(scale)s, session against that mean")
        )
        return part % {"scale": words.title(code)}
    facts = {
        "n_therapies": _("Number of therapies of the therapist"),
        "n_held": _("Number of sessions held"),
        "arm": _("Arm %(value)s") % {"value": column["value"]},
        "patient_language": _("Language of the patient: %(value)s") % {"value": column["value"]},
    }
    return facts[code] if source in ("therapist", "therapy") else words.title(code)


def key_title(key: str, words: Words) -> str:
    """Of something that can be chosen as a predictor."""
    _ = words.translate
    source, *_instrument, code = key.split(":")
    if source == "state":
        return _("%(scale)s in single sessions") % {"scale": words.title(code)}
    facts = {
        "n_therapies": _("Number of therapies of the therapist"),
        "n_held": _("Number of sessions held"),
        "arm": _("Arm of the plan"),
        "patient_language": _("Language of the patient"),
    }
    return facts[code] if source in ("therapist", "therapy") else words.title(code)


def effect_title(name: str, time: Values, words: Words) -> str:
    """`name`: "level", or a column of time; in the joint model "growth" for its only one."""
    _ = words.translate
    if name == "level":
        return _("Level at session %(n)s") % {"n": words.digits(time["zero"], 0)}
    if name == "growth":
        name = time["names"][0]
    unit = {"n": words.digits(time["unit"] or 1, 0)}
    if name == "log_time":
        return _("Growth per unit of ln(session)")
    if name == "occasion":
        return _("Growth per occasion")
    if name == "time_squared":
        return _("Bend of growth")
    if name.startswith("time_after_"):
        return _("Change of growth after session %(n)s") % {"n": name.removeprefix("time_after_")}
    return _("Growth per %(n)s sessions") % unit


def unit_of_effect(column: Values, words: Words) -> str:
    _ = words.translate
    if column["value"]:
        return _("compared with the most frequent")
    return _("per standard deviation") if column["is_scaled"] else _("per point")


def in_short(result: Values, words: Words) -> list[str]:
    """What differs between the perspectives, what does not, what the data cannot tell."""
    _ = words.translate
    joint = next((model["result"] for model in result["models"] if model["kind"] == "joint"), None)
    if joint is None:
        return [*_of_one_model(result, words), *_limits(result, words)]
    if joint["status"] not in ("ok", "singular"):
        text = _(
            "Whether the perspectives differ is not told: the joint model of both has no estimates. What each"
            " rater’s own model says stands below, and comparing the two does not answer the question."
        )
        return [text, *_limits(result, words)]
    if not joint["contrasts"]:
        text = (
            _("None of the predictors varies in these ratings: the page shows how both perspectives run.")
            if result["constant"]
            else _("No predictor was asked about: the page shows how both perspectives run and vary.")
        )
        return [text, *_limits(result, words)]
    return [*_differences(result, joint, words), *_limits(result, words)]


def _differences(result: Values, joint: Values, words: Words) -> Iterator[str]:
    _ = words.translate
    columns = {column["name"]: column for column in result["predictors"]}
    contrasts = joint["contrasts"]
    found = [row for row in contrasts if row["p_holm"] < ALPHA]
    hinted = [row for row in contrasts if row["p"] < ALPHA <= row["p_holm"]]
    for row in found:
        yield _difference(row, joint, result["time"], columns[row["predictor"]], words)
    if not found:
        yield _(
            "No difference between the perspectives is shown: of %(n)d differences tested, none stays after"
            " adjustment for their number."
        ) % {"n": len(contrasts)}
    if hinted:
        yield _(
            "A difference is hinted at, and does not stay after adjustment for the %(n)d tests: %(which)s."
            " Take it as a question to new data."
        ) % {"n": len(contrasts), "which": _listed(hinted, columns, result["time"], words)}
    touched = {row["predictor"] for row in (*found, *hinted)}
    rest = [row for row in contrasts if row["predictor"] not in touched and row["effect"] == "level"]
    if rest:
        most = max(max(abs(row["lower"]), abs(row["upper"])) for row in rest)
        yield _(
            "No difference is shown for: %(which)s. Their intervals leave room for differences in level of up"
            " to %(most)s points."
        ) % {
            "which": "; ".join(predictor_title(columns[row["predictor"]], words) for row in rest),
            "most": words.digits(most, 2),
        }


def _listed(rows: Sequence[Values], columns: Mapping[str, Values], time: Values, words: Words) -> str:
    return "; ".join(
        f"{predictor_title(columns[row['predictor']], words)} ({effect_title(row['effect'], time, words)})"
        for row in rows
    )


def _difference(row: Values, joint: Values, time: Values, column: Values, words: Words) -> str:
    _ = words.translate
    between = f"{time['names'][0]}:" if row["effect"] == "growth" else ""
    fixed = {effect["term"]: effect["estimate"] for effect in joint["fixed"]}
    patient = fixed[f"patient:{between}{column['name']}"]
    therapist = fixed[f"therapist:{between}{column['name']}"]
    text = (
        _(
            "%(what)s (%(unit)s) goes with patients’ ratings %(patient)s and therapists’ ratings"
            " %(therapist)s. The difference, patients minus therapists, is %(gap)s (95 %% interval"
            " %(interval)s; p %(p)s after adjustment for all tests)."
        )
        if row["effect"] == "level"
        else _(
            "%(what)s (%(unit)s) goes with growth of patients’ ratings %(patient)s and of therapists’ ratings"
            " %(therapist)s. The difference, patients minus therapists, is %(gap)s (95 %% interval"
            " %(interval)s; p %(p)s after adjustment for all tests)."
        )
    )
    effect = effect_title(row["effect"], time, words)
    return f"{effect}: " + text % {
        "what": predictor_title(column, words),
        "unit": unit_of_effect(column, words),
        "patient": _moved(patient, words),
        "therapist": _moved(therapist, words),
        "gap": number(row["estimate"], words),
        "interval": interval(row["lower"], row["upper"], words),
        "p": p_value(row["p_holm"], words),
    }


def _moved(value: float, words: Words) -> str:
    _ = words.translate
    size = words.digits(abs(value), 2)
    if round(value, 2) == 0:
        return _("%(n)s higher") % {"n": words.digits(0.0, 2)}
    return (_("%(n)s higher") if value > 0 else _("%(n)s lower")) % {"n": size}


def _of_one_model(result: Values, words: Words) -> Iterator[str]:
    """Where there is no joint model: what each model shows, without comparing them."""
    _ = words.translate
    columns = {column["name"]: column for column in result["predictors"]}
    if any(caution["code"] == "no_joint" for caution in result["cautions"]):
        yield _(
            "Whether the perspectives differ is not told: the joint model of both raters takes a coding of"
            " time with one column. Choose the linear, the logarithmic or the occasion coding for this"
            " question."
        )
    for model in result["adjusted"]:
        rater = rater_title(model["rater"], words)
        found = [row for row in model["rows"] if row["p_holm"] < ALPHA]
        if found:
            yield _("%(rater)s go with: %(which)s (p below 0.05 after adjustment for %(n)d tests).") % {
                "rater": rater,
                "n": len(model["rows"]),
                "which": _listed(found, columns, result["time"], words),
            }
        elif model["rows"]:
            yield _("%(rater)s are not shown to go with any of the predictors (%(n)d tests, adjusted).") % {
                "rater": rater,
                "n": len(model["rows"]),
            }


def _limits(result: Values, words: Words) -> Iterator[str]:
    _ = words.translate
    if not result["predictors"]:
        return
    yield _(
        "What the data cannot tell: that something does not differ, as no difference shown is not no"
        " difference; and what causes what, as therapists and patients were not put together by chance."
    )
    is_description = any(caution["code"] == "no_therapist_level" for caution in result["cautions"])
    if not is_description and any(column["unit"] == "therapist" for column in result["predictors"]):
        n = min(row["therapists"] for row in result["n"].values())
        yield _(
            "Predictors of the therapist rest on the number of therapists (%(n)d), not on that of the"
            " ratings."
        ) % {"n": n}


def sensitivity_title(name: str, words: Words) -> str:
    _ = words.translate
    return {
        "serial": _("Residuals that depend on the time between sessions"),
        "dropout": _("If those who dropped out had gone on better or worse"),
        "leave_one_out": _("Without one therapist at a time"),
    }[name]


def sensitivity_failure(code: str, detail: str, words: Words) -> str:
    _ = words.translate
    return {
        "no_model": _("Not done: the model itself has no estimates."),
        "needs_sessions": _("Not done: it needs a list of planned sessions. Name them in the question."),
        "no_dropout": _("Not done: no therapy with ratings here ended as a dropout."),
        "no_therapists": _("Not done: the model has no level of therapists."),
        "many_therapists": _("Not done: with so many therapists no single one moves an estimate."),
        "none_fitted": _("Not done: the model could not be fitted without any one of the therapists."),
        "failed": _("Not done: %(detail)s.") % {"detail": detail},
    }[code]


def model_title(key: str, words: Words) -> str:
    _ = words.translate
    if key == "joint":
        return _("Joint model of both perspectives")
    rater, _dot, name = key.partition(".")
    titles = {
        "conditional": _("%(rater)s, with predictors"),
        "unconditional": _("%(rater)s, without predictors"),
        "conditional-ml": _("%(rater)s, with predictors, by ML"),
        "unconditional-ml": _("%(rater)s, without predictors, by ML"),
        "therapist-none": _("%(rater)s, without a level of therapists"),
        "therapist-intercept": _("%(rater)s, therapists differing in level alone"),
    }
    return titles[name] % {"rater": rater_title(rater, words)}


def status_title(status: str, words: Words) -> str:
    """How the search for a model's estimates ended, as `analytics.growth.results.Status` has it."""
    _ = words.translate
    return {
        "ok": _("converged"),
        "singular": _("converged, singular"),
        "not_converged": _("not converged"),
        "no_variation": _("not fitted: the ratings do not vary"),
        "insufficient_data": _("not fitted: too few data"),
        "timed_out": _("not converged in the time there was"),
    }[status]


def comparison_title(what: str, words: Words) -> str:
    _ = words.translate
    return {
        "predictors": _("All predictors together"),
        "therapist-intercept": _("Therapists differ in level"),
        "therapist-slope": _("Therapists differ in growth, too"),
        "therapist-slope-uncorrelated": _("Therapists differ in growth, too (not correlated with level)"),
    }[what]


def level_title(group: str | None, words: Words) -> str:
    _ = words.translate
    if group is None:
        return _("Occasions (residual)")
    return _("Therapists") if group == "therapist" else _("Therapies in therapists")


def variance_title(what: str, words: Words) -> str:
    _ = words.translate
    return {"level": _("level"), "growth": _("growth"), "residual": _("residual")}[what]


def term_title(part: Values, titles: Mapping[str, str], time: Values, words: Words) -> str:
    """An effect of a predictor: `part` has its `predictor` and `effect`."""
    return f"{titles[part['predictor']]}: {effect_title(part['effect'], time, words)}"


def step_titles(column: Values | None, words: Words) -> dict[int, str]:
    """Names of the lines of a course, by their step."""
    _ = words.translate
    if column is None:
        return {0: _("all therapies")}
    if column["value"]:
        return {0: _("others"), 1: predictor_title(column, words)}
    return {-1: _("1 SD below the mean"), 0: _("at the mean"), 1: _("1 SD above the mean")}


def diagnostic_title(row: Values, words: Words) -> str:
    _ = words.translate
    rater = rater_title(row["rater"], words)
    if row["what"] == "residuals":
        return _("%(rater)s: residuals") % {"rater": rater}
    text = (
        _("%(rater)s: level of %(units)s")
        if row["term"] == "Intercept"
        else _("%(rater)s: growth of %(units)s")
    )
    return text % {"rater": rater, "units": level_title(row["group"], words)}


def left_out_title(reason: str, words: Words) -> str:
    _ = words.translate
    return {
        "other_form": _("on another form"),
        "other_session": _("of sessions that were not asked about"),
        "no_score": _("without a score, as too few items were answered"),
        "second_form": _("second forms about one session"),
    }[reason]


def stage(code: str, words: Words) -> str:
    _ = words.translate
    return {
        "": _("At work"),
        "reading": _("Freezing the data"),
        "writing": _("Freezing the data"),
        "frame": _("Putting the ratings together"),
        "separate": _("Fitting the model of each perspective"),
        "comparison": _("Comparing models"),
        "serial": _("Sensitivity: time between sessions"),
        "dropout": _("Sensitivity: dropout"),
        "leave_one_out": _("Sensitivity: one therapist at a time"),
        "joint": _("Fitting the joint model"),
    }.get(code, "")
