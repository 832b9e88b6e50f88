"""The memory that a stage may take: parsed, found in control groups, and kept to."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.errors import ProbelineError
from pipeline.machine import memory
from pipeline.machine.memory import free_memory, in_units, memory_budget


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8GB", 8 * 10**9),
        (" 500 MB ", 5 * 10**8),
        ("1.5GiB", 3 << 29),
        ("2g", 2 * 10**9),
        (".5T", 5 * 10**11),
        ("64kB", 64_000),
        ("700b", 700),
    ],
)
def test_an_amount_is_read(monkeypatch, text, expected):
    monkeypatch.setenv("PROBELINE_MEMORY", text)
    assert memory_budget() == expected


@pytest.mark.parametrize("text", ["abc", "0", "-1", "8", "0GB", "-2GB", "8 GB GB", "1e3", "nanGB"])
def test_what_is_no_amount_is_refused(monkeypatch, text):
    monkeypatch.setenv("PROBELINE_MEMORY", text)
    with pytest.raises(ProbelineError, match="is not an amount of memory") as caught:
        memory_budget()
    assert "8GB" in caught.value.expected
    assert text in caught.value.found


@given(st.integers(1, 10**13))
def test_what_is_written_for_people_is_read_again(size):
    """Within what one digit says."""
    again = memory._parsed(in_units(size).replace(",", ""))
    assert abs(again - size) <= max(0.06 * size, 10**6)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with 64 GB free, and control groups of a kind that a test writes."""
    monkeypatch.delenv("PROBELINE_MEMORY", raising=False)
    monkeypatch.setattr(
        memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=64 * 10**9)
    )
    monkeypatch.setattr(memory, "_CONTROL", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "_OWN", tmp_path / "own")

    def write(own: str, groups: dict[str, dict[str, str]]) -> None:
        (tmp_path / "own").write_text(own)
        for group, files in groups.items():
            folder = tmp_path / "cgroup" / group
            folder.mkdir(parents=True, exist_ok=True)
            for name, text in files.items():
                (folder / name).write_text(text)

    return write


def group(limit: str, used: int, files: int) -> dict[str, str]:
    stat = f"anon {used - files}\ninactive_file {files}\n"
    return {"memory.max": limit, "memory.current": str(used), "memory.stat": stat}


def test_without_control_groups_it_is_what_the_machine_has(machine):
    assert free_memory() == 64 * 10**9


def test_a_container_counts_and_pages_of_files_give_way(machine):
    machine("0::/\n", {"": group("8000000000", 3 * 10**9, 10**9)})
    assert free_memory() == 6 * 10**9


def test_the_narrowest_of_all_groups_around_counts(machine):
    machine(
        "0::/slurm/job/step\n",
        {
            "slurm": group("16000000000", 0, 0),
            "slurm/job": group("4000000000", 10**9, 0),
            "slurm/job/step": group("max", 10**9, 0),
        },
    )
    assert memory_budget() == 3 * 10**9


def test_groups_of_the_first_version_count(machine):
    machine(
        "4:cpu,cpuacct:/x\n3:memory:/docker/1\n0::/\n",
        {
            "memory/docker/1": {
                "memory.limit_in_bytes": "2000000000",
                "memory.usage_in_bytes": "500000000",
                "memory.stat": "cache 9\ntotal_inactive_file 100000000\n",
            },
            "memory/docker": {
                "memory.limit_in_bytes": "9223372036854771712",
                "memory.usage_in_bytes": "1",
                "memory.stat": "",
            },
        },
    )
    assert free_memory() == 1_600_000_000
