"""docs/results.md says of every column what it means."""

from projects import REPOSITORY

from pipeline.report.dictionary import data_dictionary
from pipeline.results.score_table import COLUMNS, SCORE_TABLE
from pipeline.statistics.registry import STATISTICS
from pipeline.study.metrics import METRICS


def test_the_file_is_what_the_objects_say(project):
    text = (REPOSITORY / "docs/results.md").read_text(encoding="utf-8")
    assert text == data_dictionary(), "probeline scores dictionary > docs/results.md"
    assert project.run("cli", "scores", "dictionary").succeeded() == text


def test_everything_is_in_it_and_explained():
    rows = [line.split(" | ") for line in data_dictionary().splitlines() if line.startswith("| ")]
    named = {row[0].removeprefix("| ") for row in rows}
    assert {*COLUMNS, *STATISTICS, *(metric.name for metric in METRICS)} <= named
    assert all(column.meaning for column in SCORE_TABLE)
    assert all(row[-1].strip(" |") for row in rows if row[0].removeprefix("| ") in STATISTICS)
