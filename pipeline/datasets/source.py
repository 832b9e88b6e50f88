"""What a data source is: its name and settings, how it is opened, which samples it holds.

`source_list` has all sources; whoever checks, opens, lists, watches or counts a data set asks them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pipeline.project.later import Later

if TYPE_CHECKING:  # an entry of params.yaml is checked by its source; `status` needs no pandas
    import pandas as pd

    from pipeline.datasets.roots import Root
    from pipeline.datasets.samples import Found
    from pipeline.datasets.settings import Dataset


OPEN_PATH = Later("pipeline.datasets.doors", "open_path")
"""Opens the folder or the archive at `path`."""


SOURCE_KEYS = ("manifest", "columns", "class_folder")
"""Keys of a data set that some sources read and others have no use for."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One way in which labelled images are stored.

    Attributes
    ----------
    name : str
        What params.yaml's `source` says, up to a colon.
    called, pattern : str
        The reader's word for what follows the colon (``NAME``), and a pattern of it; both ""
        where nothing follows.
    needs : tuple of str
        Keys of its entry that have to be there.
    reads : tuple of str
        Further keys of its entry that say where its samples are and what they are; others of that
        kind are refused (`SOURCE_KEYS`), as they would say something and change nothing.
    samples : callable
        All its samples, given the data set's name, its entry and the root, listed once (`Kept`;
        None where there is none).
    open : callable, optional
        What holds its files, given name and entry; None where there are no images, only embeddings.
    preview : callable, optional
        Its samples, given name and entry, before anything is made or opened; None: it is opened.
    is_planned : bool
        Whether `plan` can list it, before the index stage has made something of it.
    is_watched : callable
        Whether the files are the user's, who may change them after they were indexed.
    suffix : str
        Of the files that hold many images each (``.tar``); "" where each file is one.
    filters : bool
        Whether its rows have columns that `filter` may ask for.
    is_selective : bool
        Whether it takes what it knows out of a folder that holds more.
    paths_are_text : bool
        Whether paths come from a table, and not from a file system, which holds any bytes.
    split_by : {"sha256", "path"}
        What decides on which side of a split an image comes.
    """

    name: str
    called: str = ""
    pattern: str = ""
    needs: tuple[str, ...] = ("path",)
    reads: tuple[str, ...] = ()
    samples: Callable[..., Found]
    open: Callable[[str, Dataset], Root] | None = OPEN_PATH
    preview: Callable[[str, Dataset], pd.DataFrame] | None = None
    is_planned: bool = True
    is_watched: Callable[[Dataset], bool] = lambda dataset: True
    suffix: str = ""
    filters: bool = False
    is_selective: bool = False
    paths_are_text: bool = False
    split_by: Literal["sha256", "path"] = "sha256"

    @property
    def words(self) -> str:
        """What may be said in params.yaml: ``builtin:NAME``."""
        return f"{self.name}:{self.called}" if self.called else self.name

    def fits(self, text: str) -> bool:
        """Whether params.yaml's `source` means this one."""
        name, colon, of = text.partition(":")
        return (
            name == self.name
            and bool(colon) == bool(self.pattern)
            and re.fullmatch(self.pattern, of) is not None
        )
