"""Files with a digest of themselves: any flipped bit is named, older files are read."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.errors import CellCorruptError
from cache.seals import read_sealed, read_sealed_json, require_digest, sealed_json, write_sealed

FACTS = st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.text()))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("seals") / "file"


@given(facts=FACTS.filter(lambda f: "sealed" not in f))
def test_json_comes_back(path, facts):
    path.write_bytes(sealed_json(facts))
    assert read_sealed_json(path) == facts
    path.write_text(json.dumps(facts))  # by an older version
    assert read_sealed_json(path) == facts


@given(data=st.data())
def test_a_flipped_bit_of_json_is_named_or_changes_nothing(path, data):
    facts = {"weights": "a" * 64, "seconds": 1.5, "splits": {"train": [1, 2]}}
    sound = bytearray(sealed_json(facts))
    sound[data.draw(st.integers(0, len(sound) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(sound)
    try:
        found = read_sealed_json(path)
    except CellCorruptError as error:
        assert error.remedy  # noqa: PT017 - either end will do
    else:  # the flip took the digest's own name
        assert {name: found.get(name) for name in facts} == facts


@given(content=st.binary(), data=st.data())
def test_other_files_likewise(path, content, data):
    write_sealed(path, content)
    assert read_sealed(path) == content
    sound = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(sound) - 1))
    sound[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(sound)
    with contextlib.suppress(CellCorruptError):
        assert read_sealed(path).startswith(content)  # the flip took the digest's own line


def test_without_a_digest_a_file_is_read_as_it_is(path):
    path.write_bytes(b"old")
    assert read_sealed(path) == b"old"


@pytest.mark.parametrize("text", ["", "[]", "nul", '{"a": NaN}', "[" * 100_000, '{"sealed": 3}'])
def test_what_is_no_record_is_named(path, text):
    path.write_text(text)
    with pytest.raises(CellCorruptError, match="damaged"):
        read_sealed_json(path)


def test_a_file_is_compared_with_its_record_and_again_when_it_changes(path):
    path.write_bytes(b"one")
    digest = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    require_digest(path, digest, remedy="fetch it")
    path.write_bytes(b"two")
    with pytest.raises(CellCorruptError, match="not the file that was recorded"):
        require_digest(path, digest, remedy="fetch it")
