"""Is everything at work? Each part is asked with a time limit, and the first that fails is named."""

from datetime import timedelta

import redis
from django.conf import settings
from django.db import Error, connection
from django.http import HttpRequest, JsonResponse

from alliance_site.database.unfinished import RestorationUnfinished
from surveys.jobs import worker_silence

SILENCE = timedelta(seconds=30)


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except RestorationUnfinished as error:
        return str(error)
    except Error:
        return "The database does not answer."
    return ""


def _broker() -> str:
    """Only this view talks to the broker, and never longer than a second."""
    url = settings.CELERY_BROKER_URL.replace("redis+socket://", "unix://")
    try:
        with redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1) as client:
            client.ping()
    except redis.RedisError:
        return "The broker does not answer; answers are stored, models wait."
    return ""


def _worker() -> str:
    if worker_silence(SILENCE) is not None:
        return "No worker has been at work for half a minute; answers are stored, models wait."
    return ""


CHECKS = {"database": _database, "broker": _broker, "worker": _worker}


def health(request: HttpRequest) -> JsonResponse:
    parts = {"web": "ok"}
    for part, check in CHECKS.items():
        problem = check()
        if problem:
            body = {"status": "failing", "part": part, "message": problem, "parts": parts}
            return JsonResponse(body, status=503, headers={"Retry-After": "10"})
        parts[part] = "ok"
    return JsonResponse({"status": "ok", "parts": parts, "version": settings.VERSION})
