"""Pure: programs that read a bundle and fit its models elsewhere, all from one statement of each model."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

# The unconditional growth model of one rater, where a snapshot has no analysis.
PLAIN = "total ~ time + (1 + time | therapist) + (1 + time | therapist:therapy)"


def files(models: Sequence[Mapping[str, Any]], tables: Sequence[str]) -> dict[str, str]:
    """Name to content. `models`: as expected.json states them; of several raters those of each alone."""
    growth = [model for model in models if model["kind"] == "growth" and model["result"]["fixed"]]
    return {
        "read.R": _read_r(tables),
        "read.py": _read_py(tables),
        "scripts/lme4.R": _lme4(growth),
        "scripts/nlme.R": _nlme(growth),
        "scripts/spss_mixed.sps": _spss(growth),
        "scripts/jamovi.md": JAMOVI,
    }


HEAD = "# Run in the unzipped folder of the bundle.\n"

JAMOVI = """# jamovi

Open `data/long.sav`: labels and missing codes are read. With the module GAMLj, "Linear mixed models":
dependent variable `total`, cluster variables `therapist` and `therapy`, covariate `time`; fixed effects
`time` and the therapist's scales (`t_...`) with their products with `time`; random effects intercept and
`time` for `therapist` and for `therapy` (whose names are never the same for two therapists), correlated
within each. Filter by `rater` first: one rater at a time.
"""


def _read_r(tables: Sequence[str]) -> str:
    lines = "\n".join(f'{name} <- read_sav("data/{name}.sav", user_na = TRUE)' for name in tables)
    return (
        f"{HEAD}# Every table with its labels; codes of missing answers are declared (is.na() sees them).\n"
        f"library(haven)\n{lines}\n"
    )


def _read_py(tables: Sequence[str]) -> str:
    listed = ", ".join(f'"{name}"' for name in tables)
    return (
        f"{HEAD}# Every table with the labels of its columns.\n"
        "import pyarrow.parquet as pq\n\n"
        f"TABLES = [{listed}]\n"
        'tables = {name: pq.read_table(f"data/{name}.parquet") for name in TABLES}\n'
        "labels = {\n"
        "    name: {field.name: field.metadata[b'label'].decode() for field in table.schema}\n"
        "    for name, table in tables.items()\n"
        "}\n"
        "frames = {name: table.to_pandas() for name, table in tables.items()}\n"
    )


def _source(model: Mapping[str, Any]) -> str:
    return f'read.csv("{model["data"]}", fileEncoding = "UTF-8-BOM")'


def _plain_source(rater: str) -> str:
    return f'subset(read.csv("data/long.csv"), rater == "{rater}" & !is.na(total))'


def _lme4(models: Sequence[Mapping[str, Any]]) -> str:
    parts = [f"{HEAD}library(lme4)\n"]
    for place, model in enumerate(models, start=1):
        parts.append(
            f"# {model['title']}\n"
            f"m{place} <- lmer({model['formula']},\n"
            f"  data = {_source(model)}, REML = {'TRUE' if model['method'] == 'reml' else 'FALSE'})\n"
            f"print(summary(m{place}))\n"
        )
    if not models:
        parts += [
            f"m_{rater} <- lmer({PLAIN},\n  data = {_plain_source(rater)})\nprint(summary(m_{rater}))\n"
            for rater in ("patient", "therapist")
        ]
    return "\n".join(parts)


def _random(formula: str) -> list[tuple[str, bool, str]]:
    """Columns, whether correlated, and group of each random term."""
    found = re.findall(r"\(([^()|]*)(\|\|?)([^()]*)\)", formula)
    return [(columns.strip(), bar == "|", group.strip()) for columns, bar, group in found]


def _fixed(formula: str) -> str:
    return re.sub(r"\s*\+?\s*\([^()]*\|[^()]*\)", "", formula).strip()


def _nlme(models: Sequence[Mapping[str, Any]]) -> str:
    parts = [f"{HEAD}library(nlme)\n"]
    asked = [
        (model["title"], model["formula"], _source(model), "REML" if model["method"] == "reml" else "ML")
        for model in models
    ] or [(rater, PLAIN, _plain_source(rater), "REML") for rater in ("patient", "therapist")]
    for place, (title, formula, source, method) in enumerate(asked, start=1):
        random = ", ".join(_nlme_term(*term) for term in _random(formula))
        parts.append(
            f"# {title}\n"
            f"m{place} <- lme({_fixed(formula)}, random = list({random}),\n"
            f'  data = {source}, method = "{method}",\n'
            '  control = lmeControl(opt = "optim", maxIter = 200, msMaxIter = 400))\n'
            f"print(summary(m{place}))\n"
        )
    return "\n".join(parts)


def _nlme_term(columns: str, correlated: bool, group: str) -> str:
    """nlme nests groups by their order: the inner one is named alone."""
    inside = f"~ {columns}" if correlated else f"pdDiag(~ {columns})"
    return f"{group.split(':')[-1]} = {inside}"


def _spss(models: Sequence[Mapping[str, Any]]) -> str:
    """MIXED of one file each; SPSS knows the estimates, and Satterthwaite's degrees of freedom."""
    parts = ["* Run in the unzipped folder of the bundle.\n"]
    asked = [(m["title"], m["formula"], m["data"], m["method"], _terms(m)) for m in models]
    asked = asked or [(rater, PLAIN, "data/long.csv", "reml", ["time"]) for rater in ("patient", "therapist")]
    for title, formula, data, method, terms in asked:
        outcome = formula.split("~")[0].strip()
        random = [_spss_term(*term) for term in _random(formula)]
        names = sorted({part for term in terms for part in term.split("*")})
        rater = f"SELECT IF (rater = '{title}').\n" if data == "data/long.csv" else ""
        parts.append(
            f"* {title}.\n"
            f"GET DATA /TYPE=TXT /FILE='{data}' /ARRANGEMENT=DELIMITED /DELIMITERS=',' /QUALIFIER='\"'\n"
            "  /FIRSTCASE=2 /IMPORTCASE=ALL /VARIABLES=AUTO.\n"
            f"{rater}MIXED {outcome} WITH {' '.join(names)}\n"
            f"  /FIXED={' '.join(terms)} | SSTYPE(3)\n"
            f"  /METHOD={method.upper()}\n  /PRINT=SOLUTION TESTCOV\n" + "\n".join(random) + ".\n"
        )
    return "\n".join(parts)


def _spss_term(columns: str, correlated: bool, group: str) -> str:
    effects = " ".join("INTERCEPT" if c.strip() == "1" else c.strip() for c in columns.split("+"))
    kind = "UN" if correlated else "DIAG"
    return f"  /RANDOM={effects} | SUBJECT({group.replace(':', '*')}) COVTYPE({kind})"


def _terms(model: Mapping[str, Any]) -> list[str]:
    terms = [row["term"] for row in model["result"]["fixed"] if row["term"] != "Intercept"]
    return [term.replace(":", "*") for term in terms]
