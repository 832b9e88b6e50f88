import copy
import pickle

import pytest

from cache import errors
from cache.errors import NonFiniteError, ProbelineError

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
