"""What the page prints as the study is the study."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import REPOSITORY

from pipeline.study.params import load_study, parse_study, settings_text

STUDIES = sorted(path.name for path in (REPOSITORY / "studies").glob("*.yaml"))


@pytest.mark.parametrize("name", STUDIES)
def test_without_comments_it_is_the_same_study(name):
    path = REPOSITORY / "studies" / name
    text = settings_text(path)
    assert "#" not in text
    assert parse_study(text) == load_study(path)
    told = list(load_study(path).models)
    assert list(parse_study(text).models) == told  # in its order


def test_paths_of_this_machine_are_cut(tmp_path):
    study = (REPOSITORY / "studies" / "own_images.yaml").read_text(encoding="utf-8")
    place = tmp_path / "secret client" / "photos"
    path = tmp_path / "params.yaml"
    path.write_text(study.replace("$HOME/my_images", str(place)), encoding="utf-8")
    text = settings_text(path)
    assert str(tmp_path) not in text
    assert "secret" not in text
    assert parse_study(text).datasets["my_images"].path == "/path/to/photos"
    path.write_text(study, encoding="utf-8")
    assert Path(parse_study(settings_text(path)).datasets["my_images"].path) == Path(
        "$HOME/my_images"
    )
