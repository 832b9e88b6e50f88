"""BEiT v2's pre-training network as its authors describe it, and its checkpoint with every key.

Source: github.com/microsoft/unilm, beit2/modeling_pretrain.py (the network `..._cls_pt`),
modeling_finetune.py (blocks, relative positions, mean pooling) and utils.py (`save_model`).
"""

from __future__ import annotations

import argparse

import torch
from torch import nn
from torch.nn import functional

WIDTH, HEADS, DEPTH, EARLY, SIDE, VOCABULARY = 24, 2, 3, 2, 14, 11


def position_index(side: int) -> torch.Tensor:
    """Which row of the table a pair of tokens has: by the offset of two patches; three of its own
    for class to patch, patch to class, and class to class.
    """
    rows = 2 * side - 1
    index = torch.empty((side * side + 1,) * 2, dtype=torch.int64)
    places = [(y, x) for y in range(side) for x in range(side)]
    for i, (y, x) in enumerate(places, 1):
        for j, (v, u) in enumerate(places, 1):
            index[i, j] = (y - v + side - 1) * rows + (x - u + side - 1)
    index[0, :], index[:, 0], index[0, 0] = rows**2, rows**2 + 1, rows**2 + 2
    return index


def pretraining_state(seed: int) -> dict[str, torch.Tensor]:
    """Random weights under every name that the network's state dictionary has."""
    torch.manual_seed(seed)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape) * 0.3

    def block(prefix: str) -> dict[str, torch.Tensor]:
        return {
            **{f"{prefix}.gamma_{n}": drawn(WIDTH) for n in (1, 2)},
            **{f"{prefix}.norm{n}.weight": 1 + drawn(WIDTH) for n in (1, 2)},
            **{f"{prefix}.norm{n}.bias": drawn(WIDTH) for n in (1, 2)},
            **{f"{prefix}.attn.{letter}_bias": drawn(WIDTH) for letter in "qv"},
            f"{prefix}.attn.qkv.weight": drawn(3 * WIDTH, WIDTH),
            f"{prefix}.attn.proj.weight": drawn(WIDTH, WIDTH),
            f"{prefix}.attn.proj.bias": drawn(WIDTH),
            f"{prefix}.mlp.fc1.weight": drawn(4 * WIDTH, WIDTH),
            f"{prefix}.mlp.fc1.bias": drawn(4 * WIDTH),
            f"{prefix}.mlp.fc2.weight": drawn(WIDTH, 4 * WIDTH),
            f"{prefix}.mlp.fc2.bias": drawn(WIDTH),
        }

    state = {
        "cls_token": drawn(1, 1, WIDTH),
        "mask_token": drawn(1, 1, WIDTH),
        "patch_embed.proj.weight": drawn(WIDTH, 3, 16, 16),
        "patch_embed.proj.bias": drawn(WIDTH),
        "rel_pos_bias.relative_position_bias_table": drawn((2 * SIDE - 1) ** 2 + 3, HEADS),
        "rel_pos_bias.relative_position_index": position_index(SIDE),
    }
    for number in range(DEPTH):
        state |= block(f"blocks.{number}")
    state |= {"norm.weight": 1 + drawn(WIDTH), "norm.bias": drawn(WIDTH)}
    state |= {"lm_head.weight": drawn(VOCABULARY, WIDTH), "lm_head.bias": drawn(VOCABULARY)}
    for number in range(2):
        state |= block(f"cls_pt_layers.{number}")
    return state


def checkpoint(state: dict[str, torch.Tensor]) -> dict[str, object]:
    """What `save_model` stores beside the network."""
    return {
        "model": state,
        "optimizer": {"state": {0: {"step": 1, "exp_avg": torch.zeros(2)}}, "param_groups": []},
        "epoch": 1599,
        "scaler": {"scale": 65536.0},
        "args": argparse.Namespace(model="beit_base_patch16_224_8k_vocab_cls_pt", epochs=1600),
    }


def pooled(state: dict[str, torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """The normed mean of the patch tokens, as the authors' evaluation pools."""
    w = state

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return functional.layer_norm(x, (WIDTH,), w[f"{name}.weight"], w[f"{name}.bias"], 1e-6)

    patches = functional.conv2d(
        images, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=16
    )
    tokens = patches.flatten(2).transpose(1, 2)
    x = torch.cat([w["cls_token"].expand(len(images), -1, -1), tokens], dim=1)
    table = w["rel_pos_bias.relative_position_bias_table"]
    bias = table[w["rel_pos_bias.relative_position_index"]].permute(2, 0, 1)
    for number in range(DEPTH):
        at = f"blocks.{number}"
        inner = norm(x, f"{at}.norm1")
        qkv_bias = torch.cat([w[f"{at}.attn.q_bias"], torch.zeros(WIDTH), w[f"{at}.attn.v_bias"]])
        qkv = inner @ w[f"{at}.attn.qkv.weight"].T + qkv_bias
        q, k, v = qkv.unflatten(-1, (3, HEADS, WIDTH // HEADS)).permute(2, 0, 3, 1, 4)
        attention = (q @ k.transpose(-1, -2) * (WIDTH // HEADS) ** -0.5 + bias).softmax(-1)
        mixed = (attention @ v).transpose(1, 2).flatten(2)
        mixed = mixed @ w[f"{at}.attn.proj.weight"].T + w[f"{at}.attn.proj.bias"]
        x = x + w[f"{at}.gamma_1"] * mixed
        inner = norm(x, f"{at}.norm2") @ w[f"{at}.mlp.fc1.weight"].T + w[f"{at}.mlp.fc1.bias"]
        inner = nn.functional.gelu(inner) @ w[f"{at}.mlp.fc2.weight"].T + w[f"{at}.mlp.fc2.bias"]
        x = x + w[f"{at}.gamma_2"] * inner
    return norm(x[:, 1:].mean(dim=1), "norm")
