"""`python -m benchmarks.faults [--seconds 60] [--forms N --kills N] [--double] [--only P1]` prints JSON.

Exit status 1 where anything was lost, doubled or otherwise not as promised; then the data stay for a look.
"""

import argparse
import json
import os
import secrets
import signal
import sys
import time
from pathlib import Path

from benchmarks.environment import use

FULL = 300
# What is tried through a proxy.
BEHIND = ("P1", "P2")
NAMES = ("P4", "P8", "P5", "P1", "P13", "P2", "P12", "P6", "P7")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults")
    parser.add_argument("--seconds", type=float, default=60, help=f"of P1; from {FULL} on all of the others")
    parser.add_argument("--forms", type=int, default=1, help="P1 goes on until so many are acknowledged")
    parser.add_argument(
        "--kills", type=int, default=1, help="P1 goes on until everything was killed so often"
    )
    parser.add_argument("--double", action="store_true", help="two web and two workers on one database")
    proxied = f"two and two behind nginx (docs/nginx.conf.example): {' '.join(BEHIND)}"
    parser.add_argument("--proxy", action="store_true", help=proxied)
    parser.add_argument("--only", nargs="+", choices=NAMES, metavar="P", help=", ".join(NAMES))
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10_000)
    parser.add_argument("--var", type=Path, default=Path("var") / f"faults-{os.getpid()}")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    chosen.var.mkdir(parents=True)
    is_full = chosen.seconds >= FULL
    use(chosen.var, JOB_MEMORY_MB="1024", METRICS_TOKEN=secrets.token_urlsafe(32))
    if not is_full:
        os.environ["FAULTS_PACE"] = "5"
    # All that follows reads the environment.
    import django  # noqa: PLC0415

    django.setup()
    from benchmarks.faults import answers, clocks, disk, proxy, work  # noqa: PLC0415
    from benchmarks.faults.run import Sizes, conduct  # noqa: PLC0415
    from benchmarks.faults.site import Site, free_port  # noqa: PLC0415

    promises = {
        "P1": answers.killed,
        "P2": work.done_once,
        "P4": answers.without_broker,
        "P5": answers.without_database,
        "P6": disk.full,
        "P7": clocks.apart,
        "P8": answers.at_once,
        "P12": work.bad_ones,
        "P13": answers.renewed,
    }
    n = 2 if chosen.double or chosen.proxy else 1
    site = Site(chosen.var.resolve(), n, n)
    if chosen.proxy:
        port = free_port()
        site.put_before(port, proxy.command(site.var, port, site.ports))
        promises["proxy"] = proxy.refusals
    only = chosen.only or (BEHIND if chosen.proxy else NAMES)
    tried = {name: promise for name, promise in promises.items() if name in only or name == "proxy"}
    order = [*NAMES, "proxy"]
    figures = conduct(
        site,
        Sizes(chosen.seconds, is_full, chosen.forms, chosen.kills),
        dict(sorted(tried.items(), key=lambda pair: order.index(pair[0]))),
        chosen.seed,
    )
    print(json.dumps(figures, indent=1))
    return 0 if figures["is_kept"] else 1


if __name__ == "__main__":
    sys.exit(main())
