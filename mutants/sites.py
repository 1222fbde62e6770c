"""Finds what protects in a module: guards, parts of conditions, bounds, verdicts and flags, each with what it becomes."""

from __future__ import annotations

import ast
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

_LEAVES = (ast.Return, ast.Raise, ast.Continue, ast.Break)
_ENDS = frozenset({"abort", "cancel", "close", "drop", "end", "fail", "refuse", "reset", "pause", "pause_reading"})
_DEMANDS = frozenset({"require", "check", "verify"})
_LEAST = re.compile("LEAST_|_MIN_RATE|PATIENCE|LOW_WATER|^SMALL_.*_BYTES$")
"""Bounds that say from what on something is enough, or is small: without them nothing is too little."""
_MOST = 2**31 - 1  # of an integer: what the kernel takes as a size


@dataclass(frozen=True)
class Site:
    """One mutant: the text from `start` to `end` of the file becomes `becomes`."""

    path: str
    """Below src/ferry."""
    line: int
    kind: str
    source: str
    """What is taken out, on one line."""
    start: int
    end: int
    becomes: str
    where: str
    """The function around it."""
    around: str = ""
    """A digest of that function, and where in it the mutant is: the same as long as the function is."""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What it is called in `survivors.md`: line numbers move."""
        return self.path, self.where, self.kind, self.source

    def applied(self, text: bytes) -> bytes:
        return text[: self.start] + self.becomes.encode() + text[self.end :]


def sites_in(root: Path, path: str) -> list[Site]:
    """All of them in src/ferry/`path`, in the order of their lines."""
    text = (root / "src/ferry" / path).read_bytes()
    finder = _Finder(path, text)
    if path == "limits.py":
        finder.bounds(ast.parse(text))
    else:
        finder.visit(ast.parse(text))
    unique = {(site.start, site.end, site.becomes): site for site in finder.found}
    return sorted(unique.values(), key=lambda site: (site.line, site.start))


class _Finder(ast.NodeVisitor):
    def __init__(self, path: str, text: bytes) -> None:
        self.found: list[Site] = []
        self._path = path
        self._text = text
        self._starts = [0]
        for line in text.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._where: list[str] = []
        self._around: list[ast.expr | ast.stmt] = []
        self._judges: list[bool] = []
        """For each function around: it answers yes or no."""
        self._whole: set[ast.expr] = set()
        """Conditions that are taken out as a guard or as an operand already."""

    # --- what is around

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._inside(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._judges.append(isinstance(node.returns, ast.Name) and node.returns.id == "bool")
        self._inside(node)
        self._judges.pop()

    def _inside(self, node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._where.append(node.name)
        self._around.append(node)
        for statement in node.body:
            self.visit(statement)
        self._around.pop()
        self._where.pop()

    # --- what protects

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if _leaves(node.body[-1]):
            self._never("guard", node.test)
        self._condition(node.test)
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        self._condition(node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._condition(node.test)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self._condition(test)
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None:
            self._condition(node.value, verdict=True)
            answer = node.value
            if self._judges and self._judges[-1] and not isinstance(answer, ast.Constant | ast.BoolOp):
                self._add("verdict", answer, f"(({self._of(answer)}) or True)")
                self._add("verdict", answer, f"(({self._of(answer)}) and False)")
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        target, value = node.targets[0], node.value
        if (
            isinstance(target, ast.Attribute)
            and isinstance(value, ast.Constant)
            and isinstance(value.value, bool)
            and self._where[-1:] != ["__init__"]
        ):
            self._add("flag", node, "pass")
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        call = node.value
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in _DEMANDS:
            self._add("demand", node, "pass")
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        if node not in self._whole and any(_is_bound(side) for side in (node.left, *node.comparators)):
            self._never("bound", node)
        self.generic_visit(node)

    def _condition(self, test: ast.expr, *, verdict: bool = False) -> None:
        """Its operands. Of `x or default` as a value nothing is taken."""
        if isinstance(test, ast.UnaryOp):
            self._condition(test.operand)
        if not isinstance(test, ast.BoolOp) or (verdict and isinstance(test.op, ast.Or) and not self._judges[-1]):
            return
        without = "or True" if isinstance(test.op, ast.And) else "and False"
        for operand in test.values:
            self._whole.add(operand)
            self._add("operand", operand, f"(({self._of(operand)}) {without})")
            self._condition(operand)

    def _never(self, kind: str, test: ast.expr) -> None:
        self._whole.add(test)
        self._add(kind, test, f"(({self._of(test)}) and False)")  # what the condition does is done

    def bounds(self, module: ast.Module) -> None:
        """Each bound of limits.py is lifted: a most becomes boundless, a least becomes nothing."""
        for node in module.body:
            if not isinstance(node, ast.AnnAssign) or node.value is None or not isinstance(node.target, ast.Name):
                continue
            name, value = node.target.id, self._of(node.value)
            if name in {"KIB", "MIB"}:
                continue
            if _LEAST.search(name) and not isinstance(node.value, ast.Tuple):
                becomes = f"({value}) * 0"
            elif isinstance(node.value, ast.Tuple):
                becomes = f"tuple(one * 1e9 for one in {value})"
            else:
                becomes = f"min(({value}) * 10**9, {_MOST}) if isinstance({value}, int) else ({value}) * 1e9"
            self._add("limit", node.value, becomes, source=name)

    # --- texts

    def _of(self, node: ast.AST) -> str:
        start, end = self._span(node)
        return self._text[start:end].decode()

    def _span(self, node: ast.AST) -> tuple[int, int]:
        assert isinstance(node, ast.expr | ast.stmt)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._starts[node.lineno - 1] + node.col_offset, self._starts[node.end_lineno - 1] + node.end_col_offset

    def _add(self, kind: str, node: ast.expr | ast.stmt, becomes: str, *, source: str = "") -> None:
        start, end = self._span(node)
        shown = source or " ".join(ast.unparse(node).split())
        if kind == "verdict":
            shown += " → True" if becomes.endswith("or True)") else " → False"
        where = ".".join(self._where)
        around = self._around[-1] if self._around else node
        place = f"{start - self._span(around)[0]} {becomes} {self._of(around)}"
        digest = hashlib.sha256(place.encode()).hexdigest()
        self.found.append(Site(self._path, node.lineno, kind, shown, start, end, becomes, where, digest))


def _leaves(statement: ast.stmt) -> bool:
    if isinstance(statement, _LEAVES):
        return True
    if not isinstance(statement, ast.Expr):
        return False
    named = (node.attr for node in ast.walk(statement) if isinstance(node, ast.Attribute))
    return any(name.lstrip("_") in _ENDS for name in named)


def _is_bound(node: ast.expr) -> bool:
    """`limits.NAME`, or a field of something called limits, bounds or rules."""
    if not isinstance(node, ast.Attribute):
        return False
    return ast.unparse(node.value).rsplit(".")[-1].lstrip("_") in {"limits", "bounds", "rules"}
