"""The environment of a whole site in a folder of its own, before anything of it is loaded."""

import os
from pathlib import Path

OTHERS = ("DATABASE_URL", "CELERY_BROKER_URL", "SECRET_KEY", "FIELD_KEY", "ALLOWED_HOSTS")


def use(var: Path, **more: str) -> None:
    """From here on this process and those it starts are of the site in `var`, whatever the shell names."""
    for name in OTHERS:
        os.environ.pop(name, None)
    os.environ |= {
        "ALLIANCE_DEMO": "1",
        "DJANGO_SETTINGS_MODULE": "alliance_site.settings",
        "LOG_LEVEL": "WARNING",
        "VAR": str(var.resolve()),
        **more,
    }
