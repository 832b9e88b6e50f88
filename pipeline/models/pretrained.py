"""timm's own weights, and those of its models on the Hugging Face hub, through our own reader.

timm says which network, which file and how its keys are to be mapped. The file comes here: from an
encrypted address, recorded in weights.lock.json and compared with it, and read without executing
anything in it, whatever a version of timm would do.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import timm
from timm.models import PretrainedCfg, get_pretrained_cfg
from timm.models._hub import load_model_config_from_path
from torch import nn

from cache.errors import ProbelineError
from pipeline.fetching.content import Content
from pipeline.fetching.downloads import download
from pipeline.machine.environment import variable_set
from pipeline.models import hub
from pipeline.models.arguments import ways_to_weights
from pipeline.models.checkpoint_files import CheckpointError, read_checkpoint, require_plain
from pipeline.models.lockfile import locked, record
from pipeline.models.settings import pretrained_name
from pipeline.project.paths import WEIGHTS

_LOCATIONS = ("url", "file", "state_dict", "hf_hub_id", "hf_hub_filename", "source", "custom_load")
"""What a repository's config.json may not say: where weights come from."""


@dataclass(frozen=True)
class _Recipe:
    """A network of timm and the weights for it.

    Attributes
    ----------
    architecture : str
        In timm's registry.
    arguments : mapping
        That the repository asks for.
    facts : mapping
        Fields of timm's `PretrainedCfg`.
    """

    architecture: str
    arguments: Mapping[str, Any]
    facts: Mapping[str, Any]


def build_of_hub(architecture: str, place: str, *, pretrained: bool, **arguments: Any) -> nn.Module:
    """A timm model of the Hugging Face hub.

    Parameters
    ----------
    architecture : str
        See `pipeline.models.hub.hub_files`.
    place : str
        For errors.
    pretrained : bool
        Whether with its weights.
    **arguments
        For the constructor; they go before the repository's own.

    Raises
    ------
    ProbelineError
        When the repository can't be had, is not what was recorded, or asks for more than a
        network of timm.
    """
    files = hub.hub_files(architecture, f"{place}.architecture", with_weights=pretrained)
    assert files.config is not None
    recipe = _read_config(files.config, f"{place}.architecture")
    weights = {} if files.weights is None else _loaded(files.weights, f"{place}.weights")
    network: nn.Module = timm.create_model(
        recipe.architecture,
        pretrained=pretrained,
        pretrained_cfg={**recipe.facts, **weights},
        **{**recipe.arguments, **arguments},
    )
    return _without_weights_beside_it(network)


def network_of_hub(architecture: str, place: str) -> tuple[str, Mapping[str, Any]]:
    """The name and the arguments by which timm builds a hub's model, weights apart.

    Raises
    ------
    ProbelineError
        As `build_of_hub`.
    """
    files = hub.hub_files(architecture, f"{place}.architecture", with_weights=False)
    assert files.config is not None
    recipe = _read_config(files.config, f"{place}.architecture")
    return recipe.architecture, recipe.arguments


def build_pretrained(architecture: str, place: str, **arguments: Any) -> nn.Module:
    """A network of timm's registry with the weights that timm names for it.

    Raises
    ------
    ProbelineError
        When timm names none, or they can't be had or are not those that were recorded.
    """
    weights = _loaded(fetch_pretrained(architecture, place), place)
    network: nn.Module = timm.create_model(
        architecture, pretrained=True, pretrained_cfg_overlay={"source": "", **weights}, **arguments
    )
    return _without_weights_beside_it(network)


def nothing_executed() -> AbstractContextManager[None]:
    """Whatever timm may read in here, PyTorch unpickles tensors only.

    No file should reach timm at all; this holds for those that a new version finds a way to.
    """
    return variable_set("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "1")


def fetch_pretrained(architecture: str, place: str) -> Path:
    """The file with the weights that timm names for an architecture.

    Raises
    ------
    ProbelineError
        As `build_pretrained`.
    """
    facts = get_pretrained_cfg(architecture)
    if facts is None or not (facts.hf_hub_id or facts.url):
        raise ProbelineError(
            place,
            "timm has no weights for this architecture",
            expected="an architecture with weights, e.g. one of timm.list_pretrained()",
            found=architecture,
            remedy="name a file or an https address as `weights`, or random(SEED)",
        )
    name = pretrained_name(architecture)
    if facts.hf_hub_id:
        return hub.hub_weights(name, facts.hf_hub_id, facts.hf_hub_filename, place)
    address, path = _url_place(architecture, facts)
    known = locked(name)
    found = download(
        [address], path, Content(known.get("sha256", ""), known.get("size")), place=place
    )
    record(name, {"source": address, "sha256": found.sha256, "size": found.size})
    return path


def pretrained_is_here(architecture: str) -> bool:
    """Whether timm's own weights for an architecture are on this machine; asks nobody."""
    facts = get_pretrained_cfg(architecture)
    if facts is None or not (facts.hf_hub_id or facts.url):
        return False
    if facts.hf_hub_id:
        name = pretrained_name(architecture)
        return hub.is_fetched(name, facts.hf_hub_id, facts.hf_hub_filename)
    return _url_place(architecture, facts)[1].exists()


def _url_place(architecture: str, facts: PretrainedCfg) -> tuple[str, Path]:
    """Weights' address, and their place here."""
    address = facts.url if isinstance(facts.url, str) else facts.url[0]
    return address, WEIGHTS / f"{architecture}-{address.rpartition('/')[2]}"


def _loaded(path: Path, place: str) -> dict[str, Any]:
    """A file's weights, as fields of `PretrainedCfg`: tensors, or a file of plain arrays."""
    if path.suffix != ".npz":
        checkpoint = dict(read_checkpoint(path, place))
        require_plain(checkpoint, place)  # timm would take an inert object for a tensor
        return {"state_dict": checkpoint}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for name in arrays.files:
                arrays[name]
    except Exception as error:  # noqa: BLE001 - whatever a foreign file makes of its reader
        raise CheckpointError(
            place,
            "the checkpoint is damaged, or holds more than arrays of numbers",
            found=f"{path}: {str(error)[:300]}",
            remedy="delete it, and it is downloaded again",
        ) from None
    return {"file": str(path), "custom_load": True}


def _read_config(path: Path, place: str) -> _Recipe:
    """What a repository's config.json says of its network; not where weights come from."""
    try:
        said, architecture, arguments = load_model_config_from_path(path.parent)
    except Exception as error:  # noqa: BLE001 - whatever a foreign file makes of its reader
        raise _odd_config(path, place, f"{type(error).__name__}: {str(error)[:200]}") from None
    if ways := ways_to_weights(arguments):
        raise _odd_config(path, place, f"model_args.{ways[0]}, a way to other weights")
    if not timm.is_model(str(architecture).split(".")[0]):
        raise _odd_config(path, place, f"architecture {architecture!r:.100}, unknown to timm")
    known = {field.name for field in fields(PretrainedCfg)} - {*_LOCATIONS}
    facts = {key: value for key, value in said.items() if key in known}
    return _Recipe(str(architecture).split(".")[0], arguments, facts)


def _odd_config(path: Path, place: str, found: str) -> ProbelineError:
    return ProbelineError(
        place,
        "the hub's config.json asks for more than a network of timm",
        expected="a registered architecture and arguments of its shape",
        found=f"{found}, in {path.name}",
        remedy="do not use this repository; or name its `architecture` and the address of its "
        "weights yourself, after a look at them",
    )


def _without_weights_beside_it(network: nn.Module) -> nn.Module:
    """Timm keeps the tensors that it was given in `pretrained_cfg`: a second copy of them."""
    config: Any = getattr(network, "pretrained_cfg", None)
    if isinstance(config, dict):
        config.pop("state_dict", None)
    return network
