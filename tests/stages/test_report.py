import html
import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from packed_page import data_in
from report_study import NOT_TRAINED, make_study, store

from pipeline.machine.netcdf import read_netcdf, read_netcdf_groups
from pipeline.project.paths import CORRELATION_NC, REPORT, SCORES_NC, SUMMARY, provenance_path
from stages.report import main

HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)"><!--'


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run():
    result = CliRunner().invoke(main, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return REPORT.read_text(encoding="utf-8")


def data_of(page):
    packed = data_in(page)
    return {**packed["data"], "figures": packed["figures"]}


def words_of(page):
    """What a reader sees: text without markup and scripts, white space folded."""
    body = re.sub(r"<(script|style).*?</\1>", " ", page, flags=re.DOTALL)
    body = re.sub(r"</?code>", "", body)  # within a sentence
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_answers_both_questions_with_numbers():
    store(make_study(models=6, outside=2))
    page = run()
    words = words_of(page)
    assert re.search(r"By kNN, mean over 3 data sets model5 \d+\.\d% \(95%: ", words)
    assert re.search(r"By linear probe, mean over 3 data sets model\d", words)
    assert re.search(r"(kNN|linear probe) on in0 ρ 0\.\d\d \(95%: ", words)
    assert "Few families (6):" in words
    assert "are untrained" not in words


@pytest.mark.slow
def test_first_screen_tells_what_the_statistics_hold():
    study = make_study(models=8, inside=2, outside=3)
    store(study)
    words = words_of(run())
    groups = read_netcdf_groups(CORRELATION_NC)
    found = groups["comparison"].sel(targets="all")
    best = found.isel(predictor=int(found["mean"].argmax("predictor")))
    name = str(best["predictor"].item()).replace("knn/k1_euclidean_distance_none", "kNN")
    name = name.replace("linear/logistic_none", "linear probe").replace("@", " on ")
    said = re.search(rf"{name} ρ (\S+) \(95%: (\S+) to (\S+)\)", words)
    assert said is not None
    told = [float(number.replace("−", "-")) for number in said.groups()]
    assert told == pytest.approx(
        [float(best[end]) for end in ("mean", "joint_low", "joint_high")], abs=0.0051
    )
    for protocol, word in (("knn", "kNN"), ("linear", "linear probe")):
        scores = read_netcdf(SCORES_NC)["value"].sel(metric="top1")
        of = scores.isel(variant=[str(v).startswith(protocol) for v in scores["variant"].values])
        mean = of.squeeze("variant").mean("dataset")
        winner = str(mean.idxmax().item())
        assert f"By {word}, mean over 5 data sets {winner} {100 * float(mean.max()):.1f}%" in words


@pytest.mark.slow
def test_a_study_of_imported_scores_alone():
    empty = make_study(models=1, inside=1, outside=0).model_copy(
        update={"models": {}, "datasets": {}}
    )
    rng = np.random.default_rng(0)
    base = rng.uniform(0.3, 0.9, 9)
    rows = [
        f"m{m}<b>,d{d},{protocol},top1,{min(base[m] + 0.05 * rng.random(), 1):.4f},f{m},{role}"
        for m in range(9)
        for d, role in enumerate(("in_domain", "out_of_domain", "out_of_domain"))
        for protocol in ("knn", "finetune")
    ]
    Path("scores").mkdir()
    header = "model,dataset,protocol,metric,value,family,role"
    Path("scores/paper.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    store(empty)
    page = run()
    words = words_of(page)
    assert "9 models of 9 families" in words
    assert "Models are compared without per-image outcomes" in words
    assert "out-of-domain fine-tuning" in words
    assert "<b>," not in page.replace("</b>", "")
    assert "m0<b>" in data_of(page)["table"]["models"][0]["name"]


def test_imported_scores_with_gaps_are_compared_where_they_can_be():
    """A data set of one model, a model of one score, names beyond ASCII; nothing is made up."""
    empty = make_study(models=1).model_copy(update={"models": {}, "datasets": {}})
    rows = [
        f"modèle{m},d{d},linear,top1,{0.3 + 0.1 * m + 0.01 * d:.2f},f{m},"
        + ("out_of_domain" if d else "in_domain")
        for m in range(5)
        for d in range(4)
        if (d < 3 or m == 0) and (m < 4 or d == 0)
    ]
    Path("scores").mkdir()
    header = "model,dataset,protocol,metric,value,family,role"
    Path("scores/paper.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    store(empty)
    page = run()
    words = words_of(page)
    assert "By linear probe, mean over 3 of 4 data sets modèle3 61.0% Next: modèle2" in words
    assert "The mean is without d3, as too few models have it and the others." in words
    assert "Not ranked, as scores are missing: modèle4 ." in words
    assert "Linear fits that did not converge" not in words  # there was none to look at
    assert "Imported scores linear probe: imported. They are taken as" in words
    for untold in ("Multinomial", "Each image passes", "Clopper", "with its 95% interval"):
        assert untold not in words
    assert ">mean of out-of-domain data sets</option>" not in page  # nobody has all of them
    summary = SUMMARY.read_text(encoding="utf-8")
    assert "The mean is without d3, as too few models have it" in summary


@pytest.mark.slow
def test_one_quiet_file_and_always_the_same():
    store(make_study(models=4, outside=1))
    page = run()
    assert run() == page
    assert len(page) < 5e6
    markup = re.sub(r"<(script|style)[^>]*>.*?</\1>", "", page, flags=re.DOTALL)
    targets = re.findall(r"(?:src|href)\s*=\s*[\"']?([^\"'>]*)", markup)
    assert targets
    assert all(t.startswith(("#", "data:")) for t in targets)
    assert not re.search(r"@import|url\(", page.split("</style>")[0])
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1]
    assert policy.startswith("default-src &#39;none&#39;; script-src &#39;sha256-")
    assert "unsafe-eval" not in policy


def test_hostile_words_stay_text():
    words = {"family": HOSTILE, "method": HOSTILE, "backbone": "=cmd()", "architecture": HOSTILE}
    study = make_study(words=words, title=HOSTILE)
    store(study, remarks=[HOSTILE], details={"converged": False, "iterations": HOSTILE})
    page = run()
    assert "alert(1)</script>" not in page
    assert "<img" not in re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert page.count("<script") == page.count("</script>") == 6
    assert data_of(page)["table"]["models"][0]["family"] == HOSTILE
    assert html.escape(HOSTILE, quote=False).split("&lt;img")[0] in page


@pytest.mark.parametrize("models", [1, 2, 3])
def test_few_models_get_no_correlation(models):
    store(make_study(models=models), statistics=False)
    words = words_of(run())
    assert f"Withheld: a rank correlation over {models} model" in words
    assert "Nothing to show: a correlation needs 4 models" in words
    assert ("There is no other model to compare it with." in words) == (models == 1)


def test_the_contents_come_first_and_lead_to_every_section():
    store(make_study(models=2), statistics=False)
    page = run()
    markup = re.sub(r"<(script|style)[^>]*>.*?</\1>", "", page, flags=re.DOTALL)
    assert markup.index("<nav") < markup.index("<h1")
    ids = re.findall(r'\bid="([^"]+)"', markup)
    assert len(ids) == len(set(ids))
    listed = re.findall(r'href="#([^"]+)"', markup[: markup.index("</nav>")])
    assert set(re.findall(r'href="#([^"]+)"', markup)) <= set(ids)
    assert listed == ["main", *re.findall(r'<div class="part[^"]*" id="([^"]+)"', markup)]


def test_a_section_with_nothing_to_say_is_one_line():
    store(make_study(models=2), statistics=False)
    listed = run().split('<section id="absent"')[1].split("</section>")[0]
    lines = re.findall(r"<li>(.*?)</li>", listed)
    folded = {place for line in lines for place in re.findall(r'<b id="([^"]+)">', line)}
    assert {"trust-section", "tradeoff", "labels", "why", "shift", "cheap", "tests"} <= folded
    assert all(line.rpartition("</b> ")[2] for line in lines)
    assert "`" not in listed


@pytest.mark.slow
def test_few_families_have_intervals_over_models_and_name_no_best():
    store(make_study(words={"family": "one"}))
    page = run()
    words = words_of(page)
    assert "6 models in common are too few to call an evaluation the best (at least 8)" in words
    assert "6 models of 1 family" in words
    rows = data_of(page)["figures"]["correlation"]["rows"]
    for low, value, high in zip(rows["low"], rows["value"], rows["high"], strict=True):
        assert (low is None) == (high is None)
        # A ρ of 1 is taken as half a step below: no interval ends at 1.
        assert low is None or low < value < high + 0.01
    assert any(low is not None for low in rows["low"])


@pytest.mark.slow
def test_one_data_set():
    store(make_study(inside=1, outside=0))
    page = run()
    assert "No data set of this study has the role out-of-domain" in words_of(page)
    assert "By kNN, on in0" in words_of(page)
    figures = data_of(page)["figures"]
    assert "correlation" in figures  # kNN with linear
    assert not any(name.startswith("scatter") for name in figures)


@pytest.mark.slow
def test_no_in_domain_data_set():
    store(make_study(inside=0, outside=2))
    page = run()
    assert "No data set of this study has the role in-domain" in words_of(page)
    assert "scatter_knn" in data_of(page)["figures"]


@pytest.mark.slow
def test_constant_scores():
    store(make_study(), constant=True)
    words = words_of(run())
    assert "Scores are missing or constant." in words
    assert "model1, model2, model3, model4 and model5. No model differs from it." in words


@pytest.mark.slow
def test_missing_cells_are_named_and_not_ranked():
    missing = [("knn", "out1", "model5"), *(("linear", "out0", f"model{i}") for i in range(6))]
    store(make_study(), missing=missing)
    provenance_path("out1", "model5").unlink()
    page = run()
    words = words_of(page)
    assert "Cells without a score 7 of 36" in words
    assert "Cells without provenance 1 of 18" in words
    assert "kNN of model5 on out1" in words
    assert "Not ranked, as scores are missing: model5 ." in words
    assert "By linear probe, mean over 2 data sets" in words  # out0 has no linear score at all
    table = data_of(page)["table"]
    assert table["cells"][0][0][5][2] is None


def test_a_protocol_where_no_model_is_complete():
    missing = [("knn", "in0", "model0"), ("knn", "out0", "model1")]
    store(make_study(models=2, outside=1), missing=missing, statistics=False)
    assert "No answer: no model has a score on every one of these data sets." in words_of(run())


def test_the_first_of_equal_models_is_not_called_better():
    store(make_study(models=3), constant=True, statistics=False)
    words = words_of(run())
    assert "By kNN, mean over 3 data sets model0 50.0% The same score: model1 and model2." in words


def test_out_of_domain_data_sets_without_scores_are_the_reason_given():
    outside = [(p, "out0", f"model{m}") for p in ("knn", "linear") for m in range(5)]
    store(make_study(models=5, outside=1), missing=outside, statistics=False)
    assert "No out-of-domain data set has a score: there is nothing to predict." in words_of(run())


def test_doubts_are_listed():
    details = {"converged": False, "iterations": 500, "C": 10.0, "C_at_edge_of_grid": True}
    remarks = ["9 val images are in train too"]
    store(make_study(models=2), details=details, remarks=remarks, statistics=False)
    words = words_of(run())
    assert "Linear fits that did not converge 6 of 6" in words
    assert (
        "model0 on in0 (linear probe: logistic regression, plain): stopped after 500 iterations"
        in words
    )
    assert "model0 on in0 (linear probe: logistic regression, plain): C = 10" in words
    assert "in0: 9 val images are in train too" in words


def test_reduced_precision_is_shown_with_its_audit():
    study = make_study(models=2, inside=1, outside=0)
    store(study, statistics=False)
    assert "Embeddings computed in" not in words_of(run())  # float32: nothing to look for
    reduced = study.extraction.model_copy(update={"precision": "bfloat16"})
    study = study.model_copy(update={"extraction": reduced})
    store(study, statistics=False)
    audit = {"images": 256, "median": 0.0042, "maximum": 0.0123, "changed": 8 / 256}
    for model, precision in (("model0", "bfloat16"), ("model1", "float16")):
        path = provenance_path("in0", model)
        facts = json.loads(path.read_text())
        path.write_text(json.dumps({**facts, "audit": {**audit, "precision": precision}}))
    words = words_of(run())
    assert "Embeddings computed in bfloat16 2 of 2" in words
    assert (
        "model0 on in0: in bfloat16, rows of 256 images differ from float32 by 0.42% of their "
        "norm (median; 1.23% at most) and 3.1% of their kNN predictions change"
    ) in words
    assert "model1 on in0: not audited" in words  # its audit is of another precision


def test_features_are_named_in_methods_and_in_provenance():
    study = make_study(models=2, inside=1, outside=0)
    models = dict(study.models)
    models["model1"] = models["model1"].model_copy(update={"feature": "last4_cls", "crop": 0.5})
    store(study.model_copy(update={"models": models}), statistics=False)
    words = words_of(run())
    assert "the class tokens of the last four blocks, each after the final norm" in words
    assert "last4_cls" in words
    assert "crop 0.5" in words


def test_untrained_networks_are_called_so():
    store(make_study(words=NOT_TRAINED), statistics=False)
    assert "All networks are untrained: the scores say nothing about" in words_of(run())


def test_mean_per_class():
    study = make_study()
    settings = study.correlation.model_copy(update={"metric": "mean_per_class"})
    store(study.model_copy(update={"correlation": settings}), statistics=False)
    page = run()
    assert "This page speaks of mean per-class accuracy" in words_of(page)
    assert data_of(page)["table"]["metrics"][0] == "mean_per_class"


def test_results_of_another_study_are_refused():
    store(make_study(models=3), statistics=False)
    text = json.dumps(make_study(models=2).model_dump())
    with open("params.yaml", "w", encoding="utf-8") as file:
        file.write(text)
    result = CliRunner().invoke(main)
    assert result.exit_code == 1
    assert "scores of another study" in result.stderr
    assert "dvc repro" in result.stderr


@pytest.mark.parametrize("path", [SCORES_NC, CORRELATION_NC])
def test_absent_results_say_what_to_run(path):
    store(make_study(models=2), statistics=False)
    path.unlink()
    result = CliRunner().invoke(main)
    assert result.exit_code == 1
    assert str(path) in result.stderr
    assert not REPORT.exists()


@pytest.mark.slow
def test_a_study_of_26_models_and_14_data_sets():
    store(make_study(models=26, inside=2, outside=12, variants=6), images=20)
    assert len(run()) < 15e6


def test_a_checkpoint_of_ones_own_with_defaults_is_said_on_the_first_screen():
    study = make_study(models=3, inside=1, outside=0)
    store(study, statistics=False)
    assert "mage transform not given" not in words_of(run())
    models = dict(study.models)
    for name, given in (("model0", {}), ("model1", {"mean": [0.5] * 3, "std": [0.5] * 3})):
        models[name] = models[name].model_copy(update={"weights": "own.pth", **given})
    store(study.model_copy(update={"models": models}), statistics=False)
    words = words_of(run())
    first = words[: words.index("Under constraints")]
    assert (
        "Image transform not given: all of it for 1 model (model0); "
        "crop and interpolation for 1 model (model1)."
    ) in first
    provenance = words[words.index("who said") if "who said" in words else 0 :]
    assert "(timm's default, not given)" in provenance
    assert "mean 0.5 0.5 0.5, std 0.5 0.5 0.5 (given)" in provenance
    assert "(recorded with these weights)" in provenance
