"""All data sources: an entry of `SOURCES` for each; what reads it is imported when it runs.

Whoever reads them goes through this module (`source_list.SOURCES`), as tests add one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.datasets.source import SOURCE_KEYS as SOURCE_KEYS
from pipeline.datasets.source import Source
from pipeline.project.later import Later
from pipeline.project.names import distinct

if TYPE_CHECKING:
    from pipeline.datasets.settings import Dataset

_HERE = "pipeline.datasets"


def _never(dataset: Dataset) -> bool:
    return False


FOLDER = Source(
    name="folder",
    reads=("class_folder",),
    samples=Later(f"{_HERE}.class_folders", "samples_of_folders"),
)

MANIFEST = Source(
    name="manifest",
    needs=("path", "manifest"),
    reads=("columns",),
    samples=Later(f"{_HERE}.manifests", "samples_of_manifest"),
    open=Later(f"{_HERE}.manifests", "open_named"),
    filters=True,
    paths_are_text=True,
)

WEBDATASET = Source(
    name="webdataset",
    reads=("columns",),
    samples=Later(f"{_HERE}.shards", "samples_of_shards"),
    open=Later(f"{_HERE}.shards", "open_shards"),
    suffix=".tar",
)

PARQUET = Source(
    name="parquet",
    reads=("columns",),
    samples=Later(f"{_HERE}.parquet_samples", "samples_of_parquet"),
    open=Later(f"{_HERE}.parquet_images", "open_parquet_images"),
    suffix=".parquet",
    filters=True,
    paths_are_text=True,
)

IMPORTED = Source(
    name="imported",
    needs=(),
    samples=Later(f"{_HERE}.imported", "samples_of_imported"),
    open=None,
    is_planned=False,
    is_watched=_never,
)

BUILTIN = Source(
    name="builtin",
    called="NAME",
    pattern=r"[a-z0-9_]+",
    needs=(),
    samples=Later(f"{_HERE}.class_folders", "samples_of_folders"),
    open=Later(f"{_HERE}.digits", "open_digits"),
    preview=Later(f"{_HERE}.digits", "digits_to_come"),
    is_watched=_never,
    split_by="path",  # its shifts share splits and draws: the path says which digit an image is
)

KNOWN = Source(
    name="known",
    called="NAME",
    pattern=r"[a-z0-9_]+",
    samples=Later(f"{_HERE}.known_layouts", "samples_of_known"),
    open=Later(f"{_HERE}.known_layouts", "open_known"),
    is_watched=Later(f"{_HERE}.known", "is_read_in_place"),
    is_selective=True,
)

TORCHVISION = Source(
    name="torchvision",
    reads=("columns",),
    called="NAME",
    pattern=r"[A-Za-z0-9_]+",
    samples=Later(f"{_HERE}.library_sets", "samples_of_library"),
    open=Later(f"{_HERE}.library_sets", "open_torchvision"),
    is_planned=False,
    is_watched=_never,
)

HUGGING_FACE = Source(
    name="hf",
    reads=("columns",),
    called="OWNER/NAME",
    pattern=r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)?",
    needs=(),
    samples=Later(f"{_HERE}.library_sets", "samples_of_library"),
    open=Later(f"{_HERE}.library_sets", "open_hugging_face"),
    is_planned=False,
    is_watched=_never,
)

SOURCES = distinct(
    FOLDER, MANIFEST, WEBDATASET, PARQUET, IMPORTED, BUILTIN, KNOWN, TORCHVISION, HUGGING_FACE
)


def find_source(text: str) -> Source | None:
    """The source that params.yaml's `source` means; None if there is none."""
    return next((source for source in SOURCES if source.fits(text)), None)


def source_of(dataset: Dataset) -> Source:
    """The source of a data set of params.yaml, which has one."""
    return next(source for source in SOURCES if source.fits(dataset.source))


def that_read(key: str) -> list[str]:
    """The sources that read a key of `SOURCE_KEYS`, by their names."""
    return [source.name for source in SOURCES if key in (*source.needs, *source.reads)]
