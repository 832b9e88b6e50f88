"""Makes the manual's reference as it is built: `params.md` of the schema, `commands.md` of help.

Nothing of it is kept, so nothing of it can disagree with the program. mkdocs calls the functions
below (``hooks`` in mkdocs.yml).
"""

from __future__ import annotations

import json
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pydantic import BaseModel
from pydantic.fields import FieldInfo

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from pipeline.study.schema import Study  # noqa: E402
from stages.cli import main  # noqa: E402

EXPLAINED = ROOT / "studies" / "digits.yaml"
"""The study whose comments explain every key."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    for name, text in (("params.md", params_page()), ("commands.md", commands_page())):
        files.append(File.generated(config, name, content=text))
    return files


def params_page() -> str:
    """Every section of params.yaml: what it is, its keys and defaults, and what explains them."""
    parts = [
        "# params.yaml\n",
        "All of a study. A key that is not known is an error that names the nearest one; keys with "
        "a default may be left out, sections may not (`{}` takes all defaults).\n",
    ]
    comments = _comments()
    for name in sorted(Study.model_fields, key=list(comments).index):
        section, is_table = _section(Study.model_fields[name])
        parts += [f"## {name}\n", f"{_first_line(section)}\n"]
        if is_table:
            parts.append(f"`{name}: {{NAME: {{…}}}}`, any number of them.\n")
        parts += ["| key | values | default |", "|---|---|---|"]
        for key, of in section.model_fields.items():
            parts.append(f"| `{key}` | {_values(of.annotation)} | {_default(of)} |")
        parts += ["", "```yaml", comments[name], "```", ""]
    return "\n".join(parts)


def commands_page() -> str:
    """Every command with its help, as `probeline … --help` prints it."""
    parts = ["# Commands\n", "As `probeline COMMAND --help` prints them.\n"]
    for path, command in _commands(main, "probeline"):
        context = click.Context(command, info_name=path, max_content_width=100)
        parts += [f"## {path}\n", "```text", command.get_help(context), "```\n"]
    return "\n".join(parts)


def _commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            found = command.get_command(click.Context(command), name)
            if found is not None and not found.hidden:
                yield from _commands(found, f"{path} {name}")


def _comments() -> dict[str, str]:
    """The text of each section in the study that explains all keys."""
    blocks: dict[str, list[str]] = {}
    current: list[str] = []
    for line in EXPLAINED.read_text(encoding="utf-8").splitlines():
        if line[:1].isalpha():
            current = blocks.setdefault(line.partition(":")[0], [])
        current.append(line)
    return {name: "\n".join(lines).rstrip() for name, lines in blocks.items()}


def _section(field: FieldInfo) -> tuple[type[BaseModel], bool]:
    """The section's own class, and whether it is one for each name."""
    found = field.annotation
    if typing.get_origin(found) is dict:
        return typing.get_args(found)[1], True
    return typing.cast(type[BaseModel], found), False


def _first_line(section: type[BaseModel]) -> str:
    return (section.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")


def _values(annotation: object) -> str:
    """In words what a key may be."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _values(arguments[0])
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join("null" if a is type(None) else _values(a) for a in arguments)
    if origin in (list, tuple):
        return f"list of {_values(arguments[0])}"
    if origin is dict:
        return f"{{name: {_values(arguments[1])}}}"
    plain = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    if annotation in plain:
        return plain[typing.cast(type, annotation)]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "keys: " + ", ".join(f"`{key}`" for key in annotation.model_fields)
    return "text"


def _default(of: FieldInfo) -> str:
    """A default, as params.yaml spells it."""
    if of.is_required():
        return "needed"
    value = of.get_default(call_default_factory=True)
    return "its own" if isinstance(value, BaseModel) else f"`{json.dumps(value)}`"
