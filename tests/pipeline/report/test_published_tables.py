"""The answers on public result tables, against what an independent computation found there.

The numbers are those of the README beside the tables. Skips without the folder PROBELINE_SHARED.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_cubes import make_cube
from made_evidence import make_evidence
from scipy import stats

from pipeline.results.cube import comparable, metrics_used, to_cube
from pipeline.results.foreign_file import read_published
from pipeline.results.profiles import PROFILES
from pipeline.statistics.comparison import comparison
from pipeline.statistics.fidelity import fidelity, observed
from pipeline.statistics.jackknife import Jackknife, members_of
from pipeline.statistics.null_models import null_columns, rank_elsewhere, with_null_models
from pipeline.statistics.predictions import predictions
from pipeline.statistics.rank_correlation import spearman
from pipeline.statistics.regret import choice, naive_regret
from pipeline.statistics.robustness import effective_robustness
from pipeline.study.column import EACH_TARGET, Column
from pipeline.study.schema import Study

TWINS = {
    "eurosat-spatial": "m-eurosat",
    "so2sat": "m-so2sat",
    "forestnet": "m-forestnet",
    "benv2": "m-bigearthnet",
}


@pytest.fixture
def torchgeo(shared_data):
    """Scores of kNN and linear probes by model and data set, as the README selects them."""
    table = pd.read_csv(shared_data / "tables" / "torchgeo_bench.csv")
    chosen = (
        table["method"].isin(["knn5", "linear"])
        & table["metric_name"].isin(["accuracy", "micro_mAP"])
        & (table["bands"] == "rgb")
        & (table["normalization"] == "bandspec_zscore")
        & (table["partition"] == "default")
    )
    rows = table[chosen].drop_duplicates(["name", "dataset", "method"])
    return {
        variant: rows[rows["method"] == method]
        .set_index(["name", "dataset"])["metric_value"]
        .to_xarray()
        .to_pandas()
        for variant, method in (("knn/k5", "knn5"), ("linear/probe", "linear"))
    }


@pytest.fixture
def biobench(shared_data):
    return pd.read_csv(shared_data / "tables" / "biobench.csv")


def evidence_of(tables, datasets, inside, **words):
    """Evidence whose data sets are called d0, d1 …, in the order of `datasets`."""
    scores = {variant: table[datasets].to_numpy() for variant, table in tables.items()}
    roles = ["in_domain" if d in inside else "out_of_domain" for d in datasets]
    return make_evidence(make_cube(scores, role=roles, **words))


def leader(found, targets):
    means = found["mean"].sel(targets=targets)
    return str(found["predictor"].values[np.nanargmax(means.values)]).split("/")[0]


def test_the_leader_on_the_same_targets_whichever_set_is_in_domain(torchgeo):
    datasets = list(torchgeo["linear/probe"].columns)
    assert len(datasets) == 11
    of_knn, of_both = {}, {}
    for home in datasets:
        found = comparison(evidence_of(torchgeo, datasets, [home]))
        assert leader(found, "linear") == "linear"
        of_knn[home], of_both[home] = leader(found, "knn"), leader(found, "all")
    assert {d for d, name in of_knn.items() if name == "linear"} == {"forestnet", "m-brick-kiln"}
    assert {d for d, name in of_both.items() if name == "knn"} == {"m-pv4ger"}


def test_means_over_the_other_sets_of_torchgeo(torchgeo):
    datasets = list(torchgeo["linear/probe"].columns)
    found = comparison(evidence_of(torchgeo, datasets, ["m-eurosat"]))
    home = f"d{datasets.index('m-eurosat')}"
    told = {
        (p, t): found["mean"].sel(predictor=f"{p}@{home}", targets=t).item()
        for p in ("knn/k5", "linear/probe")
        for t in ("knn", "linear")
    }
    assert told["knn/k5", "knn"] == pytest.approx(0.627, abs=0.0006)
    assert told["knn/k5", "linear"] == pytest.approx(0.511, abs=0.0006)
    assert told["linear/probe", "knn"] == pytest.approx(0.582, abs=0.0006)
    assert told["linear/probe", "linear"] == pytest.approx(0.740, abs=0.0006)


def test_the_rank_elsewhere_is_as_good_as_probing_the_target(torchgeo):
    datasets = list(torchgeo["linear/probe"].columns)
    elsewhere, probed = {}, {}
    for place, target in enumerate(datasets):
        # Each set a cluster of its own, but for the target and its twin: weights agree so.
        twins = {target, TWINS.get(target), *(a for a, b in TWINS.items() if b == target)}
        clusters = ["same images" if d in twins else "" for d in datasets]
        evidence = evidence_of(torchgeo, datasets, [], cluster=clusters)
        knn = Column(evidence.variants["knn/k5"], EACH_TARGET)
        found = predictions(evidence, [knn])
        column = [t.key for t in found.targets].index(("linear/probe", f"d{place}"))
        null = rank_elsewhere(evidence, found)[:, column]
        truth = found.scores[:, found.target_columns[column]]
        both = np.isfinite(null) & np.isfinite(truth)
        elsewhere[target] = stats.spearmanr(null[both], truth[both]).statistic
        probed[target] = observed(found)[2, 0, column]
    assert np.mean(list(elsewhere.values())) == pytest.approx(0.788, abs=0.0006)
    assert np.mean(list(probed.values())) == pytest.approx(0.774, abs=0.0006)
    assert sum(elsewhere[d] > probed[d] for d in datasets) == 7


def biobench_evidence(biobench, knn=(), without=(), parameters=False):
    """Linear scores of all models; `knn` names data sets on which they are called kNN."""
    rows = biobench[~biobench["dataset"].isin(without)]
    table = rows.set_index(["model", "dataset"])["value"].to_xarray().to_pandas()
    models = rows.drop_duplicates("model").set_index("model").loc[table.index]
    inside = ["imagenet1k", "newt"]
    datasets = [*inside, *(d for d in table.columns if d not in inside)]
    tables = {"linear/probe": table.copy()}
    if knn:
        tables["linear/probe"][list(knn)] = np.nan
        tables["knn/own"] = table.reindex(columns=list(knn)).reindex(columns=table.columns)
    if parameters:
        size = tables["linear/probe"].copy()
        size.loc[:, :] = np.nan
        size["imagenet1k"] = np.log(models["parameters"])
        tables["predictors/log_parameters"] = size
    evidence = evidence_of(tables, datasets, inside, family=models["family"].tolist())
    sizes = ("model", models["parameters"].to_numpy(float))
    return make_evidence(evidence.cube.assign_coords(parameters=sizes))


def test_the_probes_of_biobench(biobench):
    found = comparison(biobench_evidence(biobench)).sel(targets="linear")
    assert found["n_targets"].max() == 11
    trusted = fidelity(biobench_evidence(biobench))
    means = trusted.spearman.mean(axis=1)
    assert means == pytest.approx([0.661, 0.769], abs=0.0006)


def test_the_null_models_of_biobench(biobench):
    """Over its ten biology tasks, without the overlapping iNat 2021."""
    evidence = biobench_evidence(biobench, without=["inat21"])
    trusted = fidelity(evidence)
    nulls = null_columns(evidence, trusted.found)
    whole = with_null_models(trusted.found, nulls)
    means = dict(
        zip(
            ["imagenet", "newt", *(n.name for n in nulls.models)],
            observed(whole)[2].mean(axis=1),
            strict=True,
        )
    )
    assert set(means) == {"imagenet", "newt", "parameters", "rank_elsewhere"}
    assert means["rank_elsewhere"] == pytest.approx(0.779, abs=0.0006)
    assert means["newt"] == pytest.approx(0.755, abs=0.0006)
    assert means["imagenet"] == pytest.approx(0.654, abs=0.0006)
    assert means["parameters"] == pytest.approx(0.469, abs=0.0006)
    assert set(nulls.unknown) == {"gmacs", "imagenet_top1"}


def test_a_probe_does_not_vanish_beside_a_knn_predictor_of_linear_targets(biobench):
    """The fault: linear@ImageNet left the first screen, as all targets were its own protocol's."""
    evidence = biobench_evidence(biobench, knn=["newt"], parameters=True)
    found = comparison(evidence).sel(targets="all")
    names = set(found["predictor"].values)
    assert {"linear/probe@d0", "knn/own@d1", "predictors/log_parameters@d0"} <= names
    assert (found["compared"].sel(predictor=list(names)) == 1).all()
    mean = found["mean"]
    assert mean.sel(predictor="linear/probe@d0") == pytest.approx(0.66, abs=0.02)
    assert mean.sel(predictor="knn/own@d1") == pytest.approx(0.77, abs=0.02)
    assert mean.sel(predictor="predictors/log_parameters@d0") == pytest.approx(0.48, abs=0.02)


def cube_of(shared_data, profile, *patterns):
    """A published table through the product's own import, as a cube of an empty study."""
    tables = shared_data / "tables"
    paths = [path for pattern in patterns for path in sorted(tables.glob(pattern))]
    scores = read_published(paths, PROFILES[profile]).scores
    names = ["extraction", "neighbors", "linear", "fewshot", "transfer", "transferability"]
    sections = {name: {} for name in (*names, "correlation", "report", "pretrain", "finetune")}
    study = Study.model_validate({"datasets": {}, "models": {}, "knn": {"k": [1]}, **sections})
    return to_cube(study, scores)


def table_of(cube):
    """Scores of the only protocol, by model and data set."""
    scores = comparable(cube, "top1").isel(variant=0).transpose("model", "dataset")
    return scores.to_pandas()


def mean_rho(table, home, targets, rows=slice(None)):
    """Mean ρ of the home scores with the targets', each over the models that have both."""
    found = []
    for target in targets:
        pair = table[[home, target]].dropna().loc[rows]
        rho, _ = spearman(pair[[home]].to_numpy(), pair[[target]].to_numpy())
        found.append(rho.item())
    return np.mean(found)


def test_a_protocol_with_another_metric_does_not_vanish(shared_data):
    cube = cube_of(shared_data, "torchgeo_bench", "torchgeo_bench.csv")
    assert cube.sizes == {"model": 41, "dataset": 11, "variant": 2, "metric": 2}
    used = metrics_used(cube, "top1").sel(variant="knn/torchgeo_bench")
    assert set(used.sel(dataset=["benv2", "m-bigearthnet", "treesatai"]).values) == {"micro_map"}
    assert (used == "top1").sum() == 8
    assert (comparable(cube, "top1").notnull().any("model")).all()  # noqa: PD004


def test_families_of_biobench_and_the_cost_of_a_pick(biobench):
    trusted = fidelity(biobench_evidence(biobench))
    found, families = trusted.found, trusted.families
    jackknife = Jackknife(trusted.spearman.mean(axis=1), 0.95)
    for gone in members_of(families):
        part = replace(found, scores=np.where(gone[:, None], np.nan, found.scores))
        jackknife.leave_out(observed(part)[2].mean(axis=1))
    low, high = jackknife.interval()
    assert low == pytest.approx([0.300, 0.573], abs=0.0006)
    assert high == pytest.approx([0.857, 0.881], abs=0.0006)


def test_regret_on_biobench(biobench):
    table = biobench.pivot_table(index="model", columns="dataset", values="value")
    sizes = biobench.drop_duplicates("model").set_index("model").loc[table.index, "parameters"]
    tasks = [d for d in table.columns if d not in ("imagenet1k", "newt", "inat21")]
    ranks = table[tasks].rank(pct=True)

    def regret(proxy_of):
        found = []
        for task in tasks:
            pair = pd.DataFrame({"proxy": proxy_of(task), "truth": table[task]}).dropna()
            proxy, truth = pair["proxy"].to_numpy(float), pair["truth"].to_numpy()
            found.append(naive_regret(choice(proxy), truth) / (truth.max() - np.median(truth)))
        return np.mean(found)

    elsewhere = regret(lambda task: ranks.drop(columns=task).mean(axis=1))
    assert elsewhere == pytest.approx(0.318, abs=6e-4)
    assert regret(lambda task: table["newt"]) == pytest.approx(0.489, abs=6e-4)
    assert regret(lambda task: table["imagenet1k"]) == pytest.approx(0.319, abs=6e-4)
    assert regret(lambda task: sizes) == pytest.approx(0.821, abs=6e-4)


@pytest.mark.slow
def test_timm_orders_models_less_and_less_where_people_choose(shared_data):
    cube = cube_of(shared_data, "timm", "results-*.csv")
    table = table_of(cube)
    assert len(table) == 1_557
    assert cube["parameters"].max() > 1e9  # of thousands separators
    shifts = ["imagenet-real", "imagenetv2-matched-frequency", "sketch", "imagenet-r", "imagenet-a"]
    v2 = mean_rho(table, "imagenet", ["imagenetv2-matched-frequency"])
    assert v2 == pytest.approx(0.995, abs=6e-4)
    best = table.sort_values("imagenet", ascending=False, kind="stable")
    for count, expected in ((1_557, 0.972), (100, 0.808), (30, 0.706)):
        found = mean_rho(best.iloc[:count], "imagenet", shifts)
        assert found == pytest.approx(expected, abs=6e-4), count


@pytest.mark.slow
def test_clip_lies_far_above_the_line_of_the_testbed(shared_data):
    cube = cube_of(shared_data, "imagenet_testbed", "imagenet_testbed.csv")
    table = table_of(cube)
    assert table.shape == (338, 213)
    shifts = ["imagenetv2-matched-frequency", "imagenet-a", "imagenet-r", "imagenet-sketch",
              "objectnet-1.0-beta"]  # fmt: skip
    assert mean_rho(table, "val", shifts) == pytest.approx(0.959, abs=6e-4)
    trained = table[~table.index.str.contains("_epochs|_subsample")]
    assert len(trained) == 220
    assert mean_rho(trained, "val", shifts) == pytest.approx(0.888, abs=6e-4)
    assert mean_rho(table[table["val"] > 0.82], "val", shifts) == pytest.approx(0.719, abs=6e-4)

    names = (shared_data / "tables" / "imagenet_testbed_baseline.txt").read_text().split()
    assert len(names) == 104
    sizes = cube.assign(n_test=("dataset", np.full(213, 50_000)))  # as the README's logits
    evidence = replace(make_evidence(sizes), baseline=tuple(names))
    found = effective_robustness(evidence).isel(head=0)
    assert found.attrs["baseline_models"] == 104
    for dataset, resnet, vit in (
        ("imagenet-a", (22.8, 0.6), (31.4, 0.9)),
        ("imagenet-r", (60.5, 22.7), (69.3, 25.1)),
        ("imagenet-sketch", (35.4, 11.9), None),
        ("imagenetv2-matched-frequency", (52.6, 46.8), None),
        ("objectnet-1.0-beta", (40.3, 17.1), None),
    ):
        for model, pair in (("resnet50_clip_zeroshot", resnet), ("vit_b_32_clip_zeroshot", vit)):
            if pair is not None:
                of = found.sel(dataset=dataset, model=model)
                told = round(100 * float(of["accuracy"]), 1), round(100 * float(of["expected"]), 1)
                assert told == pair, (dataset, model)
                assert of["outside"] == 1
    assert (found["bend"].sel(dataset="imagenet-a").dropna("model") < 1e-6).all()  # the pivot
