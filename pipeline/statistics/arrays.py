"""What the arrays of statistics hold, under one name each; shapes are said where they are used."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Mask = NDArray[np.bool_]

Words = NDArray[np.str_]
"""What is said of each model, data set or image: its family, its cluster, its group."""

Places = NDArray[np.intp]
"""Positions along an axis."""
