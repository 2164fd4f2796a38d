"""A limit on what one job may take of the machine's memory."""

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def limited(megabytes: int) -> Iterator[None]:
    """Inside the block this process gets no more memory than so much in all: what wants more raises
    MemoryError here, instead of the kernel ending some other program. Without effect beside Linux."""
    if sys.platform != "linux":
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = megabytes << 20
    resource.setrlimit(resource.RLIMIT_DATA, (most if hard < 0 else min(most, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
