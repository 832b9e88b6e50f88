"""Class names, as every source spells them: one rule for folders, tables and imported files."""

from __future__ import annotations

import unicodedata

from cache.errors import ProbelineError

_JOINERS = "\u200c\u200d"
"""Invisible, but part of the spelling in Persian, in Indic scripts and in emoji."""


def clean_label(text: str, where: str) -> str:
    """A class name in Unicode's composed form (NFC), without white space at its ends.

    A Mac writes ``é`` as two characters and most others as one; tables keep the space before a
    comma. Names that look the same are the same class.

    Parameters
    ----------
    text : str
        The name, as a folder or a table spells it.
    where : str
        For errors: the file, and the row or folder.

    Raises
    ------
    ProbelineError
        When nothing is left, or the name holds what nobody can see: control characters (a line
        break, a tab), invisible ones, undecodable bytes. The error shows their code points.
    """
    if text.isascii() and text.isprintable() and text and text[0] != " " != text[-1]:
        return text
    name = unicodedata.normalize("NFC", text.strip("\ufeff").strip())
    if not name:
        raise ProbelineError(
            where,
            "the class name is empty",
            expected="a name",
            found=code_points(text) or "no character",
            remedy="name the class, or take these rows out",
        )
    if unseen := [c for c in name if _is_unseen(c)]:
        raise ProbelineError(
            where,
            "the class name holds characters that can't be seen",
            expected="a name of visible characters",
            found=f"{shown(name)}, with {code_points(''.join(dict.fromkeys(unseen)))}",
            remedy="rename the class without them",
        )
    return name


def code_points(text: str) -> str:
    """The characters by number and name, e.g. ``U+200B ZERO WIDTH SPACE``; at most eight."""
    points = [f"U+{ord(c):04X} {unicodedata.name(c, '')}".rstrip() for c in text[:8]]
    return ", ".join(points) + (" …" if len(text) > 8 else "")


def shown(text: str) -> str:
    """The text in quotes, so that a person sees its ends, and what can't be seen in it."""
    return "".join(
        c.encode("unicode_escape").decode() if _is_unseen(c) or c in _JOINERS else c
        for c in f"'{text}'"
    )


def _is_unseen(character: str) -> bool:
    # Controls, formats, halves of a pair (undecodable bytes), line and paragraph separators.
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and (
        character not in _JOINERS
    )
