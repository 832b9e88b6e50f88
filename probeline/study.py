"""A finished study, as tables and labelled arrays."""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from cache.errors import ProbelineError

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from pipeline.datasets.index import Index
    from pipeline.study.schema import Study


_NUMBERS = ("draw", "rank", "log_probability", "confidence")


class OpenedStudy:
    """What a study found; all of it is read, when it is asked for.

    Tables are those of the last ``dvc repro``. Reading changes the process's working directory for
    its duration, as paths are relative to the project: not for two threads at once.

    Parameters
    ----------
    folder : path
        Of the project.

    Attributes
    ----------
    folder : Path

    Raises
    ------
    ProbelineError
        When the folder is no project, or its params.yaml no study.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder).absolute()
        if not (self.folder / "dvc.yaml").is_file():
            raise ProbelineError(
                str(folder),
                "is not a Probeline project",
                expected="a folder with dvc.yaml and params.yaml",
                found="no dvc.yaml there" if self.folder.is_dir() else "no such folder",
                remedy="name the project's folder",
            )
        self._study = self._read_study()

    def __repr__(self) -> str:
        return (
            f"<Probeline study of {len(self.models)} models and {len(self.datasets)} data sets, "
            f"{self.folder}>"
        )

    @property
    def settings(self) -> Study:
        """params.yaml, checked: ``study.settings.linear.heads`` and so on."""
        return self._study

    @property
    def models(self) -> list[str]:
        """Names of the study's models, in its order."""
        return list(self._study.models)

    @property
    def datasets(self) -> list[str]:
        """Names of the study's data sets, in its order."""
        return list(self._study.datasets)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Every score, a row each: results/scores.csv (`probeline scores dictionary`)."""
        from pipeline.project.paths import SCORES_CSV
        from pipeline.results.score_table import read_scores

        with self._inside():
            return read_scores(SCORES_CSV)

    @cached_property
    def cube(self) -> xr.Dataset:
        """The same scores by model, dataset, variant and metric; NaN where there is none."""
        from pipeline.results.cube import read_cube

        with self._inside():
            return read_cube()

    @cached_property
    def statistics(self) -> Mapping[str, xr.Dataset]:
        """Every statistic by name; the attributes of each say how it was computed."""
        from pipeline.machine.netcdf import read_netcdf_groups
        from pipeline.project.paths import CORRELATION_NC

        with self._inside():
            groups = read_netcdf_groups(CORRELATION_NC)
        return {"correlations": groups.pop(""), **groups}

    def images(self, dataset: str) -> pd.DataFrame:
        """A row for each image of a data set: path, class, label, split, group, sha256 and more.

        Raises
        ------
        ProbelineError
            When the study has no such data set, or it is not indexed.
        """
        return self._index(dataset).table.copy()

    def outcomes(
        self, protocol: str, dataset: str, model: str, variant: str | None = None
    ) -> pd.DataFrame:
        """What a protocol said of every test image.

        Parameters
        ----------
        protocol : str
            E.g. ``linear`` or ``knn``.
        dataset, model : str
        variant : str, optional
            As scores.csv calls it; by default the first that was run.

        Returns
        -------
        DataFrame
            A row for each test image that was judged, in the index's order: image, class, predicted
            (both as names; of coarse classes these), hit, rank (of the true class, from 1),
            log_probability (of the true class), confidence (probability of the predicted class);
            the last two NaN where scores are no probabilities. Of few-shot also draw, one after the
            other.

        Raises
        ------
        ProbelineError
            When a name is not the study's, or there is no such record that answers the study.
        """
        import pandas as pd

        from pipeline.results.current import Current

        index = self._index(dataset)
        _require(model, self.models, "model")
        with self._inside():
            _require(protocol, self._protocols(), "protocol")
            record = Current(self._study).record(protocol, dataset, model)
            place = f"{protocol}, data set {dataset}, model {model}"
            if record is None:
                raise ProbelineError(place, "there is no current record", remedy="run `dvc repro`")
            rows = {str(row["variant"]): row["details"] for row in record.scores}
            variant = next(iter(rows)) if variant is None else variant
            _require(variant, rows, "variant")
            table = record.outcomes().to_pandas()
        if "sample" not in table:
            raise ProbelineError(place, "judges no images one by one")
        table = table[table["variant"] == variant].reset_index(drop=True)
        classes = rows[variant].get("class_names", index.classes)  # its own, if they are coarse
        splits = table["split"] if "split" in table else pd.Series("val", table.index)
        images = pd.concat(
            [index.split(str(split)).iloc[own["sample"]].set_axis(own.index)
             for split, own in table.groupby(splits)]
        ).sort_index()  # fmt: skip
        told = {
            "image": images["path"],
            "class": images["class"],
            "predicted": [classes[place] for place in table["predicted"]],
            "hit": table["rank"] == 1,
        }
        numbers = [n for n in _NUMBERS if n in table]
        return pd.DataFrame({**told, **{name: table[name] for name in numbers}})

    def embeddings(self, dataset: str, model: str, split: str = "val") -> xr.Dataset:
        """The cached features of a split; read from disk as far as they are used.

        Parameters
        ----------
        dataset, model : str
        split : str
            ``train``, ``val``, or of augmented views ``train_view_1`` and so on.

        Returns
        -------
        Dataset
            ``embedding`` (sample, feature), ``label`` (sample), and the samples' ids. The
            attributes hold all that the numbers depend on.

        Raises
        ------
        ProbelineError
            When a name is not the study's, or the cell is missing, not whole or stale.
        """
        import xarray as xr

        from cache.cell import Cell
        from pipeline.embeddings.cells import open_all_cells
        from pipeline.project.paths import cell_address

        index = self._index(dataset)
        _require(model, self.models, "model")
        with self._inside():
            of_splits = open_all_cells(self._study, index, model)
            views = [f"train_view_{i + 1}" for i in range(self._study.extraction.views)]
            _require(split, [*of_splits, *views], "split")
            cell = Cell.open(cell_address(dataset, model, split))
            store = self.folder / cell.address.store
        stored: xr.Dataset = xr.open_zarr(store, group=split, chunks=None)
        return stored

    def _index(self, dataset: str) -> Index:
        from pipeline.datasets.index import read_index

        _require(dataset, self.datasets, "data set")
        with self._inside():
            return read_index(dataset)

    def _protocols(self) -> list[str]:
        from pipeline.study.records import protocols_of

        return list(protocols_of(self._study))

    def _read_study(self) -> Study:
        from pipeline.study.params import load_study

        with self._inside():
            return load_study()

    @contextlib.contextmanager
    def _inside(self) -> Iterator[None]:
        with contextlib.chdir(self.folder):
            yield


def _require(name: str, known: Collection[str], what: str) -> None:
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=3)
    raise ProbelineError(
        f"{what} {name[:100]!r}",
        f"the study has no such {what}",
        expected=", ".join(list(known)[:12]) + (", …" if len(known) > 12 else ""),
        remedy=f"did you mean {' or '.join(near)}?" if near else "name one of these",
    )
