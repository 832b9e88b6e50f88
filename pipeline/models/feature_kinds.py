"""The features that a model may be asked for: which numbers of a forward pass are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Feature = Literal["pooled", "cls", "mean_patch", "cls+mean_patch", "last4_cls"]


@dataclass(frozen=True)
class FeatureKind:
    """What a feature is.

    Attributes
    ----------
    words : str
        Of tokens after the backbone's final norm.
    tokens : int
        How many times as wide as the backbone it is.
    """

    words: str
    tokens: int = 1


FEATURES: dict[Feature, FeatureKind] = {
    "pooled": FeatureKind("what the architecture’s own classifier head would get"),
    "cls": FeatureKind("the class token after the final norm"),
    "mean_patch": FeatureKind("the mean over patch tokens, or over the positions of a feature map"),
    # The linear-probe input of DINOv2's ViTs.
    "cls+mean_patch": FeatureKind("the class token and the mean over patch tokens in a row", 2),
    "last4_cls": FeatureKind(  # DINO's
        "the class tokens of the last four blocks, each after the final norm, in a row", 4
    ),
}
