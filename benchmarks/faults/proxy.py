"""nginx in front of the web processes, by the file that docs/nginx.conf.example gives to operators."""

from __future__ import annotations

import re
import shutil
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from alliance_site.folders import PROJECT
from benchmarks.faults.ledger import p95
from benchmarks.faults.run import Figures, Run
from benchmarks.faults.site import HOST

EXAMPLE = PROJECT / "docs" / "nginx.conf.example"
MAIN = """
daemon off;
pid {var}/nginx.pid;
error_log {var}/nginx.log;
events {{ worker_connections 512; }}
http {{
    client_body_temp_path {var}/nginx-body;
    proxy_temp_path {var}/nginx-proxy;
    fastcgi_temp_path {var}/nginx-fastcgi;
    uwsgi_temp_path {var}/nginx-uwsgi;
    scgi_temp_path {var}/nginx-scgi;
    {own}
}}
"""
N_SLOW = 40
SLOW_FOR = 12.0
BOTH = (
    "POST /set-language/ HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
)


def command(var: Path, port: int, ports: Sequence[int]) -> list[str]:
    """nginx with the example, at another port, without TLS and before these web processes. Raises
    FileNotFoundError where it is not installed."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        raise FileNotFoundError("nginx is not installed (Debian: apt-get install nginx-light)")
    path = var / "nginx.conf"
    path.write_text(MAIN.format(var=var, own=written(EXAMPLE.read_text(), var, port, ports)))
    return [program, "-e", str(var / "nginx.log"), "-c", str(path)]


def written(example: str, var: Path, port: int, ports: Sequence[int]) -> str:
    """The example with our ports and files; the server that only leads to https is left out."""
    text = re.sub(r"server \{\n    listen 80;.*?\n\}\n", "", example, flags=re.DOTALL)
    text = re.sub(r"listen 443 ssl;", f"listen {HOST}:{port};", text)
    text = re.sub(r"\n    ssl_[^\n]*", "", text)
    text = re.sub(r"error_log [^ ]*", f"error_log {var / 'nginx-site.log'}", text)
    line = re.search(r"    server 127\.0\.0\.1:8000([^\n]*)\n", text)
    if line is None:
        raise ValueError("docs/nginx.conf.example names no web process at 127.0.0.1:8000")
    return text.replace(line[0], "".join(f"    server {HOST}:{one}{line[1]}\n" for one in ports))


def refusals(run: Run) -> Figures:
    """What the proxy keeps away from the site: a request with two lengths, and bodies that come byte by byte,
    during which patients are served as before."""
    port = run.site.front[0]
    status = _said(port, BOTH)
    run.expect(status == 400, f"a request with two lengths was answered {status}")
    usual = _seconds(run, 10)
    lines = [_begun(port) for _ in range(N_SLOW)]
    try:
        began = time.monotonic()
        with_slow: list[float] = []
        while time.monotonic() - began < SLOW_FOR:
            for line in lines:
                line.sendall(b"x")
            with_slow += _seconds(run, 2)
    finally:
        for line in lines:
            line.close()
    longer = p95(with_slow) - p95(usual)
    run.expect(longer < 1, f"beside slow senders a form took {longer:.1f} s longer")
    return {
        "both_lengths": status,
        "slow_senders": N_SLOW,
        "p95_usual_ms": round(1000 * p95(usual)),
        "p95_beside_slow_ms": round(1000 * p95(with_slow)),
    }


def _seconds(run: Run, n: int) -> list[float]:
    patients = run.patients()
    for form in run.forms.take(n):
        patients.fill(form, run.rng)
    run.met(patients)
    return patients.tally.seconds


def _begun(port: int) -> socket.socket:
    """A connection that has announced a body and sends none yet."""
    line = socket.create_connection((HOST, port), timeout=5)
    head = "POST /set-language/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5000\r\n"
    line.sendall(f"{head}Content-Type: application/x-www-form-urlencoded\r\n\r\n".encode())
    return line


def _said(port: int, request: str) -> int:
    with socket.create_connection((HOST, port), timeout=10) as line:
        line.sendall(request.encode())
        return int(line.recv(200).split()[1])
