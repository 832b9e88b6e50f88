"""The manual's recipes for several GPUs and for Slurm, run as they are printed there.

`srun` and `dvc` are played by scripts; `python` is itself where a recipe extracts, and else only
noted: tests/pipeline/embeddings/test_sharded_extraction.py says what other stages do as shards.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest
from projects import REPOSITORY, fill_folder

PAGE = (REPOSITORY / "docs" / "how_to_cluster.md").read_text(encoding="utf-8")
RECIPES = re.findall(r"^```bash\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)

PYTHON = f"""#!/bin/bash
echo "$CUDA_VISIBLE_DEVICES|$PROBELINE_WORKERS|$*" >> "$LOG"
[[ $* == *" 2/2" ]] && exit 137 # this task is killed; the other does it all
[[ -n $REALLY && $2 == stages.extract ]] && exec {sys.executable} "$@"
exit 0
"""

DVC = """#!/bin/bash
echo "dvc $*" >> "$LOG"
"""

# Two tasks at once; like srun, it ends with the status of the one that fails.
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
for task in 0 1; do SLURM_PROCID=$task SLURM_NTASKS=2 "$@" & done
status=0
for job in $(jobs -p); do wait $job || status=$?; done
exit $status
"""


@pytest.fixture
def follow(project, monkeypatch):
    """Run a recipe; what was called, a line each."""
    tools = project.folder.parent / "tools"
    tools.mkdir()
    for name, text in (("python", PYTHON), ("dvc", DVC), ("srun", SRUN)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    log = tools / "log"

    def run(script: str, **environment: str) -> list[str]:
        done = subprocess.run(
            [shutil.which("bash") or "bash", "-c", script],
            cwd=project.folder,
            env={
                "CUDA_VISIBLE_DEVICES": "", "PROBELINE_WORKERS": "0", "REALLY": "",
                **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
                "PATH": f"{tools}:{os.environ['PATH']}", "LOG": str(log), "OMP_NUM_THREADS": "1",
                "PYTHONPATH": str(REPOSITORY), "PROBELINE_DEVICE": "cpu", **environment,
            },
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return log.read_text().splitlines()

    return run


def test_eight_gpus(follow):
    first, *shards, last = follow(RECIPES[0])
    assert (first, last) == ("dvc repro index pretrain", "dvc repro")
    assert sorted(shards) == [f"{n - 1}|16|-m stages.extract --shard {n}/8" for n in range(1, 9)]


def test_the_sbatch_script(follow, project):
    script = RECIPES[1]
    assert script.startswith("#!/bin/bash\n#SBATCH --")
    fill_folder(project.folder / "images", {"cat": 12, "dog": 12})
    project.run("index", "pets").succeeded()
    said = [line.removeprefix("|0|") for line in follow(script, REALLY="1")]
    assert (said[0], said[-1]) == ("dvc repro index pretrain", "dvc repro")
    protocols = ["knn", "linear", "fewshot", "transfer", "predictors", "finetune"]
    stages = ["extract", "neighbors", *(f"protocol {name}" for name in protocols)]
    assert sorted(said[1:-1]) == sorted(
        f"-m stages.{stage} --shard {n}/2" for stage in stages for n in (1, 2)
    )
    assert [line.split()[1].removeprefix("stages.") for line in said[1:-1:2]] == [
        stage.split()[0] for stage in stages
    ]
    project.run("extract", "pets").succeeded("1 cached, 0 computed")
    assert project.left_overs() == []
