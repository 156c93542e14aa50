"""The structure of the package: layers, the tiny world as a plug-in, short files and functions, unique names."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "palate"

LAYERS = {
    "__main__": 8,
    "cli": 7,
    "demo": 6,
    "world": 5,
    "collect": 4,
    "evaluate": 4,
    "choose": 4,
    "align": 3,
    "reward": 3,
    "prefer": 2,
    "training": 2,
    "score": 2,
    "caption": 2,
    "generate": 2,
    "models": 1,
    "objectives": 1,
    "diffusion": 1,
    "records": 1,
    "report": 1,
    "core": 0,
    "__init__": 0,
}

INTERFACE: dict[str, str] = {  # a public function that several modules define -> why they all have that name
    "run": "`cli.main` calls it in the module of every command",
    "matches": "`prefer.readers` calls it in the module of every format that it reads",
    "read": "`prefer.readers` calls it in the module of every format that it reads",
    "write": "`collect.export` calls it in the module of every format that it writes",
}

FILE_LINES, FUNCTION_LINES = 300, 40  # of a function, its docstring does not count
ALLOWED: dict[str, str] = {  # "src/palate/a.py" or "src/palate/a.py:function" -> why it may be longer
    "tests/align/test_sd15.py:stable_diffusion_15": "SD1.5's three configurations, nothing else",
}

SOURCES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = ("src", "tests", "recipes", "benchmarks", "examples")
EVERYTHING = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def package_of(path: Path) -> str:
    """The package below palate that a file belongs to; `__init__` and `__main__` for palate's own two files."""
    below = path.relative_to(PACKAGE)
    return below.parts[0] if len(below.parts) > 1 else below.stem


def imported_modules(path: Path) -> Iterator[str]:
    """The modules that a file imports anywhere, inside functions and type checks too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively; write palate.{package_of(path)}..."
            inside = node.module == "palate"
            yield from [f"palate.{alias.name}" for alias in node.names] if inside else [node.module or ""]


def imported_packages(path: Path) -> Iterator[str]:
    """The packages below palate that a file imports."""
    for name in imported_modules(path):
        if name.split(".")[0] == "palate":
            below = name.partition(".")[2].split(".")[0]
            yield below if below in LAYERS or (below and (PACKAGE / below).is_dir()) else "__init__"


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Name and length in lines, docstring aside, of every function and method."""
    for node in ast.iter_child_nodes(tree):
        name = f"{prefix}{getattr(node, 'name', '')}"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            first = node.body[0]
            if ast.get_docstring(node) is not None:
                length -= (first.end_lineno or first.lineno) - first.lineno + 1
            yield name, length
        yield from functions(node, f"{name}." if isinstance(node, ast.ClassDef | ast.FunctionDef) else prefix)


def definitions(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """The files that define each public name: classes and functions on the top level of a module."""
    found: dict[str, list[Path]] = {}
    for path in paths:
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith(
                "_"
            ):
                found.setdefault(node.name, []).append(path)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_packages_import_only_from_their_layer_or_below(path):
    here = package_of(path)
    climbing = [there for there in imported_packages(path) if LAYERS[there] > LAYERS[here]]
    assert not climbing, f"{here} (layer {LAYERS[here]}) imports {climbing}, which are above it"


def test_packages_of_one_layer_do_not_import_each_other_in_a_circle():
    graph: dict[str, set[str]] = {}
    for path in SOURCES:
        graph.setdefault(package_of(path), set()).update(set(imported_packages(path)) - {package_of(path)})
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_no_package_of_the_product_imports_the_tiny_world():
    """It is a plug-in: what it brings is found by name in `core.plugins`."""
    for path in SOURCES:
        if package_of(path) != "world":
            assert "world" not in imported_packages(path), f"{path} imports the tiny world"


def test_only_the_web_and_the_server_of_scorers_know_of_http_and_only_the_command_of_the_web():
    web, scorers = PACKAGE / "collect" / "web", PACKAGE / "score" / "serve.py"
    for path in SOURCES:
        for module in imported_modules(path):
            if module.split(".")[0] in ("fastapi", "starlette", "uvicorn"):
                assert path.is_relative_to(web) or path == scorers, f"{path} imports {module}"
            if module.startswith("palate.collect.web"):
                assert path.is_relative_to(web) or path == PACKAGE / "cli" / "collect.py", f"{path} imports {module}"


def test_every_package_has_a_layer():
    assert {package_of(path) for path in SOURCES} <= set(LAYERS)


def test_no_file_and_no_function_is_too_long():
    long = []
    for path in EVERYTHING:
        name, text = str(path.relative_to(ROOT)), path.read_text("utf-8")
        if (lines := text.count("\n")) > FILE_LINES and name not in ALLOWED:
            long.append(f"{name} has {lines} lines, over {FILE_LINES}")
        for function, length in functions(ast.parse(text)):
            if length > FUNCTION_LINES and f"{name}:{function}" not in ALLOWED:
                long.append(f"{name}:{function} has {length} lines, over {FUNCTION_LINES}")
    assert not long, "\n".join(long)


def test_no_two_public_classes_or_functions_share_a_name():
    """One name for one thing: a reader who searches for a name finds one definition."""
    shared = {
        f"{name}: {', '.join(str(path.relative_to(PACKAGE)) for path in paths)}"
        for name, paths in definitions(SOURCES).items()
        if len(paths) > 1 and name not in INTERFACE
    }
    assert not shared, "\n".join(sorted(shared))


def test_every_interface_name_is_defined_by_several_modules():
    found = definitions(SOURCES)
    assert all(len(found.get(name, ())) > 1 for name in INTERFACE)


def test_nothing_is_allowed_that_no_longer_exists():
    names = set()
    for path in EVERYTHING:
        name = str(path.relative_to(ROOT))
        names |= {name, *(f"{name}:{function}" for function, _ in functions(ast.parse(path.read_text("utf-8"))))}
    assert set(ALLOWED) <= names
    assert all(ALLOWED.values())


def test_an_import_of_a_higher_layer_inside_a_function_is_found(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    file = tmp_path / "core" / "a.py"
    file.parent.mkdir()
    file.write_text("def f():\n    import palate.align.stage\n    from palate import cli, __version__\n")
    assert list(imported_packages(file)) == ["align", "cli", "__init__"]
