"""What the command line asks for, with the modules that read the environment."""

from argparse import Namespace
from typing import Any

from benchmarks.faults.seed import plant
from benchmarks.faults.site import Site
from benchmarks.load import look, million
from benchmarks.load import run as running
from benchmarks.load import steps as stepping


def run(chosen: Namespace) -> dict[str, Any]:
    sizes = running.Sizes(
        chosen.limit, chosen.seconds, chosen.journey, chosen.rate, chosen.connections, chosen.patients
    )
    return running.conduct(chosen.var.resolve(), sizes)


def steps(chosen: Namespace) -> dict[str, Any]:
    site = Site(chosen.var.resolve(), 0, 0)
    try:
        site.start_servers()
        planted = plant(chosen.forms + 10, 0, n_sessions=1)
        found = stepping.measure(planted, chosen.forms, chosen.profile)
    finally:
        site.stop()
        site.clear()
    if not chosen.sql:
        for step in found.values():
            del step["sql"]
    return {"name": "steps of a patient's way", "steps": found, "machine": running.machine()}


def seed(chosen: Namespace) -> dict[str, Any]:
    return million.seed(chosen.var.resolve(), chosen.responses)


def pages(chosen: Namespace) -> dict[str, Any]:
    return look.measure(chosen.var.resolve(), chosen.rounds, list(chosen.only), chosen.explain)
