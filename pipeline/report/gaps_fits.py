"""Fits that stopped early, or whose best setting is at the edge of those that were tried."""

from __future__ import annotations

import json
from typing import Any

from pipeline.report.gap import Gap
from pipeline.report.inputs import Inputs
from pipeline.study.fewshot import FEWSHOT
from pipeline.study.linear import LINEAR
from pipeline.study.transfer import TRANSFER

_FITTED = (LINEAR.name, FEWSHOT.name, TRANSFER.name)


def doubtful_fits(inputs: Inputs) -> list[Gap]:
    """By what is doubtful; of scores that were computed here."""
    found: dict[str, list[str]] = {"unfinished": [], "at_edge": [], "unsettled": []}
    rows = inputs.scores.drop_duplicates(["model", "dataset", "protocol", "variant"])
    rows = rows[rows["protocol"].isin(_FITTED)]
    rows = rows[~rows["details"].isin(("", "{}"))]  # imported scores tell of no fit
    seen = dict.fromkeys(_FITTED, 0)
    for row in rows[["model", "dataset", "protocol", "label", "details"]].to_dict("records"):
        seen[row["protocol"]] += 1
        details: dict[str, Any] = json.loads(row["details"])
        place = f"{row['model']} on {row['dataset']} ({row['label']})"
        if not details.get("converged", True):
            kind = "unsettled" if row["protocol"] == FEWSHOT.name else "unfinished"
            steps = details.get("iterations")
            found[kind].append(place + (f": stopped after {steps} iterations" if steps else ""))
        if details.get("C_at_edge_of_grid", False):
            found["at_edge"].append(f"{place}: C = {details.get('C'):g}")
    linear = seen[LINEAR.name] + seen[TRANSFER.name]
    return [
        Gap(
            "Linear fits that did not converge",
            "They stopped at `linear.max_iterations`; their scores may still move.",
            tuple(found["unfinished"]),
            linear,
            "fit",
        ),
        Gap(
            "Linear fits whose best C is at the edge of the grid",
            "A wider `linear.c` might score better.",
            tuple(found["at_edge"]),
            linear,
            "fit",
        ),
        Gap(
            "Few-shot fits that did not converge",
            "At least one draw stopped early; the mean over draws may still move.",
            tuple(found["unsettled"]),
            seen[FEWSHOT.name],
            "fit",
        ),
    ]
