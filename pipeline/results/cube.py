"""All scores of a study as one labelled cube; missing cells stay visible."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from cache.errors import ProbelineError
from cache.files import sha256_file
from pipeline.study import metrics
from pipeline.datasets.settings import Dataset
from pipeline.models.settings import Model
from pipeline.project.paths import SCORES_CSV, SCORES_NC
from pipeline.study.metric import TRANSFERABILITY
from pipeline.study.protocol_list import classifies
from pipeline.study.records import is_asked, protocols_of
from pipeline.machine.netcdf import read_netcdf
from pipeline.results.once import once_per_cube
from pipeline.results.score_table import (
    CELL,
    CELL_COSTS,
    DATASET_WORDS,
    MODEL_SIZES,
    MODEL_WORDS,
    typed,
)
from pipeline.results.variant_table import FIELDS, variant_coords, variants_in
from pipeline.study.schema import Study
from pipeline.study.seen import Seen
from pipeline.study.variant import Variant

SEEN = ("", *Seen)
"""What a number of the cube's ``seen`` means."""

TABLE_DIGEST = "scores_csv_sha256"
"""An attribute of the cube: of scores.csv, whose own form has no room for a digest."""

RECORDS_DIGEST = "records_sha256"
"""An attribute of the cube: of all protocols' records, by which DVC sees in one file that they change."""

_SCORED = ("value", "ci_low", "ci_high", "seconds")
"""Variables of the cube that a score has."""


def to_cube(study: Study, scores: pd.DataFrame) -> xr.Dataset:
    """The same scores as a labelled cube.

    Returns
    -------
    Dataset
        Dimensions model, dataset, variant (``protocol/variant``) and metric: first those that the
        study names, then those imported. Variables value, ci_low, ci_high, seconds (float64, NaN
        where not scored; of several seeds their mean, which has no interval); n_test per data set
        (0 where nobody said it); asked per model, data set and variant: 0 where the study does not
        run its own protocol, so that a NaN is no gap; images and extraction_seconds per model and
        data set: forward passes behind the embeddings, and what they took (NaN where unknown);
        seen per model and data set: what the model saw of it, a place in `SEEN`.
        Coordinates carry the words on models (family, backbone, method, supervision, objective), their
        sizes (`MODEL_SIZES`; NaN where unknown), the words on data
        sets (role, cluster, shift), of variants the protocol, the other fields of `Variant`,
        the label, and whether it is the study's own, and of metrics whether higher is better (1, 0;
        -1 where that depends on the predictor).
    """
    keyed = typed(scores)
    variants = variants_in(study, keyed)
    keyed["variant"] = [
        variants[key].full_name for key in zip(keyed["protocol"], keyed["variant"], strict=True)
    ]
    labels = {
        "model": _names(study.models, keyed["model"]),
        "dataset": _names(study.datasets, keyed["dataset"]),
        "variant": [variant.full_name for variant in variants.values()],
        "metric": _names((), keyed["metric"]),
    }
    cells = _one_row_each(keyed)
    n_test = keyed.groupby("dataset")["n_test"].max().reindex(labels["dataset"]).fillna(0)
    models = keyed.drop_duplicates("model").set_index("model")
    datasets = keyed.drop_duplicates("dataset").set_index("dataset")
    sizes = keyed.groupby("model")[list(MODEL_SIZES)].first().reindex(labels["model"])
    return xr.Dataset(
        {name: (tuple(labels), _placed(cells, labels, name)) for name in _SCORED}
        | {"n_test": ("dataset", n_test.to_numpy(np.int64))}
        | {"asked": (("model", "dataset", "variant"), _asked(study, labels, variants.values()))}
        | {
            name: (("model", "dataset"), _placed(_known(keyed, name), labels, name))
            for name in CELL_COSTS
        }
        | {"seen": (("model", "dataset"), _seen(keyed, labels))},
        coords=labels
        | variant_coords(list(variants.values()))
        | {"own": ("variant", _own(study, keyed, labels["variant"]))}
        | {"higher_is_better": ("metric", [metrics.direction(name) for name in labels["metric"]])}
        | {
            word: ("model", _words(study.models, models, labels["model"], word))
            for word in MODEL_WORDS
        }
        | {name: ("model", sizes[name].to_numpy(np.float64)) for name in MODEL_SIZES}
        | {
            word: ("dataset", _words(study.datasets, datasets, labels["dataset"], word))
            for word in DATASET_WORDS
        },
        attrs={
            "intervals": "95%: Clopper-Pearson for top-k, stratified bootstrap for "
            "mean_per_class; of fewshot Student's t over draws"
        },
    )


def read_cube() -> xr.Dataset:
    """The cube that stage `collect` wrote.

    Raises
    ------
    ProbelineError
        When it is absent, damaged, or without the fields of variants.
    """
    cube = read_netcdf(SCORES_NC)
    if missing := [name for name in FIELDS if name not in cube.coords]:
        raise ProbelineError(
            str(SCORES_NC),
            "was written by another version",
            expected=f"coordinates of variants {', '.join(FIELDS)}",
            found=f"no {', '.join(missing)}",
            remedy="run `dvc repro` (or the stage `collect`)",
        )
    return cube


def require_same_table(cube: xr.Dataset) -> None:
    """Compare scores.csv with the digest that the cube, which was made with it, holds of it.

    Raises
    ------
    ProbelineError
        When it is absent, or another table.
    """
    try:
        found = sha256_file(SCORES_CSV)
    except FileNotFoundError:
        raise ProbelineError(
            str(SCORES_CSV), "there are no scores yet", remedy="run `dvc repro`, which makes them"
        ) from None
    expected = cube.attrs.get(TABLE_DIGEST, found)  # absent from cubes of older versions
    if found != expected:
        raise ProbelineError(
            str(SCORES_CSV),
            f"is not the table that {SCORES_NC} was made with",
            expected=f"SHA-256 {expected}",
            found=f"SHA-256 {found}",
            remedy="run the stage `collect`, or `dvc repro -f collect`; to bring in other scores, "
            "`probeline scores import FILE.csv`",
        )


def _names(first: Iterable[str], others: pd.Series[str]) -> list[str]:
    return list(dict.fromkeys([*first, *others.unique()]))


def _own(study: Study, keyed: pd.DataFrame, variants: list[str]) -> list[int]:
    """1 for variants of a protocol that the study runs on some cell of its own, else 0."""
    of_study = (
        keyed["protocol"].isin(protocols_of(study))
        & keyed["model"].isin(list(study.models))
        & keyed["dataset"].isin(list(study.datasets))
    )
    return pd.Index(variants).isin(keyed.loc[of_study, "variant"].unique()).astype(int).tolist()


def _asked(
    study: Study, labels: Mapping[str, Sequence[str]], variants: Iterable[Variant]
) -> NDArray[np.int8]:
    """Shape (n_models, n_datasets, n_variants); what only imported scores can fill counts as 1."""
    shape = [len(labels[dim]) for dim in ("model", "dataset", "variant")]
    asked = np.ones(shape, np.int8)
    of_variants = np.array([variant.protocol for variant in variants], np.str_)
    for protocol in protocols_of(study):
        columns = np.flatnonzero(of_variants == protocol)
        for m, model in enumerate(study.models):
            for d, dataset in enumerate(study.datasets):
                if not is_asked(study, protocol, dataset, model):
                    asked[m, d, columns] = 0
    return asked


def _words(
    entries: Mapping[str, Model] | Mapping[str, Dataset],
    rows: pd.DataFrame,
    names: list[str],
    word: str,
) -> list[str]:
    """What params.yaml says of models (or data sets), else what the scores' table says."""
    said = rows[word].to_dict() | {n: getattr(entry, word) or "" for n, entry in entries.items()}
    return [said[name] for name in names]


def _one_row_each(keyed: pd.DataFrame) -> pd.DataFrame:
    """Scores of several seeds as their mean; the interval of one seed is not that of the mean."""
    rows = keyed[[*CELL, *_SCORED]]
    several = rows.duplicated(list(CELL), keep=False)
    if not several.any():
        return rows
    means = rows[several].groupby(list(CELL), sort=False)[["value", "seconds"]].mean()
    means = means.reset_index().reindex(columns=rows.columns)
    return pd.concat([rows[~several], means.astype(rows.dtypes)], ignore_index=True)


def _known(keyed: pd.DataFrame, name: str) -> pd.DataFrame:
    """One row for each model and data set of which a cost is known."""
    rows = keyed[["model", "dataset", name]].dropna(subset=name)
    return rows.drop_duplicates(["model", "dataset"])


def _seen(keyed: pd.DataFrame, labels: Mapping[str, Sequence[str]]) -> NDArray[np.int8]:
    """What each model saw of each data set, by its place in `SEEN`."""
    codes = np.zeros([len(labels["model"]), len(labels["dataset"])], np.int8)
    rows = keyed[["model", "dataset", "seen"]].drop_duplicates()
    for model, dataset, said in rows[rows["seen"].isin(SEEN[1:])].itertuples(index=False):
        codes[labels["model"].index(model), labels["dataset"].index(dataset)] = SEEN.index(said)
    return codes


def seen_in(cube: xr.Dataset) -> dict[tuple[str, str], Seen]:
    """What the models saw of the data sets, by model and data set; of others nothing is known."""
    if "seen" not in cube:
        return {}
    codes = cube["seen"].transpose("model", "dataset").values
    models, datasets = cube["model"].values, cube["dataset"].values
    return {
        (str(models[m]), str(datasets[d])): Seen(SEEN[codes[m, d]])
        for m, d in zip(*np.nonzero(codes), strict=True)
    }


def _placed(
    rows: pd.DataFrame, labels: Mapping[str, Sequence[str]], name: str
) -> NDArray[np.float64]:
    """A column of a table as an array over those labels that the table has."""
    dims = {dim: names for dim, names in labels.items() if dim in rows}
    array = np.full([len(names) for names in dims.values()], np.nan)
    places = tuple(pd.Index(names).get_indexer(pd.Index(rows[d])) for d, names in dims.items())
    array[places] = rows[name].to_numpy(np.float64)
    return array


def headline_variants(cube: xr.Dataset) -> Mapping[str, str]:
    """The variant that stands for each protocol that judges images.

    It is the first of those scored on the most data sets: what transfer names first may be a probe
    that only one data set has. Imported variants stand for protocols that the study does not run.
    """
    scored = (cube["value"].count(["model", "metric"]) > 0).sum("dataset")
    own = cube.coords.get("own", xr.ones_like(scored))
    best: dict[str, tuple[tuple[int, int], str]] = {}
    for variant, protocol, *rank in zip(
        cube["variant"].values, cube["protocol"].values, own.values, scored.values, strict=True
    ):
        preference = int(rank[0]), int(rank[1])
        if classifies(str(protocol)) and preference > best.get(str(protocol), ((-1, -1), ""))[0]:
            best[str(protocol)] = preference, str(variant)
    return {protocol: variant for protocol, (_, variant) in best.items()}


def cheap_predictors(cube: xr.Dataset) -> list[str]:
    """Variants of the protocol that judges no images: ``predictors/rankme`` and so on."""
    return [str(v) for v in cube["variant"].values[~_judges(cube).values]]


@once_per_cube
def metrics_used(cube: xr.Dataset, metric: str) -> xr.DataArray:
    """By which metric each variant's scores on each data set are compared.

    Published tables have several: what a data set has no score of by the study's metric is compared
    by the first other share that it has, so that it does not vanish. Within a column all models
    have the same metric; over columns of different metrics only ranks are comparable.

    Returns
    -------
    DataArray
        Dimensions variant and dataset; "" where there is no score, and for transferability metrics.
    """
    names = [str(name) for name in cube["metric"].values if str(name) not in TRANSFERABILITY]
    known = {of.name: place for place, of in enumerate(metrics.METRICS) if of.is_share}
    names = sorted((n for n in names if n in known), key=lambda n: (n != metric, known[n]))
    has = cube["value"].notnull().any("model").transpose("metric", "variant", "dataset")
    used = np.full(has.shape[1:], "", object)
    for name in reversed(names):
        used[has.sel(metric=name).values] = name
    used[~_judges(cube).values] = ""
    return xr.DataArray(
        used.astype(np.str_), dims=("variant", "dataset"),
        coords={"variant": cube["variant"].values, "dataset": cube["dataset"].values},
    )  # fmt: skip


def same_metric(cube: xr.Dataset, metric: str, variant: str) -> list[str]:
    """Data sets on which a variant's scores are by one metric: that which most of them have.

    Means are over these; over several metrics there are ranks alone.
    """
    used = metrics_used(cube, metric).sel(variant=variant)
    names = [str(name) for name in used.values if name]
    if not names:
        return []
    most = max(dict.fromkeys(names), key=names.count)
    return [str(d) for d, name in zip(used["dataset"].values, used.values, strict=True)
            if name == most]  # fmt: skip


def scored_by(cube: xr.Dataset, metric: str) -> xr.Dataset:
    """The scores by one metric (see `metrics_used`), higher is better: of an error e that is 1 - e.

    Returns
    -------
    Dataset
        Dimensions model, dataset and variant; variables value, ci_low and ci_high, NaN where not
        scored.
    """
    found = _by(cube, metric)
    used = metrics_used(cube, metric)
    for name in dict.fromkeys(used.values.ravel().tolist()):
        if name not in ("", metric):
            found = found.where(used != name, _by(cube, name))
    return found


def _by(cube: xr.Dataset, metric: str) -> xr.Dataset:
    of = metrics.metric_named(metric)
    ends = ("ci_low", "ci_high") if of.higher_is_better else ("ci_high", "ci_low")
    found = cube[["value", *ends]].reindex(metric=[metric]).sel(metric=metric, drop=True)
    good: xr.Dataset = of.goodness(found)
    return good.rename(dict(zip(ends, ("ci_low", "ci_high"), strict=True)))


@once_per_cube
def comparable(cube: xr.Dataset, metric: str) -> xr.DataArray:
    """What ranks the models by each variant: its metric, or of a transferability metric its promise.

    Higher is better; of an error e it is 1 - e. See `metrics_used` for what lacks the metric.

    Returns
    -------
    DataArray
        Dimensions model, dataset and variant; NaN where not scored.
    """
    # Whoever selects from it many times does not pay for the variants' fields each time.
    found = cube["value"].drop_vars(FIELDS).reindex(metric=[metric, "promise"])
    good = metrics.metric_named(metric).goodness(found.sel(metric=metric, drop=True))
    used = metrics_used(cube, metric)
    for name in dict.fromkeys(used.values.ravel().tolist()):
        if name not in ("", metric):
            other = cube["value"].drop_vars(FIELDS).sel(metric=name, drop=True)
            good = good.where(used != name, metrics.metric_named(name).goodness(other))
    scores: xr.DataArray = good.where(_judges(cube), found.sel(metric="promise", drop=True))
    return scores


def _judges(cube: xr.Dataset) -> xr.DataArray:
    """Which variants predict the classes of images."""
    protocols = cube["protocol"]
    return protocols.copy(data=np.array([classifies(str(p)) for p in protocols.values], bool))
