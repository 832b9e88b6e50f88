"""The sentences of `pipeline.report.fails`: what its lists and figures show, and of how many."""

from __future__ import annotations

from typing import Any

from pipeline.report.choice import Choice
from pipeline.report.formats import interval, percent
from pipeline.report.inputs import Inputs
from pipeline.report.stated import Rows
from pipeline.statistics.written import counted
from pipeline.statistics.wrong_images import MOST_IMAGES
from pipeline.study.metrics import BINS


def lead(
    inputs: Inputs, of: dict[str, Any], images: int, errors: int, worst: Rows, confused: Rows
) -> str:
    """How many of how many, by which probe; the weakest class and the most frequent mistake."""
    label = inputs.variants[of["variant"]].label
    said = (
        f"{of['model']} is the most accurate model on {of['dataset']} by {label}: it gets "
        f"{errors:,} of {counted(images, 'test image')} wrong ({percent(errors / images)})."
    )
    if not errors:
        return said
    first = worst[0]
    if len(worst) > 1 and first["right"] < first["n"]:
        said += (
            f" Its weakest class is {first['class']}: {percent(first['accuracy'])} right "
            f"({interval(first['low'], first['high'], in_points=True)}, "
            f"{counted(first['n'], 'image')})."
        )
    if confused and confused[0]["count"] > 1:
        pair = confused[0]
        said += (
            f" Most often it takes {pair['true']} for {pair['predicted']}: "
            f"{counted(pair['count'], 'image')} of {pair['n']:,}."
        )
    return said


def recommended(c: Choice, dataset: str, shown: str) -> str:
    """That the first screen recommends another model than the one whose errors are shown."""
    if dataset not in c.target.datasets or c.picked in ("", shown):
        return ""
    return f" The first screen recommends {c.picked}; what follows is of {shown}."


def shared(rows: Rows, classes: int) -> str:
    """How many images no model gets right, and of how many the label is doubtful."""
    if not rows:
        return ""
    first = rows[0]
    unanimous = sum(bool(row["unanimous"]) for row in rows)
    said = (
        f"{first['images']:,} of {counted(first['n'], 'test image')} "
        f"{'is' if first['images'] == 1 else 'are'} recognised by none of the "
        f"{counted(first['models'], 'trained model')}."
    )
    if classes == 2:
        return said + " With two classes they all say the same other one, so that tells nothing."
    if unanimous:
        least = "at least " if unanimous == MOST_IMAGES else ""
        said += (
            f" Of {least}{unanimous:,} all models say the same other class: there, look at the "
            "label first."
        )
    return said


def calibrated(inputs: Inputs, rows: Rows, headline: str) -> str:
    """What the figure of calibration shows, and by which variant if it is not the headline."""
    if not rows:
        return ""
    first = rows[0]
    label = inputs.variants[first["variant"]].label
    level = 100 * inputs.study.correlation.confidence
    if first["variant"] != headline:
        label += ", as the one above gives no probabilities: so accuracies differ from those above"
    usual = first["error_by_chance"]
    beyond = "more than" if first["error"] > 2 * usual else "not far from"
    return (
        f"Each point is a bin of answers, its bar a {level:g}% interval: how sure "
        f"{first['model']} was ({label}), and how often it was right. On the dashed line it knows "
        f"how sure to be; below it is too sure. Expected calibration error ({BINS} bins of "
        f"equal width, {counted(first['images'], 'test image')}): {percent(first['error'])}; "
        f"{beyond} the {percent(usual)} that perfectly calibrated answers would show by chance."
    )


def covered(rows: Rows) -> str:
    """What the figure of coverage shows."""
    if not rows:
        return ""
    last = rows[-1]
    at = min(rows, key=lambda row: abs(row["coverage"] - 0.8))
    return (
        f"If {last['model']} answers only the images it is surest of: of the surest "
        f"{percent(at['coverage'])} ({at['answered']:,} images) {percent(at['risk'])} are wrong, "
        f"of all {last['images']:,} {percent(last['risk'])}. Area under the curve (AURC): "
        f"{last['aurc']:.3f}; {last['best_aurc']:.3f} if every right answer were surer than every "
        "wrong one."
    )


def mapped(rows: Rows) -> str:
    """What the map shows, and what it hides."""
    if not rows:
        return ""
    first = rows[0]
    shares = first["share_x"] + first["share_y"]
    some = len(rows) < first["n"]
    return (
        f"{len(rows):,} of {first['n']:,} test images, chosen by digest"
        if some
        else f"All {counted(first['n'], 'test image')}"
    ) + (
        f", as {first['model']} places them: the two directions in which its embeddings differ "
        f"most, {percent(first['share_x'])} and {percent(first['share_y'])} of their variance. The "
        f"other {percent(1 - shares)} is not to be seen, so images that lie together here may be "
        "far apart, and a probe may part classes that overlap here."
    )
