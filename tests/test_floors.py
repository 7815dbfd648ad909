"""The rules of the house: who may import whom, and what no file may do. CONTRIBUTING.md says why."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import REPOSITORY

# A room is a file or a folder directly in stackae/. It imports from lower floors only, and errors.
FLOORS = {
    "shallow": 1,
    "config": 1,
    "version": 1,
    "errors": 1,
    "progress": 1,
    "seeds": 1,
    "metrics": 1,
    "pictures": 1,
    "repetitions": 1,
    "temperature": 1,
    "config_file": 2,
    "tracking": 2,
    "machine": 2,
    "stack": 2,
    "mixture": 2,
    "ranks": 3,
    "stage_context": 4,
    "build": 3,
    "weights": 3,
    "outputs": 3,
    "committee": 3,
    "optimizer": 2,
    "sums": 1,
    "side_by_side": 4,
    "conditioning": 3,
    "joint": 4,
    "console": 3,
    "baseline": 4,
    "store": 4,
    "data": 5,
    "model": 6,
    "plan": 6,
    "tasks": 6,
    "data_module": 6,
    "report": 7,
    "training": 7,
    "stages": 8,
    "export": 8,
    "results": 9,
    "stage_runner": 10,
    "jobs": 11,
    "pipeline": 12,
    "commands": 13,
    "estimator": 14,
    "cli": 15,
}
# The two entrances reach every floor, but from inside functions, so that entering loads nothing.
ENTRANCES = {"__init__", "__main__"}
PURE_ROOMS = {"shallow", "stack"}
PURE_IMPORTS = {"torch", "__future__", "collections.abc", "dataclasses", "enum", "math", "typing"}
UNPICKLERS = {"pickle", "cloudpickle", "dill", "joblib", "shelve"}
VAGUE_NAMES = {"utils", "base"}


@dataclass(frozen=True)
class Import:
    target: str
    """The module's full name, as `stackae.data.splits`."""
    line: int
    deferred: bool
    """Inside a function or under `if TYPE_CHECKING`: not carried out when the file is loaded."""


def room_of(module: str) -> str:
    """`stackae.data.splits` is in the room `data`, and `stackae` itself in `__init__`."""
    return module.split(".")[1] if "." in module else "__init__"


def walk(node: ast.AST, deferred: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """All nodes below this one, each with whether loading the file carries it out only later or never."""
    for child in ast.iter_child_nodes(node):
        later = deferred or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(node, ast.If) and child in node.body:
            later = later or ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
        yield child, later
        yield from walk(child, later)


def imports_of(module: str, is_package: bool, tree: ast.Module, modules: set[str]) -> Iterator[Import]:
    """What a file imports: anywhere in it, relative, absolute, or by `import_module` of a literal name."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node, deferred in walk(tree):
        match node:
            case ast.Import():
                for alias in node.names:
                    yield Import(alias.name, node.lineno, deferred)
            case ast.ImportFrom():
                above = package[: len(package) - node.level + 1] if node.level else []
                source = ".".join([*above, *([node.module] if node.module else [])])
                inner = [f"{source}.{alias.name}" for alias in node.names]
                for target in dict.fromkeys(name if name in modules else source for name in inner):
                    yield Import(target, node.lineno, deferred)
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield Import(name, node.lineno, deferred)


def import_faults(module: str, found: Import) -> Iterator[str]:
    here, target = room_of(module), found.target
    library = target.partition(".")[0]
    ours = library == "stackae"
    there = room_of(target)

    if library == "wandb" and not module.startswith("stackae.tracking.wandb"):
        yield f"{module} imports {target}: only tracking/wandb*.py imports wandb"
    if library in UNPICKLERS:
        yield f"{module} imports {target}: nothing here unpickles"
    if here in PURE_ROOMS and not ours and library != "torch" and target not in PURE_IMPORTS:
        yield f"{module} imports {target}: {here} knows torch and nothing else"
    if here in PURE_ROOMS and ours and there not in {"shallow", "errors", here}:
        yield f"{module} imports {target}: {here} knows torch, shallow and errors, and nothing else"

    if here in ENTRANCES:
        if not found.deferred and ours and there not in {"errors", "version"}:
            yield f"{module} imports {target}: import it inside a function, so that entering loads nothing"
    elif ours and here in FLOORS and here != there and (there != "errors" or here == "errors"):
        if there not in FLOORS:
            yield f"{module} imports {target}, which is not in the table of floors"
        elif FLOORS[there] >= FLOORS[here]:
            floors = f"floor {FLOORS[here]} from floor {FLOORS[there]}"
            yield f"{module} imports {target} ({floors}): import from lower floors only"


def content_faults(tree: ast.Module) -> Iterator[tuple[int, str]]:
    torch_names = {"torch"}
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                torch_names |= {
                    alias.asname for alias in node.names if alias.name == "torch" and alias.asname
                }
            case ast.ImportFrom(module="torch") if "load" in {alias.name for alias in node.names}:
                yield node.lineno, "write torch.load(…, weights_only=True), so that it can be checked"
            case ast.Call():
                given = {word.arg: ast.unparse(word.value) for word in node.keywords}
                if given.get("allow_pickle", "False") != "False":
                    yield node.lineno, "allow_pickle unpickles"
                match node.func:
                    case ast.Attribute(attr="load", value=ast.Name(id=name)) if name in torch_names:
                        if given.get("weights_only") != "True":
                            yield node.lineno, "torch.load without weights_only=True unpickles"
    yield from keyword_faults(tree)


def keyword_faults(scope: ast.AST) -> Iterator[tuple[int, str]]:
    """Public functions and methods that take `**kwargs`; what is defined inside a function is not public."""
    for node in ast.iter_child_nodes(scope):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            private = node.name.startswith("_") and not node.name.endswith("__")
            if node.args.kwarg and not private:
                yield node.lineno, f"{node.name}(**{node.args.kwarg.arg}): name the parameters"
        elif not (isinstance(node, ast.ClassDef) and node.name.startswith("_")):
            yield from keyword_faults(node)


def circles(graph: dict[str, list[str]]) -> Iterator[list[str]]:
    """One circle for each edge that closes one, as the modules along it."""
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> Iterator[list[str]]:
        if module in path:
            yield [*path[path.index(module) :], module]
        elif module not in done:
            for target in graph.get(module, []):
                yield from visit(target, [*path, module])
            done.add(module)

    for module in graph:
        yield from visit(module, [])


def faults(project: Path) -> list[str]:
    """All breaches of the rules in `project`/stackae, one line each: file, line, and what is wrong."""
    files: dict[str, Path] = {}
    for path in sorted((project / "stackae").rglob("*.py")):
        parts = path.relative_to(project).with_suffix("").parts
        files[".".join(parts[:-1] if len(parts) > 2 and parts[-1] == "__init__" else parts)] = path

    found: list[str] = []
    graph: dict[str, list[str]] = {}
    for module, path in files.items():
        place = path.relative_to(project).as_posix()
        if room_of(module) not in FLOORS.keys() | ENTRANCES:
            found.append(f"{place}: not in the table of floors; place it in FLOORS in tests/test_floors.py")
        if VAGUE_NAMES & {part.strip("_") for part in path.relative_to(project).with_suffix("").parts}:
            found.append(f"{place}: name the file after what it does")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imports = list(imports_of(module, path.name == "__init__.py", tree, set(files)))
        for each in imports:
            found += [f"{place}:{each.line}: {fault}" for fault in import_faults(module, each)]
        found += [f"{place}:{line}: {fault}" for line, fault in content_faults(tree)]
        targets = dict.fromkeys(each.target for each in imports)
        graph[module] = [t for t in targets if t in files and room_of(t) == room_of(module) != "__init__"]
    found += [f"circle: {' imports '.join(circle)}" for circle in circles(graph)]
    return found


def test_the_house_keeps_its_rules() -> None:
    found = faults(REPOSITORY)

    assert not found, "\n".join(found)


ALLOWED = {
    "__init__.py": "from stackae.errors import DataError\ndef late():\n    import stackae.pipeline\n",
    "__main__.py": "def main():\n    from stackae.cli import main\n    main()\n",
    "errors.py": "",
    "shallow/__init__.py": "from stackae.shallow.units import DenseUnit\n",
    "shallow/units.py": "import torch.nn\nfrom collections.abc import Iterator\nfrom ..errors import *\n",
    "tracking/wandb.py": "import wandb\nfrom stackae.errors import StackaeError\n",
    "config.py": "import pydantic\ndef _private(**words): ...\n",
    "stack.py": "from stackae.shallow import DenseUnit\n",
    "data/__init__.py": "",
    "data/splits.py": "from . import sources\nfrom stackae import config\nimport scipy\n",
    "data/sources.py": "import numpy as np\nnp.load('x.npy', allow_pickle=False)\n",
    "plan.py": "import torch\ntorch.load('x', weights_only=True)\n",
    "pipeline.py": "from stackae.plan import make_plan\nfrom stackae.data.splits import split\n",
    "cli.py": "def main():\n    from stackae import pipeline\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, source in ALLOWED.items():
        path = tmp_path / "stackae" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return tmp_path


def test_nothing_is_found_where_all_is_well(project: Path) -> None:
    assert faults(project) == []


@pytest.mark.parametrize(
    ("name", "source", "says"),
    [
        (
            "plan.py",
            "\nimport stackae.pipeline",
            "plan.py:2: stackae.plan imports stackae.pipeline (floor 6 from",
        ),
        (
            "plan.py",
            "def f():\n    from stackae.cli import main",
            "plan.py:2: stackae.plan imports stackae.cli",
        ),
        ("plan.py", "from . import cli", "stackae.plan imports stackae.cli (floor 6 from floor"),
        ("plan.py", "from typing import *\nif TYPE_CHECKING:\n    from .cli import X", "imports stackae.cli"),
        ("plan.py", "import importlib\nimportlib.import_module('stackae.cli')", "imports stackae.cli"),
        ("plan.py", "from stackae import Estimator", "which is not in the table of floors"),
        ("plan.py", "import stackae.attic", "imports stackae.attic, which is not in the table of floors"),
        (
            "config.py",
            "from stackae.stack import Encoder",
            "stackae.config imports stackae.stack (floor 1 from",
        ),
        ("data/sources.py", "import stackae.tasks", "stackae.data.sources imports stackae.tasks (floor 5"),
        (
            "errors.py",
            "import stackae.config",
            "stackae.errors imports stackae.config (floor 1 from",
        ),
        ("data/sources.py", "from . import splits", "stackae.data.sources imports stackae.data.splits"),
        (
            "shallow/units.py",
            "from stackae.shallow import losses",
            "stackae.shallow imports stackae.shallow.units",
        ),
        ("__init__.py", "from stackae.pipeline import run", "import it inside a function"),
        (
            "__main__.py",
            "if __name__ == '__main__':\n    from .cli import main",
            "import it inside a function",
        ),
        ("attic.py", "", "stackae/attic.py: not in the table of floors"),
        ("attic/__init__.py", "", "stackae/attic/__init__.py: not in the table of floors"),
        ("data/utils.py", "", "name the file after what it does"),
        ("shallow/_base.py", "", "name the file after what it does"),
        ("shallow/units.py", "import numpy as np", "stackae.shallow.units imports numpy"),
        ("shallow/units.py", "from collections import Counter", "shallow knows torch and nothing else"),
        ("stack.py", "import stackae.metrics", "stack knows torch, shallow and errors, and nothing else"),
        (
            "tracking/null.py",
            "import wandb.sdk",
            "only tracking/wandb*.py imports wandb",
        ),
        ("plan.py", "def f():\n    import joblib", "plan.py:2: stackae.plan imports joblib"),
        ("plan.py", "import torch as t\nt.load('x')", "plan.py:2: torch.load without weights_only=True"),
        (
            "plan.py",
            "import torch\ntorch.load('x', weights_only=False)",
            "torch.load without weights_only=True",
        ),
        ("plan.py", "from torch import load", "write torch.load("),
        ("plan.py", "import numpy as np\nnp.load('x', allow_pickle=True)", "allow_pickle unpickles"),
        ("plan.py", "def f(**kw): ...", "plan.py:1: f(**kw): name the parameters"),
        ("plan.py", "class A:\n    def __init__(self, **kw): ...", "__init__(**kw): name the parameters"),
    ],
)
def test_each_breach_is_found(project: Path, name: str, source: str, says: str) -> None:
    path = project / "stackae" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(source, encoding="utf-8")

    found = faults(project)

    assert len(found) == 1, found
    assert says in found[0]
