"""What a model's embeddings cost: from the record of their origin, where there is one."""

from __future__ import annotations

from pipeline.embeddings.provenance import read_provenance
from pipeline.models.settings import Model

_UNKNOWN = {
    "parameters": float("nan"),
    "dimension": float("nan"),
    "gmacs": float("nan"),
    "images": float("nan"),
    "extraction_seconds": float("nan"),
}


def recorded_costs(dataset: str, model: str, entry: Model) -> dict[str, float]:
    """Sizes of a model, and forward passes and seconds behind its embeddings of a data set.

    Returns
    -------
    dict of str to float
        Keys parameters, dimension (features per image), gmacs (billions of multiply-adds an image),
        images (forward passes, views included) and extraction_seconds; NaN where nothing is
        recorded, or nothing that is a cost: imported embeddings have no parameters and no seconds
        of ours.

    Raises
    ------
    CellCorruptError
        When the record is damaged.
    """
    facts = read_provenance(dataset, model)
    if not facts:
        return _UNKNOWN
    splits = facts["splits"].values()
    found = {
        "parameters": facts.get("parameters"),
        "dimension": facts.get("dimension"),
        "gmacs": facts.get("gmacs") or _counted_since(model, entry),
        "images": sum(split["images"] for split in splits),
        "extraction_seconds": round(sum(split["seconds"] for split in splits), 3),
    }
    return {name: float(number) if number else float("nan") for name, number in found.items()}


def _counted_since(model: str, entry: Model) -> float | None:
    """Multiply-adds of a model whose cells are older than their record of these."""
    if entry.weights == "imported" or entry.is_of_hub:
        return None
    from pipeline.models.sizes import remembered_gmacs

    return remembered_gmacs(model, entry)
