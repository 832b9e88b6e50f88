"""Peak memory of an extraction does not grow with the number of images."""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json, resource, sys, tarfile, io
import numpy as np
from PIL import Image
from pipeline.datasets.settings import Dataset
from pipeline.models.settings import Model
from pipeline.study.schema import Study
from pipeline.datasets.index import write_index
from pipeline.datasets.indexing import build_index
count = int(sys.argv[1])
with tarfile.open("images.tar", "w") as archive:
    picture = io.BytesIO()
    for number in range(count):
        picture = io.BytesIO()
        pixels = np.random.default_rng(number % 50).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((32, 32)).save(picture, "JPEG")
        split = "val" if number % 40 < 2 else "train"
        member = tarfile.TarInfo(f"{split}/{number % 2}/{number}.jpg")
        member.size = picture.tell(); picture.seek(0); archive.addfile(member, picture)
study = Study(datasets={"d": Dataset(source="folder", path="images.tar", role="in_domain")},
    models={"m": Model(architecture="test_resnet", weights="random(0)", input_size=32)},
    extraction={"storage": "float32"}, neighbors={}, knn={"k": [1]}, linear={},
    fewshot={}, transfer={}, transferability={}, correlation={}, report={}, pretrain={},
    finetune={})
index = build_index("d", study.datasets["d"])
from pipeline.embeddings.missing import extract_models
extract_models(study, index, ["m"])
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
"""


@pytest.mark.slow
def test_ten_times_the_images_need_no_more_memory(tmp_path, quiet_machine):
    peaks = []
    for count in (1_000, 10_000):
        folder = tmp_path / str(count)
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(count)],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        peaks.append(json.loads(done.stdout.splitlines()[-1]))
    assert peaks[1] < 1.1 * peaks[0], f"{peaks[0]} kB for 1,000 images, {peaks[1]} for 10,000"
