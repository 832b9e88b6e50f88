"""The type that the rows of a model are stored in, and since when."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Storage:
    """The type that rows are stored in.

    It belongs to a model's rows, in all their cells. Where values turn up that float16 does not do
    for, a new *generation* begins, in float32; what is stored in float16 stays as it is.

    Attributes
    ----------
    dtype : {"float16", "float32"}
    generation : int
        From 1 on; 0 where nothing is decided: as the user asked, or of a cell's own values.
    decided : str
        On what, in words.
    remarks : tuple of str
        What a reader of the cell should know: why it is stored in float32.
    """

    dtype: str = "float16"
    generation: int = 0
    decided: str = ""
    remarks: tuple[str, ...] = ()

    def in_float32(self, why: str) -> Storage:
        """The generation that follows on this one."""
        remark = f"stored in float32: {why}"
        if not self.generation:
            return Storage("float32", remarks=(remark,))
        number = self.generation + 1
        return Storage(
            "float32",
            number,
            f"while the cell was written: {why}",
            (f"{remark}; generation {number} of the model's rows begins here",),
        )

    def __str__(self) -> str:
        return f"{self.dtype}, generation {self.generation}" if self.generation else self.dtype
