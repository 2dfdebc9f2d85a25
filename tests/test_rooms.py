"""The plan of the package: which room may import which, and what is done in one room alone."""

import ast
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mimi_mlx"

# From the ground up: a room imports only from itself and from those before it.
ROOMS = (
    *(
        "model.ops",
        "model",
        "text",
        "extras",
        "atomic",
        "files",
        "arrays",
        "tiny",
        "checkpoint",
        "audio",
        "streaming",
        "mimi",
    ),
    *(
        "codefile",
        "compat",
        "evaluation",
        "listening",
        "training",
        "live.devices",
        "live.network",
        "live",
        "service",
        "cli",
    ),
    *("stream", "__main__"),
)

FILES = sorted(PACKAGE.rglob("*.py"))

# Steps are compiled and evaluated by the runner. Others evaluate what is no step: weights, what a
# call returned, parts of results; evaluation/ measures, and training/ has a step of its own.
COMPILES = {
    *("streaming/runner.py", "evaluation/bench.py", "evaluation/kernel_count.py"),
    "training/trainer.py",
}
EVALUATES = COMPILES | {
    *("checkpoint/convert.py", "checkpoint/load.py", "checkpoint/mlx_format.py"),
    *("compat/moshi_mlx.py", "compat/transformers.py", "streaming/worker.py"),
}

# What a machine needs is said in model/ops alone.
MACHINE = r"\b(open)?blas\b|\bpack|\bM5\b|\btf32\b|\bmetal\b|\bcuda\b|\bcpus?\b|\bgpus?\b"


def name_of(file: Path) -> str:
    """The module in a file, without the package's name."""
    return ".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__")


def room_of(module: str) -> str:
    """The innermost room that a module is in; "" is the package's own file."""
    inside = [room for room in ROOMS if f"{module}.".startswith(f"{room}.")]
    return max(inside, key=len, default="")


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def nodes(file: Path) -> Iterator[ast.AST]:
    """All of a file but what only a type checker reads."""
    waiting: list[ast.AST] = [tree(file)]
    while waiting:
        node = waiting.pop()
        yield node
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            waiting.extend(ast.iter_child_nodes(node))


@cache
def imports(file: Path) -> frozenset[str]:
    """The modules of the package that a file imports, at its top or in a function."""
    modules = {name_of(each).rstrip(".") for each in FILES}
    package = file.relative_to(PACKAGE).parent.parts
    found = set()
    for node in nodes(file):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*package[: len(package) - node.level + 1], *(node.module or "").split(".")]
            names = [".".join(filter(None, [*base, each.name])) for each in node.names]
            found |= {name if name in modules else name.rpartition(".")[0] for name in names}
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [each.name for each in node.names] + [getattr(node, "module", None) or ""]
            assert not any(name.partition(".")[0] == "mimi_mlx" for name in names), file
    return frozenset(found)


def called_on_mlx(file: Path) -> set[str]:
    """What a file takes from ``mx``: ``mx.eval`` is "eval"."""
    return {
        node.attr
        for node in nodes(file)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "mx"
    }


def test_every_file_is_in_a_room():
    assert {name_of(file) for file in FILES if not room_of(name_of(file))} == {""}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_go_down(file):
    room = room_of(name_of(file))
    for other in imports(file):
        if room:
            assert ROOMS.index(room_of(other)) <= ROOMS.index(room), other
        else:
            assert other == "model.ops.linux", "the package's own file imports when it is asked"


def test_the_model_stands_alone():
    for file in PACKAGE.glob("model/**/*.py"):
        assert {name.partition(".")[0] for name in imports(file)} <= {"model"}, file


def test_nothing_goes_in_a_circle():
    graph = {name_of(file).rstrip("."): imports(file) for file in FILES}
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_only_one_file_asks_which_device_there_is():
    asks = {"default_device", "is_available", "metal", "cuda", "device_info"}
    found = {str(f.relative_to(PACKAGE)) for f in FILES if called_on_mlx(f) & asks}
    assert found == {"model/ops/device.py"}


@pytest.mark.parametrize(("call", "allowed"), [("compile", COMPILES), ("eval", EVALUATES)])
def test_only_the_runner_compiles_and_evaluates_steps(call, allowed):
    found = {str(file.relative_to(PACKAGE)) for file in FILES if call in called_on_mlx(file)}
    assert {"streaming/runner.py"} <= found <= allowed
    assert not any("async_eval" in called_on_mlx(file) for file in FILES)


@pytest.mark.parametrize("name", ["conv", "seanet", "transformer", "quantizer", "rope", "codec"])
def test_layers_speak_of_the_model(name):
    text = (PACKAGE / "model" / f"{name}.py").read_text()
    text = text.replace("def pack(self)", "").replace('hasattr(layer, "pack")', "")
    assert not re.findall(MACHINE, text.replace("layer.pack()", ""), re.IGNORECASE)


def test_live_never_sees_argparse():
    for file in PACKAGE.glob("live/**/*.py"):
        assert "argparse" not in file.read_text(), file


def imported_by(statement: str) -> set[str]:
    """The modules that a new interpreter has after a statement."""
    code = (
        f"import json, sys\ntry:\n    {statement}\nfinally:\n    print(json.dumps([*sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_package_brings_no_commands_no_devices_and_no_figures():
    found = imported_by("from mimi_mlx import *")
    assert "mimi_mlx.streaming.runner" in found
    upper = ("mimi_mlx.cli", "mimi_mlx.live", "mimi_mlx.evaluation", "mimi_mlx.listening")
    assert not [name for name in found if name.startswith(upper)]


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["no-such-command"]])
def test_the_commands_are_listed_without_a_model(arguments):
    found = imported_by(f"from mimi_mlx import cli; cli.main({arguments})")
    assert "mimi_mlx.cli" in found and "mlx" not in found
    assert {n for n in found if n.startswith("mimi_mlx.model.")} <= {
        *("mimi_mlx.model.ops", "mimi_mlx.model.ops.linux")
    }


def test_files_and_functions_are_short():
    long = [file for file in FILES if len(file.read_text().splitlines()) > 300]
    assert not long
    for file in FILES:
        for node in ast.walk(tree(file)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                first = node.body[min(1, len(node.body) - 1) if ast.get_docstring(node) else 0]
                assert node.end_lineno - first.lineno < 40, f"{file}: {node.name}"


def test_one_word_is_one_thing():
    """No two classes have one name, but those of compat/, which are called as others call them."""
    names = Counter(
        node.name
        for file in FILES
        if "compat" not in file.parts
        for node in ast.walk(tree(file))
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []
