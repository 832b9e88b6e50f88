"""Reading params.yaml: every fault with its line, what was expected, and the nearest legal key."""

from __future__ import annotations

import difflib
import io
import types
import typing
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError

from cache.errors import ProbelineError, is_printable
from pipeline.project import names
from pipeline.project.foreign_files import words_of
from pipeline.project.paths import PARAMS
from pipeline.study.renamed import UPGRADE, new_key, new_value, upgraded
from pipeline.study.schema import Study

_LARGEST = 1 << 20
"""Bytes of a study; parsing that many takes some seconds."""

_MOST_VALUES = 200_000
_DEEPEST = 50
"""Of a study: far beyond any, and far within memory and Python's stack."""


_UNKNOWN = "extra_forbidden"
"""Pydantic's word for a key that is none of ours."""


class StudyError(ProbelineError, ValueError):
    """One or more faults of params.yaml, each with its place."""

    faults: tuple[ProbelineError, ...] = ()

    def __str__(self) -> str:
        return "\n".join(map(str, self.faults)) if self.faults else super().__str__()


def load_study(path: Path = PARAMS) -> Study:
    """Read and check a study.

    Raises
    ------
    StudyError
        When the file is absent, not YAML, or not a study; lists every fault with its line.
    """
    return parse_study(_read(path), path)


def parse_study(text: str, path: Path = PARAMS) -> Study:
    """Check a study's text; `path` is for the messages.

    Raises
    ------
    StudyError
        When the text is not a study.
    """
    document = _parse(text, path)
    try:
        return Study.model_validate(_Plain(path).of(document))
    except ValidationError as error:
        details = error.errors()
        renamed = {(*d["loc"][:-1], new_key(d["loc"])) for d in details if d["type"] == _UNKNOWN}
        wrong = [d for d in details if d["type"] != "missing" or d["loc"] not in renamed]
        faults = _merged([_explain(detail, document, path) for detail in wrong])
        raised = StudyError(str(path), f"{len(faults)} faults")
        raised.faults = faults
        raise raised from None


def settings_text(path: Path = PARAMS) -> str:
    """The study as YAML without its comments, as others may paste it.

    Absolute paths are of this machine, and nobody else's: what is left of them is their last part.
    """
    document = _Plain(path).of(_parse(_read(path), path))
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style, yaml.allow_unicode, yaml.width = None, True, 100
    # The first of several is the headline.
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    text = io.StringIO()
    yaml.dump(_without_places(document), text)
    return text.getvalue()


def _without_places(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_places(of) for key, of in value.items()}
    if isinstance(value, list):
        return [_without_places(of) for of in value]
    if isinstance(value, str) and Path(value).is_absolute():
        return f"/path/to/{Path(value).name}"
    return value


def upgrade_study(path: Path = PARAMS) -> tuple[str, list[str]]:
    """A study's text with today's words, checked; and a line for each change.

    Raises
    ------
    StudyError
        When it is no study, even with today's words.
    """
    text = _read(path)
    new, changes = upgraded(text, _parse(text, path))
    parse_study(new, path)
    return new, changes


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise StudyError(
                str(path),
                "is too large for a study",
                expected=f"at most {_LARGEST:,} bytes",
                found=f"{path.stat().st_size:,}",
                remedy="name the right file; if it is somebody else's, do not use it",
            )
        return data.decode().replace("\r\n", "\n").replace("\r", "\n")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise StudyError(
            str(path),
            "there is no study here",
            remedy="run this in the project's folder (where dvc.yaml is), "
            "or copy a study into place: probeline use studies/digits.yaml",
        ) from None
    except UnicodeDecodeError as error:
        wide = error.object.startswith((b"\xff\xfe", b"\xfe\xff"))
        line = error.object.count(b"\n", 0, error.start) + 1
        raise StudyError(
            str(path) if wide else f"{path}:{line}",
            "is not UTF-8 text",
            found="UTF-16 text" if wide else f"byte 0x{error.object[error.start]:02X}",
            remedy="save it as UTF-8",
        ) from None


def _parse(text: str, path: Path) -> CommentedMap:
    try:
        document = YAML(typ="rt").load(text)
    except DuplicateKeyError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise StudyError(
            f"{path}:{line}",
            "a name is given twice",
            found=str(error.problem).split(" with")[0],
            remedy="rename or delete one of the two",
        ) from None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise StudyError(
            f"{path}:{line}",
            "is not valid YAML",
            found=str(error.problem),
            remedy="check indentation, colons and quotes on this line and the one above",
        ) from None
    except RecursionError:
        raise StudyError(
            str(path),
            "is not a study",
            expected=f"at most {_DEEPEST} levels of nesting",
            found="more than can be read",
            remedy="copy a study into place: probeline use studies/digits.yaml",
        ) from None
    except Exception as error:  # noqa: BLE001 - control characters, the date 2020-13-45, `!!bool x`
        raise StudyError(
            str(path),
            "is not valid YAML",
            found=words_of(error),
            remedy="correct or quote that value",
        ) from None
    if not isinstance(document, CommentedMap):
        raise StudyError(
            str(path),
            "is not a study",
            expected="a mapping with `datasets` and `models`",
            found="nothing" if document is None else "a list or a single value",
            remedy="copy a study into place: probeline use studies/digits.yaml",
        )
    return document


class _Plain:
    """Ruamel's round-trip types as plain Python ones; what aliases repeat is written out.

    A few lines of YAML can stand for more than any memory holds (each alias twice the former), or
    for something without an end (an alias inside its own anchor): both are refused.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._left = _MOST_VALUES

    def of(self, value: object, *place: object) -> object:
        self._left -= 1
        if self._left < 0 or len(place) > _DEEPEST:
            raise StudyError(
                str(self._path),
                "its aliases stand for too much",
                expected=f"at most {_MOST_VALUES:,} values, {_DEEPEST} levels deep",
                found="more",
                remedy="write it without `&` and `*`; if it is somebody else's, do not use it",
            )
        if isinstance(value, str) and not is_printable(value):
            raise StudyError(
                f"{self._path}: {'.'.join(map(str, place)) or 'top level'}",
                "holds control characters",
                expected="text that a terminal and a report may show",
                found=value[:80],
                remedy="delete them; if the study is somebody else's, ask why they are there",
            )
        if isinstance(value, dict):
            return {self._key(k, *place): self.of(v, *place, k) for k, v in value.items()}
        if isinstance(value, list):
            return [self.of(v, *place, i) for i, v in enumerate(value)]
        for kind in (bool, int, float, str):
            if isinstance(value, kind):
                return kind(value)
        return value

    def _key(self, key: object, *place: object) -> object:
        # Of names of data sets, models … the schema says what is wrong with them.
        return str(key) if len(place) == 1 and isinstance(key, str) else self.of(key, *place, key)


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
    if kind == _UNKNOWN and (new := new_key(location)):
        return ProbelineError(
            place, "has another name now", expected=f"`{new}`", found=name, remedy=UPGRADE
        )
    if kind == _UNKNOWN:
        legal = _legal_keys(location[:-1])
        near = difflib.get_close_matches(name, legal, n=1, cutoff=0.5)
        return ProbelineError(
            place,
            "unknown key",
            expected=f"one of {', '.join(legal)}",
            found=name,
            remedy=f"did you mean `{near[0]}`?" if near else "delete it",
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
    if kind == "literal_error" and (new := new_value(location, found)):
        return ProbelineError(
            place, "has another name now", expected=f"`{new}`", found=str(found), remedy=UPGRADE
        )
    return ProbelineError(
        place,
        "not a usable value",
        expected=_expected(detail),
        found=repr(found),
        remedy=_remedy(location, found),
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
    return text.removeprefix("a valid ").replace("dictionary", "mapping of names to values")


def _remedy(location: list[int | str], found: object) -> str:
    if isinstance(found, str) and found.replace(".", "", 1).lstrip("-").isdecimal():
        return "take the quotes away: it is read as text"
    return "see the comment beside this key in studies/digits.yaml" if location else ""


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
