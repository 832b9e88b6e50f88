"""16 fused SGD heads against 16 separate PyTorch runs of the same recipe, in one process.

    python benchmarks/heads.py [--rows 8192] [--epochs 3] [--repeats 3] [--threads 1]
                               [--columns 768 2048] [--classes 10 30 100]

About a minute. A separate run is torch.nn.Linear (behind BatchNorm1d for half of the heads) with
torch.optim.SGD and clip_grad_norm_ on features that are already in memory. "GEMM" is the time of
the two matrix products that a fused step can't avoid, alone; both sides need the same number of
operations, so (separate / GEMM) is the most that fusing could gain. "difference" is the largest
between class probabilities of fused and separate heads.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.heads.heads import Head, Recipe, fit_heads
from pipeline.machine.devices import this_machine

HEADS = [Head(float(r), bn) for bn in (False, True) for r in np.logspace(-3, 0.5, 8)]


def separate(head: Head, x: Tensor, y: Tensor, classes: int, recipe: Recipe) -> nn.Module:
    """One head alone."""
    linear = nn.Linear(x.shape[1], classes, device=x.device)
    rng = np.random.default_rng(recipe.seed)
    with torch.no_grad():
        linear.weight.copy_(torch.as_tensor(rng.normal(0, 0.01, (classes, x.shape[1]))))
        linear.bias.zero_()
    layers = [nn.BatchNorm1d(x.shape[1], device=x.device)] if head.batch_norm else []
    model = nn.Sequential(*layers, linear)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)
    for epoch in range(recipe.epochs):
        optimizer.param_groups[0]["lr"] = head.learning_rate * recipe.rate(epoch)
        order = np.random.default_rng([recipe.seed, epoch]).permutation(len(x))
        for rows in torch.as_tensor(order).to(x.device).split(recipe.batch):
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
    return model.eval()


def products(x: Tensor, classes: int, recipe: Recipe) -> None:
    """The matrix products of all steps: scores and gradients of two stacks of heads."""
    columns = len(HEADS) // 2 * classes
    batch = x[: recipe.batch]
    weight, slopes = x.new_ones(columns, x.shape[1]), x.new_ones(len(batch), columns)
    for _ in range(recipe.epochs * -(-len(x) // recipe.batch) * 2):
        torch.mm(batch, weight.t())
        torch.mm(slopes.t(), batch)


def seconds(call: Callable[[], object], device: torch.device) -> float:
    """Of one call, with what it left running on a GPU."""
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=8192)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--columns", type=int, nargs="*", default=[768, 2048])
    parser.add_argument("--classes", type=int, nargs="*", default=[10, 30, 100])
    options = parser.parse_args()
    device = this_machine().devices[0]
    torch.set_num_threads(options.threads)
    recipe = Recipe(epochs=options.epochs, warmup=1)
    print(f"{device}, {options.threads} threads, {options.rows} rows, {options.epochs} epochs")
    print("    d classes    fused  separate    GEMM   ratio  at most  difference")
    for width, classes in itertools.product(options.columns, options.classes):
        rng = np.random.default_rng(0)
        y = rng.integers(0, classes, options.rows)
        centres = rng.normal(0, 0.3, (classes, width))
        noise = rng.normal(0, 1, (options.rows, width))
        x = torch.as_tensor(centres[y] + noise).float().to(device)
        truth = torch.as_tensor(y).to(device)

        def fused() -> object:
            return fit_heads(HEADS, [x], y, classes, recipe, device=device)

        def alone() -> object:
            return [separate(head, x, truth, classes, recipe) for head in HEADS]

        fitted, models = fused(), alone()  # warm-up, and what is compared
        with torch.no_grad():
            difference = max(
                float(np.abs(m(x).double().softmax(1).cpu().numpy()
                             - fitted.probabilities(x, i)).max())
                for i, m in enumerate(models)
            )  # fmt: skip
        times = [
            [seconds(call, device) for call in (fused, alone, lambda: products(x, classes, recipe))]
            for _ in range(options.repeats)
        ]
        one, many, bare = (statistics.median(t) for t in zip(*times, strict=True))
        print(
            f"{width:>5}{classes:>8}{one:>9.2f}{many:>10.2f}{bare:>8.2f}{many / one:>7.1f}x"
            f"{many / bare:>8.1f}x{difference:>12.1e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
