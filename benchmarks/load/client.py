"""A client that costs little, as it shares the machine with what it measures: one process, one thread, kept
connections, requests made beforehand."""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from dataclasses import dataclass

HOST = "127.0.0.1"
PATIENCE = 30.0
# The server closes a connection that waits for two seconds.
LONGEST_REST = 1.0
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_COOKIE = re.compile(rb"\r\nset-cookie: *([^=;\r]+)=([^;\r]*)", re.IGNORECASE)
_LOCATION = re.compile(rb"\r\nlocation: *([^\r]*)", re.IGNORECASE)


class Broken(Exception):
    """No whole answer came."""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    head: bytes
    body: bytes

    @property
    def location(self) -> str:
        found = _LOCATION.search(self.head)
        return found[1].decode() if found else ""

    @property
    def cookies(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in _COOKIE.findall(self.head)}


class _Line(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self.rested_since = 0.0
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Reply] | None = None
        self._come = b""

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(Broken("the connection broke"))

    def ask(self, request: bytes) -> asyncio.Future[Reply]:
        self._come = b""
        self._waiting = asyncio.get_running_loop().create_future()
        if self._transport is None:
            self._waiting.set_exception(Broken("the connection broke"))
        else:
            self._transport.write(request)
        return self._waiting

    def data_received(self, data: bytes) -> None:
        self._come += data
        head, parted, body = self._come.partition(b"\r\n\r\n")
        if not parted or self._waiting is None or self._waiting.done():
            return
        status, length = int(head[9:12]), _LENGTH.search(head)
        if status in (204, 304) or (length and len(body) >= int(length[1])):
            if b"\r\nconnection: close" in head.lower():
                self.close()
            self._waiting.set_result(Reply(status, head, body))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Pool:
    """Connections to one port; each request takes the one that has rested longest."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._resting: deque[_Line] = deque()
        self.host = f"{HOST}:{port}".encode()

    async def ask(self, request: bytes) -> Reply:
        """Raises Broken, and TimeoutError after PATIENCE."""
        line = await self._line()
        try:
            reply = await asyncio.wait_for(line.ask(request), PATIENCE)
        except TimeoutError:
            line.close()
            raise
        line.rested_since = time.monotonic()
        if line.is_open:
            self._resting.append(line)
        return reply

    async def _line(self) -> _Line:
        while self._resting:
            line = self._resting.popleft()
            if line.is_open and time.monotonic() - line.rested_since < LONGEST_REST:
                return line
            line.close()
        try:
            _, line = await asyncio.get_running_loop().create_connection(_Line, HOST, self.port)
        except OSError as error:
            raise Broken(type(error).__name__) from error
        return line

    def close(self) -> None:
        for line in self._resting:
            line.close()
        self._resting.clear()


def get(pool: Pool, path: str, cookie: str = "") -> bytes:
    return _head(pool, b"GET", path, cookie) + b"\r\n"


def post(pool: Pool, path: str, body: bytes, cookie: str = "") -> bytes:
    kind = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n" % len(body)
    return _head(pool, b"POST", path, cookie) + kind + body


def _head(pool: Pool, method: bytes, path: str, cookie: str) -> bytes:
    lines = b"%b %b HTTP/1.1\r\nHost: %b\r\n" % (method, path.encode(), pool.host)
    return lines + (b"Cookie: %b\r\n" % cookie.encode() if cookie else b"")
