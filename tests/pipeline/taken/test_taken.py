"""A taken classifier says what the report holds, and refuses what is not what was taken."""

from __future__ import annotations

import builtins
import dis
import json
import pickle
import re
import shutil
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from projects import draw
from safetensors.numpy import save_file
from taken_study import CLASSES, entered

from cache.errors import ProbelineError
from cache.lock import Lock
from cache.records import read_record, write_record
from pipeline.datasets.index import read_index
from pipeline.project.paths import record_path
from pipeline.study.params import load_study
from pipeline.taken.choosing import choose
from pipeline.taken.classifier import load
from pipeline.taken.folder import FOLDER_FILES, manifest_of
from pipeline.taken.standalone import program


@pytest.fixture(scope="module")
def study(taken_project):
    return taken_project


@pytest.fixture(autouse=True)
def _in_the_study(request):
    if "study" not in request.fixturenames:
        yield
        return
    with entered(request.getfixturevalue("study").folder):
        yield


@pytest.fixture(scope="module")
def whole(study, tmp_path_factory):
    """A taken folder, to be copied before anything is done to it."""
    out = tmp_path_factory.mktemp("whole") / "taken"
    with entered(study.folder):
        study.run("cli", "take", "tiny", str(out)).succeeded("all 14 test images", "14 of 14")
    return out


@pytest.fixture
def folder(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "taken"))


def val_images(study):
    return [study.folder / "images" / path for path in read_index("pets").split("val")["path"]]


def stored(protocol, variant, model="tiny"):
    columns = ("predicted", "confidence")
    table = read_record(record_path(protocol, "pets", model)).outcomes_where(
        "variant", variant, columns
    )
    return [table[name].to_numpy() for name in columns]


def check_equal(study, folder, protocol, variant, model="tiny"):
    """The classes of all test images are those of the record, the probabilities to 1e-5."""
    predicted, confidence = stored(protocol, variant, model)
    taken = load(folder)
    found = taken.predict(val_images(study))
    assert [p.label for p in found] == [read_index("pets").classes[i] for i in predicted]
    np.testing.assert_allclose([p.probability for p in found], confidence, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "head", "protocol", "variant"),
    [
        ("tiny", "linear", "linear", "logistic_none"),
        ("other", "logistic_zscore", "linear", "logistic_zscore"),
        ("tiny", "logistic_l2", "linear", "logistic_l2"),
        ("other", "ridge_l2", "linear", "ridge_l2"),
        ("tiny", "knn", "knn", "k3_euclidean_distance_none"),
        ("tiny", "k3_cosine_softmax0.07_centered_l2", "knn", "k3_cosine_softmax0.07_centered_l2"),
        ("other", "tuned", "knn", "tuned"),
    ],
)
def test_it_predicts_what_the_report_holds(study, tmp_path, model, head, protocol, variant):
    out = tmp_path / "taken"
    study.run("cli", "take", model, str(out), "--head", head).succeeded("14 of 14")
    check_equal(study, out, protocol, variant, model)


def test_real_weights_predict_what_the_report_holds(study, shared_data, tmp_path):
    out = tmp_path / "taken"
    study.run("cli", "take", "real", str(out)).succeeded("14 of 14")
    check_equal(study, out, "linear", "logistic_none", "real")


def test_nothing_is_computed_again_because_of_it(study):
    study.run("linear").succeeded("cached, 0 computed")


def test_order_and_batches_make_no_difference_but_rounding(study, whole):
    taken, images = load(whole), val_images(study)
    together = taken.predict(images)
    alone = [taken.predict([image])[0] for image in reversed(images)][::-1]
    opened = taken.predict([Image.open(image) for image in images])
    contents = taken.predict([image.read_bytes() for image in images])
    for other in (alone, opened, contents):
        assert [p.label for p in other] == [p.label for p in together]
        np.testing.assert_allclose(
            [p.probability for p in other], [p.probability for p in together], rtol=0, atol=1e-4
        )


def odd_images(folder: Path) -> None:
    """Images of every kind that is decoded in a way of its own, and files that are none."""
    folder.mkdir()
    picture = draw(1, (40, 24))
    turned = Image.Exif()
    turned[274] = 6
    picture.save(folder / "turned.jpg", exif=turned)
    picture.convert("CMYK").save(folder / "cmyk.jpg")
    picture.convert("P").save(folder / "palette.png", transparency=3)
    picture.convert("LA").save(folder / "grey_alpha.png")
    picture.convert("1").save(folder / "two_colours.png")
    picture.resize((3, 300)).save(folder / "strip.webp")
    picture.save(folder / "moving.gif", save_all=True, append_images=[draw(2, (40, 24))])
    deep = np.arange(40 * 24, dtype=np.uint16).reshape(24, 40) * 60
    Image.fromarray(deep).save(folder / "deep.png")
    (folder / "=broken.png").write_bytes((folder / "deep.png").read_bytes()[:60])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "notes.txt").write_text("no image")
    (folder / "nothing").mkdir()


def test_predict_py_runs_without_the_project_and_says_the_same(study, folder, tmp_path):
    odd_images(tmp_path / "odd")
    asked = [str(tmp_path / "odd"), "absent.png", str(tmp_path / "odd" / "nothing")]
    inside = study.run("cli", "predict", str(folder), *asked)
    alone = study.shell("-I", str(folder / "predict.py"), *asked)
    assert (alone.status, alone.out, alone.err) == (1, inside.out, inside.err)
    assert inside.status == 1
    assert "Traceback" not in alone.err
    lines = inside.out.splitlines()
    assert lines[0] == "image,class,probability,remark"
    assert len(lines) == 1 + 10 + 2
    assert sum(line.endswith(",") for line in lines) == 8  # sound images: no remark
    for name in ("=broken.png", "empty.jpg", "absent.png", "nothing"):
        assert f"{name}: " in inside.err
    assert "passed over, as no images: 1 .txt" in inside.err
    assert "4 of 12 could not be predicted" in inside.err


def test_predict_py_has_all_that_it_uses():
    """Every global name of every function, those of rare branches, too."""
    code = compile(program(), "predict.py", "exec")
    made = {i.argval for i in dis.get_instructions(code) if i.opname == "STORE_NAME"}

    def globals_of(code: types.CodeType):
        for instruction in dis.get_instructions(code):
            if instruction.opname == "LOAD_GLOBAL":
                yield instruction.argval
        for inner in code.co_consts:
            if isinstance(inner, types.CodeType):
                yield from globals_of(inner)

    lacking = {*globals_of(code)} - made - {*dir(builtins), "__file__"}
    assert not lacking
    for package in ("cache", "pipeline"):
        assert not re.search(rf"^\s*(from|import) {package}\b", program(), re.MULTILINE)


def reseal(folder):
    """What who means harm would do: the manifest fits again."""
    (folder / "manifest.json").write_bytes(manifest_of(folder))


@pytest.mark.parametrize("name", FOLDER_FILES)
def test_a_changed_file_is_found(folder, name):
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(ProbelineError, match="is not the file that") as caught:
        load(folder)
    assert name in str(caught.value)


@pytest.mark.parametrize("name", FOLDER_FILES)
def test_a_missing_file_and_a_link_are_found(folder, name):
    (folder / name).rename(folder / "kept")
    with pytest.raises(ProbelineError, match="is not the file that"):
        load(folder)
    (folder / name).symlink_to(folder / "kept")
    with pytest.raises(ProbelineError, match="a link"):
        load(folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no JSON"),
        ("[]", "no JSON object"),
        ('{"format": 1}', "no list of files"),
        ('{"format": 99, "sha256": {}}', "another version"),
        ('{"format": 1, "sha256": {"../../etc/passwd": ""}}', "does not belong"),
        ('{"format": 1, "sha256": {}}', "not named in manifest"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_an_odd_manifest_is_refused(folder, text, words):
    (folder / "manifest.json").write_text(text)
    with pytest.raises(ProbelineError, match=words):
        load(folder)


def change(folder, **facts):
    said = json.loads((folder / "head.json").read_bytes())
    (folder / "head.json").write_text(json.dumps({**said, **facts}))
    reseal(folder)
    return said


def test_another_transform_is_refused(folder):
    said = change(folder)
    change(folder, transform={**said["transform"], "crop": 0.5})
    with pytest.raises(ProbelineError, match="another backbone, transform"):
        load(folder)


@pytest.mark.parametrize(
    "facts",
    [
        {"precision": "bfloat16"},
        {"stored_as": "float32"},
        {"feature": "cls"},
        {"classes": ["a", "b", "c"]},
        {"architecture": "test_vit2"},
        {"arguments": {"img_size": 32, "patch_size": 8}},
        {"weights": {"digest": "0" * 64}},
    ],
)
def test_a_head_of_another_recipe_is_refused(folder, facts):
    change(folder, **facts)
    with pytest.raises(ProbelineError, match="another backbone, transform"):
        load(folder)


def test_the_head_of_another_folder_is_refused(study, folder, tmp_path):
    other = tmp_path / "other"
    study.run("cli", "take", "other", str(other)).succeeded()
    shutil.copy(other / "head.safetensors", folder)
    reseal(folder)
    with pytest.raises(ProbelineError, match="two folders do not go together"):
        load(folder)


def test_other_weights_are_refused(study, folder, tmp_path):
    from safetensors.numpy import load_file

    weights = load_file(folder / "weights.safetensors")
    name = next(iter(weights))
    save_file({**weights, name: weights[name] + 1}, folder / "weights.safetensors")
    reseal(folder)
    with pytest.raises(ProbelineError, match="not the weights that the head was fitted on"):
        load(folder)
    save_file({"a": np.zeros(1)}, folder / "weights.safetensors")
    reseal(folder)
    with pytest.raises(ProbelineError, match="does not hold this backbone"):
        load(folder)


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["weights.safetensors", "head.safetensors"])
def test_a_pickle_in_their_place_is_not_run(folder, tmp_path, name):
    (folder / name).write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    reseal(folder)
    with pytest.raises(ProbelineError):
        load(folder)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "facts",
    [
        {"arguments": {"checkpoint_path": "/etc/passwd"}},
        {"arguments": {"pretrained_cfg_overlay": {"file": "evil.bin"}}},
        {"architecture": "hf-hub:somebody/something"},
        {"architecture": "os:system"},
        {"architecture": "timm.models.vision_transformer:checkpoint_filter_fn.__globals__"},
        {"architecture": ["test_vit"]},
        {"transform": {}},
        {"transform": {"size": float("inf")}},
        {"weights": {"digest": 7}},
        {"abstention": [[1]]},
        {"abstention": 3},
        {"classes": []},
        {"classes": [1, 2, 3]},
        {"head": {"kind": "linear"}},
        {"head": {"kind": "other"}},
        {"head": None},
        {"weights": None},
    ],
)
def test_a_hostile_description_is_refused(folder, facts):
    from pipeline.taken.folder import made_for

    change(folder, **facts)
    said = json.loads((folder / "head.json").read_bytes())
    from safetensors.numpy import load_file

    save_file(
        load_file(folder / "head.safetensors"),
        folder / "head.safetensors",
        {"made_for": made_for(said)},
    )
    reseal(folder)
    with pytest.raises(ProbelineError):
        load(folder)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tinny"], ["did you mean tiny?"]),
        (["tiny", "--dataset", "pet"], ["did you mean pets?"]),
        (["tiny", "--head", "logistic_nome"], ["did you mean logistic_none"]),
        (["tiny", "--head", "sgd_cached"], ["has no such head"]),
    ],
)
def test_what_the_study_does_not_have_is_refused(study, tmp_path, arguments, words):
    model, *options = arguments
    study.run("cli", "take", model, str(tmp_path / "out"), *options).refused(*words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "head", "words"),
    [
        ({"datasets": {"pets": {"test_only": True}}}, "linear", "no data set has train images"),
        ({"models": {"tiny": {"weights": "imported"}}}, "linear", "only its embeddings are here"),
        (
            {"models": {"tiny": {"architecture": "torchhub:a/b:c@d"}}},
            "linear",
            "which is not copied",
        ),
        ({"linear": {"c": [7.0]}}, "linear", "no current record of linear probe"),
        ({"linear": {"heads": ["sgd"]}}, "linear", "gradient descent can't be taken"),
    ],
)
def test_what_can_not_be_taken_is_told(study, change, head, words):
    said = load_study()
    for section, of in change.items():
        entries = getattr(said, section)
        if section == "linear":
            changed = entries.model_copy(update=of)
        else:
            changed = {
                name: entry.model_copy(update=of.get(name, {})) for name, entry in entries.items()
            }
        said = said.model_copy(update={section: changed})
    with pytest.raises(ProbelineError, match=words):
        choose(said, "tiny", None, head)


def test_a_data_set_of_test_images_is_told(study):
    said = load_study()
    only = said.datasets["pets"].model_copy(update={"test_only": True})
    said = said.model_copy(update={"datasets": {**said.datasets, "sketches": only}})
    with pytest.raises(ProbelineError, match="has test images only"):
        choose(said, "tiny", "sketches", "linear")
    assert choose(said, "tiny", None, "linear").dataset == "pets"


def test_a_device_that_is_not_here_is_told(study, whole):
    study.run("cli", "predict", str(whole), "a.png", "--device", "abacus").refused(
        "can't run there"
    )


def test_nothing_is_written_over(study, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    study.run("cli", "take", "tiny", str(out)).refused("is there already")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    study.run("cli", "take", "tiny", str(tmp_path / "link")).refused("is there already")


def test_without_weights_they_are_asked_for_and_compared(study, tmp_path):
    out, image = tmp_path / "out", str(val_images(study)[0])
    study.run("cli", "take", "tiny", str(out), "--without-weights").succeeded("14 of 14")
    assert sorted(p.name for p in out.iterdir()) == sorted(
        ["README.md", "head.json", "head.safetensors", "manifest.json", "predict.py"]
    )
    study.run("cli", "predict", str(out), image).refused("the backbone's weights are not here")
    full = tmp_path / "full"
    study.run("cli", "take", "tiny", str(full)).succeeded()
    weights = str(full / "weights.safetensors")
    given = study.run("cli", "predict", str(out), image, "--weights", weights)
    assert given.succeeded() == study.run("cli", "predict", str(full), image).out
    (out / "weights.safetensors").write_bytes(Path(weights).read_bytes())
    study.run("cli", "predict", str(out), image).refused("not named in manifest.json")


def test_a_fit_that_says_something_else_is_refused(study, tmp_path):
    path = record_path("linear", "pets", "tiny")
    kept, record = path.read_bytes(), read_record(path)
    table = record.outcomes()
    wrong = (table["predicted"].to_numpy() + 1) % 3
    place = table.column_names.index("predicted")
    write_record(
        path,
        key=record.key,
        scores=record.scores,
        outcomes=table.set_column(place, "predicted", [wrong]),
    )
    try:
        study.run("cli", "take", "tiny", str(tmp_path / "out")).refused("is not the one of the rep")
    finally:
        path.write_bytes(kept)
    assert not list(tmp_path.iterdir())


def test_images_that_are_gone_are_told(study, tmp_path):
    images = study.folder / "images"
    images.rename(tmp_path / "gone")
    try:
        said = study.run("cli", "take", "tiny", str(tmp_path / "out")).succeeded("14 test images")
    finally:
        (tmp_path / "gone").rename(images)
    assert "note: no image was predicted from its file" in said


def test_other_images_in_their_place_are_told(study, tmp_path):
    first = val_images(study)[0]
    kept = first.read_bytes()
    first.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    try:
        said = study.run("cli", "take", "tiny", str(tmp_path / "out")).succeeded()
    finally:
        first.write_bytes(kept)
    assert "note: no image was predicted from its file: 1 of 14 is not the one" in said


def test_other_features_than_the_cached_ones_are_refused(study, tmp_path, monkeypatch):
    def darkened(*arguments, **options):
        taken = load(*arguments, **options)
        taken._mean += 60
        return taken

    monkeypatch.setattr("pipeline.taken.taking.load", darkened)
    study.run("cli", "take", "tiny", str(tmp_path / "out")).refused("gives other features")
    assert not list(tmp_path.iterdir())


def test_the_readme_and_the_head_tell_where_it_comes_from(study, whole):
    facts = json.loads((whole / "head.json").read_bytes())
    assert facts["classes"] == sorted(CLASSES)
    assert facts["weights"]["source"] == "drawn at random, seed 0: never trained"
    top1 = next(row for row in facts["scores"] if row["metric"] == "top1")
    record = read_record(record_path("linear", "pets", "tiny")).scores[0]
    assert [top1[n] for n in ("value", "ci_low", "ci_high", "n_test")] == [
        record[n] for n in ("value", "ci_low", "ci_high", "n_test")
    ]
    text = (whole / "README.md").read_text()
    assert "probeline take tiny --dataset pets --head logistic_none" in text
    assert str(study.folder) not in text + json.dumps(facts)


def test_a_folder_is_the_same_whenever_it_is_taken(study, whole, tmp_path):
    study.run("cli", "take", "tiny", str(tmp_path / "again")).succeeded()
    for path in whole.iterdir():
        if path.is_file():
            assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name


def test_what_a_killed_run_left_is_taken_over_and_two_at_once_are_refused(study, tmp_path):
    left = tmp_path / ".out.partial" / "taken"
    left.mkdir(parents=True)
    (left / "half.safetensors").write_bytes(b"1")
    with Lock(left.parent / "lock", "another"):
        study.run("cli", "take", "tiny", str(tmp_path / "out")).refused("another process")
        assert (left / "half.safetensors").exists()
    study.run("cli", "take", "tiny", str(tmp_path / "out")).succeeded()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert not (tmp_path / "out" / "half.safetensors").exists()
