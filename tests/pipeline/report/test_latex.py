"""LaTeX prints what it was given: nothing of a name is a command, an option or the end of a row."""

from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from made_inputs import make_inputs

from pipeline.report.latex import escaped, figure, table
from pipeline.report.latex_tables import scores_table

WORDS = {
    "textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textless": "<",
    "textgreater": ">", "textbar": "|", "textquotedbl": '"', "textasciigrave": "`",
}  # fmt: skip


def printed(text):
    """What LaTeX prints, read by its rules: a control sequence, a group, or a plain character."""
    out, place, depth = "", 0, 0
    while place < len(text):
        rest = text[place:]
        if word := re.match(r"\\([a-z]+)\{\}", rest):
            out += WORDS[word[1]]
            place += word.end()
        elif rest[0] == "\\":
            assert rest[1] in "&%$#_{}", rest
            out += rest[1]
            place += 2
        else:
            assert rest[0] not in "&%$#_~^\\", rest
            depth += {"{": 1, "}": -1}.get(rest[0], 0)
            assert depth >= 0
            out += "" if rest[0] in "{}" else rest[0]
            place += 1
    assert depth == 0
    return out


@given(st.text(st.characters(max_codepoint=126)))
def test_every_character_is_printed_as_it_is(text):
    expected = "".join(c if c.isprintable() else " " for c in text)
    assert printed(escaped(text)) == expected


@given(st.lists(st.text(st.sampled_from("[]*\\&-`a1 {}%"), max_size=4), min_size=1, max_size=3))
def test_a_cell_is_neither_an_option_nor_the_end_of_its_row(cells):
    rows = [[escaped(cell) for cell in cells]] * 2
    text = table(["Model", *["x"] * (len(cells) - 1)], rows, "50% of [a]", "t")
    body = text.partition(r"\midrule")[2].partition(r"\bottomrule")[0]
    ends = re.split(r"(?<!\\)(?:\\\\)", body)  # the ends of rows
    assert len(ends) == 3
    for row in ends[:2]:
        assert not re.match(r"\s*[\[*]", row)
        assert len(re.findall(r"(?<!\\)&", row)) == len(cells) - 1
    assert r"\caption{50\% of {[}a{]}}" in text


def test_a_figure_has_its_caption_and_label():
    text = figure("ranks.pdf", "84mm", "100% & more_", "ranks")
    assert r"\includegraphics[width=84mm]{ranks.pdf}" in text
    assert r"\caption{100\% \& more\_}" in text
    assert r"\label{fig:ranks}" in text


def test_a_model_without_any_score_is_named():
    inputs = make_inputs(models=("a", "b_1", "c"))
    cube = inputs.cube.assign(n_test=("dataset", [10, 10]))
    gone = cube["value"].where((cube["model"] != "b_1") | (cube["variant"] != "knn/study"))
    inputs = replace(inputs, cube=cube.assign(value=gone))
    assert r"Without a score: b\_1." in scores_table(inputs, "knn")
    assert "Without a score" not in scores_table(inputs, "linear")
