"""Whether a backup could be restored today: the command that a person would use, into a server made for
it."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from django.conf import settings

from alliance_site.servers import EmbeddedPostgres


def backup_rehearse(path: Path, say: Callable[[str], None]) -> str:
    """Restores the backup into an empty throw-away server, which is removed whatever happens, and says what
    the command says. Returns what went wrong; empty where nothing did."""
    # Every account may pass this folder: root's servers run as another one. What is in it is closed.
    with tempfile.TemporaryDirectory(prefix="alliance-drill-") as name:
        Path(name).chmod(0o711)
        server = EmbeddedPostgres(Path(name) / "pg", durable=False)
        try:
            server.start()
            return _restore(path.resolve(), server.url(), say)
        finally:
            server.remove()


def _restore(path: Path, url: str, say: Callable[[str], None]) -> str:
    argv = [sys.executable, str(settings.BASE_DIR / "manage.py"), "restore", str(path)]
    process = subprocess.Popen(
        argv, env=_environment(url), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    lines = []
    for line in process.stdout or ():
        lines.append(line.rstrip())
        say(line.rstrip())
    if process.wait() == 0:
        return ""
    last = lines[-1].removeprefix("CommandError: ") if lines else ""
    return last or "The restoration failed and said nothing."


def _environment(url: str) -> dict[str, str]:
    """The site's own settings with another database, and a broker that nobody needs."""
    keys = {
        "SECRET_KEY": settings.SECRET_KEY,
        "FIELD_KEY": settings.FIELD_KEYS[0],
        "FIELD_KEY_FALLBACKS": ",".join(settings.FIELD_KEYS[1:]),
        "PSEUDONYM_KEY": settings.PSEUDONYM_KEY,
        "BACKUP_KEY": settings.BACKUP_KEY,
        # The throw-away server lets its owner in without one.
        "DATABASE_PASSWORD": "",
    }
    kept = {name: value for name, value in os.environ.items() if name.removesuffix("_FILE") not in keys}
    return (
        kept
        | keys
        | {
            "DATABASE_URL": url,
            "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
            # It answers nobody, so it has no address either.
            "ALLOWED_HOSTS": "localhost",
            "SITE_URL": "",
            "VAR": str(settings.VAR),
            "BACKUP_DIR": str(settings.BACKUP_DIR),
        }
    )
