"""What is wrong in params.yaml: each fault with its line, and what was expected."""

from __future__ import annotations

import datetime as dt
import difflib
import re
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from cache.errors import ProbelineError
from pipeline.project import names
from pipeline.project.words import yaml_text
from pipeline.study.renamed import UPGRADE, new_key, new_value
from pipeline.study.schema import Study
from pipeline.study.study_text import StudyError

_UNKNOWN = "extra_forbidden"
"""Pydantic's word for a key that is none of ours."""


def explained(error: ValidationError, document: CommentedMap, path: Path) -> StudyError:
    """All that the schema says against a document; one fault for each place."""
    details = error.errors()
    renamed = {(*d["loc"][:-1], new_key(d["loc"])) for d in details if d["type"] == _UNKNOWN}
    wrong = [d for d in details if d["type"] != "missing" or d["loc"] not in renamed]
    faults = _merged([_explain(detail, document, path) for detail in wrong])
    raised = StudyError(str(path), f"{len(faults)} faults")
    raised.faults = faults
    return raised


def _merged(faults: list[ProbelineError]) -> tuple[ProbelineError, ...]:
    """One fault for each place: Pydantic lists one for each type that a value could have had."""
    by_place: dict[tuple[str, str], list[ProbelineError]] = {}
    for fault in faults:
        by_place.setdefault((fault.place, fault.problem), []).append(fault)
    return tuple(
        ProbelineError(
            one.place,
            one.problem,
            expected=" or ".join(dict.fromkeys(f.expected for f in same)),
            found=one.found,
            remedy=one.remedy,
        )
        for (one, *_), same in zip(by_place.values(), by_place.values(), strict=True)
    )


def _explain(detail: ErrorDetails, document: CommentedMap, path: Path) -> ProbelineError:
    # Pydantic appends to the location which member of a union or which dict key it tried.
    between = detail["type"] == "between_sections"
    whole = detail["ctx"]["place"] if between else detail["loc"]
    location = [part for part in whole if part != "[key]"]
    location = _existing(location, document, detail["type"])
    place = f"{path}:{_line(document, location)}: {'.'.join(map(str, location)) or 'top level'}"
    kind, found = detail["type"], detail["input"]
    for part in location if between else ():
        found = found[part]
    name = str(location[-1]) if location else ""
    new = new_key(location) if kind == _UNKNOWN else None
    if kind == "literal_error":
        new = new_value(location, found)
    if new is not None:
        old = name if kind == _UNKNOWN else str(found)
        return ProbelineError(
            place, "has another name now", expected=f"`{new}`", found=old, remedy=UPGRADE
        )
    if kind == _UNKNOWN:
        legal = _legal_keys(location[:-1])
        near = difflib.get_close_matches(name, legal, n=1, cutoff=0.5)
        return ProbelineError(
            place,
            "unknown key",
            expected=f"one of {', '.join(legal)}",
            found=name,
            remedy=f"write a space after the colon: `{name.replace(':', ': ', 1)}`"
            if name.partition(":")[0] in legal
            else f"did you mean `{near[0]}`?"
            if near
            else "delete it",
        )
    if kind == "missing":
        return ProbelineError(
            place,
            "a required key is absent",
            expected=f"`{name}:` with a value",
            remedy=f"add `{name}` there{_default(location)}",
        )
    if detail["loc"][-1:] == ("[key]",) or (
        kind == "string_pattern_mismatch"
        and len(location) == 2
        and location[0] in ("datasets", "models")
    ):
        return ProbelineError(
            place,
            "not a usable name",
            expected=names.EXPECTED,
            found=name,
            remedy=f"rename it, e.g. to `{_usable(name, location)}`",
        )
    return ProbelineError(
        place,
        "not a usable value",
        expected=_expected(detail),
        found=repr(found),
        remedy=_remedy(detail, location, found),
    )


def _default(location: list[int | str]) -> str:
    """What a section that is absent may be, where each of its keys has a default."""
    kind = _strip(Study.model_fields[str(location[0])].annotation) if len(location) == 1 else None
    if location == ["pretrain"]:
        return "; `pretrain: {}` trains nothing"
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return ""
    if any(field.is_required() for field in kind.model_fields.values()):
        return ""
    try:
        kind.model_validate({})
    except ValidationError:
        return ""
    return f"; `{location[0]}: {{}}` takes its defaults"


def _expected(detail: ErrorDetails) -> str:
    if detail["loc"][-1:] == ("weights",) and detail["type"] == "string_pattern_mismatch":
        return (
            "random(SEED), pretrained, or the path of a .safetensors, .pth, .pt, .tar or .bin file"
        )
    if detail["type"] in ("too_short", "too_long"):
        short = detail["type"] == "too_short"
        bound = detail["ctx"]["min_length" if short else "max_length"]
        return f"at {'least' if short else 'most'} {bound} {'entry' if bound == 1 else 'entries'}"
    text = detail["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    text = text.removeprefix("a valid ").partition(" or instance of ")[0]
    if detail["type"] in ("bool_type", "bool_parsing"):
        return "true or false"
    return text.replace("dictionary", "mapping of names to values")


def _remedy(detail: ErrorDetails, location: list[int | str], found: object) -> str:
    """What to write instead, where that is certain; else where to read it."""
    kind = detail["type"]
    if found is None and (text := _default(location)):
        return f"complete it{text}"
    said = _SPELLED[kind](detail, found) if kind in _SPELLED else ""
    if not said and isinstance(found, str) and (number := _number(found)) is not None:
        said = "take the quotes away: it is read as text"
        if found.strip().endswith("%"):
            said = f"write a number without %: {number:g}, or as a share {number / 100:g}"
    return said or ("see the comment beside this key in studies/digits.yaml" if location else "")


def _nearest(detail: ErrorDetails, found: object) -> str:
    legal = re.findall(r"'([^']*)'", str(detail["ctx"]["expected"]))
    near = difflib.get_close_matches(str(found).replace("-", "_").casefold(), legal, n=1)
    return f"did you mean `{near[0]}`?" if near else ""


def _truth(detail: ErrorDetails, found: object) -> str:
    words = {"yes": "true", "on": "true", "no": "false", "off": "false"}
    word = words.get(str(found).casefold())
    return f"write `{word}`" if word else ""


def _in_brackets(detail: ErrorDetails, found: object) -> str:
    text = yaml_text(found) if isinstance(found, str) else found
    return f"put it in brackets: `[{text}]`" if isinstance(found, str | int | float) else ""


def _in_quotes(detail: ErrorDetails, found: object) -> str:
    is_one = isinstance(found, bool | int | float | dt.date)
    return "put it in quotes, spelled as it is to be read" if is_one else ""


def _without_point(detail: ErrorDetails, found: object) -> str:
    whole = isinstance(found, float) and found.is_integer()
    return f"write `{int(found)}`" if whole and isinstance(found, float) else ""


def _as_share(detail: ErrorDetails, found: object) -> str:
    if next(iter(detail["ctx"].values())) != 1 or not isinstance(found, int | float):
        return ""
    if {"mean", "std"} & set(detail["loc"]):
        return f"divide by 255, the white of 8 bits: {found / 255:.3f}"
    return f"if per cent are meant, write {found / 100:g}" if 1 < found <= 100 else ""


def _of_key(detail: ErrorDetails, found: object) -> str:
    return "put the name in quotes; or is it a decimal comma? Write a point: 0.2"


_SPELLED: Mapping[str, Callable[[ErrorDetails, object], str]] = {
    "literal_error": _nearest,
    "bool_type": _truth,
    "list_type": _in_brackets,
    "string_type": _in_quotes,
    "int_type": _without_point,
    "less_than": _as_share,
    "less_than_equal": _as_share,
    "invalid_key": _of_key,
}
"""By Pydantic's word for a fault: what to write instead; "" where that is not certain."""


def _number(text: str) -> float | None:
    """The number that a text is, but for a per cent sign; None of any other."""
    try:
        return float(text.strip().removesuffix("%").strip())
    except ValueError:
        return None


def _usable(name: str, location: list[int | str]) -> str:
    if name.isdecimal():  # YAML reads it as a number
        return f"{str(location[0]).removesuffix('s')}_{name}"
    return names.usable(name)


def _existing(location: list[int | str], document: CommentedMap, kind: str) -> list[int | str]:
    """The longest part of a location that the document really has (plus a missing key)."""
    node: Any = document
    for depth, part in enumerate(location):
        in_mapping = isinstance(node, CommentedMap) and part in node
        in_list = isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node)
        if not in_mapping and not in_list:
            return location[: depth + (kind == "missing")]
        node = node[part]
    return location


def _line(document: CommentedMap, location: list[int | str]) -> int:
    node: Any = document
    line = 0
    for part in location:
        try:
            line = (node.lc.key(part) if isinstance(node, CommentedMap) else node.lc.item(part))[0]
            node = node[part]
        except (KeyError, IndexError, TypeError, AttributeError):
            break
    return line + 1


def _legal_keys(location: list[int | str]) -> list[str]:
    """The keys that the schema allows at a location."""
    kind: Any = Study
    for part in location:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = _strip(kind.model_fields[str(part)].annotation)
        elif typing.get_origin(kind) is dict:
            kind = _strip(typing.get_args(kind)[1])
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def _strip(annotation: Any) -> Any:
    """An annotation without Annotated and Optional."""
    while typing.get_origin(annotation) in (typing.Annotated, typing.Union, types.UnionType):
        annotation = typing.get_args(annotation)[0]
    return annotation
