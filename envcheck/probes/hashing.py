"""Hashes of files as RECORD writes them, streamed, within a deadline."""

from __future__ import annotations

import os
import time
from base64 import urlsafe_b64encode
from hashlib import algorithms_guaranteed, new

BLOCK = 1 << 20


def supported(algorithm: str) -> bool:
    """Whether RECORD may name this algorithm and this Python has it."""
    return algorithm in algorithms_guaranteed and not algorithm.startswith("shake_")


def file_hash(path: str, algorithm: str = "sha256", deadline: float | None = None) -> str | None:
    """``sha256=`` and the URL-safe base64 without padding; None: the deadline (``time.monotonic()``) came first.

    Raises OSError; ValueError: no such algorithm.
    """
    if not supported(algorithm):
        raise ValueError(f"hash algorithm {algorithm!r} is not known")
    running = new(algorithm, usedforsecurity=False)
    # O_NONBLOCK: a FIFO in the place of a file must not hang us.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        if os.fstat(handle).st_mode & 0o170000 != 0o100000:
            raise OSError(22, "no regular file", path)
        while block := os.read(handle, BLOCK):
            running.update(block)
            if deadline is not None and time.monotonic() > deadline:
                return None
    finally:
        os.close(handle)
    return f"{algorithm}={urlsafe_b64encode(running.digest()).rstrip(b'=').decode()}"
