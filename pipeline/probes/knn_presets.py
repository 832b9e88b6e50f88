"""The kNN presets: ways of voting that were published, as facts that everything else reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.nearest.votes import Voting

PresetName = Literal["study", "dino"]


@dataclass(frozen=True)
class Variant:
    """A named way of voting.

    Attributes
    ----------
    name : str
    space : tuple of str
        Metric and normalisation of the neighbours.
    voting : Voting
    """

    name: str
    space: tuple[str, str]
    voting: Voting


@dataclass(frozen=True)
class Preset:
    """The ways of voting that one publication uses.

    Attributes
    ----------
    source : str
    variants : tuple of Variant
        The first is the headline.
    """

    source: str
    variants: tuple[Variant, ...]


PRESETS: dict[PresetName, Preset] = {
    "study": Preset(
        "Marks et al. 2025, arXiv 2407.12210",
        (
            Variant("study", ("euclidean", "none"), Voting(20, "distance")),
            Variant("study_zscore", ("euclidean", "zscore"), Voting(20, "distance")),
        ),
    ),
    "dino": Preset(
        "Caron et al. 2021, arXiv 2104.14294",
        tuple(
            Variant(f"dino_k{k}", ("cosine", "none"), Voting(k, "softmax", 0.07))
            for k in (10, 20, 100, 200)
        ),
    ),
}
