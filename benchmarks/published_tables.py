"""Import, collect, correlate and report of whole published tables: processor time and peak memory.

    PROBELINE_SHARED=… python benchmarks/published_tables.py [STUDY …]

Each stage is a process of its own. The two large tables are 1,557 models x 8 and 338 x 213; each
stage is to stay below 60 s of processor time and 1 GB. Takes a few minutes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]

IMPORTS = {
    "timm": [["--profile", "timm", "--as", "timm", "results-*.csv"]],
    "imagenet_testbed": [
        ["--profile", "imagenet_testbed", "imagenet_testbed.csv", "--baseline",
         "imagenet_testbed_baseline.txt"],
    ],
    "clip_benchmark": [
        ["--profile", "clip_benchmark", "clip_benchmark_zeroshot.csv"],
        ["--profile", "clip_benchmark_probes", "clip_benchmark_probes.csv"],
    ],
    "torchgeo_bench": [["--profile", "torchgeo_bench", "torchgeo_bench.csv"]],
    "biobench": [["--profile", "biobench", "biobench.csv"]],
}  # fmt: skip


def measured(folder: Path, *arguments: str) -> str:
    """Processor seconds and peak memory of one command, run by a process of its own."""
    code = (
        "import resource, subprocess, sys; "
        "rc = subprocess.run([sys.executable, '-m', *sys.argv[1:]], stdout=-3).returncode; "
        "u = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(rc, u.ru_utime + u.ru_stime, u.ru_maxrss / 1e6)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=folder, check=True, capture_output=True,
        text=True, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    status, seconds, memory = ran.stdout.split()[-3:]
    if status != "0":
        sys.exit(ran.stderr)
    return f"{float(seconds):5.1f} s {float(memory):.2f} GB"


def arguments_of(tables: Path, given: list[str]) -> list[str]:
    """Names of files as paths; patterns as all files like them."""
    found: list[str] = []
    for one in given:
        paths = sorted(tables.glob(one)) if one.endswith((".csv", ".txt")) else []
        found += map(str, paths) if paths else [one]
    return found


def main(names: list[str]) -> None:
    """Run the studies that are asked for, or all."""
    tables = Path(os.environ["PROBELINE_SHARED"]).resolve() / "tables"
    print(f"{'':18}{'import':>16}{'collect':>16}{'correlate':>16}{'report':>16}")
    for name in names or list(IMPORTS):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(REPOSITORY / "dvc.yaml", folder)
            shutil.copy(REPOSITORY / "studies" / f"{name}.yaml", Path(folder) / "params.yaml")
            cells = [
                measured(Path(folder), "stages.cli", "scores", "import", *arguments_of(tables, of))
                for of in IMPORTS[name]
            ][:1]
            stages = ("collect", "correlate", "report")
            cells += [measured(Path(folder), f"stages.{stage}") for stage in stages]
            print(f"{name:18}" + "".join(f"{cell:>16}" for cell in cells), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", nargs="*", help=", ".join(IMPORTS))
    asked = parser.parse_args().study
    if unknown := [name for name in asked if name not in IMPORTS]:
        parser.error(f"{unknown[0]}: expected one of {', '.join(IMPORTS)}")
    main(asked)
