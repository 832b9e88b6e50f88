"""What the pre-training methods are as published, and what they are here.

``python -m pipeline.pretraining.departures`` prints the table of docs/pretraining.md.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

from pipeline.pretraining.masked_methods import DECODER_DEPTH, DECODER_WIDTH
from pipeline.pretraining.pair_methods import HIDDEN, OUT
from pipeline.pretraining.teacher_methods import MOMENTUM
from pipeline.pretraining.training import LARGEST_GRADIENT, WARM_UP, WEIGHT_DECAY

_FEW_STEPS = "there are hundreds of steps, not 10^5"
_COST = "cost: a step of any method sees as many images"


@dataclass(frozen=True)
class Departure:
    """One method, or all of them.

    Attributes
    ----------
    method : str
        As params.yaml names it; `all`.
    published, here, why : str
    """

    method: str
    published: str
    here: str
    why: str


DEPARTURES = (
    Departure(
        "all",
        "its own optimizer (LARS, SGD or AdamW), 100 to 1,000 epochs",
        f"AdamW, weight decay {WEIGHT_DECAY:g}, gradients cut at {LARGEST_GRADIENT:g}, "
        f"{WARM_UP:.0%} of the steps warming up, then a cosine whose last step has a rate of 0",
        "little but the method differs",
    ),
    Departure(
        "all",
        "crops and colours for photographs of 224 px",
        "one set of views: small rotations, shears and crops, weak colours, noise, blur, erasing",
        "small images of signs",
    ),
    Departure(
        "all of two views",
        "a forward pass for each view (SimCLR: one for both)",
        "both views in one pass, so BatchNorms take statistics of both together",
        "cost: one pass instead of two",
    ),
    Departure(
        "all with a projection",
        "heads of 2,048 to 8,192 hidden units",
        f"{HIDDEN} hidden units, {OUT} columns",
        "small backbones",
    ),
    Departure("supervised", "cross-entropy", "cross-entropy, on the same views as the others", ""),
    Departure("rotnet", "all four turns of an image in a batch", "one random turn an image", _COST),
    Departure(
        "jigsaw",
        "nine tiles, each through the network; 100 to 2,000 of their orders",
        "four tiles put together to one image; all 24 orders",
        "small images, and transformers",
    ),
    Departure("simclr", "temperature 0.1, batches of 4,096", "0.2, `batch_size`", _FEW_STEPS),
    Departure(
        "moco",
        "momentum 0.999; a queue of 65,536; BatchNorm shuffled over GPUs",
        f"momentum {MOMENTUM:g} to 1; `queue`; no shuffling",
        f"{_FEW_STEPS}; one device",
    ),
    Departure("byol", "momentum 0.996 to 1", f"{MOMENTUM:g} to 1", _FEW_STEPS),
    Departure(
        "simsiam",
        "the predictor's rate stays constant",
        "it falls with the others' rate",
        "one optimizer for all methods",
    ),
    Departure(
        "dino",
        "two large and eight small crops; 65,536 prototypes, fixed in the first epoch; momentum "
        "0.996 to 1; a teacher's temperature that warms up; no BatchNorm in the head of a "
        "transformer",
        f"two views; `prototypes`, fixed throughout; momentum {MOMENTUM:g} to 1; 0.04 throughout; "
        "BatchNorms in the two hidden layers, none on the bottleneck",
        f"{_FEW_STEPS}: prototypes that are trained from the start become one",
    ),
    Departure(
        "swav",
        "two large and six small crops; 3,000 prototypes, fixed in the first epoch; a queue of "
        "3,840 for the assignments",
        "two views; `prototypes`, fixed throughout; no queue",
        f"{_FEW_STEPS}: prototypes that are trained from the start become one",
    ),
    Departure("barlow_twins", "8,192 columns", f"{OUT}", "small backbones"),
    Departure("vicreg", "8,192 columns", f"{OUT}", "small backbones"),
    Departure(
        "mae",
        "pixels normalised within each patch; fixed sine positions; a decoder of 8 blocks of 512",
        "pixels as they are; positions that are learned, with weight decay; "
        f"{DECODER_DEPTH} block of {DECODER_WIDTH}",
        "the backbone stays timm's own; small images",
    ),
    Departure(
        "simmim",
        "hides squares of 32 px, several patches each",
        "hides single patches",
        "images of 32 px have 16 patches",
    ),
)
"""Sources: the papers that the modules of the methods name, and their authors' published code."""


def table() -> str:
    """As Markdown."""
    names = ("method", "as published", "here", "why")
    lines = [f"| {' | '.join(names)} |", "|---|---|---|---|"]
    for departure in DEPARTURES:
        method, *others = astuple(departure)
        word = f"`{method}`" if not method.startswith("all") else method
        lines.append(f"| {' | '.join([word, *others])} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
