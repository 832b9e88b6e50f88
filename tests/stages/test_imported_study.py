"""`dvc repro`, `dvc metrics` and `dvc plots` on a study of imported scores alone."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from projects import REPOSITORY
from test_scores_commands import write

pytestmark = pytest.mark.slow

DVC = (sys.executable, "-m", "dvc")


def test_a_study_of_imported_scores_alone(scratch, project):
    shutil.copy(REPOSITORY / "studies" / "scores.yaml", "params.yaml")
    shutil.copytree(REPOSITORY / ".dvc" / "plots", scratch.folder / ".dvc" / "plots")
    write("theirs.csv")
    project.run("cli", "scores", "import", "theirs.csv").succeeded()
    ran = scratch.repro("correlate")
    assert {"study", "neighbors", "knn", "linear", "collect", "correlate"} <= ran
    assert not [stage for stage in ran if "@" in stage]
    assert scratch.repro("correlate") == set()
    before = json.loads(Path("results/metrics.json").read_text())
    assert before["score_count"] == 36
    scratch.do("git", "add", "--all")
    scratch.do(
        "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "-m", "first"
    )

    # Another table: collected and correlated, nothing else.
    write("more.csv", seed=1, protocols=("finetune",))
    project.run("cli", "scores", "import", "more.csv").succeeded()
    assert scratch.repro("correlate") == {"collect", "correlate"}
    changed = json.loads(scratch.do(*DVC, "metrics", "diff", "--json"))
    difference = changed["results/metrics.json"]["score_count"]
    assert (difference["old"], difference["new"]) == (36, 54)
    assert "score_count" in scratch.do(*DVC, "metrics", "show")
    scratch.do(*DVC, "plots", "show")
    page = scratch.do(*DVC, "plots", "diff", "--json")
    drawn = json.loads(page[page.index("{") : page.rindex("}") + 1])
    for name in ("scores", "domains", "correlation"):
        (plot,) = drawn["data"][f"results/plots/{name}.json"]
        assert set(plot["revisions"]) == {"HEAD", "workspace"}
        content = (
            json.loads(plot["content"]) if isinstance(plot["content"], str) else plot["content"]
        )
        assert "facet" in content  # our template, not DVC's own
    assert not drawn.get("errors")

    # Without it everything is as before: DVC remembers.
    project.run("cli", "scores", "remove", "more").succeeded()
    assert scratch.repro("correlate") == set()
    assert json.loads(Path("results/metrics.json").read_text()) == before
