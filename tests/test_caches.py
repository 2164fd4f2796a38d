"""The table of the cache keeps JSON: a row that somebody wrote into it is never run."""

import base64
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client

from alliance_site.caches import JsonCache

RAN: list[str] = []


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return RAN.append, ("it ran",)


def plant(key: str, value: str) -> None:
    with connection.cursor() as cursor:
        row = "INSERT INTO cache VALUES (%s, %s, now() + interval '1 hour')"
        cursor.execute(row, [cache.make_key(key), value])


def test_a_planted_row_is_never_run(db: None) -> None:
    bomb = base64.b64encode(pickle.dumps(Bomb())).decode()
    plant("planted", bomb)
    assert cache.get("planted", "nothing") == "nothing"
    assert cache.get_many(["planted", "other"]) == {}
    assert RAN == []
    cache.set("planted", [1])
    assert cache.get("planted") == [1]


def test_no_page_of_a_stranger_runs_it_either(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_000.0)
    plant("link-misses:127.0.0.1:1", base64.b64encode(pickle.dumps(Bomb())).decode())
    assert Client(REMOTE_ADDR="127.0.0.1").get("/r/wrong/").status_code == 404
    assert RAN == []


def test_it_does_what_a_cache_does(db: None) -> None:
    assert cache.get("a") is None and not cache.has_key("a")
    cache.set("a", {"b": [1, 2.5, None, "ü"]}, timeout=60)
    assert cache.get("a") == {"b": [1, 2.5, None, "ü"]} and "a" in cache
    assert not cache.add("a", 1) and cache.add("c", None, timeout=None)
    assert cache.get("c", "nothing") is None
    assert cache.get_many(["a", "c", "d"]).keys() == {"a", "c"}
    assert cache.touch("a", 30) and not cache.touch("d", 30)
    cache.set("a", 1, timeout=0)
    assert cache.get("a") is None and not cache.touch("a", 30)
    assert cache.add("a", 2) and cache.get("a") == 2
    assert cache.delete("a") and not cache.delete("a")
    cache.set_many({"e": 1, "f": 2})
    cache.delete_many(["e"])
    assert cache.get_many(["e", "f"]) == {"f": 2}
    cache.clear()
    assert cache.get("f") is None
    with pytest.raises(TypeError):
        cache.set("a", object())


def test_what_is_over_goes_and_of_too_many_what_ends_soonest(db: None) -> None:
    cache.clear()
    for number in range(5):
        cache.set(f"kept-{number}", number, timeout=100 + number)
    cache.set("over", 1, timeout=-1)
    JsonCache("", {"OPTIONS": {"MAX_ENTRIES": 3}}).clear_up()
    with connection.cursor() as cursor:
        cursor.execute("SELECT cache_key FROM cache ORDER BY 1")
        assert [key for (key,) in cursor.fetchall()] == [f":1:kept-{number}" for number in (2, 3, 4)]


@pytest.mark.django_db(transaction=True)
def test_of_twenty_at_once_one_adds() -> None:
    def add(number: int) -> bool:
        try:
            return bool(cache.add("once", number))
        finally:
            connection.close()

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(add, range(20))) == 1
