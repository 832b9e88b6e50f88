"""The methods of pre-training, by the names that params.yaml gives them."""

from __future__ import annotations

from pipeline.ssl_encoder import Method
from pipeline.ssl_labels import Jigsaw, Random, RotNet, Supervised
from pipeline.ssl_masked import MAE, SimMIM
from pipeline.ssl_pairs import BarlowTwins, SimCLR, SimSiam, SwAV, VICReg
from pipeline.ssl_teachers import BYOL, DINO, MoCo

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
"""Their names are `pipeline.study.METHODS`, which needs no torch."""
