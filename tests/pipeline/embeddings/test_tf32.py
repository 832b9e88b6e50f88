"""float32 means float32 on a GPU, too; TF32 is a precision of its own."""

from __future__ import annotations

import numpy as np
import pytest

from cache.errors import ProbelineError
from pipeline.study.params import load_study

torch = pytest.importorskip("torch")

from pipeline.embeddings import forward  # noqa: E402
from pipeline.machine import devices  # noqa: E402
from pipeline.machine.devices import this_machine  # noqa: E402
from pipeline.models.networks import load_model  # noqa: E402
from pipeline.models.settings import Model  # noqa: E402


def flags() -> tuple[bool, bool]:
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


@pytest.fixture
def as_torch_begins():
    """What PyTorch allows by itself (in convolutions), and something worse."""
    before = flags()
    devices.allow_tf32(allowed=True)
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.fixture(scope="module")
def model():
    entry = {"architecture": "test_resnet", "weights": "random(0)", "input_size": 32}
    return load_model("net", Model.model_validate(entry))


def test_whoever_asks_for_the_machine_gets_float32(as_torch_begins):
    this_machine()
    assert flags() == (False, False)
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize(
    ("precision", "during"),
    [("float32", (False, False)), ("tf32", (True, True)), ("bfloat16", (False, False))],
)
def test_a_network_runs_in_what_its_precision_says(
    model, monkeypatch, as_torch_begins, precision, during
):
    """Also where someone has allowed TF32 since; what was set is set again."""
    seen = []
    compute = forward.features_of_pixels

    def noting(*given):
        seen.append(flags())
        return compute(*given)

    machine = this_machine()
    monkeypatch.setattr(forward, "features_of_pixels", noting)
    monkeypatch.setattr(forward, "require_tf32", lambda device: None)
    devices.allow_tf32(allowed=True)
    run = forward.Forward(model, machine, precision)
    run(np.zeros((2, 32, 32, 3), np.uint8), ["pooled"])
    assert seen == [during]
    assert flags() == (True, True)


def test_tf32_is_refused_where_there_is_none(model):
    with pytest.raises(ProbelineError, match="no TF32") as caught:
        forward.Forward(model, this_machine(), "tf32")
    assert caught.value.remedy == "write precision: float32"


@pytest.mark.parametrize(("capability", "has"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_older_gpus_have_none_either(monkeypatch, capability, has):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    if has:
        devices.require_tf32(torch.device("cuda", 0))
    else:
        with pytest.raises(ProbelineError, match="no TF32"):
            devices.require_tf32(torch.device("cuda", 0))


@pytest.mark.parametrize("name", ["NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"])
def test_a_variable_that_forces_tf32_is_refused_on_a_gpu(monkeypatch, name):
    monkeypatch.setattr(devices, "chosen_devices", lambda: (torch.device("cuda", 0),))
    monkeypatch.setenv(name, "1")
    with pytest.raises(ProbelineError, match=name):
        this_machine()


def test_it_is_in_the_key(project):
    from pipeline.datasets.index import read_index
    from pipeline.embeddings.cells import cell_key
    from pipeline.models.cards import make_card

    project.run("index", "pets").succeeded()
    keys = {}
    for precision in ("float32", "tf32"):
        project.params["extraction"]["precision"] = precision
        project.write()
        study = load_study()
        name, entry = next(iter(study.models.items()))
        card = make_card(name, entry, load_model(name, entry))
        keys[precision] = cell_key(study, read_index("pets"), "train", entry, card)
    assert keys["float32"] | {"precision": "tf32"} == keys["tf32"] != keys["float32"]
