"""Whether an exported program (``.pt2``) can be loaded without running code that is in it. Standard library only.

torch.export.load (torch 2.13, torch/export/pt2_archive/_package.py and torch/_export/serde/serialize.py):

- unpickles tensors marked ``use_pickle`` and ``opaque`` constants with no guard, and example inputs and weights of the
  older layout with ``weights_only`` first and, when that refuses, without;
- gives expressions of symbolic shapes to ``sympy.sympify``, which evaluates them as Python;
- takes any callable below ``torch``, ``_operator`` or ``math`` as what a node calls: ``torch.os.system`` too;
- imports the module that a defaultdict of its signature names.

So its archive is read here first: pickles by their opcodes, expressions by their syntax tree, targets by their names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from envcheck.smoke_tests.models import ModelError
from envcheck.smoke_tests.models.formats import open_zip
from envcheck.smoke_tests.models.pickled import in_bytes, member

if TYPE_CHECKING:
    import ast
    from zipfile import ZipFile

OPERATORS = {
    *("eq", "ne", "le", "ge", "lt", "gt", "neg", "pos", "mul", "add", "sub", "floordiv", "mod", "pow", "truediv"),
    *("getitem", "and_", "or_", "xor", "not_", "inv", "invert", "lshift", "rshift", "abs", "is_", "is_not"),
}
HIGHER_ORDER = {
    *("cond", "while_loop", "scan", "associative_scan", "map", "map_impl", "wrap", "wrap_with_set_grad_enabled"),
    *("wrap_with_autocast", "invoke_subgraph", "auto_functionalized", "auto_functionalized_v2", "out_dtype"),
    *("flex_attention", "hints_wrapper", "strict_mode", "wrap_activation_checkpoint", "tag_activation_checkpoint"),
}
WRITES_FILES = {"from_file", "save", "load"}
DOUBLE = {
    f"__{name}__" for name in ("and", "or", "xor", "lshift", "rshift", "iand", "ior", "ixor", "ilshift", "irshift")
}
SYMPY = {
    *("Symbol", "Integer", "Rational", "Float", "Add", "Mul", "Pow", "Max", "Min", "Mod", "Abs", "Eq", "Ne", "Lt"),
    *("Le", "Gt", "Ge", "And", "Or", "Not", "Piecewise", "Equality", "Unequality", "StrictLessThan", "LessThan"),
    *("StrictGreaterThan", "GreaterThan", "FloorDiv", "ModularIndexing", "Where", "PythonMod", "CleanDiv", "CeilToInt"),
    *("FloorToInt", "CeilDiv", "LShift", "RShift", "PowByNatural", "FloatPow", "FloatTrueDiv", "IntTrueDiv"),
    *("IsNonOverlappingAndDenseIndicator", "TruncToFloat", "TruncToInt", "RoundToInt", "RoundDecimal", "ToFloat"),
    *("Identity", "floor", "ceiling", "sqrt", "log", "exp", "true", "false", "oo"),
}
"""Functions in expressions: of sympy and of torch.utils._sympy.functions."""
LONGEST = 100_000


def check(path: str, name: str) -> list[str]:
    """What in it could run code, or would be unpickled into more than tensors; empty: it can be loaded.

    Raises ModelError for a damaged file.
    """
    found: dict[str, None] = {}
    with open_zip(path, name) as archive:
        for full in archive.namelist():
            short = full.partition("/")[2] or full
            if short.startswith(("models/", "data/weights/", "data/constants/")) and short.endswith(".json"):
                text = _json(archive, full, name)
                for what in _program(text) if short.startswith("models/") else _payload(archive, full, text, name):
                    found[what] = None
            elif full == "serialized_exported_program.json":
                found |= dict.fromkeys(_program(_json(archive, full, name)))
            elif full.endswith(".pt") or full in ("serialized_state_dict.json", "serialized_constants.json"):
                data = member(archive, full, name, 1 << 34)
                found |= dict.fromkeys(in_bytes(data, name) if data else ())
    return list(found)


def _json(archive: ZipFile, full: str, name: str) -> Any:
    try:
        return json.loads(member(archive, full, name, 1 << 30))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{name} is damaged: {full} is no JSON: {error}") from None


def _payload(archive: ZipFile, full: str, said: Any, name: str) -> Iterator[str]:
    """Of the list of weights or of constants: those that are pickled."""
    config = said.get("config") if isinstance(said, dict) else None
    folder = full.rpartition("/")[0]
    for entry in config.values() if isinstance(config, dict) else ():
        file = str(entry.get("path_name", "")) if isinstance(entry, dict) else ""
        if file.startswith(("custom_obj", "opaque_obj")):
            yield f"the object {file}"
        elif not isinstance(entry, dict) or entry.get("use_pickle") is not False:
            try:
                yield from in_bytes(member(archive, f"{folder}/{file}", name, 1 << 34), name)
            except KeyError:
                raise ModelError(f"{name} is damaged: it has no {folder}/{file}") from None


def _program(said: Any) -> Iterator[str]:
    """What the graphs of a program would run that is no operator on tensors."""
    for key, value, node in _walk(said):
        if key == "target" and "inputs" in node and isinstance(value, str) and not _operator(value):
            yield value
        elif key == "expr_str" and not (isinstance(value, str) and _expression(value)):
            yield f"the expression {str(value)[:60]!r}"
        elif isinstance(value, str) and "default_factory_module" in value:
            yield "a defaultdict"


def _walk(value: Any) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Every key, at any depth, with its value and the table that it is in."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            for key, part in one.items():
                yield key, part, one
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def _operator(target: str) -> bool:
    """Whether a target of a node is an operator, or a name that is none at all (of parameters, for example)."""
    parts = target.split(".")
    if not target.startswith(("torch", "_operator", "math", "#")):
        return True  # a name that nothing is looked up for
    if not all(part.isidentifier() for part in parts):
        return False
    if parts[0] in ("_operator", "math"):
        return len(parts) == 2 and (parts[0] == "math" or parts[1] in OPERATORS) and not parts[1].startswith("__")
    if parts[0] != "torch":
        return False
    if len(parts) == 2:
        return parts[1].lstrip("_").startswith("sym_")
    if parts[1] != "ops":
        return False
    if parts[2] == "higher_order":
        return len(parts) == 4 and parts[3] in HIGHER_ORDER
    if len(parts) != 5 or parts[3] in WRITES_FILES:
        return False
    return not any(part.startswith("__") and part not in DOUBLE for part in parts)


def _expression(text: str) -> bool:
    """Whether sympify would do nothing but arithmetic."""
    import ast

    if len(text) > LONGEST:
        return False
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return all(_arithmetic(node) for node in ast.walk(tree))


def _arithmetic(node: ast.AST) -> bool:
    import ast

    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in SYMPY
    if isinstance(node, ast.Constant):
        # A text is the name of a symbol, and no more.
        return isinstance(node.value, int | float) or (isinstance(node.value, str) and node.value.isidentifier())
    if isinstance(node, ast.Name):
        return not node.id.startswith("_")
    plain = (ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.Tuple, ast.keyword, ast.expr_context)
    return isinstance(node, (*plain, ast.operator, ast.unaryop, ast.boolop, ast.cmpop))
