"""Grey images of more than 8 bits: one brightness is white for a whole data set.

What is white is not in the file: a camera of 12 bits writes 0 to 4,095 into 16, and a table of
counts ends somewhere. Decided image by image, the same brightness would be another grey in each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from cache.errors import ProbelineError

BITS = (8, 10, 12, 14, 16)
"""How many bits cameras and scanners use of 16."""


@dataclass(frozen=True)
class Deep:
    """What is known of an image of more than 8 bits.

    Attributes
    ----------
    floating : bool
        Whether its brightness is in floating-point numbers, or in whole ones.
    peak : float
        Of its brightest pixel.
    """

    floating: bool
    peak: float


@dataclass(frozen=True)
class GreyScale:
    """What is white in a data set's grey images of more than 8 bits.

    Attributes
    ----------
    white : float
    floating : bool
        Whether the images hold floating-point numbers, or whole ones.
    peak : float
        The brightest pixel of all, when `white` was decided.
    images : int
        How many images it holds for.
    declared : bool
        Whether the study says it, or it follows from the brightest pixel.
    """

    white: float
    floating: bool
    peak: float
    images: int
    declared: bool

    @classmethod
    def decide(
        cls, name: str, deep: Sequence[Deep], declared: float | None, sealed: float | None
    ) -> Self | None:
        """The scale of a data set; None where no image has more than 8 bits.

        Whole numbers: the fewest of `BITS` that hold the brightest pixel. Floating-point numbers:
        1, or else the power of two from the brightest pixel upwards.

        Parameters
        ----------
        name : str
            The data set.
        deep : sequence of Deep
            Its images of more than 8 bits.
        declared : float or None
            What the study says.
        sealed : float or None
            What the data set's earlier index holds: new images change no old one.

        Raises
        ------
        ProbelineError
            When an image is brighter, or nothing tells what is white. It names the setting.
        """
        if not deep:
            return None
        peaks = {kind: max((d.peak for d in deep if d.floating == kind), default=None)
                 for kind in (False, True)}  # fmt: skip
        peak = max(d.peak for d in deep)
        floating = peaks[True] is not None
        place = f"data set {name}"
        if declared is None and None not in peaks.values():
            raise ProbelineError(
                place,
                "some grey images hold whole numbers, others floating-point numbers",
                expected="one scale of brightness",
                found=f"up to {peaks[False]:g} and up to {peaks[True]:g}",
                remedy=f"convert one kind; or say what is white in both: datasets.{name}.white",
            )
        white = declared or sealed or _snapped(peak, floating=floating)
        if white is None or peak > white:
            above = sum(d.peak > (white or 0) for d in deep)
            before = "`white` says" if declared else "was decided when it was first indexed"
            raise ProbelineError(
                place,
                "it is not known what is white in images of more than 16 bits"
                if white is None
                else f"{above:,} of {len(deep):,} grey images are brighter than white",
                expected=f"datasets.{name}.white"
                if white is None
                else f"brightness of at most {white:g}, as {before}",
                found=f"brightness up to {peak:g}",
                remedy=f"say what is white: `white: {_snapped(peak, floating=floating) or peak:g}` "
                f"in datasets.{name} (all its embeddings are then computed again)"
                + ("" if white is None else ", or leave these images out"),
            )
        return cls(white, floating, peak, len(deep), declared is not None)

    @property
    def changes_pixels(self) -> bool:
        """Whether images decode otherwise than without any scale: the part of it that is keyed."""
        return self.white != (1.0 if self.floating else 65535.0)

    def __str__(self) -> str:
        bits = math.log2(self.white + 1)
        width = f" ({bits:.0f} bits)" if bits.is_integer() and not self.floating else ""
        how = "as `white` says" if self.declared else "`white` in params.yaml would say otherwise"
        return (
            f"grey scale of {self.images:,} image{'s' * (self.images != 1)} of more than 8 bits: "
            f"white is {self.white:,.10g}{width}, the brightest pixel {self.peak:,.10g}; {how}"
        )


def _snapped(peak: float, *, floating: bool) -> float | None:
    if floating:
        return 1.0 if peak <= 1 else 2.0 ** math.ceil(math.log2(peak))
    return next((2.0**bits - 1 for bits in BITS if peak <= 2**bits - 1), None)
