import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.fingerprint import canonical_json, differences, fingerprint, load_json, parse_json

names = st.text(max_size=5)
leaves = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
) | st.text(max_size=8)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4)
)
keys = st.dictionaries(names, values, min_size=1, max_size=4)


def reordered(value):
    if isinstance(value, dict):
        return {name: reordered(value[name]) for name in reversed(value)}
    return [reordered(item) for item in value] if isinstance(value, list) else value


def places(value, at=()):
    """The path to every leaf."""
    if isinstance(value, dict | list) and value:
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        for name, part in parts:
            yield from places(part, (*at, name))
    else:
        yield at


@given(keys)
def test_order_of_keys_does_not_count(key):
    assert fingerprint(reordered(key)) == fingerprint(key)
    assert differences(reordered(key), key) == []


@given(keys, st.data())
def test_every_changed_leaf_counts(key, data):
    *path, last = data.draw(st.sampled_from(list(places(key))))
    changed = copy.deepcopy(key)
    holder = changed
    for name in path:
        holder = holder[name]
    new = data.draw(
        leaves.filter(lambda leaf: canonical_json(leaf) != canonical_json(holder[last]))
    )
    holder[last] = new
    assert fingerprint(changed) != fingerprint(key)
    assert len(differences(key, changed)) == 1


@given(keys, st.data())
def test_a_key_more_counts_even_with_the_value_none(key, data):
    longer = {**key, data.draw(names.filter(lambda name: name not in key)): None}
    assert fingerprint(longer) != fingerprint(key)
    assert len(differences(key, longer)) == 1


@given(keys)
def test_what_a_cell_stores_and_reads_back_keeps_its_fingerprint(key):
    import json

    assert fingerprint(json.loads(canonical_json(key))) == fingerprint(key)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_has_no_json_is_refused(value):
    with pytest.raises(ValueError, match="JSON compliant"):
        fingerprint({"scale": [1.0, value]})


def test_an_object_is_refused():
    with pytest.raises(TypeError, match="not JSON serializable"):
        fingerprint({"transform": object()})


def test_differences_name_the_dotted_key_and_both_values():
    found = {"model": "vit", "transform": {"size": 224, "crop": 0.9}}
    asked = {"model": "vit", "transform": {"size": 256, "crop": 0.9}}
    assert differences(found, asked) == ["transform.size: 224 -> 256"]


def test_differences_shorten_digests():
    assert differences({"weights": "a" * 64}, {"weights": "b" * 64}) == [
        f"weights: {'a' * 12}… -> {'b' * 12}…"
    ]


@pytest.mark.parametrize(
    ("found", "asked", "line"),
    [
        ({}, {"seed": None}, "seed: absent -> null"),
        ({"seed": 1}, {"seed": 1.0}, "seed: 1 -> 1.0"),
        ({"flip": True}, {"flip": 1}, "flip: true -> 1"),
        ({"a": {}}, {"a": None}, "a: {} -> null"),
    ],
)
def test_differences_see_what_the_fingerprint_sees(found, asked, line):
    assert fingerprint(found) != fingerprint(asked)
    assert differences(found, asked) == [line]


def test_differences_do_not_see_more_than_the_fingerprint():
    assert fingerprint({"mean": (0.5, 0.5)}) == fingerprint({"mean": [0.5, 0.5]})
    assert differences({"mean": [0.5, 0.5]}, {"mean": (0.5, 0.5)}) == []


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"a": NaN}',
        "[1e999]",
        "[-1e999]",
        '["\\ud800"]',
        '{"\\uDFFF": 1}',
    ],
)
def test_json_that_has_no_fingerprint_is_a_value_error(text):
    with pytest.raises(ValueError):  # noqa: PT011 - of whatever kind
        parse_json(text.encode())


def test_whole_surrogate_pairs_are_text():
    assert parse_json(b'["\\ud83d\\ude00", 1.5, 2]') == ["\N{GRINNING FACE}", 1.5, 2]


def test_brackets_beyond_the_stack_are_a_value_error():
    with pytest.raises(ValueError, match="too deeply"):
        load_json("[" * 100_000)
