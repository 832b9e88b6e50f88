import copy
import pickle
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache import errors
from cache.errors import NonFiniteError, ProbelineError, printable

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type)]
TEXT = """params.yaml models.vit.size: is too small
  expected  at least 32
  found     16
  to mend   raise it"""


def sample(kind):
    return kind(
        "params.yaml models.vit.size",
        "is too small",
        expected="at least 32",
        found="16",
        remedy="raise it",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_says_place_problem_expected_found_remedy(kind):
    assert str(sample(kind)) == TEXT
    assert isinstance(sample(kind), ProbelineError)


def test_leaves_out_what_is_not_known():
    assert str(ProbelineError("here", "is wrong", remedy="mend it")) == (
        "here: is wrong\n  to mend   mend it"
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("through", [copy.copy, lambda e: pickle.loads(pickle.dumps(e))])
def test_survives_a_worker_process(kind, through):
    again = through(sample(kind))
    assert type(again) is kind
    assert str(again) == TEXT
    assert (again.place, again.expected, again.found) == (
        "params.yaml models.vit.size",
        "at least 32",
        "16",
    )


def test_the_position_survives_a_worker_process():
    error = sample(NonFiniteError)
    error.row, error.column = 7, 3
    again = pickle.loads(pickle.dumps(error))
    assert (again.row, again.column) == (7, 3)


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.DiskFullError, OSError),
        (errors.CellMissingError, FileNotFoundError),
        (errors.CellStaleError, ValueError),
        (errors.CellCorruptError, ValueError),
        (errors.CellLockedError, BlockingIOError),
        (errors.NonFiniteError, ValueError),
    ],
)
def test_is_also_the_built_in_that_a_caller_would_catch(kind, builtin):
    with pytest.raises(builtin):
        raise sample(kind)


@given(st.text() | st.binary().map(lambda name: name.decode(errors="surrogateescape")))
def test_no_text_of_a_stranger_commands_the_terminal(text):
    said = str(ProbelineError(text, "is wrong", found=text, remedy=text))
    said.encode()  # a name of bytes that are no text, too
    assert all(c == "\n" or c == "\t" or unicodedata.category(c) != "Cc" for c in said)
    assert not set(said) & set("\u202e\u2066\u2028")
    if text.isprintable():
        assert f"{text}: is wrong" in said


def test_letters_of_any_script_stay_as_they_are():
    assert printable("Zoë 猫 ñ\n\tπ 😀") == "Zoë 猫 ñ\n\tπ 😀"
    assert printable("\x1b[2J\r\x9b\u202etxt.exe\udcff") == r"\x1b[2J\r\x9b\u202etxt.exe\udcff"
