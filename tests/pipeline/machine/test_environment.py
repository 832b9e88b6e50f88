"""The machine's settings: legal values are followed, all others refused by name."""

from __future__ import annotations

import pytest

from cache.errors import ProbelineError
from pipeline.machine import environment
from pipeline.machine.devices import this_machine


@pytest.mark.parametrize("text", ["100", "0", "-4", "3.5", "many", "512", "٢٥٧"])
def test_batch_sizes_that_are_no_power_of_two_up_to_256_are_refused(monkeypatch, text):
    monkeypatch.setenv("PROBELINE_BATCH_SIZE", text)
    with pytest.raises(ProbelineError, match="PROBELINE_BATCH_SIZE") as caught:
        environment.batch_size(64)
    assert caught.value.remedy


@pytest.mark.parametrize(("text", "size"), [("1", 1), (" 32 ", 32), ("256", 256), ("", 64)])
def test_batch_sizes(monkeypatch, text, size):
    monkeypatch.setenv("PROBELINE_BATCH_SIZE", text)
    assert environment.batch_size(64) == size


@pytest.mark.parametrize("text", ["-1", "two", "1.0"])
def test_worker_counts_that_are_no_whole_number_are_refused(monkeypatch, text):
    monkeypatch.setenv("PROBELINE_WORKERS", text)
    with pytest.raises(ProbelineError, match="PROBELINE_WORKERS"):
        environment.worker_count(2)


@pytest.mark.parametrize(("text", "seconds"), [("", 0), ("0", 0), ("600", 600)])
def test_seconds_to_wait_for_another_process(monkeypatch, text, seconds):
    monkeypatch.setenv("PROBELINE_WAIT_SECONDS", text)
    assert environment.wait_seconds() == seconds


@pytest.mark.parametrize("text", ["-1", "forever", "1.5"])
def test_seconds_to_wait_that_are_no_whole_number_are_refused(monkeypatch, text):
    monkeypatch.setenv("PROBELINE_WAIT_SECONDS", text)
    with pytest.raises(ProbelineError, match="PROBELINE_WAIT_SECONDS"):
        environment.wait_seconds()


@pytest.mark.parametrize("text", ["tpu", "cuda:99", "cuda:-1", "gpu", "cpu cpu", "meta"])
def test_devices_that_are_not_here_are_refused(monkeypatch, text):
    monkeypatch.setenv("PROBELINE_DEVICE", text)
    with pytest.raises(ProbelineError, match="PROBELINE_DEVICE") as caught:
        this_machine()
    assert text in str(caught.value)


@pytest.mark.parametrize("text", ["", "  ", "auto"])
def test_an_empty_device_is_an_unset_one(monkeypatch, text):
    monkeypatch.setenv("PROBELINE_DEVICE", text)
    assert this_machine().devices[0].type in ("cpu", "cuda")


def test_paths_name_variables_and_defaults(monkeypatch):
    monkeypatch.setenv("PICTURES", "/media/pictures")
    monkeypatch.delenv("PROBELINE_SHARED", raising=False)
    assert str(environment.expand_path("$PICTURES/a", "here")) == "/media/pictures/a"
    assert str(environment.expand_path("${PICTURES}_b", "here")) == "/media/pictures_b"
    assert str(environment.expand_path("a$$b", "here")) == "a$b"
    assert str(environment.expand_path("$PROBELINE_SHARED/x", "here")) == "../shared/data/x"


@pytest.mark.parametrize(("text", "word"), [("$NO_SUCH_ONE/x", "NO_SUCH_ONE"), ("50$/x", "$$")])
def test_paths_with_unset_variables_are_refused(text, word):
    with pytest.raises(ProbelineError) as caught:
        environment.expand_path(text, "params.yaml: datasets.pets.path")
    assert word in str(caught.value)
    assert caught.value.place == "params.yaml: datasets.pets.path"
