"""What is not a setting but changes numbers, changes the keys of the records that hold them."""

from __future__ import annotations

import ast
import inspect

import pytest

from cache.fingerprint import fingerprint
from pipeline.heads import tuning
from pipeline.study import records
from pipeline.study.records import record_key
from pipeline.study.schema import Study

TUNED = ("linear", "fewshot", "transfer")
OTHERS = ("knn", "predictors")
FEWSHOT_ONLY = ("FEWSHOT_CS", "FEWSHOT_PENALTIES", "FIXED_PENALTY", "LONE_SHARE")
ONLY = dict.fromkeys(FEWSHOT_ONLY, ("fewshot",))
NOT_FEWSHOT = dict.fromkeys(("CS", "PENALTIES", "PRESET_RATE", "HIDDEN"), ("linear", "transfer"))
CONSTANTS = [name for name in vars(tuning) if name.isupper()]


@pytest.fixture
def study(project) -> Study:
    project.params["linear"] = {"heads": ["sgd"]}
    project.params["transferability"] = {"names": ["alignment"]}
    project.params["extraction"] = {"views": 3}
    return Study.model_validate(project.params)


def keys_of(study: Study) -> dict[str, str]:
    of = {"train": "a", "val": "b", "names": "c"}
    return {p: fingerprint(record_key(study, p, "pets", lambda _: of)) for p in (*TUNED, *OTHERS)}


@pytest.mark.parametrize("name", CONSTANTS)
def test_every_rule_changes_the_keys_of_what_it_decides_and_no_others(study, name, monkeypatch):
    before = keys_of(study)
    value = getattr(tuning, name)
    monkeypatch.setattr(tuning, name, value[:-1] if isinstance(value, tuple) else 2 * value + 1)
    after = keys_of(study)
    changed = {p for p in before if before[p] != after[p]}
    assert changed == set(ONLY.get(name) or NOT_FEWSHOT.get(name) or TUNED)


def test_no_choice_depends_on_a_number_outside_the_key():
    """Of the modules that choose, no constant but those imported from `tuning`."""
    from pipeline.heads import inner_splits, selection

    for module in (inner_splits, selection):
        tree = ast.parse(inspect.getsource(module))
        assigned = {
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        assert not {name for name in assigned if name.isupper()}


def test_rules_and_number_of_views_change_the_keys_of_what_reads_them(study, monkeypatch):
    before = keys_of(study)
    monkeypatch.setattr(records, "VIEW_RULES", {**records.VIEW_RULES, "flip": 0.25})
    after = keys_of(study)
    assert {p for p in before if before[p] != after[p]} == {"linear", "transfer", "predictors"}
    fewer = study.model_copy(
        update={"extraction": study.extraction.model_copy(update={"views": 2})}
    )
    # Alignment compares two views, however many there are.
    assert {p for p, key in keys_of(fewer).items() if key != after[p]} == {"linear", "transfer"}
