"""What the report reads, made up: a cube, and statistics that a test gives."""

import copy
import html
import re
from functools import cached_property
from types import MappingProxyType

import numpy as np
import pandas as pd
import vl_convert
import xarray as xr
from markupsafe import Markup, escape
from named_variants import AnyColumns, AnyVariants, variants_named
from projects import study_of

from pipeline.report.inputs import Inputs
from pipeline.report.page import _environment
from pipeline.results.score_table import COLUMNS
from pipeline.results.variant_table import variant_coords, variants_of
from pipeline.study.protocol_list import protocol_label
from pipeline.study.schema import Study

METRIC = "top1"


class MadeInputs(Inputs):
    """Inputs whose statistics may speak of variants and data sets that have no score."""

    @cached_property
    def variants(self):
        """Those of the cube, and all others."""
        return AnyVariants(variants_of(self.cube))

    @cached_property
    def columns(self):
        """All that there are."""
        return AnyColumns()


def make_inputs(
    statistics=MappingProxyType({}),
    *,
    models=("a", "b", "c"),
    datasets=("in0", "out0"),
    variants=("knn/study", "linear/ridge_none"),
    values=None,
    **words,
):
    """Inputs without any file.

    `words` are coordinates of the models (lists), for instance ``parameters=[...]``; `values` has
    shape (n_models, n_datasets, n_variants).
    """
    shape = (len(models), len(datasets), len(variants))
    if values is None:
        values = np.random.default_rng(0).uniform(0.3, 0.9, shape)
    scores = np.asarray(values, float)[..., np.newaxis]
    of_model = {
        "family": [f"family {m}" for m in models],
        "backbone": ["resnet"] * len(models),
        "supervision": ["supervised"] * len(models),
        "parameters": [np.nan] * len(models),
        "dimension": [np.nan] * len(models),
    } | {name: of for name, of in words.items() if name not in ("images", "extraction_seconds")}
    unknown = np.full(shape[:2], np.nan)
    dims = ("model", "dataset", "variant", "metric")
    cube = xr.Dataset(
        {
            "value": (dims, scores),
            "ci_low": (dims, scores - 0.05),
            "ci_high": (dims, scores + 0.05),
            "images": (dims[:2], np.asarray(words.get("images", unknown), float)),
            "extraction_seconds": (
                dims[:2],
                np.asarray(words.get("extraction_seconds", unknown), float),
            ),
        },
        coords={
            "model": list(models),
            "dataset": list(datasets),
            "variant": list(variants),
            "metric": [METRIC],
            **variant_coords(variants_named(variants)),
            "role": (
                "dataset",
                ["in_domain" if d.startswith("in") else "out_of_domain" for d in datasets],
            ),
        }
        | {name: ("model", list(of)) for name, of in of_model.items()},
    )
    correlations = xr.Dataset(attrs={"metric": METRIC})
    study = Study.model_validate(
        study_of(neighbors={"metric": ["euclidean"], "normalization": ["none"]}, knn={"k": [1]})
    )
    scores = pd.DataFrame(columns=[*COLUMNS])
    return MadeInputs(study, cube, correlations, scores, {}, {}, dict(statistics))


def table(dims, labels, variables, **attrs):
    """A statistic: `variables` by name as nested lists or arrays of one shape."""
    return xr.Dataset(
        {name: (dims, np.asarray(values)) for name, values in variables.items()},
        coords={dim: list(names) for dim, names in zip(dims, labels, strict=True)},
        attrs=attrs,
    )


def withheld(reason):
    """A statistic that has nothing to say."""
    return xr.Dataset(attrs={"definition": "something", "withheld": reason})


def drawn(pair, **signals):
    """The marks that Vega draws for some parameters, as (kind, description)."""
    spec, rows = copy.deepcopy(pair[0]), pair[1]
    spec["datasets"] = {"rows": rows}
    if spec.get("width") == "container":
        spec["width"] = 480
    names = {param["name"] for param in spec["params"]}
    assert signals.keys() <= names
    for param in spec["params"]:
        param["value"] = signals.get(param["name"], param["value"])
    svg = vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])
    mark = r'aria-label="([^"]*)" role="graphics-symbol" aria-roledescription="([^"]*)"'
    return [(kind, html.unescape(words)) for words, kind in re.findall(mark, svg)]


def partial(name, section, **context):
    """What the page shows of a section: its line where it is withheld, or its template."""
    if section is not None and section.withheld:
        return str(escape(section.withheld))
    environment = _environment()
    environment.globals |= {
        "figure": lambda name, title: Markup(f'<div id="{name}"></div>'),
        "about": lambda name: "",
        "word": protocol_label,
        "plural": lambda n, noun, many=None: f"{n} {noun if n == 1 else many or noun + 's'}",
        "col": lambda word, text=False: Markup(f'<th scope="col">{escape(word)}</th>'),
        "folded": lambda table, further="": "",
        "unreported": lambda tables: "; ".join(t.withheld for t in tables if t.withheld),
    }
    return environment.get_template(f"{name}.html.j2").render(content=section, **context)
