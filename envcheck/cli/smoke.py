"""``envcheck smoke``: small inferences on the hardware that is here, each framework in a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from envcheck.cli.options import CHECK, FORMAT, SMOKE_TIMEOUT, VERBOSE, Option

if TYPE_CHECKING:
    import click

    from envcheck.core.report import Report

HELP = """Run small, real inferences on each framework and device that is here, compare the results with what they must
be, see where they really ran and how fast; then judge as `envcheck` does.

\b
envcheck smoke                                 every framework, every device
envcheck smoke onnxruntime --device gpu        one framework; fails when it has no GPU
envcheck smoke --model m.onnx --record g.npz   in the lab: run your model, keep inputs and outputs
envcheck smoke --model m.onnx --golden g.npz   on the server: run it, compare

Each framework runs in a child process: one that crashes or hangs costs only its own result. Backends: torch,
onnxruntime, tensorrt, tensorflow, jax, cupy, openvino, and those that other packages add.

Exit codes: 0 nothing at or above --fail-on was found; 1 something was, or a test gave no answer; 2 wrong usage, an
unreadable file, or nothing here to test; 3 with --strict, nothing is known to be wrong but not everything could be
checked.
"""

OPTIONS = (
    Option(
        "--device",
        "Only these: cpu, gpu (all but the CPU), cuda:1, CUDAExecutionProvider ... It is an error when none is there. "
        "Can be repeated.",
        "list",
        metavar="DEVICE",
    ),
    Option(
        "--dtype", "Only these data types besides float32. Can be repeated; commas separate.", "list", metavar="TYPE"
    ),
    Option(
        "--thorough",
        "Also what takes long: all operations in all data types, compilers, exports, several processes.",
        "switch",
    ),
    Option(
        "--memory-budget",
        "MiB that the tests may take on the host and on each device. [default: 4096]",
        metavar="MIB",
    ),
    Option(
        "--model", "Run this model in place of our own: .onnx, .pt2, .ts, .pt, .safetensors or .plan.", metavar="FILE"
    ),
    Option("--inputs", "Inputs of the model, an .npz; without it they are made from its signature.", metavar="FILE"),
    Option("--golden", "Compare the outputs with those in this .npz; its inputs are used.", metavar="FILE"),
    Option("--record", "Write the inputs and outputs to this .npz.", metavar="FILE"),
    Option(
        "--shape", "Shape of an input with dynamic axes: x=1,3,224,224. Can be repeated.", "list", metavar="NAME=N,N"
    ),
    Option("--rtol", "Relative tolerance of --golden.", metavar="NUMBER"),
    Option("--atol", "Absolute tolerance of --golden.", metavar="NUMBER"),
    Option("--trust-pickle", "Load a model file that can run any code when it is loaded.", "switch"),
)
SHARED = ("--select", "--ignore", "--fail-on", "--strict", "--matrix-path", "--no-config")
ALL_OPTIONS = (*OPTIONS, FORMAT, *(option for option in CHECK if option.flag in SHARED), SMOKE_TIMEOUT, VERBOSE)


def command() -> click.Command:
    import click

    def callback(backend: tuple[str, ...], **values: Any) -> int:
        return run(backend, values)

    return click.Command(
        "smoke",
        help=HELP,
        params=[
            click.Argument(["backend"], nargs=-1, metavar="[BACKEND]..."),
            *(option.click() for option in ALL_OPTIONS),
        ],
        callback=callback,
    )


def run(backends: tuple[str, ...], values: dict[str, Any]) -> int:
    """Raises what :mod:`envcheck.cli.errors` turns into a sentence."""
    from envcheck.cli.check import UsageError, exit_code, settings_of, show
    from envcheck.cli.progress import Progress
    from envcheck.config import judge
    from envcheck.probes.smoke_options import SmokeError, options

    if not all(name.strip() for name in backends):
        raise UsageError("a backend has a name, not an empty text")
    settings = settings_of({"import": False, "smoke": False, "assume": (), **values})
    wanted = options(
        backends=backends,
        devices=words(values["device"], "--device"),
        dtypes=words(values["dtype"], "--dtype"),
        thorough=values["thorough"],
        memory_mib=_number(values["memory_budget"], "--memory-budget", int),
        shapes=shapes(values["shape"]),
        rtol=_number(values["rtol"], "--rtol", float),
        atol=_number(values["atol"], "--atol", float),
        **{name: values[name] for name in ("model", "inputs", "golden", "record", "trust_pickle")},
    )
    with Progress() as progress:
        report = judge(settings.replace(smoke=wanted), progress=progress)
    if why := nothing_ran(report):
        raise SmokeError(why)
    show(report, values["format"], values["verbose"])
    # Who asks for a test and gets no answer has not been told that it works, however short the time was.
    hangs = any(test.outcome == "hang" for test in report.snapshot.smoke) and settings.fail_on != "never"
    return exit_code(report, settings) or int(hangs)


def nothing_ran(report: Report) -> str:
    """Why nothing was tested at all, or what was named is not there; empty when something was."""
    from envcheck.core.snapshot import known
    from envcheck.probes.smoke_model import unusable_model
    from envcheck.smoke_tests import BACKENDS

    if why := unusable_model(report):
        return why
    tests = report.snapshot.smoke
    if not tests:
        return f"no framework is installed here that could be tested ({', '.join(BACKENDS)})"
    if all(test.outcome == "untested" for test in tests):
        return "; ".join(dict.fromkeys(f"{test.backend} was not tested: {known(test.error)}" for test in tests))
    return ""


def words(texts: tuple[str, ...], option: str) -> list[str]:
    """The words of an option that takes commas. Raises UsageError for an empty text."""
    from envcheck.cli.check import UsageError

    found = [part.strip() for text in texts for part in text.split(",") if part.strip()]
    if texts and not found:
        raise UsageError(f"{option} takes words, not an empty text")
    return found


def shapes(texts: tuple[str, ...]) -> dict[str, list[int]] | None:
    """``x=1,3,224,224`` by name. Raises UsageError."""
    from envcheck.cli.check import UsageError

    found: dict[str, list[int]] = {}
    for text in texts:
        name, equals, numbers = text.rpartition("=")
        try:
            found[name] = [int(part) for part in numbers.replace("x", ",").split(",") if part.strip()]
        except ValueError:
            found[name] = [-1]
        if not equals or not name or any(not 0 <= length < 1 << 40 for length in found[name]):
            raise UsageError(f"--shape takes NAME=N,N,..., such as x=1,3,224,224, not {text!r}")
    return found or None


def _number(text: str | None, option: str, kind: type[int] | type[float]) -> Any:
    from envcheck.cli.check import UsageError

    if text is None:
        return None
    try:
        return kind(text)
    except (ValueError, OverflowError):
        raise UsageError(f"{option} takes a number, not {text!r}") from None
