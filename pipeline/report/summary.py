"""The study in a screenful of Markdown, for pull requests: report/summary.md.

Names stand in code spans, where neither HTML nor Markdown means anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline.report import checks_words, choice_words
from pipeline.report.answers import Answers, answer
from pipeline.report.checks import trust_in
from pipeline.report.choice import choose
from pipeline.report.contests import Contest
from pipeline.report.formats import interval, percent, rho
from pipeline.report.gaps import SILENT, withheld_statistics
from pipeline.report.gaps_scores import missing_cells
from pipeline.report.inputs import Inputs
from pipeline.report.sections import heading
from pipeline.report.seen import HEADING, seen_statements
from pipeline.report.to_know import section
from pipeline.report.verdicts import verdict, why_without
from pipeline.statistics.written import counted
from pipeline.study import metrics
from pipeline.study.column import Column
from pipeline.study.protocol_list import protocol_label

MOST_PREDICTORS = 8

EVIDENCE = heading("best")
"""The heading with which the evidence begins: what stands above it is the answer."""


def summarise(inputs: Inputs) -> str:
    """The summary; the same inputs give the same text."""
    sizes = inputs.cube.sizes
    found = answer(inputs)
    parts = [
        f"# {_text(inputs.study.report.title)}",
        f"{counted(sizes['model'], 'model')}, {counted(sizes['dataset'], 'data set')}, "
        f"{counted(inputs.known_scores, 'score')}. "
        "The whole report is `report/index.html`.",
        *_answer(inputs),
        *_best(inputs, found),
        *_predictors(found),
        *_seen(inputs),
        *_withheld(inputs),
    ]
    return "\n\n".join(parts) + "\n"


def _other_metric(inputs: Inputs, protocol: str) -> str:
    """The metric of a protocol's mean, where it is not that of the table's head."""
    if inputs.metric_of(protocol) == inputs.metric:
        return ""
    return f" {inputs.metric_words(protocol)}"


def _answer(inputs: Inputs) -> list[str]:
    """The first screen of the page, in its words."""
    chosen = choose(inputs)
    trusted = trust_in(inputs, chosen)
    notes = section(inputs)
    rule = f" ({chosen.target.chosen}; `report.target` names another)"
    about = f"About {_text(chosen.target.words)}{rule if chosen.target.chosen else ''}."
    return [
        f"## {heading('model')}",
        *([about] if len(inputs.datasets()) > 1 else []),
        *map(_text, choice_words.statements(chosen, inputs.metric)),
        f"## {heading('check')}",
        *map(_text, checks_words.statements(trusted, chosen)),
        *([f"## {_first_up(notes.heading)}"] if notes.notes else []),
        *(["\n".join(f"- {_text(note.text)}" for note in notes.notes)] if notes.notes else []),
    ]


def _first_up(text: str) -> str:
    return text[:1].upper() + text[1:]


def _best(inputs: Inputs, found: Answers) -> list[str]:
    lines = [
        [
            _protocol(c.protocol),
            _code(c.best),
            _estimate(percent(c.mean), interval(c.low, c.high, in_points=True))
            + _other_metric(inputs, c.protocol),
            ", ".join(map(_code, c.near)) or "none" if c.compared else "not known",
        ]
        for c in found.contests
        if c.best is not None
    ]
    metric = metrics.metric_named(inputs.metric)
    header = [
        "protocol",
        "best model",
        f"mean {metric.goodness_of(metric.label)}",
        "within chance of it",
    ]
    missing = len(missing_cells(inputs).places)
    verb = "is" if missing == 1 else "are"
    said = f"{counted(missing, 'cell')} {verb} missing; models with one have no mean."
    gaps = said if missing else ""
    return [
        f"## {EVIDENCE}",
        *_table(header, lines, "No model has a score on every data set."),
        *(_verdict(c) for c in found.contests if c.best is not None),
        *filter(None, [gaps]),
        *(
            f"{_protocol(c.protocol)}: {_text(why_without(c, inputs.metric_words(c.protocol)))}"
            for c in found.contests
            if c.without
        ),
    ]


def _verdict(c: Contest) -> str:
    return f"{_protocol(c.protocol)}: {_text(' '.join(verdict(c)))}"


def _predictors(found: Answers) -> list[str]:
    lines = [
        [
            _column(p.column),
            _estimate(rho(p.mean), interval(p.low, p.high)),
            _estimate(rho(p.difference), interval(p.difference_low, p.difference_high)),
            f"{p.targets}",
            f"{p.models}",
        ]
        for p in found.predictors[:MOST_PREDICTORS]
    ]
    against = "Δ from the linear probe" if found.reference else "Δ"
    header = ["predictor", "mean Spearman ρ", against, "targets", "models"]
    more = len(found.predictors) - MOST_PREDICTORS
    notes = [f"Targets: out-of-domain {found.targets}."] if found.predictors else []
    notes += (
        [f"{counted(more, 'further predictor')} {'is' if more == 1 else 'are'} in the report."]
        if more > 0
        else []
    )
    notes += ["\n".join(f"- {_text(a.text)}" for a in found.advices)] if found.advices else []
    notes += [_text(text) for a in found.advices[:1] for text in a.others]
    notes += [_text(found.withheld)] if found.withheld else []
    return [f"## {heading('trust')}", *_table(header, lines, ""), *notes]


def _seen(inputs: Inputs) -> list[str]:
    said = seen_statements(inputs)
    return [f"## {HEADING}", _text(" ".join(said))] if said else []


def _withheld(inputs: Inputs) -> list[str]:
    lines = [f"- {names}: {_text(reason)}" for names, reason in withheld_statistics(inputs)]
    return [f"## {SILENT}", "\n".join(lines)] if lines else []


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], nothing: str) -> Iterable[str]:
    """A table, or what is said in its place; the notes below may have said it already."""
    if not rows:
        return [nothing] if nothing else []
    lines = [header, ["---"] * len(header), *rows]
    return ["\n".join(f"| {' | '.join(line)} |" for line in lines)]


def _estimate(number: str, ends: str) -> str:
    return f"{number} ({ends})" if ends else number


def _protocol(name: str) -> str:
    label = protocol_label(name)
    return _code(name) if label == name else label


def _column(column: Column) -> str:
    """A predictor in words; its data set is a name, and stays one."""
    return f"{_text(column.words)} on {_code(column.dataset)}"


def _code(name: str) -> str:
    """A name as a code span that stays inside its cell of a table."""
    return f"`{name.replace('`', 'ʼ').replace('|', '¦')}`"


def _text(words: str) -> str:
    """Words in which nothing is markup."""
    special = "\\`*_{}[]<>#|~"
    return "".join(f"\\{c}" if c in special else c for c in words).replace("\n", " ")
