"""The JAX backend on a CPU that it takes for a GPU of NVIDIA: what it does on GPUs only is run as well."""

from __future__ import annotations

from envcheck.smoke_tests.backends import jax
from envcheck.smoke_tests.backends.jax import backend as backend

jax.kind_of = lambda place: "cuda"
jax.GPU_SIZE, jax.COPIED = 256, 1 << 20
jax.JaxWorker._capability = lambda self: (9, 0)
