"""From params.yaml's description of a model to a network that yields features."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from timm.data import resolve_model_data_config
from torch import nn

from cache.errors import ProbelineError
from pipeline.models import hub, torch_hub
from pipeline.models.checkpoint_files import read_checkpoint
from pipeline.models.checkpoints import in_order, load_exactly, state_dict_of
from pipeline.models.constructors import constructor_of, no_constructor
from pipeline.models.features import compute_features
from pipeline.models.pretrained import (
    build_of_hub,
    build_pretrained,
    network_of_hub,
    nothing_executed,
)
from pipeline.models.running import digest_weights
from pipeline.models.settings import Model
from pipeline.models.state_faults import channels_wanted
from pipeline.models.transforms import Geometry, Transform
from pipeline.models.weights import provide_weights


@dataclass(frozen=True)
class LoadedModel:
    """A network in evaluation mode, the feature taken from it, and what belongs to it.

    Attributes
    ----------
    backbone : Module
        Without its classifier head.
    feature : str
        See `pipeline.models.features`.
    transform : Transform
    weights_digest : str
        SHA-256 of the weights actually loaded.
    columns : int
        Features per image.
    parameters : int
        Of the backbone.
    """

    backbone: nn.Module
    feature: str
    transform: Transform
    weights_digest: str
    columns: int
    parameters: int

    def with_feature(self, feature: str, place: str) -> LoadedModel:
        """The same network, another feature of it."""
        columns = feature_count(self.backbone, self.transform, feature, place)
        return replace(self, feature=feature, columns=columns)


def load_model(name: str, entry: Model, place: str = "") -> LoadedModel:
    """Build a model and load its weights.

    Parameters
    ----------
    name : str
    entry : Model
    place : str, optional
        For errors; by default the model's entry in params.yaml.

    Raises
    ------
    ProbelineError
        When the architecture is unknown, its arguments are wrong, the checkpoint does not fit,
        or the network does not accept its input size.
    """
    place = place or f"params.yaml: models.{name}"
    backbone = build_network(entry, place)
    path = provide_weights(entry, f"{place}.weights")
    if path is not None:
        state = state_dict_of(
            read_checkpoint(path, f"{place}.weights"), entry.checkpoint, f"{place}.checkpoint"
        )
        if entry.checkpoint.by_order:
            state = in_order(state, backbone, f"{place}.checkpoint")
        load_exactly(
            backbone,
            state,
            missing=entry.checkpoint.missing,
            head=_head_names(backbone),
            place=f"{place}.weights",
        )
    backbone.eval().requires_grad_(False)
    transform = resolve_transform(backbone, entry, place)
    digest = digest_weights(backbone)
    if entry.architecture.startswith(torch_hub.PREFIX) and entry.weights == "pretrained":
        torch_hub.check_weights(entry.architecture, digest, f"{place}.weights")
    return LoadedModel(
        backbone=backbone,
        feature=entry.feature,
        transform=transform,
        weights_digest=digest,
        columns=feature_count(backbone, transform, entry.feature, place),
        parameters=sum(p.numel() for p in backbone.parameters()),
    )


def build_network(entry: Model, place: str) -> nn.Module:
    """The architecture with its initial weights; `pretrained` ones are fetched and loaded, too."""
    pretrained = entry.weights == "pretrained"
    build = _constructor(entry.architecture, place, pretrained=pretrained)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(entry.seed or 0)
        try:
            network = build(num_classes=0, **entry.arguments)
        except ProbelineError:  # some are also a ValueError
            raise
        except (
            *(TypeError, AssertionError, ValueError, KeyError, RuntimeError, AttributeError),
            pickle.UnpicklingError,
        ) as error:
            raise ProbelineError(
                f"{place}.{'weights' if pretrained else 'arguments'}",
                "the architecture could not be built",
                found=f"{type(error).__name__}: {str(error)[:300]}",
                remedy=f"correct the arguments; they go to {entry.architecture} as they are",
            ) from None
        except OSError as error:  # a hub out of reach
            raise ProbelineError(
                f"{place}.weights",
                "the pretrained weights could not be fetched",
                found=f"{type(error).__name__}: {str(error)[:300]}",
                remedy="connect to the network, or download the file and name its path",
            ) from None
    if not isinstance(network, nn.Module):
        raise no_constructor(entry.architecture, place)
    return network


def _constructor(architecture: str, place: str, *, pretrained: bool) -> Callable[..., nn.Module]:
    """Timm's model of that name, a hub's, or ``timm.models.MODULE:FUNCTION`` for others."""
    if architecture.startswith(torch_hub.PREFIX):
        foreign = torch_hub.hub_constructor(architecture, f"{place}.architecture")
        return functools.partial(foreign, pretrained=pretrained)
    return functools.partial(_build_of_timm, architecture, place, pretrained)


def _build_of_timm(architecture: str, place: str, pretrained: bool, **arguments: Any) -> nn.Module:
    with nothing_executed():
        if architecture.startswith(hub.PREFIX):
            return build_of_hub(architecture, place, pretrained=pretrained, **arguments)
        build = constructor_of(architecture, place)
        if not pretrained:
            return build(**arguments)
        if ":" in architecture:
            raise ProbelineError(
                f"{place}.weights",
                "timm names no weights for an architecture that it does not register",
                expected="a file, an https address, or random(SEED)",
                found="pretrained",
                remedy="name one of these",
            )
        return build_pretrained(architecture, f"{place}.weights", **arguments)


def timm_call(entry: Model, place: str) -> tuple[str, dict[str, Any]]:
    """By which name and arguments timm alone builds an entry's network without its classifier.

    Raises
    ------
    ProbelineError
        When the repository of a hub's model can't be had.
    """
    if entry.architecture.startswith(hub.PREFIX):
        architecture, arguments = network_of_hub(entry.architecture, place)
        theirs = {name: value for name, value in arguments.items() if name != "num_classes"}
        return architecture, {**theirs, **entry.arguments}
    return entry.architecture, dict(entry.arguments)


def _head_names(backbone: nn.Module) -> tuple[str, ...]:
    """The classifier modules of the architecture, as timm names them."""
    config: Any = getattr(backbone, "pretrained_cfg", {})
    names = config.get("classifier") or ()
    return tuple(f"{n}." for n in ((names,) if isinstance(names, str) else names))


def resolve_transform(backbone: nn.Module, entry: Model, place: str) -> Transform:
    """The model's own evaluation transform, with the entry's overrides."""
    own = resolve_model_data_config(backbone)
    height, width = own["input_size"][-2:]
    if entry.input_size is None and height != width:
        raise ProbelineError(
            f"{place}.input_size",
            "the model's own input is not square",
            expected="a square input",
            found=f"{height} x {width}",
            remedy="set `input_size` (and the network's img_size in `arguments`)",
        )
    mode = entry.crop_mode or own["crop_mode"]
    if mode not in ("center", "squash"):
        raise ProbelineError(
            f"{place}.crop_mode",
            "the model's own way of cropping is not supported",
            expected="center or squash",
            found=mode,
            remedy="set `crop_mode: center`",
        )
    return Transform(
        Geometry(
            entry.input_size or width,
            entry.crop or own["crop_pct"],
            entry.interpolation or own["interpolation"],
            mode,
        ),
        mean=_triple(entry.mean or own["mean"]),
        std=_triple(entry.std or own["std"]),
    )


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(v) for v in values)
    return red, green, blue


def feature_count(backbone: nn.Module, transform: Transform, feature: str, place: str) -> int:
    """Features per image, by running one black image."""
    size = transform.geometry.size
    device = next((p.device for p in backbone.parameters()), None)
    try:
        with torch.inference_mode():
            image = torch.zeros(1, 3, size, size, device=device)
            features = compute_features(backbone, image, [feature])
    except ProbelineError as error:
        raise ProbelineError(
            f"{place}.feature", error.problem, found=error.found, remedy=error.remedy
        ) from None
    except (AssertionError, RuntimeError, ValueError, AttributeError, TypeError) as error:
        if (channels := channels_wanted(str(error))) is not None:
            raise ProbelineError(
                f"{place}.arguments",
                f"the network's first layer takes {channels} channel{'s' * (channels != 1)}, "
                "images have 3 (RGB)",
                expected="3 channels",
                remedy="leave `in_chans` out, and take a checkpoint for RGB images",
            ) from None
        raise ProbelineError(
            place,
            f"the network does not accept images of {size} x {size} pixels",
            found=str(error)[:300],
            remedy="set `input_size` to the network's own, or its img_size in `arguments`",
        ) from None
    return int(features[feature].shape[1])
