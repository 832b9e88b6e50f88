"""Whether a study can answer the second question: which cheap evaluation is to be trusted."""

from __future__ import annotations

from pipeline.project.words import number_of
from pipeline.statistics.correlation import FEW_FAMILIES, MIN_FAMILIES, MIN_MODELS
from pipeline.study.schema import Study


def open_question(study: Study) -> list[str]:
    """What the second question lacks in this study, in sentences; empty where it lacks nothing.

    Scores that a study imports may add models and data sets, which are not counted here.
    """
    models = len(study.models)
    families = len({name if entry.family == "unknown" else entry.family
                    for name, entry in study.models.items()})  # fmt: skip
    roles = [entry.role for entry in study.datasets.values()]
    inside, outside = roles.count("in_domain"), roles.count("out_of_domain")
    needs = []
    if not inside or not outside:
        needs.append(
            "at least one data set with `role: in_domain`, to predict from, and one with "
            f"`role: out_of_domain`, to predict (it has {inside} and {outside})"
        )
    if models < MIN_MODELS:
        needs.append(f"at least {MIN_MODELS} models, for a rank correlation (it has {models})")
    if families < MIN_FAMILIES:
        needs.append(
            f"models of at least {MIN_FAMILIES} families for intervals, better {FEW_FAMILIES} "
            f"(it has {families})"
        )
    if not needs:
        return []
    has = (
        f"{number_of(models, 'model')} of {number_of(families, 'family', 'families')} and "
        f"{number_of(len(roles), 'data set')}"
    )
    return [
        f"With {has}, the second question stays open: which cheap evaluation predicts scores on "
        "other data. It needs",
        *(f"- {need}" for need in needs),
        "Whether kNN or a few labels a class pick the same model as the linear probe is answered "
        "on each data set by itself.",
    ]
