"""The methods of pre-training, by the names that params.yaml gives them."""

from __future__ import annotations

from pipeline.pretraining.encoder import Method
from pipeline.pretraining.label_methods import Jigsaw, Random, RotNet, Supervised
from pipeline.pretraining.masked_methods import MAE, SimMIM
from pipeline.pretraining.pair_methods import BarlowTwins, SimCLR, SimSiam, SwAV, VICReg
from pipeline.pretraining.teacher_methods import BYOL, DINO, MoCo

METHODS: dict[str, type[Method]] = {
    "random": Random,
    "supervised": Supervised,
    "rotnet": RotNet,
    "jigsaw": Jigsaw,
    "simclr": SimCLR,
    "moco": MoCo,
    "byol": BYOL,
    "simsiam": SimSiam,
    "dino": DINO,
    "swav": SwAV,
    "barlow_twins": BarlowTwins,
    "vicreg": VICReg,
    "mae": MAE,
    "simmim": SimMIM,
}
"""Their names are `pipeline.study.pretraining.METHODS`, which needs no torch."""
