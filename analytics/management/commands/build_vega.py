"""Writes the chart library for the browser, out of the installed Python package, before collectstatic."""

from importlib.metadata import version
from pathlib import Path

import vl_convert
from django.core.management.base import BaseCommand

from analytics import apps

FOLDER = Path(apps.__file__).parent / "static" / "analytics" / "vendor"
VERSION = version("vl-convert-python")
SNIPPET = "window.vegaEmbed = vegaEmbed;"


class Command(BaseCommand):
    help = "Write the browser's chart library (Vega) from the installed vl-convert package."

    def handle(self, *args: object, **options: object) -> None:
        mark = FOLDER / "version.txt"
        if mark.exists() and mark.read_text() == VERSION:
            return
        FOLDER.mkdir(parents=True, exist_ok=True)
        (FOLDER / "vega.js").write_text(vl_convert.javascript_bundle(SNIPPET))
        mark.write_text(VERSION)
