"""Pure: tables made of the others of a bundle: a ready long one, a wide one, and the files of HLM."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from analytics.export.tables import Frames, Written, read_blocks
from analytics.frozen import OUTCOME_SCALE, Column, Table

# Of one form, rater and planned session in the wide table; names stay readable up to here.
MAX_WIDE = 1500
SHORT = {"patient": "p", "therapist": "t"}


def column_named(table: Table, name: str) -> Column:
    return next(column for column in table.columns if column.name == name)


def scales_of(table: Table) -> list[str]:
    names = {column.name for column in table.columns}
    return [name for name in names_in_order(table) if f"{name}_answered" in names]


def names_in_order(table: Table) -> list[str]:
    return [column.name for column in table.columns]


# --- long


def practice_means(practice: pd.DataFrame, scales: Sequence[str]) -> pd.DataFrame:
    """Of each therapist (index) the mean of every scale over their forms about practice in general, named
    `t_<scale>`."""
    own = practice[practice["about"] == "trait"]
    means = own.groupby("therapist")[list(scales)].mean().astype("float64")
    return means.add_prefix("t_")


def long_table(ratings: Table, practice: Table) -> Table:
    """One row a rating: the scale scores of the alliance, with the therapist's means beside them."""
    kept = ("therapist", "patient", "therapy", "session", "occasion", "week", "rater", "instrument")
    # Tier by tier, not every column is there.
    names = [name for name in (*kept, *scales_of(ratings)) if name in names_in_order(ratings)]
    columns = [column_named(ratings, name) for name in names]
    time = Column("time", "session", "number", "Time of the models", "(session - 3) / 10")
    own = [
        Column(
            f"t_{scale}",
            "therapist",
            "number",
            f"{column_named(practice, scale).meaning}; mean over the therapist's forms about practice",
            column_named(practice, scale).values,
        )
        for scale in scales_of(practice)
    ]
    at = names.index("session") + 1
    return Table(
        "long",
        "One row a rating, ready for growth models: scale scores, and what the therapist says of practice",
        (*columns[:at], time, *columns[at:], *own),
    )


def long_frames(table: Table, folder: Path, means: pd.DataFrame) -> Frames:
    kept = [name for name in names_in_order(table) if not name.startswith("t_") and name != "time"]
    for block in read_blocks(folder, "ratings", kept):
        block = block[block["session"].notna()].join(means, on="therapist")
        block["time"] = (block["session"].astype("float64") - 3) / 10
        yield block.reindex(columns=names_in_order(table))


# --- wide


def wide_table(ratings: Table, folder: Path) -> Table:
    """One row a therapy; of each form, rater and planned session its scales, named as WAI_S_P_s3_total."""
    kinds: set[tuple[str, str, int]] = set()
    for block in read_blocks(folder, "ratings", ["instrument", "rater", "occasion"]):
        known = block.dropna().drop_duplicates()
        kinds |= {(i, r, int(o)) for i, r, o in known.itertuples(index=False, name=None)}
    scales = scales_of(ratings)
    columns = [column_named(ratings, name) for name in ("therapist", "patient", "therapy")]
    for instrument, rater, occasion in sorted(kinds)[: MAX_WIDE // max(len(scales), 1)]:
        for scale in scales:
            described = column_named(ratings, scale)
            columns.append(
                Column(
                    wide_name(instrument, rater, occasion, scale),
                    "session",
                    "number",
                    f"{instrument}, {rater}, planned session {occasion}: {described.meaning}",
                    described.values,
                )
            )
    return Table("wide", "One row a therapy: the scale scores of every planned session", tuple(columns))


def wide_name(instrument: str, rater: str, occasion: int, scale: str) -> str:
    return f"{instrument.replace('-', '_')}_{SHORT[rater]}_s{occasion}_{scale}"


def wide_frames(table: Table, ratings: Table, folder: Path) -> Frames:
    """Rows of `ratings` stand together by therapy; the last therapy of a block waits for the next one."""
    names, scales = set(names_in_order(table)), scales_of(ratings)
    keys = ["therapist", "patient", "therapy"]
    kept = [*keys, "instrument", "rater", "occasion", *scales]
    waiting = pd.DataFrame(columns=kept)
    for block in read_blocks(folder, "ratings", kept):
        block = pd.concat([waiting, block]) if len(waiting) else block
        last = block["therapy"].iloc[-1]
        waiting = block[block["therapy"] == last]
        yield _widened(block[block["therapy"] != last], table, names, scales)
    yield _widened(waiting, table, names, scales)


def _widened(block: pd.DataFrame, table: Table, names: set[str], scales: Sequence[str]) -> pd.DataFrame:
    rows: dict[str, dict[str, object]] = {}
    for record in block.to_dict("records"):
        row = rows.setdefault(
            record["therapy"], {key: record[key] for key in ("therapist", "patient", "therapy")}
        )
        if pd.isna(record["occasion"]):
            continue
        for scale in scales:
            name = wide_name(record["instrument"], record["rater"], int(record["occasion"]), scale)
            if name in names and not pd.isna(record[scale]):
                row[name] = record[scale]
    frame = pd.DataFrame(list(rows.values()), columns=names_in_order(table))
    return frame.astype({column.name: "float64" for column in table.columns if column.kind == "number"})


# --- HLM


def hlm_jobs(long: Written) -> Iterator[Mapping[str, object]]:
    """The three files of HLM, made of the long table: ids as numbers, each file sorted by them. Level 1 has a
    file for each rater's ratings, as HLM models one outcome."""
    columns = {column.name: column for column in long.table.columns}

    def job(target: str, names: Sequence[str], ids: Sequence[str], **more: object) -> Mapping[str, object]:
        return {
            "source": "data/long.parquet",
            "target": f"hlm/{target}.sav",
            "kind": "sav",
            "label": target,
            "numbers": list(ids),
            "sort": [*ids, *(["session"] if "session" in names else [])],
            "columns": [
                {
                    "name": name,
                    "kind": "integer" if name in ids else columns[name].kind,
                    "label": columns[name].meaning,
                    "labels": [],
                    "missing": [],
                }
                for name in names
            ],
            **more,
        }

    own = [name for name in columns if name.startswith("t_")]
    for rater in SHORT:
        yield job(
            f"L1_{rater}",
            ["therapist", "therapy", "session", "time", OUTCOME_SCALE],
            ["therapist", "therapy"],
            rater=rater,
        )
    yield job("L2", ["therapist", "therapy"], ["therapist", "therapy"], once=True)
    yield job("L3", ["therapist", *own], ["therapist"], once=True)
