"""Reading params.yaml: as the study that it describes, as text for others, or in today's words."""

from __future__ import annotations

import io
from pathlib import Path

from pydantic import ValidationError
from ruamel.yaml import YAML

from pipeline.project.paths import PARAMS
from pipeline.study.faults import explained
from pipeline.study.renamed import upgraded
from pipeline.study.schema import Study
from pipeline.study.study_text import Plain, parse_text, read_text


def load_study(path: Path = PARAMS) -> Study:
    """Read and check a study.

    Raises
    ------
    StudyError
        When the file is absent, not YAML, or not a study; lists every fault with its line.
    """
    return parse_study(read_text(path), path)


def parse_study(text: str, path: Path = PARAMS) -> Study:
    """Check a study's text; `path` is for the messages.

    Raises
    ------
    StudyError
        When the text is not a study.
    """
    document = parse_text(text, path)
    try:
        return Study.model_validate(Plain(path).of(document))
    except ValidationError as error:
        raise explained(error, document, path) from None


def settings_text(path: Path = PARAMS) -> str:
    """The study as YAML without its comments, as others may paste it.

    Absolute paths are of this machine, and nobody else's: what is left of them is their last part.
    """
    document = Plain(path).of(parse_text(read_text(path), path))
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style, yaml.allow_unicode, yaml.width = None, True, 100
    # The first of several is the headline.
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    text = io.StringIO()
    yaml.dump(_without_places(document), text)
    return text.getvalue()


def _without_places(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_places(of) for key, of in value.items()}
    if isinstance(value, list):
        return [_without_places(of) for of in value]
    if isinstance(value, str) and Path(value).is_absolute():
        return f"/path/to/{Path(value).name}"
    return value


def upgrade_study(path: Path = PARAMS) -> tuple[str, list[str]]:
    """A study's text with today's words, checked; and a line for each change.

    Raises
    ------
    StudyError
        When it is no study, even with today's words.
    """
    text = read_text(path)
    new, changes = upgraded(text, parse_text(text, path))
    parse_study(new, path)
    return new, changes
