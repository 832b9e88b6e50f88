"""The options of `probeline scores import`: what a user says of a table, as a `Layout`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from cache.errors import ProbelineError

if TYPE_CHECKING:
    from pipeline.results.layout import Layout

PROFILES = (
    "timm", "imagenet_testbed", "clip_benchmark", "clip_benchmark_probes", "torchgeo_bench",
    "biobench",
)  # fmt: skip
"""Names of `pipeline.results.profiles.PROFILES`, which need not be imported to show the help."""

_OPTIONS: Sequence[Callable[[Any], Any]] = (
    click.option("--profile", type=click.Choice(PROFILES), help="A published table's own layout."),
    click.option("--wide", is_flag=True, help="A row is a model, every other column a data set."),
    click.option("--model", help="Column of the models, or text with columns: '{name}@{size}'."),
    click.option("--dataset", help="The data set that all scores are on."),
    click.option("--value", help="Column of the scores; a file is a data set called like it."),
    click.option("--protocol", help="Of all scores; classifier: the same one on all data sets."),
    click.option(
        "--metric", "metric", multiple=True,
        help="Of all scores; or WORD=NAME: what a word of the file's metric column means.",
    ),
    click.option(
        "--column", multiple=True, metavar="OURS=THEIRS", help="What a column is called there."
    ),
    click.option("--where", multiple=True, metavar="COLUMN=WORD", help="Take such rows alone."),
    click.option("--without", multiple=True, metavar="COLUMN", help="Leave a column out."),
    click.option("--keep", type=click.Choice(["first", "best"]), help="Of rows of one score."),
    click.option("--percent", is_flag=True, help="Accuracies are percentages."),
    click.option(
        "--n-test", multiple=True, metavar="N|DATASET=N", help="Test images, of all or of one."
    ),
    click.option("--in-domain", multiple=True, metavar="DATASET", help="The others are out of it."),
    click.option("--without-intervals", is_flag=True, help="Leave out ci_low and ci_high."),
)  # fmt: skip


def layout_options(command: Any) -> Any:
    """Give a command all options that a layout is made of."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def layout_of(said: Mapping[str, Any], several: bool) -> Layout:
    """The layout that the options say; over that of the profile, if there is one.

    Parameters
    ----------
    said : mapping
        The options by their names.
    several : bool
        Whether there are several files.

    Raises
    ------
    ProbelineError
        When an option is not of its form.
    """
    from pipeline.results.layout import EVERY, Layout
    from pipeline.results.profiles import PROFILES as KNOWN

    base = KNOWN[said["profile"]] if said["profile"] else Layout()
    columns = dict(base.columns) | _pairs("--column", said["column"])
    columns |= {name: said[name] for name in ("model", "value") if said[name]}
    constants = dict(base.constants)
    constants |= {name: said[name] for name in ("dataset", "protocol") if said[name]}
    words = {name: dict(of) for name, of in base.words.items()}
    for metric in said["metric"]:
        if "=" in metric:
            words.setdefault("metric", {}).update(_pairs("--metric", [metric]))
        else:
            constants["metric"] = metric
    of_dataset = {name: dict(of) for name, of in base.of_dataset.items()}
    for number in said["n_test"]:
        pair = _pairs("--n-test", [number]) if "=" in number else {EVERY: number}
        of_dataset.setdefault("n_test", {}).update(pair)
    if said["in_domain"]:
        of_dataset["role"] = {EVERY: "out_of_domain"} | dict.fromkeys(
            said["in_domain"], "in_domain"
        )
    by_file = several or (bool(said["value"]) and not {"dataset"} & {*columns, *constants})
    return replace(
        base,
        columns=columns,
        constants=constants,
        words=words,
        where={**base.where, **_pairs("--where", said["where"])},
        without=(*base.without, *said["without"]),
        keep=said["keep"] or base.keep,
        wide=base.wide or said["wide"],
        file_is_dataset=base.file_is_dataset or (by_file and not said["wide"]),
        of_dataset=of_dataset,
        percent=base.percent or said["percent"],
        intervals=base.intervals and not said["without_intervals"],
    )


def _pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    found = {}
    for pair in given:
        name, equals, word = pair.rpartition("=") if option == "--n-test" else pair.partition("=")
        if not (name and equals and word):
            raise ProbelineError(
                option, "is not of the form NAME=WORD", found=pair, remedy="write it with ="
            )
        found[name] = word
    return found
