"""Old words of params.yaml: named with the new one, rewritten on request, unchanged in keys."""

from __future__ import annotations

import pytest

from pipeline.study.params import parse_study, upgrade_study
from pipeline.study.records import settings_of
from pipeline.study.renamed import RENAMED_KEYS, RENAMED_VALUES
from pipeline.study.study_text import StudyError

STUDY = """\
# a study of last year, with comments
datasets: {d: {source: "builtin:digits", role: in_domain}}
models:
  mae: {architecture: test_vit, weights: random(0), kind: generative}   # kind
extraction: {}
neighbors: &all   # kept once
  keep: 200       # of each image
  "metric": [euclidean, cosine]
knn:
  presets: [study, 'dino']   # study: k = 20
fewshot: {shots: [10], draws: 3, "draws_above_five": 2, class_counts: [2]}
linear: {}
transfer: {}
predictors: {}
correlation: {}
report: {title: "draws and keep of my study"}
pretrain: {}
finetune: {}
"""
NEW = (
    ("kind: g", "objective: g"),
    ("keep:", "n_neighbors:"),
    ("[study,", "[paper,"),
    ("draws:", "episodes:"),
    ('"draws_above_five"', '"episodes_above_five"'),
    ("class_counts", "ways"),
    ("predictors:", "transferability:"),
)


@pytest.mark.parametrize(
    ("place", "old", "new"),
    [
        ("params.yaml:4: models.mae.kind", "kind", "objective"),
        ("params.yaml:7: neighbors.keep", "keep", "n_neighbors"),
        ("params.yaml:11: fewshot.draws:", "draws", "episodes"),
        ("params.yaml:11: fewshot.class_counts", "class_counts", "ways"),
        ("params.yaml:10: knn.presets.0", "study", "paper"),
        ("params.yaml:14: predictors", "predictors", "transferability"),
    ],
)
def test_an_old_word_is_an_error_that_names_the_new_one(place, old, new):
    with pytest.raises(StudyError) as caught:
        parse_study(STUDY)
    said = next(str(f) for f in caught.value.faults if f"found     {old}\n" in f"{f}\n")
    assert place in said
    assert "has another name now" in said
    assert f"`{new}`" in said
    assert "probeline upgrade" in said
    assert len(caught.value.faults) == len(NEW)  # none says that the new word is absent


def test_upgrade_changes_the_words_and_nothing_else(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(STUDY)
    text, changes = upgrade_study(path)
    assert len(changes) == len(NEW)
    assert path.read_text() == STUDY  # nothing is written by it
    back = text
    for old, new in NEW:
        assert text.count(new) == 1
        back = back.replace(new, old)
    assert back == STUDY
    path.write_text(text)
    assert upgrade_study(path) == (text, [])


def test_what_an_alias_repeats_is_changed_once(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(STUDY.replace("linear: {}", "linear: {}  # &few").replace("&all", "&few"))
    assert len(upgrade_study(path)[1]) == len(NEW)


def test_keys_of_records_keep_the_former_spelling():
    """So that no record of a finished study is computed again."""
    text = STUDY
    for old, new in NEW:
        text = text.replace(old, new)
    study = parse_study(text)
    assert settings_of(study, "knn") == {
        "neighbors": {
            "keep": 200,
            "metric": ["euclidean", "cosine"],
            "normalization": ["none", "zscore"],
        },
        "knn": {
            "presets": ["study", "dino"],
            "k": [],
            "weighting": ["distance"],
            "temperature": [0.07],
            "tuned": False,
        },
    }
    assert settings_of(study, "predictors") == {"predictors": {"names": [], "seed": 0}}
    few = settings_of(study, "fewshot")["fewshot"]
    assert (few["draws"], few["draws_above_five"], few["class_counts"]) == (3, 2, [2])
    assert not {"episodes", "ways"} & set(few)


def test_no_word_is_old_and_new_at_once():
    assert not set(RENAMED_KEYS.values()) & {place[-1] for place in RENAMED_KEYS}
    for names in RENAMED_VALUES.values():
        assert not set(names) & set(names.values())
