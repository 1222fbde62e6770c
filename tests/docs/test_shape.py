"""Bounds on the shape of the source: files, functions, classes and inheritance."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path
from textwrap import dedent

import asyncssh.connection
import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "ferry"
LINES_PER_FILE = 500
LINES_PER_FUNCTION = 100
FIELDS_PER_CLASS = 24
CLASSES_PER_CHAIN = 3
CHARACTERS_OF_A_COPY = 60

LISTS = {"ferry.observe.metrics.Metrics"}
"""Classes that are lists of values of one sort, and do nothing else."""


STOP_TIMER = """\
if self._timer is not None:
    self._timer.cancel()
    self._timer = None"""
"""Each class has a timer of its own, and an object for each timer would weigh on each visitor."""


Sources = dict[str, ast.Module]


@pytest.fixture(scope="module")
def sources() -> Sources:
    """The syntax tree of every module."""
    return {
        ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts): ast.parse(path.read_text("utf-8"))
        for path in SOURCE.rglob("*.py")
        if path.stem != "__init__"
    }


def own_targets(target: ast.expr) -> Iterator[str]:
    """The fields that an assignment to `target` sets: `x` of `self.x`."""
    match target:
        case ast.Tuple() | ast.List():
            for part in target.elts:
                yield from own_targets(part)
        case ast.Starred():
            yield from own_targets(target.value)
        case ast.Attribute(value=ast.Name(id="self")):
            yield target.attr


def fields_of(body: ast.ClassDef) -> set[str]:
    """The fields that the methods of a class set."""
    found: set[str] = set()
    for node in ast.walk(body):
        match node:
            case ast.Assign():
                for target in node.targets:
                    found.update(own_targets(target))
            case ast.AnnAssign() | ast.AugAssign():
                found.update(own_targets(node.target))
            case ast.withitem(optional_vars=ast.expr() as target):
                found.update(own_targets(target))
    return found


def bases_of(sources: Sources) -> dict[str, list[str]]:
    """The bases of every class, as far as they are our own and written as a name."""
    found: dict[str, list[str]] = {}
    for module, tree in sources.items():
        package = module.rpartition(".")[0]
        meant = {node.name: f"{module}.{node.name}" for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                origin = resolve_name("." * node.level + (node.module or ""), package)
                meant.update({alias.asname or alias.name: f"{origin}.{alias.name}" for alias in node.names})
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                names = [ast.unparse(base).partition("[")[0] for base in node.bases]
                found[f"{module}.{node.name}"] = [meant[name] for name in names if name in meant]
    return found


def test_no_file_is_too_long() -> None:
    found = {path: len(path.read_text("utf-8").splitlines()) for path in SOURCE.rglob("*.py")}
    assert len(found) > 150
    assert {str(path.relative_to(ROOT)): lines for path, lines in found.items() if lines > LINES_PER_FILE} == {}


def test_no_function_is_too_long(sources: Sources) -> None:
    found = {
        f"{module}:{node.name}:{node.lineno}": (node.end_lineno or 0) - node.lineno + 1
        for module, tree in sources.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert len(found) > 1000
    assert {name: lines for name, lines in found.items() if lines > LINES_PER_FUNCTION} == {}


@pytest.fixture(scope="module")
def asyncssh_fields() -> set[str]:
    """The fields that asyncssh's server connection sets itself."""
    tree = ast.parse(Path(asyncssh.connection.__file__).read_text("utf-8"))
    names = {base.__name__ for base in asyncssh.connection.SSHServerConnection.__mro__}
    found = [fields_of(node) for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name in names]
    return set[str]().union(*found)


def test_no_class_has_too_many_fields(sources: Sources, asyncssh_fields: set[str]) -> None:
    """Those of its bases count, as far as these are our own. Asyncssh's fields do not, where a class of ours sets them
    too."""
    bases = bases_of(sources)
    own = {
        f"{module}.{node.name}": fields_of(node)
        for module, tree in sources.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    on_asyncssh = {
        "ferry.ssh.wire.keepalive.KeepaliveConnection",
        "ferry.ssh.wire.packets.PacketConnection",
        "ferry.ssh.wire.connection.HardenedConnection",
    }
    for name in on_asyncssh:
        own[name] -= asyncssh_fields

    def all_fields(name: str) -> set[str]:
        return own[name].union(*(all_fields(base) for base in bases[name] if base in own))

    assert set(own) >= LISTS, "a class that is a list has another name"
    assert len(all_fields("ferry.edge.bridge.Bridge")) > len(own["ferry.edge.bridge.Bridge"])
    found = {name: len(all_fields(name)) for name in own if name not in LISTS}
    assert {name: count for name, count in found.items() if count > FIELDS_PER_CLASS} == {}


def test_no_class_stands_on_too_many_of_our_own(sources: Sources) -> None:
    bases = bases_of(sources)

    def depth(name: str) -> int:
        return 1 + max((depth(base) for base in bases[name] if base in bases), default=0)

    assert depth("ferry.edge.socks_guard.GuardedBridge") == 3
    assert {name: depth(name) for name in bases if depth(name) > CLASSES_PER_CHAIN} == {}


def bodies_in(path: Path) -> Iterator[tuple[str, str]]:
    """The bodies of its functions, without docstrings, each with its place."""
    text = path.read_text("utf-8")
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[ast.get_docstring(node, clean=False) is not None :]
            if body and body[0].lineno > node.lineno:
                written = dedent("\n".join(lines[body[0].lineno - 1 : node.end_lineno]))
                yield written, f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"


def test_no_function_stands_twice() -> None:
    """The source is formatted, so equal code is equal text. A shorter body is not worth a name."""
    found = defaultdict[str, list[str]](list)
    for folder in (SOURCE, ROOT / "tests"):
        for path in folder.rglob("*.py"):
            for body, place in bodies_in(path):
                found[body].append(place)
    assert len(found) > 3000
    copies = {body: places for body, places in found.items() if len(body) >= CHARACTERS_OF_A_COPY and len(places) > 1}
    assert copies.pop(STOP_TIMER)
    assert list(copies.values()) == []
