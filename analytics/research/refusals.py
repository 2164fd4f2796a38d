"""Pure: what the data could not carry, in sentences that say what to do next."""

from __future__ import annotations

from collections.abc import Mapping

from analytics.research.words import Values, Words, key_title, model_title, rater_title


def caution(row: Values, names: Mapping[str, str], words: Words) -> str:
    """`names`: titles of predictors by column."""
    _ = words.translate
    rater = rater_title(row["rater"], words) if "rater" in row else ""
    texts = {
        "few_therapists": _(
            "%(rater)s: %(n)d therapists are few. With fewer than about %(least)d likelihood-ratio tests find"
            " too much; the t and F tests of the tables hold better, and their intervals are wide."
        ),
        "many_predictors": _(
            "%(rater)s: %(n_predictors)d predictors of the therapist on %(n)d therapists. Estimates of so"
            " many at once are unstable: ask about fewer, chosen before looking."
        ),
        "few_sessions": _(
            "%(rater)s: ratings at %(n)d different times can carry a straight line and cannot tell whether it"
            " is one."
        ),
        "several_episodes": _(
            "%(rater)s: %(n)d patients have several treatment episodes here, which count as independent."
        ),
        "singular": _(
            "On the edge of what a model can be (%(detail)s): %(models)s. A variance is estimated as zero, or"
            " a correlation as one. Effects of predictors stand; that variance or correlation is not to be"
            " read."
        ),
        "unfitted": _("No estimates of: %(models)s (%(detail)s)."),
        "constant": _("“%(name)s” is the same everywhere in these ratings and was left out."),
        "no_joint": _("No joint model: it takes a coding of time with one column, and this one has %(n)d."),
        "answer_scales": _(
            "The two forms have different answer scales, so that a difference of effects is one in different"
            " units: read its sign and its test with care."
        ),
        "forms_differ": _("Patients and therapists filled different forms."),
        **_about_effects(words),
    }
    values = {**row, "rater": rater, "name": names.get(row.get("name", ""), row.get("name", ""))}
    values["which"] = "; ".join(names.get(name, name) for name in row.get("names", ()))
    values["models"] = "; ".join(model_title(key, words) for key in row.get("models", ()))
    return texts[row["code"]] % values


def _about_effects(words: Words) -> dict[str, str]:
    """What keeps an effect of a predictor from being read as it stands, by code."""
    _ = words.translate
    return {
        "origin_outside": _(
            "%(rater)s: time 0 is session %(zero)d, and these ratings are of sessions %(first)d to %(last)d."
            " Level, its variance and every effect on level are drawn out beyond the data: choose a session"
            " among them."
        ),
        "few_in_group": _(
            "%(rater)s: a group that “%(name)s” sets apart is small (patients: %(n)d, therapists:"
            " %(therapists)d). Its effect is that of these few and may tell of one of them; a table with it"
            " is not published."
        ),
        "close_predictors": _(
            "%(rater)s: %(which)s follow from the other predictors by nine tenths or more. Their effects"
            " cannot be told apart: read none of them by itself, or leave one out."
        ),
        "no_therapist_level": _(
            "Without a level of therapists all patients count as independent, and effects of predictors of"
            " the therapist seem surer than they are: p is too small, the intervals are too narrow. Read them"
            " as a description."
        ),
        "level_alone": _(
            "In the models of each perspective therapists or therapies differ in level alone. If they differ"
            " in growth, too, effects of their predictors on growth seem surer than they are: p is too small."
        ),
        "late_forms": _(
            "%(which)s: up to %(n)d therapists filled their first form only after a rating here, so that"
            " what they said may follow from the alliances that it is to explain."
        ),
        "later": _(
            "%(which)s: known in full only after some of the ratings that it is to explain, so that it may"
            " follow from them. These data do not tell which leads to which."
        ),
    }


def refusal(code: str, values: Values, words: Words) -> str:
    """Why an analysis has no answer, and what to do next."""
    _ = words.translate
    texts = {
        "no_scale": _("These data have no scale “%(scale)s”. Choose another scale or another snapshot."),
        "no_ratings": _(
            "%(rater)s: none is left with this form, scale and choice of sessions. Choose others, or freeze"
            " the data again once ratings have come in."
        ),
        "no_complete": _(
            "%(rater)s: none is left, as each lacks one of the predictors. Choose fewer of them."
        ),
        "no_predictor": _(
            "Nobody has filled the form of “%(name)s” in these data. Leave it out, or freeze the data again"
            " once such forms have come in."
        ),
        "many_categories": _("“%(name)s” has %(n)d values; at most %(most)d can be compared. Leave it out."),
        "time": _("Time cannot be counted in this way: %(detail)s. Choose another coding or another origin."),
        "sessions": _("%(rater)s: %(detail)s."),
        "few_therapists": _(
            "%(rater)s: %(n)d therapists are too few to tell them from their patients; at least %(least)d are"
            " needed. Wait for more, or ask without a level of therapists, for a description only."
        ),
        "few_for_predictors": _(
            "%(rater)s: %(n_predictors)d predictors of the therapist need at least %(least)d therapists, and"
            " there are %(n)d. Choose fewer predictors, or wait for more therapists."
        ),
        "collinear": _("Predictors repeat each other: %(detail)s. Leave one of them out."),
        "unfitted": _("No model could be estimated: %(detail)s. Ask for a simpler one."),
    }
    rater = rater_title(values["rater"], words) if "rater" in values else ""
    name = key_title(values["key"], words) if "key" in values else values.get("name", "")
    return texts[code] % {**values, "rater": rater, "name": name}
