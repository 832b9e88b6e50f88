"""params.yaml: every fault is one message with its line, the legal values and a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.study.params import load_study, parse_study
from pipeline.study.schema import Study
from pipeline.study.study_text import StudyError

REPOSITORY = Path(__file__).parents[3]

GOOD = """\
datasets:
  pets: {source: folder, path: images, role: in_domain}
models:
  tiny: {architecture: resnet18, weights: random(0)}
extraction: {}
knn: {k: [5]}
neighbors: {}
linear: {}
fewshot: {}
transfer: {}
transferability: {}
correlation: {}
report: {}
pretrain: {}
finetune: {}
"""


def message_of(text: str) -> str:
    with pytest.raises(StudyError) as caught:
        parse_study(text)
    return str(caught.value)


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


@pytest.mark.parametrize(
    ("new", "word"),
    [
        ("role: in_domain, val_fraction: 0,2", "decimal comma"),
        ("role:in_domain", "write a space after the colon: `role: in_domain`"),
    ],
)
def test_what_is_two_faults_to_yaml_says_the_one_that_it_is(new, word):
    assert word in message_of(changed("role: in_domain", new))


def test_the_good_study_is_accepted():
    study = parse_study(GOOD)
    assert study.knn.k == [5]
    assert study.models["tiny"].seed == 0


def test_all_studies_of_the_repository_are_accepted():
    files = [REPOSITORY / "params.yaml", *(REPOSITORY / "studies").glob("*.yaml")]
    assert len(files) >= 3
    for file in files:
        assert isinstance(load_study(file), Study)


@pytest.mark.parametrize("margin", ["0", "-1", "100", "250", ".nan", ".inf", "much", "true"])
def test_a_margin_is_a_difference_in_points(margin):
    message = message_of(changed("report: {}", f"report: {{margin: {margin}}}"))
    assert "params.yaml:13: report.margin" in message


def test_a_margin_may_be_a_fraction_of_a_point():
    assert parse_study(changed("report: {}", "report: {margin: 0.5}")).report.margin == 0.5
    assert parse_study(GOOD).report.margin == 1


@pytest.mark.parametrize("wrong", ["-1", "1001", "2.5", "many", "null"])
def test_pictures_are_all_none_or_a_number(wrong):
    message = message_of(changed("report: {}", f"report: {{thumbnails: {wrong}}}"))
    assert "params.yaml:13: report.thumbnails" in message
    counts = {"true": 200, "false": 0, "0": 0, "1": 1, "37": 37}
    for said, count in counts.items():
        study = parse_study(changed("report: {}", f"report: {{thumbnails: {said}}}"))
        assert study.report.pictures == count


FAULTS = {
    "unknown key": ("knn: {k: [5]}", "knn: {ks: [5]}", "params.yaml:6: knn.ks", "`k`"),
    "unknown section": (
        "report: {}", "report: {}\nreprot: {}", "params.yaml:14: reprot", "`report`"
    ),
    "unknown deep key": (
        "weights: random(0)", "weights: random(0), checkpoint: {renam: {}}",
        "models.tiny.checkpoint.renam", "`rename`",
    ),
    "no near key": ("knn: {k: [5]}", "knn: {zzzz: 1}", "one of presets, k, weighting", "delete it"),
    "text for a number": ("[5]", "['5']", "params.yaml:6: knn.k.0", "take the quotes away"),
    "number for a list": ("[5]", "5", "expected  list", "found     5"),
    "negative k": ("[5]", "[-1]", "greater than or equal to 1", "found     -1"),
    "zero k": ("[5]", "[0]", "greater than or equal to 1", "found     0"),
    "bool for a number": ("[5]", "[true]", "integer", "found     True"),
    "float for k": ("[5]", "[2.5]", "integer", "found     2.5"),
    "nothing asked of knn": ("[5]", "[]", "knn", "at least one of `presets` and `k`"),
    "too few neighbours kept": (
        "neighbors: {}", "neighbors: {n_neighbors: 4}", "params.yaml:7: neighbors.n_neighbors",
        "at least 5",
        "found     4",
    ),
    "a preset without its space": (
        "k: [5]}\nneighbors: {}", "presets: [dino]}\nneighbors: {metric: [euclidean]}",
        "params.yaml:6: knn.presets", "cosine in neighbors.metric",
    ),
    "softmax without cosines": (
        "k: [5]}\nneighbors: {}", "k: [5], weighting: [softmax]}\nneighbors: {metric: [euclidean]}",
        "params.yaml:6: knn.weighting", "cosine in neighbors.metric",
    ),
    "a source that is no data set": (
        "transfer: {}", "transfer: {sources: [pet]}", "params.yaml:10: transfer.sources",
        "data sets of this study: pets",
    ),
    "simpler problems without shots": (
        "fewshot: {}", "fewshot: {ways: [2]}", "params.yaml:9: fewshot", "`shots`, at"
    ),
    "one class at a time": (
        "fewshot: {}", "fewshot: {shots: [5], ways: [1]}", "fewshot.ways.0", "to 2"
    ),
    "coarse classes of no data set": (
        "fewshot: {}", "fewshot: {shots: [5], coarse: {pet: {a: [x], b: [y]}}}",
        "fewshot.coarse.pet", "did you mean pets?",
    ),
    "one coarse class": (
        "fewshot: {}", "fewshot: {shots: [5], coarse: {pets: {a: [x]}}}", "fewshot.coarse.pets",
        "at least 2",
    ),
    "a scalar for a list": ("k: [5]", "k: 5", "knn.k", "put it in brackets: `[5]`"),
    "a word for a list": (
        "linear: {}", "linear: {heads: ridge}", "linear.heads", "`[ridge]`"
    ),
    "a mistyped word": ("linear: {}", "linear: {heads: [rigde]}", "did you mean `ridge`?"),
    "a dash for a line": ("role: in_domain", "role: in-domain", "did you mean `in_domain`?"),
    "yes and no": ("finetune: {}", "finetune: {enabled: yes}", "true or false", "write `true`"),
    "per cent": ("role: in_domain", "role: in_domain, val_fraction: 20%", "as a share 0.2"),
    "a hundred": ("role: in_domain", "role: in_domain, val_fraction: 20", "write 0.2"),
    "a point too many": ("role: in_domain", "role: in_domain, limit_per_class: 10.0", "write `10`"),
    "a number for a word": ("role: in_domain", "role: in_domain, shift: 1", "put it in quotes"),
    "an empty section": ("linear: {}", "linear:", "`linear: {}` takes its defaults"),
    "colours of 255": (
        "random(0)", "random(0), mean: [123.7, 0.5, 0.5]", "models.tiny.mean.0", "0.485"
    ),
    "zeros before a number": (
        "role: in_domain", "role: in_domain, filter: {site: 01}", "datasets.pets.filter.site",
        'write "01" where text is meant, else 1',
    ),
    "a table that is not read": (
        "role: in_domain", "role: in_domain, manifest: list.csv",
        "no `manifest` with `source: folder`", "`source: manifest` does",
    ),
    "columns that are not read": (
        "role: in_domain", "role: in_domain, columns: {label: x}", "no `columns` with"
    ),
    "k twice": ("[5]", "[5, 5]", "knn.k", "listed twice"),
    "unknown word": (
        "{k: [5]}", "{weighting: [votes]}", "'distance', 'uniform' or 'softmax'", "votes"),
    "dash in a name": ("tiny:", "ti-ny:", "models.ti-ny: not a usable name", "`ti_ny`"),
    "number as a name": ("tiny:", "18:", "models.18: not a usable name", "`model_18`"),
    "dot in a name": ("pets:", "pe.ts:", "datasets.pe.ts: not a usable name", "`pe_ts`"),
    "long name": ("tiny:", f"{'a' * 101}:", "not a usable name", "at most 100"),
    "same name twice": (
        "models:", "models:\n  tiny: {architecture: a, weights: random(1)}", "given twice", "tiny"
    ),
    "section missing": (
        "linear: {}\n", "", "linear: a required key is absent", "add `linear`",
        "`linear: {}` takes its defaults",
    ),
    "section without defaults missing": (
        "knn: {k: [5]}\n", "", "knn: a required key is absent", "`knn:` with a value",
    ),
    "key missing": (", role: in_domain", "", "pets.role: a required key is absent", "add `role`"),
    "empty section": ("linear: {}", "linear:", "params.yaml:8: linear", "mapping"),
    "no models": (
        "  tiny: {architecture: resnet18, weights: random(0)}\n", "  {}\n", "models", "at least 1"
    ),
    "no path": (", path: images", "", "datasets.pets", "needs `path`"),
    "no manifest": ("source: folder", "source: manifest", "datasets.pets", "needs `manifest`"),
    "bad source": ("source: folder", "source: zip", "pets.source", "folder, manifest, webdataset"),
    "bad weights": ("random(0)", "best", "models.tiny.weights", "random(SEED), pretrained"),
    "negative seed": ("random(0)", "random(-1)", "models.tiny.weights", "random(SEED)"),
    "huge seed": ("random(0)", f"random({'9' * 30})", "models.tiny.weights", "random(SEED)"),
    "NaN": ("random(0)", "random(0), mean: [.nan, 0, 0]", "tiny.mean.0", "finite"),
    "infinite C": ("linear: {}", "linear: {c: [.inf]}", "linear.c.0", "finite"),
    "two means": ("random(0)", "random(0), mean: [0.5, 0.5]", "tiny.mean", "at least 3 entries"),
    "means of 0 to 255": (
        "random(0)", "random(0), mean: [127, 0, 0]", "tiny.mean.0", "less than or equal to 1"
    ),
    "stds of 0 to 255": (
        "random(0)", "random(0), std: [0.2, 127, 0.2]", "tiny.std.1", "less than or equal to 1"
    ),
    "a seed that no table holds": (
        "linear: {}", f"linear: {{seed: {10**30}}}", "params.yaml:8: linear.seed", "less than"
    ),
    "no word for a split": (
        "role: in_domain", "role: in_domain, splits: {train: [], val: [a]}",
        "pets.splits", "at least one word",
    ),
    "a data set that nobody knows": (
        "source: folder", "source: 'known:cubs'", "datasets.pets", "did you mean cub",
        "`probeline datasets known`",
    ),
    "a model that the zoo lacks": (
        "architecture: resnet18, weights: random(0)", "zoo: dino_vitb", "models.tiny",
        "`probeline models zoo`", "dino_vitb16",
    ),
    "std of zero": ("random(0)", "random(0), std: [1, 1, 0]", "tiny.std.2", "greater than 0"),
    "crop of 2": ("random(0)", "random(0), crop: 2.0", "tiny.crop", "less than or equal to 1"),
    "date as argument": (
        "random(0)", "random(0), arguments: {a: 2020-01-01}", "tiny.arguments", "no dates"
    ),
    "NaN as argument": ("random(0)", "random(0), arguments: {a: .nan}", "tiny.arguments", "finite"),
    "only one split's words": (
        "role: in_domain", "role: in_domain, splits: {val: [test]}", "pets.splits", "both `train`"
    ),
    "a word for both splits": (
        "role: in_domain", "role: in_domain, splits: {train: [a], val: [a]}",
        "pets.splits", "in both: a",
    ),
    "filter by a fraction": (
        "role: in_domain", "role: in_domain, filter: {a: 1.5}",
        "pets.filter.a", "string or integer or list",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_one_fault_is_one_message_with_place_and_remedy(name):
    old, new, *words = FAULTS[name]
    message = message_of(changed(old, new))
    for word in ("params.yaml", *words):
        assert word in message
    assert sum(not line.startswith(" ") for line in message.splitlines()) == 1, message
    assert "to mend" in message


BROKEN = {
    "a tab": ("datasets:\n\tpets: 1\n", "params.yaml:2: is not valid YAML"),
    "an open bracket": ("a: [1, 2\nb: 3\n", "params.yaml:2: is not valid YAML"),
    "two documents": ("a: 1\n---\nb: 2\n", "params.yaml:2: is not valid YAML"),
    "an unknown alias": ("a: *nope\n", "nope"),
    "a control character": ("a: \x07\n", "params.yaml: is not valid YAML"),
    "an impossible date": ("a: 2020-13-45\n", "params.yaml: is not valid YAML"),
    "an enormous number": (f"a: {'9' * 5000}\n", "params.yaml: is not valid YAML"),
    "a word for a truth": ("a: !!bool x\n", "params.yaml: is not valid YAML"),
    "a character beyond Unicode": ('a: "\\UFFFFFFFF"\n', "params.yaml: is not valid YAML"),
    "a zero byte": ("a: 1\n\0", "params.yaml: is not valid YAML"),
    "nothing": ("", "params.yaml: is not a study"),
    "a list": ("- a\n", "params.yaml: is not a study"),
    "a word": ("study\n", "params.yaml: is not a study"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_text_is_explained(name):
    text, word = BROKEN[name]
    message = message_of(text)
    assert word in message
    assert len(message) < 600
    assert "to mend" in message


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ("[imagenet, pets]", None),
        ("[]", None),
        ("[ImageNet-1k, image_net_22K, LAION 400M]", None),
        ("[other(our own shelf), 'other(JFT-4B)']", None),
        ("[imagnet]", "did you mean imagenet?"),
        ("[lvd412m]", "did you mean lvd142m?"),
        ("[jft4b]", "or other(WORDS) for what is none of them"),
        ("[other()]", "or other(WORDS)"),
        ("[pet]", "did you mean pets?"),
        ("[imagenet, imagenet]", "listed twice"),
    ],
)
def test_what_a_model_was_trained_on_is_known(names, found):
    text = changed("weights: random(0)}", f"weights: random(0), trained_on: {names}}}")
    if found is None:
        assert parse_study(text).models["tiny"].trained_on is not None
    else:
        message = message_of(text)
        assert "models.tiny.trained_on" in message
        assert found in message


def test_several_faults_are_listed_together_each_with_its_line():
    message = message_of(changed("[5]", "[0]").replace("linear: {}", "linear: {sed: 1}"))
    assert "params.yaml:6: knn.k.0" in message
    assert "params.yaml:8: linear.sed" in message


def test_an_absent_file_names_the_remedy(tmp_path):
    with pytest.raises(StudyError, match=r"probeline use studies/digits\.yaml"):
        load_study(tmp_path / "params.yaml")


def test_a_file_of_another_encoding_is_explained(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_bytes(b"# a\na: \xff\n")
    with pytest.raises(StudyError, match=r"params\.yaml:2: is not UTF-8(.|\n)*0xFF(.|\n)*to mend"):
        load_study(path)
    path.write_bytes((REPOSITORY / "params.yaml").read_text().encode("utf-16"))
    with pytest.raises(StudyError, match=r"UTF-16 text"):
        load_study(path)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_marks_and_line_ends_of_other_systems_are_read(tmp_path, mark, end):
    text = (REPOSITORY / "params.yaml").read_text()
    path = tmp_path / "params.yaml"
    path.write_bytes((mark + text.replace("\n", end)).encode())
    assert load_study(path) == load_study(REPOSITORY / "params.yaml")


def test_anchors_and_merge_keys_work():
    text = changed(
        "  tiny: {architecture: resnet18, weights: random(0)}\n",
        "  tiny: &base {architecture: resnet18, weights: random(0)}\n"
        "  other: {<<: *base, weights: random(1)}\n",
    )
    models = parse_study(text).models
    assert models["other"].architecture == "resnet18"
    assert (models["tiny"].seed, models["other"].seed) == (0, 1)


@pytest.mark.parametrize("levels", [9, 30])
def test_aliases_that_stand_for_too_much_are_refused(levels):
    """Each line nine times the one before: 9 lines stand for 387 million values."""
    lines = [
        f"a{level}: &a{level} [{', '.join([f'*a{level - 1}' if level else 'x'] * 9)}]"
        for level in range(levels)
    ]
    with pytest.raises(StudyError, match="stand for too much"):
        parse_study("\n".join([*lines, "datasets: {}", "models: {}"]))


@pytest.mark.parametrize("text", ["a: &a [*a]", "a: &a {b: *a}", "a: [" + "[" * 60 + "]" * 61])
def test_what_has_no_end_or_is_too_deep_is_refused(text):
    with pytest.raises(StudyError):
        parse_study(f"{text}\ndatasets: {{}}\nmodels: {{}}\n")


def test_tags_build_no_objects():
    assert "a required key" in message_of("datasets: !!python/object/apply:os.system [id]\n")


@pytest.mark.parametrize(
    "weights",
    ["pretrained/model.pth", "random(0).pth", "random(0)/x.bin", "pretrained.safetensors"],
)
def test_a_file_whose_path_begins_like_a_keyword_is_still_a_file(weights):
    model = parse_study(changed("random(0)", f"'{weights}'")).models["tiny"]
    assert model.weights_file == weights
    assert model.seed is None
