"""docs/results.md says of every column what it means."""

import re

from known_columns import check_columns
from projects import REPOSITORY
from report_study import make_study, store

from pipeline.machine.netcdf import read_netcdf_groups
from pipeline.project.paths import CORRELATION_NC
from pipeline.report.dictionary import data_dictionary
from pipeline.report.inputs import load_inputs
from pipeline.report.noise import noise_tables, overall_table
from pipeline.report.sections import SECTIONS
from pipeline.results.score_table import COLUMNS as OF_SCORES
from pipeline.results.score_table import SCORE_TABLE
from pipeline.statistics.columns import COLUMNS
from pipeline.statistics.registry import STATISTICS, column_of
from pipeline.study.metrics import METRICS
from pipeline.study.params import load_study

TABLES = ("tables.html.j2", "predictors.html.j2", "normalization.html.j2")


def test_the_file_is_what_the_objects_say(project):
    text = (REPOSITORY / "docs/results.md").read_text(encoding="utf-8")
    assert text == data_dictionary(), "probeline scores dictionary > docs/results.md"
    assert project.run("cli", "scores", "dictionary").succeeded() == text


def test_columns_of_statistics_are_explained_once_and_lie_where_it_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store(make_study(models=6, outside=2))
    groups = read_netcdf_groups(CORRELATION_NC)
    assert len([name for name, table in groups.items() if table.data_vars]) > 20
    check_columns({name: table for name, table in groups.items() if name in STATISTICS})
    inputs = load_inputs(load_study())
    sections = [of for of in SECTIONS if of.template in TABLES]
    tables = [table for of in sections for table in of.content(inputs).all]
    checked = [
        column_of(table.name, name) is COLUMNS[head.key]
        for table in (*tables, overall_table(inputs), *noise_tables(inputs))
        for head in table.head
        if (name := head.key.rpartition(".")[2]) in groups[table.name]
    ]
    assert len(checked) > 40
    assert all(checked)


def test_no_column_is_explained_that_there_is_not():
    folder = REPOSITORY / "pipeline/statistics"
    files = [path for path in folder.glob("*.py") if path.name not in ("column.py", "columns.py")]
    words = set(re.findall(r"\w+", "\n".join(path.read_text(encoding="utf-8") for path in files)))
    made = re.compile(r"_(low|high|[123])$|^(pareto|relative)_")  # by every name of a list
    names = {name.rpartition(".")[2] for name in COLUMNS}
    assert not {n for n in names if n not in words and made.sub("", n) not in words}
    assert not {n.partition(".")[0] for n in COLUMNS if "." in n} - set(STATISTICS)
    for column in COLUMNS.values():
        assert column.meaning
        assert column.range[0] < column.range[1]


def test_everything_is_in_it_and_explained():
    rows = [line.split(" | ") for line in data_dictionary().splitlines() if line.startswith("| ")]
    named = {row[0].removeprefix("| ") for row in rows}
    assert {*OF_SCORES, *STATISTICS, *(metric.name for metric in METRICS)} <= named
    assert all(column.meaning for column in SCORE_TABLE)
    assert all(row[-1].strip(" |") for row in rows if row[0].removeprefix("| ") in STATISTICS)
