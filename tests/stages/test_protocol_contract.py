"""Every protocol passes the tests that all of them share."""

from __future__ import annotations

from typing import ClassVar

import pytest
from made_finetuned import train_nothing
from protocol_contract import ProtocolContract
from test_a_protocol_more import TOY

from pipeline.project.names import distinct
from pipeline.study import protocol_list
from pipeline.study.fewshot import FEWSHOT
from pipeline.study.finetune import FINETUNE
from pipeline.study.knn import KNN
from pipeline.study.linear import LINEAR
from pipeline.study.predictors import PREDICTORS
from pipeline.study.transfer import TRANSFER


class TestKnn(ProtocolContract):
    protocol = KNN


class TestLinear(ProtocolContract):
    protocol = LINEAR


class TestFewshot(ProtocolContract):
    protocol = FEWSHOT
    settings: ClassVar = {
        "fewshot": {"shots": [1, 2], "episodes": 3, "heads": ["prototypes", "ridge"]}
    }


class TestTransfer(ProtocolContract):
    protocol = TRANSFER
    settings: ClassVar = {"transfer": {"sources": ["pets"]}}


class TestTransferability(ProtocolContract):
    protocol = PREDICTORS
    settings: ClassVar = {"transferability": {"names": ["rankme", "logme", "nc1"]}}


class TestFinetune(ProtocolContract):
    protocol = FINETUNE
    settings: ClassVar = {
        "finetune": {
            "enabled": True,
            "runs": {"full": {"recipe": "modern", "epochs": 3, "warmup_epochs": 1}},
        }
    }

    @pytest.fixture(autouse=True)
    def _only_counts(self, monkeypatch) -> None:
        monkeypatch.setattr("pipeline.finetuning.storing.finetune_cell", train_nothing)


class TestToy(ProtocolContract):
    protocol = TOY

    @pytest.fixture(autouse=True)
    def _is_there(self, monkeypatch) -> None:
        monkeypatch.setattr(protocol_list, "PROTOCOLS", distinct(*protocol_list.PROTOCOLS, TOY))
