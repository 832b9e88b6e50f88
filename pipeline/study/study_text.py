"""The text of params.yaml, and what YAML makes of it: bounded, printable, and nothing but YAML."""

from __future__ import annotations

from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.scalarint import ScalarInt

from cache.errors import ProbelineError, is_printable
from pipeline.project.foreign_files import words_of

_LARGEST = 1 << 20
"""Bytes of a study; parsing that many takes some seconds."""

_MOST_VALUES = 200_000
_DEEPEST = 50
"""Of a study: far beyond any, and far within memory and Python's stack."""


class StudyError(ProbelineError, ValueError):
    """One or more faults of params.yaml, each with its place."""

    faults: tuple[ProbelineError, ...] = ()

    def __str__(self) -> str:
        return "\n".join(map(str, self.faults)) if self.faults else super().__str__()


def read_text(path: Path) -> str:
    """The file's text, with Unix line endings.

    Raises
    ------
    StudyError
        When it is absent, too large, or no UTF-8.
    """
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


def parse_text(text: str, path: Path) -> CommentedMap:
    """The text's mapping, which knows its lines and comments.

    Raises
    ------
    StudyError
        When it is not YAML, or no mapping.
    """
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


def _with_zeros(value: object) -> str:
    """A whole number that stands there as 012 (an octal to some, 12 to YAML, a name to most)."""
    width = getattr(value, "_width", None)  # ruamel's, of decimal numbers; absent of most
    if type(value) is not ScalarInt or width is None or width <= len(str(int(value))):
        return ""
    return str(int(value)).zfill(width)


class Plain:
    """Ruamel's round-trip types as plain Python ones; what aliases repeat is written out.

    A few lines of YAML can stand for more than any memory holds (each alias twice the former), or
    for something without an end (an alias inside its own anchor): both are refused.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._left = _MOST_VALUES

    def of(self, value: object, *place: object) -> object:
        """A value of the document; `place` is where it stands, for the messages."""
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
        if written := _with_zeros(value):
            raise StudyError(
                f"{self._path}: {'.'.join(map(str, place)) or 'top level'}",
                "is a number that begins with zeros, which YAML drops",
                expected="a number without them, or text in quotes",
                found=written,
                remedy=f'write "{written}" where text is meant, else {int(written)}',
            )
        for kind in (bool, int, float, str):
            if isinstance(value, kind):
                return kind(value)
        return value

    def _key(self, key: object, *place: object) -> object:
        # Of names of data sets, models … the schema says what is wrong with them.
        return str(key) if len(place) == 1 and isinstance(key, str) else self.of(key, *place, key)
