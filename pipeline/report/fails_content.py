"""What the section on failures says: its objects, which `fails.html.j2` reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.report.fails_figures import WORST
from pipeline.report.stated import Choice, Rows


@dataclass(frozen=True)
class Picture:
    """An image with its class.

    Attributes
    ----------
    source : str
        Data URI; "" where there is no picture.
    label : str
    path : str
        The file.
    words : str
        For those who do not see it.
    other : bool
        Whether its class is another than the image's beside it.
    """

    source: str
    label: str
    path: str
    words: str
    other: bool = False


@dataclass(frozen=True)
class Miss:
    """A test image that is not recognised.

    Attributes
    ----------
    picture : Picture
    said : str
        What it was taken for.
    note : str
        How sure, or by how many.
    near : tuple of Picture
        The nearest train images, those that have a picture.
    """

    picture: Picture
    said: str
    note: str
    near: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class OnMap:
    """Pictures that the map shows of an image that is pointed at.

    Attributes
    ----------
    pictures : dict of str to str
        Data URIs by row of the map.
    images : int
        That the map shows.
    gaps : str
        Why pictures that were to be there are not; empty where all are.
    """

    pictures: dict[str, str] = field(default_factory=dict)
    images: int = 0
    gaps: str = ""


@dataclass(frozen=True)
class OnTarget:
    """What is said of one data set.

    Attributes
    ----------
    dataset, model, lead : str
        The lead says how many of how many images, by which probe.
    images, errors, classes : int
    sure : bool
        Whether the probe says how sure it is, by which wrong images are chosen.
    compared : tuple of str
        Models of the table of classes.
    by_class, confused : list of dict
        Rows of the tables; the worst classes first.
    in_pairs : int
        Wrong images that the rows of `confused` tell of.
    misses, shared : tuple of Miss
    shared_words, calibrated, covered, mapped : str
        What the lists and figures show, in words.
    """

    dataset: str
    model: str
    lead: str
    images: int
    errors: int
    classes: int
    sure: bool
    compared: tuple[str, ...]
    by_class: Rows
    confused: Rows
    in_pairs: int
    misses: tuple[Miss, ...]
    shared: tuple[Miss, ...]
    shared_words: str
    calibrated: str
    covered: str
    mapped: str


@dataclass(frozen=True)
class Fails:
    """What the section says.

    Attributes
    ----------
    withheld : str
    targets : tuple of OnTarget
    choices : tuple of Choice
        Of the figures: the data set, where there are several.
    colours : tuple of Choice
        Of the map.
    notes : mapping of str to str
        By figure or list, why it is not there.
    pictures : int
        Pictures in this section.
    gaps : str
        Why pictures are not there; empty where all are.
    worst : int
        Classes in table and figure.
    on_map : OnMap
    """

    withheld: str
    targets: tuple[OnTarget, ...] = ()
    choices: tuple[Choice, ...] = ()
    colours: tuple[Choice, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    pictures: int = 0
    gaps: str = ""
    worst: int = WORST
    on_map: OnMap = field(default_factory=OnMap)
