"""Layouts of published tables that are known by name: `probeline scores import --profile NAME`.

What a profile says beyond the file (test images, roles, clusters) is public knowledge of these data
sets; options of the command line overrule it.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.results.layout import EVERY, Layout
from pipeline.study.fewshot import FEWSHOT
from pipeline.study.knn import KNN
from pipeline.study.linear import LINEAR

_IN, _OUT = "in_domain", "out_of_domain"

_TIMM = Layout(
    columns={"model": "{model}@{img_size}", "parameters": "param_count"},
    constants={"protocol": "classifier", "variant": "timm"},
    values={"top1": {"metric": "top1"}, "top5": {"metric": "top5"}},
    file_is_dataset=True,
    prefix="results-",
    scale={"parameters": "1e6"},
    of_dataset={
        "n_test": {
            "imagenet": "50000",
            "imagenet-real": "46837",
            "imagenetv2-matched-frequency": "10000",
            "sketch": "50889",
            "imagenet-r": "30000",
            "imagenet-r-clean": "10000",
            "imagenet-a": "7500",
            "imagenet-a-clean": "10000",
        },
        "role": {
            "imagenet": _IN,
            "imagenet-r-clean": _IN,
            "imagenet-a-clean": _IN,
            EVERY: _OUT,
        },
        "shift": {
            "imagenet-real": "other labels",
            "imagenetv2-matched-frequency": "other images",
            "sketch": "other style",
            "imagenet-r": "other style",
            "imagenet-a": "chosen to be hard",
        },
    },
    percent=True,
)

_TESTBED = Layout(
    wide=True,
    constants={"protocol": "classifier", "variant": "imagenet_testbed", "metric": "top1"},
    of_dataset={
        "n_test": {
            "val": "50000",
            "imagenet-a": "7500",
            "imagenet-r": "30000",
            "imagenet-sketch": "50889",
            "imagenetv2-matched-frequency": "10000",
            "imagenetv2-matched-frequency-format-val": "10000",
            "objectnet-1.0-beta": "18574",
            "val-on-imagenet-a-classes": "10000",
            "val-on-imagenet-r-classes": "10000",
            "val-on-objectnet-classes": "5650",
        },
        # The same images, whatever was done to them.
        "cluster": {
            "imagenet-c.*": "ImageNet-C",
            "imagenetv2-*": "ImageNet V2",
            "pgd.*": "attacks",
            "val*": "ImageNet",
            "imagenet-vid-robust*": "ImageNet-Vid-Robust",
            "ytbb-robust*": "YTBB-Robust",
        },
        "role": {
            "val": _IN,
            "imagenet-a": _OUT,
            "imagenet-r": _OUT,
            "imagenet-sketch": _OUT,
            "imagenetv2-matched-frequency": _OUT,
            "objectnet-1.0-beta": _OUT,
        },
        "shift": {
            "imagenet-a": "chosen to be hard",
            "imagenet-r": "other style",
            "imagenet-sketch": "other style",
            "imagenetv2-matched-frequency": "other images",
            "objectnet-1.0-beta": "other views",
        },
    },
    percent=True,
)

_CLIP_COLUMNS = {"family": "upstream_dataset"}

_ZEROSHOT = Layout(
    columns={
        "model": "model_fullname",
        "dataset": "downstream_dataset",
        "backbone": "arch",
        **_CLIP_COLUMNS,
    },
    constants={"variant": "clip_benchmark", "method": "CLIP"},
    values={
        "acc1": {"protocol": "zeroshot", "metric": "top1"},
        "acc5": {"protocol": "zeroshot", "metric": "top5"},
        "mean_per_class_recall": {"protocol": "zeroshot", "metric": "mean_per_class"},
        "image_retrieval_recall@5": {"protocol": "image_retrieval", "metric": "recall_at_5"},
        "text_retrieval_recall@5": {"protocol": "text_retrieval", "metric": "recall_at_5"},
    },
    # Means over the other rows.
    drop={"downstream_dataset": ("imagenet_robustness", "vtab", "vtab+")},
    of_dataset={"role": {"imagenet1k": _IN, EVERY: _OUT}},
)

_PROBES = Layout(
    columns={"model": "model_short", "variant": "fewshot_k", "protocol": "fewshot_k",
             **_CLIP_COLUMNS},
    constants={"method": "CLIP"},
    words={
        "protocol": {"-1": LINEAR.name, "10": FEWSHOT.name, "25": FEWSHOT.name},
        "variant": {"-1": "clip_benchmark", "10": "10_shots", "25": "25_shots"},
    },
    values={
        "lp_acc1": {"metric": "top1"},
        "lp_acc5": {"metric": "top5"},
        "lp_mean_per_class_recall": {"metric": "mean_per_class"},
    },
    keep="best",
    of_dataset={"role": {"imagenet1k-unverified": _IN, EVERY: _OUT}},
)  # fmt: skip

_TORCHGEO = Layout(
    columns={
        "model": "name",
        "protocol": "method",
        "metric": "metric_name",
        "value": "metric_value",
        "ci_low": "ci_lower",
        "ci_high": "ci_upper",
    },
    constants={"variant": "torchgeo_bench"},
    words={
        "metric": {"accuracy": "top1", "micro_mAP": "micro_map"},
        "protocol": {"knn5": KNN.name},
    },
    where={"bands": "rgb", "normalization": "bandspec_zscore", "partition": "default"},
    keep="first",
    of_dataset={
        "role": {"m-eurosat": _IN, EVERY: _OUT},
        # The same images in two packagings.
        "cluster": {
            **dict.fromkeys(("m-eurosat", "eurosat-spatial"), "EuroSAT"),
            **dict.fromkeys(("m-so2sat", "so2sat"), "So2Sat"),
            **dict.fromkeys(("m-forestnet", "forestnet"), "ForestNet"),
            **dict.fromkeys(("m-bigearthnet", "benv2"), "BigEarthNet"),
        },
    },
)

_BIOBENCH = Layout(intervals=False)

PROFILES: Mapping[str, Layout] = {
    "timm": _TIMM,
    "imagenet_testbed": _TESTBED,
    "clip_benchmark": _ZEROSHOT,
    "clip_benchmark_probes": _PROBES,
    "torchgeo_bench": _TORCHGEO,
    "biobench": _BIOBENCH,
}
"""Several files for `timm` (results-imagenet.csv, results-sketch.csv …), one for the others."""
