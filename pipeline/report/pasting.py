"""Lines for params.yaml that would let a study answer what it leaves open."""

from __future__ import annotations

from pipeline.report.checks import Trust
from pipeline.report.checks_words import models_wanted
from pipeline.study.schema import Study

SUGGESTED = (
    "supervised_resnet50_a1", "dino_vits16", "mocov3_vits16", "dinov2_vits14", "deit_vits16",
    "fcmae_convnextv2_tiny", "clip_vitb16", "mae_vitb16", "byol_resnet50", "swav_resnet50",
    "simclr_resnet50", "barlowtwins_resnet50",
)  # fmt: skip
"""Models of the zoo, each of another family as far as that goes, small ones first."""


def lines_to_paste(t: Trust, study: Study) -> str:
    """YAML below `datasets:` and `models:`; empty where nothing is to be added."""
    parts = []
    if not t.inside:
        parts.append(
            "datasets:\n  control: {source: folder, path: $HOME/everyday_photos, role: in_domain}"
        )
    fresh = [name for name in SUGGESTED if name not in study.models][: models_wanted(t)]
    if fresh:
        lines = "\n".join(f"  {name}: {{zoo: {name}, preprocessing: common}}" for name in fresh)
        parts.append(f"models:\n{lines}")
    return "\n".join(parts)
