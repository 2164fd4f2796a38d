"""The environment of a whole site in a folder of its own, before anything of it is loaded."""

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def database(**more: str) -> Iterator[None]:
    """Inside the block Django is set up in this process, with a database that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        # The server has a user of its own, who must be able to enter.
        os.chmod(folder, 0o755)  # noqa: S103
        from alliance_site.embedded import EmbeddedPostgres  # noqa: PLC0415  reads the environment

        cluster = EmbeddedPostgres(Path(folder) / "postgres", durable=False)
        os.environ |= {
            "DATABASE_URL": cluster.start(),
            "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
            "SECRET_KEY": secrets.token_urlsafe(64),
            "FIELD_KEY": secrets.token_urlsafe(64),
            "ALLOWED_HOSTS": "testserver",
            "HTTPS": "1",
            "VAR": folder,
            "DJANGO_SETTINGS_MODULE": "alliance_site.settings",
            **more,
        }
        try:
            import django  # noqa: PLC0415
            from django.conf import settings  # noqa: PLC0415

            # Nothing is collected for it.
            plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
            settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}
            django.setup()
            yield
        finally:
            cluster.stop()
