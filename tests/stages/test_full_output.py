"""What is printed into a file on a full disk: an explained error, not an ignored exception."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import click
import pytest

import stages
from cache.errors import ProbelineError
from stages import cli
from stages._run import explain_errors

FULL = "/dev/full"
"""Linux's device on which every write finds no space."""


@click.command()
@explain_errors
def prints():
    """With what is left in the buffer when it ends."""
    print("a row")


@click.command()
@explain_errors
def ends_itself():
    """As `predict` does where it could not read an image."""
    print("a row")
    sys.exit(1)


@click.command()
@explain_errors
def fails():
    """For another reason, which is the one to be told."""
    print("a row")
    raise ProbelineError("params.yaml", "is no study", remedy="write one")


@pytest.mark.parametrize(
    ("command", "words", "arguments"),
    [
        (prints, "standard output: the disk is full", []),
        (ends_itself, "standard output: the disk is full", []),
        (fails, "params.yaml: is no study", []),
        (cli.main, "standard output: the disk is full", ["models", "zoo"]),
        (cli.main, "standard output: the disk is full", ["datasets", "known"]),
        (cli.main, "standard output: the disk is full", ["status"]),
    ],
)
def test_output_on_a_full_disk(command, words, arguments, project, monkeypatch, capsys):
    with open(FULL, "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as end:
            command.main(arguments, standalone_mode=False)
        full.flush()  # as the interpreter does at its end: it must not fail again
    assert end.value.code == 1
    said = capsys.readouterr().err
    assert said.count("error: ") == 1, said
    assert words in said, said
    assert "to mend" in said, said


def test_a_caller_who_closed_the_output(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    prints.main([], standalone_mode=False)
    with pytest.raises(SystemExit) as end:
        ends_itself.main([], standalone_mode=False)
    assert end.value.code == 1


def _commands(command, name):
    if isinstance(command, click.Group):
        if command.callback is not None and command.invoke_without_command:
            yield name, command
        for more, inside in command.commands.items():
            yield from _commands(inside, f"{name} {more}")
    else:
        yield name, command


def _all_commands():
    yield from _commands(cli.main, "probeline")
    for module in pkgutil.iter_modules(stages.__path__, "stages."):
        main = getattr(importlib.import_module(module.name), "main", None)
        if isinstance(main, click.Command):
            yield from _commands(main, module.name)


def test_every_command_explains_its_errors():
    explained = explain_errors(lambda: None).__code__
    found = dict(_all_commands())
    assert len(found) > 30
    for name, command in found.items():
        function, codes = command.callback, set()
        while function is not None:
            codes.add(function.__code__)
            function = getattr(function, "__wrapped__", None)
        assert explained in codes, f"{name} would end in a traceback"
