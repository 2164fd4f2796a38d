"""Frozen tables for tests: a few rows by hand, and studies simulated from a stated truth."""

import numpy as np
import pandas as pd

from analytics.growth.simulate import Perspective, StudyDesign, Truth, covariance, simulate
from analytics.research.spec import AnalysisSpec, Predictor

DOUBT = Predictor("trait", "self_doubt", "dpccq-difficulties")
FLOW = Predictor("state", "flow", "dpccq-feelings")
X = Predictor("trait", "x", "form")
Z = Predictor("trait", "z", "form")
RANGES = {"wai-s": (1, 7), "form": (0, 5)}


def made_by_hand() -> dict[str, pd.DataFrame]:
    columns = ["therapist", "therapy", "session", "occasion", "rater", "instrument", "submitted_on", "total"]
    ratings = pd.DataFrame(
        [
            ("T2", "E2", 3, 3, "patient", "wai-s", 1, 6.0),
            ("T1", "E1", 3, 3, "patient", "wai-s", 1, 5.0),
            ("T1", "E1", 3, 3, "therapist", "wai-s", 1, 4.5),
            ("T1", "E1", 13, 12, "patient", "wai-s", 2, 5.5),
            ("T1", "E1", 20, 20, "patient", "wai-s", 3, 5.6),
            # On another form; with too few answers; a second time.
            ("T1", "E1", 3, 3, "patient", "wai-b3", 1, 4.0),
            ("T2", "E2", 3, 3, "therapist", "wai-s", 1, np.nan),
            ("T2", "E2", 3, 3, "patient", "wai-s", 2, 1.0),
            ("T3", "E3", 3, 3, "therapist", "wai-s", 1, 5.0),
        ],
        columns=columns,
    )
    ratings["patient"] = ratings["therapy"].str.replace("E", "P")
    practice = pd.DataFrame(
        [
            ("T1", "trait", "year-1", None, None, "dpccq-difficulties", 9, 3.0, np.nan),
            ("T1", "trait", "entry", None, None, "dpccq-difficulties", 1, 1.0, np.nan),
            ("T2", "trait", "entry", None, None, "dpccq-difficulties", 1, 2.5, np.nan),
            ("T1", "state", None, "E1", 3, "dpccq-feelings", 1, np.nan, 1.0),
            ("T1", "state", None, "E1", 13, "dpccq-feelings", 2, np.nan, 3.0),
            ("T2", "state", None, "E2", 3, "dpccq-feelings", 2, np.nan, 1.5),
        ],
        columns=[
            *("therapist", "about", "period", "therapy", "session", "instrument", "submitted_on"),
            *("self_doubt", "flow"),
        ],
    )
    therapies = pd.DataFrame(
        {
            "therapy": ["E1", "E2", "E3"],
            "arm": ["long", "long", "short"],
            "patient_language": ["en", "en", "en"],
            "n_held": [20, 3, 3],
            "end_reason": ["dropout", None, "completed"],
        }
    )
    therapists = pd.DataFrame({"therapist": ["T1", "T2", "T3"], "n_therapies": [1, 1, 1]})
    return {"ratings": ratings, "practice": practice, "therapies": therapies, "therapists": therapists}


def simulated(
    patient: tuple[float, float] = (0.0, 0.0),
    therapist: tuple[float, float] = (0.0, 0.0),
    *,
    n_therapists: int = 45,
    n_patients: int = 3,
    seed: int = 3,
    therapist_sd: float = 0.3,
) -> dict[str, pd.DataFrame]:
    """Sessions 3, 12, 20 and 40 of both raters; x has these effects on level and growth, z none."""
    same = np.eye(4).tolist()
    truth = Truth(
        perspectives=(
            Perspective("P", intercept=5.2, time=0.1, sigma=0.5, effects={"x": patient}),
            Perspective("T", intercept=4.9, time=0.1, sigma=0.4, effects={"x": therapist}),
        ),
        therapist_cov=covariance((therapist_sd, 0.08, therapist_sd, 0.08), same),
        patient_cov=covariance((0.6, 0.12, 0.45, 0.12), same),
        rho=0.3,
    )
    rng = np.random.default_rng(seed)
    columns = simulate(truth, StudyDesign(n_therapists=n_therapists, n_patients=n_patients), rng)
    rows = pd.DataFrame(dict(columns)).dropna(subset=["y"])
    therapists = rows.groupby("therapist")["x"].first()
    ratings = pd.DataFrame(
        {
            "therapist": rows["therapist"],
            "therapy": rows["therapist"].astype(str) + "-" + rows["patient"].astype(str),
            "patient": rows["therapist"].astype(str) + "-" + rows["patient"].astype(str),
            "session": rows["session"].astype(int),
            "occasion": rows["session"].astype(int),
            "rater": rows["rater"].map({"P": "patient", "T": "therapist"}),
            "instrument": "wai-s",
            "submitted_on": 1,
            "total": rows["y"],
        }
    )
    practice = pd.DataFrame(
        {
            "therapist": therapists.index,
            "about": "trait",
            "period": "entry",
            "instrument": "form",
            "submitted_on": 1,
            "x": therapists.to_numpy(),
            "z": rng.normal(size=len(therapists)),
        }
    )
    each = ratings.drop_duplicates("therapy")
    last = ratings.groupby("therapy")["session"].max()
    therapies = pd.DataFrame(
        {
            "therapy": each["therapy"],
            "arm": None,
            "patient_language": "en",
            "n_held": 40,
            "end_reason": np.where(each["therapy"].map(last) < 40, "dropout", "completed"),
        }
    )
    counts = pd.DataFrame({"therapist": therapists.index, "n_therapies": n_patients})
    return {"ratings": ratings, "practice": practice, "therapies": therapies, "therapists": counts}


def question(**fields: object) -> AnalysisSpec:
    stated = {
        "instruments": {"patient": "wai-s", "therapist": "wai-s"},
        "sessions": (3, 12, 20, 40),
        "predictors": (X, Z),
        "ranges": RANGES,
    }
    return AnalysisSpec(**(stated | fields))
