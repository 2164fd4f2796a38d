#!/usr/bin/env python
"""Django's command line. A command that needs the database finds it running, whoever starts it."""

import os
import sys
from contextlib import nullcontext
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

from alliance_site import embedded
from alliance_site.database.unfinished import RestorationUnfinished
from surveys import scope

VAR = Path(os.environ.get("VAR", "").strip() or Path(__file__).resolve().parent / "var")
# `up` looks at its port and its folder before it starts anything, so it starts the servers itself.
NO_DATABASE = {
    "", "build_vega", "check", "collectstatic", "compilemessages", "diffsettings", "findstatic", "help",
    "makemessages", "spectacular", "up", "version", "--help", "-h", "--version",
}  # fmt: skip


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alliance_site.settings")
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    helped = not {"-h", "--help"}.isdisjoint(sys.argv)
    embedded.prepare(VAR)
    servers = nullcontext() if helped or command in NO_DATABASE else embedded.hold(VAR)
    # Whoever may call it has the database in any case.
    with servers, scope.everything():
        execute_from_command_line(sys.argv)


if __name__ == "__main__":
    try:
        main()
    except (embedded.EmbeddedError, ImproperlyConfigured, RestorationUnfinished) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
