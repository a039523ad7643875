"""A lab's stack on a server's machine."""

from __future__ import annotations

from envcheck.core.snapshot import Absent, EnvVar, Library, Snapshot, Stack, Unknown, known

MACHINE_BOUND = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
"""Variables that belong to the place where a program is started, not to what is shipped."""


def combine(stack: Snapshot, machine: Snapshot) -> Snapshot:
    """What is shipped from ``stack``, the rest from ``machine``; ``built_on`` keeps the stack's own machine.

    A container brings its C library along; a bare environment meets the machine's. Variables that select devices
    come from the machine's snapshot.
    """
    from msgspec.structs import replace

    # An import that worked there says nothing of this machine.
    shipped: Stack = replace(stack.stack, imports=[])
    if not isinstance(shipped.container, str):
        # What the loader found there says nothing of this machine; what the files ask for does.
        binaries = [replace(one, missing=[], elsewhere=[], lacking=[], loads=[]) for one in shipped.binaries]
        # A virtual environment meets the C library, and the system's CUDA, of the place it is copied to.
        shipped = replace(
            shipped,
            userland=machine.stack.userland,
            toolkits=machine.stack.toolkits,
            container=machine.stack.container,
            libraries=_libraries(shipped.libraries, machine.stack.libraries),
            cudnn=machine.stack.cudnn,
            binaries=binaries,
        )
    return Snapshot(
        envcheck=stack.envcheck,
        created=stack.created,
        machine=machine.machine,
        stack=replace(shipped, env=_environment(stack, machine)),
        built_on=stack.machine,
        assumed=[*machine.assumed, *(one for one in stack.assumed if _of_stack(one.fact, stack))],
        probes=[*stack.probes, *machine.probes],
    )


def _of_stack(fact: str, stack: Snapshot) -> bool:
    """Whether an assumption is about what is shipped; the machine it was made for stays behind."""
    return fact == "python.version" or (fact in ("os.glibc", "os.distro") and isinstance(stack.stack.container, str))


def _libraries(
    shipped: list[Library] | Absent | Unknown, there: list[Library] | Absent | Unknown
) -> list[Library] | Absent | Unknown:
    """Libraries in wheels or in the conda environment are copied along; the system's are those of the machine."""
    if isinstance(shipped, (Absent, Unknown)):
        return shipped
    kept = [library for library in shipped if library.origin in ("wheel", "conda")]
    if isinstance(there, Unknown):
        return kept or there
    return kept + [library for library in known(there) or [] if library.origin not in ("wheel", "conda")]


def _environment(stack: Snapshot, machine: Snapshot) -> list[EnvVar] | Absent | Unknown:
    shipped, here = stack.stack.env, machine.stack.env
    if isinstance(shipped, (Absent, Unknown)):
        return shipped if isinstance(here, (Absent, Unknown)) else [v for v in here if v.name in MACHINE_BOUND]
    kept = [variable for variable in shipped if variable.name not in MACHINE_BOUND]
    if isinstance(here, (Absent, Unknown)):
        return kept
    return kept + [variable for variable in here if variable.name in MACHINE_BOUND]
