"""predict.py, which runs without the project: put together from the project's own modules.

Nothing in it is a copy that somebody keeps: what extraction decodes, crops and computes with is
written into the file, definition by definition, as far as prediction uses it.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_PACKAGES = ("cache", "pipeline")

_MODULES = (
    "cache.errors",
    "pipeline.datasets.grey",
    "pipeline.datasets.image_kinds",
    "pipeline.datasets.image_faults",
    "pipeline.datasets.images",
    "pipeline.machine.devices",
    "pipeline.models.arguments",
    "pipeline.models.constructors",
    "pipeline.models.features",
    "pipeline.models.running",
    "pipeline.models.transforms",
    "pipeline.heads.slabs",
    "pipeline.heads.normalization",
    "pipeline.neighbors.points",
    "pipeline.neighbors.votes",
    "pipeline.results.score_table",
    "pipeline.taken.folder",
    "pipeline.taken.heads",
    "pipeline.taken.risk",
    "pipeline.taken.recipe",
    "pipeline.taken.classifier",
    "pipeline.taken.answering",
)
"""In an order in which each needs earlier ones only."""

_WANTED = ("load", "main", "Classifier")

_OPENING = '''"""Predict the classes of images: python predict.py IMAGES... (or folders of them).

In Python, with this folder on the path: from predict import load; load("FOLDER").predict(images).
Needs torch, timm, Pillow, numpy and safetensors; pillow-heif for HEIC. README.md tells the rest.

Put together by Probeline from its own modules (Apache-2.0), so that images become pixels, features
and classes exactly as in the study. Change those, not this file.
"""

from __future__ import annotations

'''

_ENDING = """

if __name__ == "__main__":
    sys.exit(main())
"""


@dataclass
class _Part:
    """A statement at a module's top level, with the comment above and the docstring below it."""

    module: str
    text: str
    defines: frozenset[str]
    uses: frozenset[str]
    always: bool = False


@dataclass
class _Module:
    parts: list[_Part] = field(default_factory=list)
    imports: dict[str, str] = field(default_factory=dict)
    """By the name that it gives here, an import of a library."""


def program() -> str:
    """The text of predict.py."""
    modules = {name: _read(name) for name in _MODULES}
    chosen = _reached([part for module in modules.values() for part in module.parts])
    _refuse_clashes(chosen)
    used = {name for part in chosen for name in part.uses} | {"sys"}
    given = {name: text for module in modules.values() for name, text in module.imports.items()}
    imports = sorted(
        {text for name, text in given.items() if name in used},
        key=lambda text: (text.startswith("from"), text),
    )
    body = "\n\n\n".join(part.text for part in chosen)
    return _OPENING + "\n".join(imports) + "\n\n\n" + body + "\n" + _ENDING


def _reached(parts: list[_Part]) -> list[_Part]:
    """The parts that `_WANTED` use, and those that these use, in order.

    A name is the module's own, or (if it is not private) what the module imports of another.
    """
    owners: dict[str, list[_Part]] = {}
    for part in parts:
        for name in part.defines:
            owners.setdefault(name, []).append(part)
    kept: set[int] = set()

    def reach(names: Iterable[str], module: str) -> None:
        for name in names:
            found = owners.get(name, [])
            own = [part for part in found if part.module == module]
            for part in own or [p for p in found if not name.startswith("_")]:
                if id(part) not in kept:
                    kept.add(id(part))
                    reach(part.uses, part.module)

    reach(_WANTED, _MODULES[-1])
    there = {part.module for part in parts if id(part) in kept}
    for part in parts:  # what a module does to a library, once anything of it is there
        if part.always and part.module in there:
            kept.add(id(part))
            reach(part.uses, part.module)
    return [part for part in parts if id(part) in kept]


def _read(name: str) -> _Module:
    text = (_ROOT / f"{name.replace('.', '/')}.py").read_text(encoding="utf-8")
    lines, tree, module = text.splitlines(), ast.parse(text), _Module()
    end = 0
    for node in tree.body:
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))]) - 1
        while first > end and lines[first - 1].startswith("#"):
            first -= 1
        assert node.end_lineno is not None
        source = "\n".join(lines[first : node.end_lineno])
        end = node.end_lineno
        if isinstance(node, ast.Import | ast.ImportFrom):
            _note_import(module, node)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            if module.parts:  # a constant's own docstring
                module.parts[-1].text += f"\n{source}"
        elif not isinstance(node, ast.If):  # imports for types alone
            defines = frozenset(_defined(node))
            uses = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
            module.parts.append(_Part(name, source, defines, frozenset(uses), not defines))
    return module


def _note_import(module: _Module, node: ast.Import | ast.ImportFrom) -> None:
    origin = node.module or "" if isinstance(node, ast.ImportFrom) else ""
    if origin == "__future__" or origin.split(".")[0] in _PACKAGES:
        assert all(alias.asname is None for alias in node.names), f"{origin}: renamed"
        return
    for alias in node.names:
        given = alias.asname or alias.name.split(".")[0]
        renamed = f" as {alias.asname}" if alias.asname else ""
        start = f"from {origin} import " if origin else "import "
        module.imports[given] = f"{start}{alias.name}{renamed}"


def _defined(node: ast.stmt) -> Iterable[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [n.id for t in targets if t for n in ast.walk(t)
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]  # fmt: skip


def _refuse_clashes(parts: list[_Part]) -> None:
    """Two modules' definitions of one name would hide each other; so would one of Python's."""
    seen: dict[str, str] = {}
    for part in parts:
        for name in part.defines:
            assert name not in seen, f"{name} is defined in {seen[name]} and {part.module}"
            assert not hasattr(builtins, name), f"{name} of {part.module} is Python's own"
            seen[name] = part.module
