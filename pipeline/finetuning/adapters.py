"""Low-rank adapters (LoRA, Hu et al. 2021, arXiv 2106.09685), through peft."""

from __future__ import annotations

from importlib.util import find_spec

from torch import nn

from cache.errors import ProbelineError


def add_adapters(backbone: nn.Module, rank: int, place: str) -> None:
    """Put an adapter on every linear layer of a backbone, in place; only adapters then learn.

    Their second factor is zero at first, so the network still computes what it did.

    Parameters
    ----------
    backbone : Module
    rank : int
    place : str
        For errors.

    Raises
    ------
    ProbelineError
        When peft is not installed, or the backbone has no linear layer.
    """
    if find_spec("peft") is None:
        raise ProbelineError(
            f"{place}.train",
            "adapters need the library peft, which is not installed",
            expected="peft",
            found="no such package in this environment",
            remedy="pip install 'probeline[finetune]', or train: second_half",
        )
    linear = [name for name, part in backbone.named_modules() if isinstance(part, nn.Linear)]
    if not linear:
        raise ProbelineError(
            f"{place}.train",
            "adapters are put on linear layers, and this network has none",
            found=type(backbone).__name__,
            remedy="choose `train: second_half` for convolutional networks",
        )
    from peft import LoraConfig, inject_adapter_in_model

    settings = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=linear)
    inject_adapter_in_model(settings, backbone)
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_("lora_" in name)
