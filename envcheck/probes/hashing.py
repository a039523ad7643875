"""Hashes of files as RECORD writes them, streamed, within a deadline."""

from __future__ import annotations

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
    buffer = bytearray(BLOCK)
    view = memoryview(buffer)
    with open(path, "rb", buffering=0) as file:
        while size := file.readinto(buffer):
            running.update(view[:size])
            if deadline is not None and time.monotonic() > deadline:
                return None
    return f"{algorithm}={urlsafe_b64encode(running.digest()).rstrip(b'=').decode()}"
