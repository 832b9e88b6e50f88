"""A taken classifier says what the report holds, and refuses what is not what was taken."""

from __future__ import annotations

import builtins
import dis
import json
import re
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from projects import draw
from taken_study import CLASSES

from cache.records import read_record
from pipeline.datasets.index import read_index
from pipeline.project.paths import record_path
from pipeline.taken.classifier import load
from pipeline.taken.standalone import program


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


def test_a_device_that_is_not_here_is_told(study, whole):
    study.run("cli", "predict", str(whole), "a.png", "--device", "abacus").refused(
        "can't run there"
    )


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
