"""Computes every number of this bundle again and says PASS or FAIL beside it: python reproduce.py

Needs Python 3.10 or newer with NumPy, SciPy and pandas; no network, nothing of the program that made the
bundle.

For each model of expected.json the ratings of its file are fitted anew. The covariance of the ratings of
therapist k is

    V_k = Z_k T_therapist Z_k' + (the same for each therapy, with T_therapy) + residuals

and the (restricted) likelihood is maximised over the Cholesky factors of the T and the residual variances by
BFGS with its exact gradient, from a start that knows nothing of the published numbers and from one at them;
the better end counts. Degrees of freedom are Kenward & Roger's (1997, Biometrics 53, 983-997) or
Satterthwaite's (Giesbrecht & Burns 1985, Biometrics 41, 477-486). Matrices are plain and whole, therapist by
therapist: slow with thousands of ratings a therapist, and easy to read.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import sys
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy
from scipy import optimize, stats

HERE = Path(__file__).resolve().parent


class Model:
    """One model of expected.json: its rows, design, levels, and the likelihood with its gradient."""

    def __init__(self, stated: dict[str, Any]) -> None:
        self.stated, self.is_joint = stated, stated["kind"] == "joint"
        self.reml = stated["method"] == "reml"
        frame = pd.read_csv(
            HERE / stated["data"], dtype={"therapist": str, "therapy": str}, encoding="utf-8-sig"
        )
        frame = frame.sort_values(["therapist", "therapy"], kind="stable").reset_index(drop=True)
        self.y = frame[stated["outcome"]].to_numpy(float)
        self.terms = [row["term"] for row in stated["result"]["fixed"]]
        self.X = np.column_stack([self.column(frame, term) for term in self.terms])
        # Working units of the same size; results go back to the units of the columns.
        self.levels = []
        for row in stated["result"]["random"]:
            Z = np.column_stack([self.column(frame, term) for term in row["terms"]])
            unit = frame[row["group"].split(":")].agg("\t".join, axis=1).to_numpy()
            self.levels.append((row["group"], row["terms"], Z, unit, "||" not in self.bar(row["group"])))
        self.raters = list(stated["result"]["residual"]["sd"]) if self.is_joint else []
        self.blocks = [np.flatnonzero(frame["therapist"] == name) for name in sorted(set(frame["therapist"]))]
        if self.is_joint:
            names = stated["joint"]
            self.rater = (frame[names["rater"]] == self.raters[1]).to_numpy(int)
            keys = frame[["therapist", "therapy", names["session"]]].astype(str)
            self.pair = keys.agg("\t".join, axis=1).to_numpy()
        self.n = {"rows": len(frame)} | {group: len(set(unit)) for group, _, _, unit, _ in self.levels}
        self.directions = [self.directions_of(rows) for rows in self.blocks]

    def bar(self, group: str) -> str:
        """The random term of a group as the formula writes it."""
        found = re.search(r"\(([^()]*\|\s*" + re.escape(group) + r")\)", self.stated["formula"])
        return found.group(1) if found else ""

    def column(self, frame: pd.DataFrame, term: str) -> np.ndarray:
        """The values of a term: product of columns, of a rater's indicator, of a category's indicator."""
        values = np.ones(len(frame))
        for part in term.split(":"):
            category = re.fullmatch(r"(?:C\()?(\w+)\)?\[(?:T\.)?(.*)\]", part)
            if part in ("Intercept", "1"):
                continue
            if self.is_joint and part in set(frame[self.stated["joint"]["rater"]]):
                values = values * (frame[self.stated["joint"]["rater"]] == part)
            elif category:
                values = values * (frame[category.group(1)].astype(str) == category.group(2))
            else:
                values = values * frame[part].astype(float)
        return np.asarray(values, dtype=float)

    def directions_of(self, rows: np.ndarray) -> np.ndarray:
        """dV_k by each parameter: lower cells of every T, then the residual variances. V is linear in all."""
        found = []
        for _, terms, Z, unit, correlated in self.levels:
            z, same = Z[rows], unit[rows][:, None] == unit[rows][None, :]
            for i, j in cells(len(terms), correlated):
                E = np.outer(z[:, i], z[:, j]) * same
                found.append(E if i == j else E + E.T)
        if not self.is_joint:
            return np.array([*found, np.eye(len(rows))])
        same = self.pair[rows][:, None] == self.pair[rows][None, :]
        r = self.rater[rows]
        first, second = np.diag((r == 0).astype(float)), np.diag((r == 1).astype(float))
        cross = same * (r[:, None] != r[None, :])
        return np.array([*found, first, cross.astype(float), second])

    # theta: lower triangles of the Cholesky factors, then the residuals (log SD, atanh of the correlation)

    def parameters(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The parameters of V, and their derivatives by theta (parameters x theta)."""
        values: list[float] = []
        slopes: list[np.ndarray] = []
        at = 0
        for _, terms, _, _, correlated in self.levels:
            q, own = len(terms), cells(len(terms), correlated)
            L = np.zeros((q, q))
            for place, (i, j) in enumerate(own):
                L[i, j] = theta[at + place]
            for i, j in own:
                slope = np.zeros(len(theta))
                for place, (a, b) in enumerate(own):
                    slope[at + place] = (L[j, b] if a == i else 0) + (L[i, b] if a == j else 0)
                values.append(float(L[i] @ L[j]))
                slopes.append(slope)
            at += len(own)
        rest = np.zeros((3 if self.is_joint else 1, len(theta)))
        if not self.is_joint:
            values.append(float(np.exp(2 * theta[at])))
            rest[0, at] = 2 * values[-1]
        else:
            s1, s2, rho = np.exp(theta[at]), np.exp(theta[at + 1]), np.tanh(theta[at + 2])
            values += [float(s1**2), float(rho * s1 * s2), float(s2**2)]
            rest[0, at] = 2 * s1**2
            rest[1, at : at + 3] = rho * s1 * s2, rho * s1 * s2, (1 - rho**2) * s1 * s2
            rest[2, at + 1] = 2 * s2**2
        return np.array(values), np.array([*slopes, *rest])

    def deviance(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """-2 log likelihood and its gradient by theta; infinite where V is none."""
        values, slopes = self.parameters(theta)
        try:
            at = At(self, values)
        except np.linalg.LinAlgError:
            return np.inf, np.zeros(len(theta))
        return at.deviance, at.gradient() @ slopes

    def starts(self) -> list[np.ndarray]:
        """One that knows nothing, one at the published numbers."""
        spread = np.std(self.y - self.X @ np.linalg.lstsq(self.X, self.y, rcond=None)[0])
        blind: list[float] = []
        for _, terms, Z, _, correlated in self.levels:
            for i, j in cells(len(terms), correlated):
                size = np.sqrt(np.mean(Z[:, i][Z[:, i] != 0] ** 2))
                blind.append(0.5 * spread / size if i == j else 0.0)
        residual = [np.log(0.7 * spread)] * (2 if self.is_joint else 1) + [0.0] * self.is_joint
        published: list[float] = []
        for row, (_, terms, _, _, correlated) in zip(
            self.stated["result"]["random"], self.levels, strict=True
        ):
            w, U = np.linalg.eigh(np.array(row["cov"]))
            # Any factor will do; that of QR is lower triangular.
            L = np.linalg.qr((U * np.sqrt(np.clip(w, 0, None))).T)[1].T
            published += [float(L[i, j]) for i, j in cells(len(terms), correlated)]
        if self.is_joint:
            own = self.stated["result"]["residual"]
            published += [*np.log(list(own["sd"].values())), np.arctanh(own["rho"])]
        else:
            published.append(float(np.log(self.stated["result"]["sigma"])))
        return [np.array([*blind, *residual]), np.array(published)]

    def fit(self) -> At:
        """The best point found."""
        best = None
        for start in self.starts():
            # Stopped and begun again: a new curvature finds what a worn one passes.
            for _ in range(4):
                found = optimize.minimize(
                    self.deviance, start, jac=True, method="BFGS", options={"gtol": 1e-8, "maxiter": 2000}
                )
                done = np.allclose(found.x, start, rtol=0, atol=1e-9)
                start = found.x
                if done:
                    break
            if best is None or found.fun < best.fun - 1e-9:
                best = found
        assert best is not None
        # BFGS ends near the top, a Newton step from there on it: degrees of freedom notice the difference.
        theta = best.x - self.inverse_curvature(best.x) @ best.jac
        if not self.deviance(theta)[0] <= best.fun + 1e-9:
            theta = best.x
        at = At(self, self.parameters(theta)[0])
        at.theta = theta
        return at

    def inverse_curvature(self, theta: np.ndarray) -> np.ndarray:
        """Of the deviance, in the directions of which the data tell.

        By differences of the gradient, of fourth order: beside a variance near zero the curvature itself
        bends within one step.
        """

        def change(step: np.ndarray) -> np.ndarray:
            return (self.deviance(theta + step)[1] - self.deviance(theta - step)[1]) / (2 * step.max())

        steps = np.eye(len(theta)) * 1e-4 * np.maximum(1, np.abs(theta))[:, None]
        H = np.array([(4 * change(step) - change(2 * step)) / 3 for step in steps])
        w, U = np.linalg.eigh((H + H.T) / 2)
        told = w > 1e-6 * w.max()
        return np.asarray((U[:, told] / w[told]) @ U[:, told].T)


def cells(q: int, correlated: bool) -> list[tuple[int, int]]:
    """Row and column of the free cells of a covariance."""
    pairs = [(i, j) for j, i in combinations_with_replacement(range(q), 2)]
    return pairs if correlated else [(i, i) for i in range(q)]


class At:
    """The likelihood and what follows from it at one value of the parameters of V."""

    theta: np.ndarray

    def __init__(self, model: Model, values: np.ndarray) -> None:
        self.model, self.values = model, values
        n, p = model.X.shape
        self.inverse, log_det, XVX, XVy, yVy = [], 0.0, np.zeros((p, p)), np.zeros(p), 0.0
        for rows, E in zip(model.blocks, model.directions, strict=True):
            root = np.linalg.cholesky(np.tensordot(values, E, axes=1))
            half = np.linalg.inv(root)
            X, y = half @ model.X[rows], half @ model.y[rows]
            log_det += 2 * np.log(np.diag(root)).sum()
            XVX, XVy, yVy = XVX + X.T @ X, XVy + X.T @ y, yVy + y @ y
            self.inverse.append(half.T @ half)
        self.Phi = np.linalg.inv(XVX)
        self.beta = self.Phi @ XVy
        self.residual = model.y - model.X @ self.beta
        self.deviance = log_det + yVy - self.beta @ XVy + n * np.log(2 * np.pi)
        if model.reml:
            self.deviance += np.linalg.slogdet(XVX)[1] - p * np.log(2 * np.pi)

    def gradient(self) -> np.ndarray:
        """By the parameters of V: tr(P E) - e'V^-1 E V^-1 e, with V^-1 for P by ML."""
        out = np.zeros(len(self.values))
        for rows, E, inverse in zip(self.model.blocks, self.model.directions, self.inverse, strict=True):
            w = inverse @ self.residual[rows]
            out += np.einsum("aij,ij->a", E, inverse) - np.einsum("i,aij,j->a", w, E, w)
            if self.model.reml:
                VX = inverse @ self.model.X[rows]
                out -= np.einsum("aij,ip,pq,jq->a", E, VX, self.Phi, VX, optimize=True)
        return out

    def kenward_roger(self) -> tuple[np.ndarray, Any]:
        """The adjusted covariance of the fixed effects, and df of one contrast."""
        m, p = len(self.values), len(self.beta)
        Y, Q, traces = np.zeros((m, p, p)), np.zeros((m, m, p, p)), np.zeros((m, m))
        for rows, E, inverse in zip(self.model.blocks, self.model.directions, self.inverse, strict=True):
            VE, VX = inverse @ E, inverse @ self.model.X[rows]
            EVX = E @ VX
            Y += VX.T @ EVX
            Q += np.einsum("aip,ij,bjq->abpq", EVX, inverse, EVX, optimize=True)
            traces += np.einsum("aij,bji->ab", VE, VE, optimize=True)
        YPhi = Y @ self.Phi
        K = traces - 2 * np.einsum("abpq,qp->ab", Q, self.Phi) + np.einsum("apq,bqp->ab", YPhi, YPhi)
        W = 2 * np.linalg.pinv(K, rcond=1e-10, hermitian=True)
        middle = np.einsum("ab,abpq->pq", W, Q) - np.einsum("ab,apq,bqr->pr", W, YPhi, Y)
        adjusted = self.Phi + self.Phi @ (middle + middle.T) @ self.Phi

        def df(contrast: np.ndarray) -> float:
            u = self.Phi @ contrast
            slopes = Y @ u @ u
            return float(2 * (contrast @ u) ** 2 / (slopes @ W @ slopes))

        return adjusted, df

    def satterthwaite(self) -> tuple[np.ndarray, Any]:
        """The covariance of the fixed effects as it is, and df of one contrast."""
        model, theta = self.model, self.theta
        A = 2 * model.inverse_curvature(theta)
        slopes = model.parameters(theta)[1]

        def df(contrast: np.ndarray) -> float:
            u, by_value = self.Phi @ contrast, np.zeros(len(self.values))
            for rows, E, inverse in zip(model.blocks, model.directions, self.inverse, strict=True):
                v = inverse @ model.X[rows] @ u
                by_value += np.einsum("i,aij,j->a", v, E, v)
            g = by_value @ slopes
            return float(2 * (contrast @ u) ** 2 / (g @ A @ g))

        return self.Phi, df


def numbers_of(model: Model) -> dict[str, Any]:
    """Every number that the bundle states of a model, computed here; in the shape that `stated_of` has."""
    at, result = model.fit(), model.stated["result"]
    method = result["df_method"]
    cov, df = {"kenward-roger": at.kenward_roger, "satterthwaite": at.satterthwaite}.get(
        method, lambda: (at.Phi, lambda contrast: np.inf)
    )()
    p, k = len(at.beta), len(at.beta) + len(at.values)
    out: dict[str, Any] = {"n": model.n, "loglik": -at.deviance / 2, "deviance": at.deviance}
    out |= {"aic": at.deviance + 2 * k, "bic": at.deviance + k * np.log(model.n["rows"])}
    unit = np.eye(p)
    out["fixed"] = {
        term: tested(at.beta[i], np.sqrt(cov[i, i]), df(unit[i])) for i, term in enumerate(model.terms)
    }
    out["random"], place = {}, 0
    for group, terms, _, _, correlated in model.levels:
        T = np.zeros((len(terms), len(terms)))
        for i, j in cells(len(terms), correlated):
            T[i, j] = T[j, i] = at.values[place]
            place += 1
        sd = np.sqrt(np.clip(np.diag(T), 0, None))
        with np.errstate(all="ignore"):
            corr = T / np.outer(sd, sd)
        names = [f"{terms[j]},{terms[i]}" for i, j in cells(len(terms), True) if i != j]
        below = [corr[i, j] for i, j in cells(len(terms), True) if i != j]
        out["random"][group] = {
            "sd": dict(zip(terms, sd, strict=True)),
            "corr": dict(zip(names, below, strict=True)),
        }
    if not model.is_joint:
        out["sigma"] = np.sqrt(at.values[-1])
        return out
    v1, c, v2 = at.values[-3:]
    sds = dict(zip(model.raters, (np.sqrt(v1), np.sqrt(v2)), strict=True))
    out["residual"] = {"sd": sds, "rho": c / np.sqrt(v1 * v2)}
    contrasts = {}
    for row in result["contrasts"]:
        rest = (
            row["predictor"]
            if row["effect"] == "level"
            else f"{model.stated['joint']['time']}:{row['predictor']}"
        )
        c = (
            unit[model.terms.index(f"{model.raters[0]}:{rest}")]
            - unit[model.terms.index(f"{model.raters[1]}:{rest}")]
        )
        contrasts[f"{row['predictor']}:{row['effect']}"] = tested(c @ at.beta, np.sqrt(c @ cov @ c), df(c))
    raw = np.array([row["p"] for row in contrasts.values()])
    for row, by_holm, by_bh in zip(contrasts.values(), holm(raw), benjamini_hochberg(raw), strict=True):
        row |= {"p_holm": by_holm, "p_bh": by_bh}
    return out | {"contrasts": contrasts}


def tested(estimate: float, se: float, df: float) -> dict[str, float]:
    t = estimate / se
    half = stats.t.ppf(0.975, df) * se
    row = {"estimate": estimate, "se": se, "df": df, "t": t, "p": 2 * stats.t.sf(abs(t), df)}
    return row | {"lower": estimate - half, "upper": estimate + half}


def holm(p: np.ndarray) -> np.ndarray:
    order = np.argsort(p)
    out = np.empty(len(p))
    out[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return out


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    order = np.argsort(p)
    raw = p[order] * len(p) / np.arange(1, len(p) + 1)
    out = np.empty(len(p))
    out[order] = np.minimum(1, np.minimum.accumulate(raw[::-1])[::-1])
    return out


def stated_of(result: dict[str, Any]) -> dict[str, Any]:
    """The published numbers of a model by name: lists become tables by term, group and contrast."""
    tests = ("estimate", "se", "df", "t", "p", "lower", "upper")
    out = {name: result[name] for name in ("loglik", "deviance", "aic", "bic")}
    out["n"] = {name: value for name, value in result["n"].items() if name != "dropped"}
    out["fixed"] = {row["term"]: {name: row[name] for name in tests} for row in result["fixed"]}
    out["random"] = {
        row["group"]: {
            "sd": dict(zip(row["terms"], row["sd"], strict=True)),
            "corr": {
                f"{row['terms'][j]},{row['terms'][i]}": row["corr"][i][j]
                for i, j in cells(len(row["terms"]), True)
                if i != j
            },
        }
        for row in result["random"]
    }
    if "residual" not in result:
        return out | {"sigma": result["sigma"]}
    out["contrasts"] = {
        f"{row['predictor']}:{row['effect']}": {name: row[name] for name in (*tests, "p_holm", "p_bh")}
        for row in result["contrasts"]
    }
    return out | {"residual": {"sd": result["residual"]["sd"], "rho": result["residual"]["rho"]}}


def leaves(tree: dict[str, Any], *path: str) -> list[tuple[tuple[str, ...], Any]]:
    out = []
    for name, value in tree.items():
        out += leaves(value, *path, name) if isinstance(value, dict) else [((*path, name), value)]
    return out


def at_path(tree: Any, path: tuple[str, ...] | list[str]) -> Any:
    for name in path:
        tree = tree[name]
    return tree


def agrees(name: str, stated: float, found: float, tolerance: float) -> bool:
    """p values by their size, everything else by the tolerance, relative above 1."""
    if name in ("p", "p_holm", "p_bh"):
        return abs(stated - found) <= max(1e-6, 1e-3 * abs(found))
    return abs(stated - found) <= tolerance * max(1.0, abs(found))


def main() -> int:
    expected = json.loads((HERE / "expected.json").read_text(encoding="utf-8"))
    tolerance, failed, passed = expected["tolerance"], 0, 0

    def say(label: str, name: str, stated: Any, found: Any) -> None:
        nonlocal failed, passed
        if stated is None or (name == "df" and stated is None):
            # A correlation with an effect that does not vary, df of a normal test: no number was published.
            return
        ok = bool(np.isfinite(found)) and agrees(name, float(stated), float(found), tolerance)
        passed, failed = passed + ok, failed + (not ok)
        print(f"{'PASS' if ok else 'FAIL'}  {label:<60} published {stated:<22.10g} computed {found:.10g}")

    for line in (HERE / "MANIFEST.sha256").read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        if name.startswith(("models/", "data/")):
            ok = hashlib.sha256((HERE / name).read_bytes()).hexdigest() == digest
            failed += not ok
            if not ok:
                print(f"FAIL  {name} is not the file that the numbers were computed from")
    computed: dict[str, Any] = {}
    for analysis in expected["analyses"]:
        for stated in analysis["models"]:
            key = f"{analysis['number']}/{stated['key']}"
            if stated["result"]["status"] not in ("ok", "singular"):
                print(f"NONE  {key}: {stated['result']['status']}, no number was published")
                continue
            print(f"\n{key}: {stated['formula']}")
            computed[key] = numbers_of(Model(stated))
            for path, value in leaves(stated_of(stated["result"])):
                say(f"{key} {' '.join(path)}", path[-1], value, at_path(computed[key], path))
    for table in expected.get("tables", []):
        print(f"\nTable {table['code']}, version {table['version']}")
        for cell in table["cells"]:
            found = at_path(computed[cell["model"]], cell["path"])
            say(f"{table['code']} {cell['name']}", cell["path"][-1], cell["value"], found)
    print(f"\n{passed} passed, {failed} failed.")
    versions = ", ".join(f"{module.__name__} {module.__version__}" for module in (np, scipy, pd))
    print(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}; {versions}.")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
