"""What the report says of data sets that models were trained on; one function a statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.report.formats import percent
from pipeline.report.inputs import Inputs
from pipeline.statistics.advice import scores_word
from pipeline.statistics.panel import MEAN
from pipeline.statistics.predictions import ALL
from pipeline.statistics.seen_effect import EVALUATION, Change, changes
from pipeline.statistics.written import counted, listed, rho
from pipeline.study.protocol_list import protocol_label
from pipeline.study.seen import Seen

HEADING = "Data sets that models were trained on"


def seen_statements(inputs: Inputs) -> list[str]:
    """All that is said of them: who saw what, whether it counts, and what that changes."""
    outside = {
        cell: seen
        for cell, seen in inputs.seen.items()
        if seen.is_of_the_data_set and inputs.roles[cell[1]] != "in_domain"
    }
    if not outside:
        return []
    labels = {name: column.label for name, column in inputs.columns.items()}
    left_out = inputs.study.report.seen == "leave_out"
    return [
        who_saw(outside),
        is_counted(len(outside), left_out=left_out),
        *effects(changes(inputs.told("seen_effect")), labels),
    ]


def unsaid(inputs: Inputs) -> list[str]:
    """Trained models of the study of which nobody says what they were trained on."""
    return [
        name
        for name, entry in inputs.study.models.items()
        if entry.trained_on is None and entry.made_by is None and entry.seed is None
    ]


def places(seen: Mapping[tuple[str, str], Seen]) -> tuple[str, ...]:
    """Each cell in words, those of the data set itself first."""
    order = sorted(seen.items(), key=lambda of: not of[1].is_of_the_data_set)
    return tuple(f"{model} on {dataset}: {what.words}" for (model, dataset), what in order)


def who_saw(seen: Mapping[tuple[str, str], Seen]) -> str:
    """Which models were trained on which data sets."""
    by_dataset: dict[str, list[str]] = {}
    for model, dataset in seen:
        by_dataset.setdefault(dataset, []).append(model)
    told = [f"{listed(models)} on {dataset}" for dataset, models in by_dataset.items()]
    models = len({model for model, _ in seen})
    verb = "was" if models == 1 else "were"
    what = "a data set" if len(by_dataset) == 1 else "data sets"
    return f"{counted(models, 'model')} {verb} trained on {what} of this study: {'; '.join(told)}."


def is_counted(cells: int, *, left_out: bool) -> str:
    """Whether these scores count, and how to have it otherwise."""
    scores = f"The scores of {counted(cells, 'cell')}"
    if left_out:
        return f"{scores} are left out of all statistics (`report.seen: leave_out`), not of Scores."
    return f"{scores} count like all others; `report.seen: leave_out` leaves them out."


def effects(found: Sequence[Change], labels: Mapping[str, str]) -> list[str]:
    """What changes with and without them: where the best is another one, and by how much.

    Parameters
    ----------
    found : sequence of Change
    labels : mapping of str to str
        Of columns of scores, in words.
    """
    told = [
        _evaluation(change, labels)
        for change in found
        if change.asks == EVALUATION and (change.is_another or change.of == ALL)
    ]
    models = [change for change in found if change.asks != EVALUATION]
    told += [_model(change) for change in models if change.is_another]
    if same := sum(not change.is_another for change in models):
        other = "other " if same < len(models) else ""
        told.append(
            f"In {counted(same, f'{other}comparison')} of models the best one is the same with "
            "them and without."
        )
    return told


def _evaluation(change: Change, labels: Mapping[str, str]) -> str:
    begin = f"To predict {scores_word(change.of)}, "
    if not change.left:
        return f"{begin}nothing is left to compare without them."
    if not change.kept:
        return f"{begin}there is something to compare only without them."
    with_them, without = (f"mean ρ {rho(v)}" for v in (change.kept_value, change.left_value))
    kept, left = (labels.get(name, name) for name in (change.kept, change.left))
    if not change.is_another:
        return f"{begin}{kept} is highest with them ({with_them}) and without ({without})."
    return f"{begin}{kept} is highest with them ({with_them}), {left} without ({without})."


def _model(change: Change) -> str:
    where = "the mean over data sets" if change.dataset == MEAN else change.dataset
    begin = f"By {protocol_label(change.of)} on {where}, "
    if not change.left:
        return f"{begin}no model is left without them."
    if not change.kept:  # with them, nobody has every data set
        return f"{begin}there is a best model only without them: {change.left}."
    return (
        f"{begin}{change.kept} is best with them ({percent(change.kept_value)}), {change.left} "
        f"without ({percent(change.left_value)})."
    )
