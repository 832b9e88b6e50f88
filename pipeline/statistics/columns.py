"""What the columns of the statistics' tables mean, in which unit, and between which ends.

A column has one meaning wherever it stands. Where a table's is another, its name goes before it
here, or the statistic's own module says it in a mapping of this name, as for new columns.
``X_low`` and ``X_high`` are the ends of the interval of X, unless they are something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

INF = float("inf")
Ends = tuple[float, float]

ANY: Ends = (-INF, INF)
SHARE: Ends = (0, 1)
"""Also of accuracies, probabilities, and of 1 for yes and 0 for no."""

DIFFERENCE: Ends = (-1, 1)
"""Of two shares; also of ρ and other coefficients."""

TWICE: Ends = (-2, 2)
"""Of two coefficients."""

COUNT: Ends = (0, INF)
PLACE: Ends = (1, INF)


@dataclass(frozen=True)
class Column:
    """One column of the statistics' tables.

    Attributes
    ----------
    meaning : str
    unit : str
        ``text`` for words; "" for numbers without one.
    range : tuple of float
        Between which ends it lies; of an interval's ends, those of its value are told.
    """

    meaning: str
    unit: str = ""
    range: Ends = ANY


def _text(meaning: str) -> Column:
    return Column(meaning, "text")


def _yes(meaning: str) -> Column:
    return Column(f"1 where {meaning}, else 0", "yes or no", SHARE)


def _count(meaning: str, of: str) -> Column:
    return Column(meaning, of, COUNT)


def _p(meaning: str) -> Column:
    return Column(meaning, "probability", SHARE)


def _share(meaning: str, unit: str = "share") -> Column:
    return Column(meaning, unit, SHARE)


COLUMNS: dict[str, Column] = {
    # What a row is about
    "backbone": _text("models of this kind of network, all models, or all given their backbone"),
    "budget": _text("labels that a draw has, as variants spell it"),
    "change": _text("what is read otherwise than in `gaps`"),
    "check": _text("evaluation and the data set that it is made on"),
    "class": _text("a class of the data set, by name or number"),
    "coefficient": _text("pearson, spearman, kendall, or pearson_logit of logit scores"),
    "contrast": _text("which side less which"),
    "dataset": _text("data set that scores are on; mean: over all of them"),
    "factor": _text("what may explain scores: objective or backbone"),
    "given": _text("over all models, or given their backbone"),
    "group": _text("models of all backbones, of one, or the difference between two"),
    "head": _text("classifier on the features"),
    "in_domain": _text("data set that is predicted from"),
    "model": _text("name in params.yaml, or in an imported file"),
    "null_model": _text("a way to order models that costs nothing"),
    "order": _text("predictor or null model that orders the models"),
    "plain": _text("the same without normalisation"),
    "predictor": _text("score that predicts another: protocol/variant@data set, or a protocol"),
    "predictor_dataset": _text("the predictor's data set; `each target`: each one's own train"),
    "predictor_variant": _text("the predictor's protocol and variant"),
    "protocol": _text("evaluation whose scores are judged, or predicted"),
    "question": _text("what is left open, or number of a row"),
    "reference": _text("what the predictor is compared with"),
    "rival": _text("what the model is compared with"),
    "row": Column("number of a row, from 0", "", COUNT),
    "sample": Column("row of the data set's test split, from 0", "", COUNT),
    "scale": _text("accuracy, or logit of it"),
    "scope": _text("which data sets: all, out_of_domain or target"),
    "shift": _text("how the data sets differ from the models' training data"),
    "size": _count("how many models or data sets", "models or data sets"),
    "target": _text("score that is predicted: protocol/variant@data set, or a data set"),
    "targets": _text("which scores are predicted: all, other_protocols, or one protocol's"),
    "task": _text("how many classes are told apart, or a difference of two such tasks"),
    "variant": _text("protocol and way of running it, as records call it"),
    "way": _text("of averaging: raw, rank or logit"),
    # How many
    "answered": _count("images that are answered", "images"),
    "as_good": _yes("it lies less than `report.margin` behind the best, surely"),
    "classes": _count("classes that an image is judged among, or that the data set has", "classes"),
    "clusters": _count("clusters of data sets", "clusters"),
    "count": _count("test images of the class that are taken for the other", "images"),
    "counts": _count("numbers of labels that were tried", "numbers"),
    "crossings": _count("how often the two sides change places", "times"),
    "datasets": _count("data sets behind the number", "data sets"),
    "datasets_left": _count("data sets that are left", "data sets"),
    "decided_pairs": _count("pairs of models whose order on the targets is no chance", "pairs"),
    "draws": _count("draws of labels", "draws"),
    "drop_groups": _count("groups that were left out", "groups"),
    "drop_images": _count("images behind the drop", "images"),
    "errors": _count("test images that the model gets wrong", "images"),
    "families": _count("families of the models behind the number", "families"),
    "forward_passes": _count("images that one model embeds for it", "images"),
    "groups": _count("groups of images", "groups"),
    "images": _count("test images behind the number", "images"),
    "images_to_tell": Column("test images that would tell it from the best", "images", COUNT),
    "labels": Column("labels of a class that are learned from", "labels", COUNT),
    "left_out": _count("strongest models that are left out", "models"),
    "methods": _count("ways of pre-training that both sides have", "methods"),
    "models": _count("models behind the number", "models"),
    "n": _count("models behind the number", "models"),
    "n_clusters": _count("clusters of targets", "clusters"),
    "n_left": _count("models of the side that is named first", "models"),
    "n_right": _count("models of the other side", "models"),
    "n_targets": _count("targets behind the number", "targets"),
    "n_test": _count("test images", "images"),
    "needed": Column("how many would settle it in 80% of cases", "of the question", COUNT),
    "needed_high": Column("the same, at the upper end of what the pilot knows", "as needed", COUNT),
    "needed_low": Column("the same, at the lower end of what the pilot knows", "as needed", COUNT),
    "now": Column("how many the study has", "of the question", COUNT),
    "others": _count("further models", "models"),
    "others_right": _count("further models that get the image right", "models"),
    "pairs": _count("pairs of neighbours behind the index", "pairs"),
    "pieces": _count("separate ranges of labels where the sides can't be told apart", "ranges"),
    "self_supervised": _count("models that learned without labels", "models"),
    "shared_images": _yes("both scores are on the same test images"),
    "supervised": _count("models that learned from labels", "models"),
    "taken": _count("images of the class that are taken for `taken_for`", "images"),
    "top_half_n": _count("models behind `top_half`", "models"),
    "with_all_n": _count("models behind `with_all`", "models"),
    "within_n": _count("models behind `within`", "models"),
    "without_group": _count("images without a group", "images"),
    # Scores and their means
    "accuracy": _share("accuracy"),
    "adjusted": Column("gap at equal backbone", "share, or logits", ANY),
    "agreement": _share("how often a nearest neighbour of the same class is of the same group"),
    "aurc": _share("mean risk over all coverages"),
    "band": Column("half the prediction band of the line", "logits", COUNT),
    "bend": _p("p of a bend in the line of the baseline"),
    "best_aurc": _share("the same if confidence ordered errors last"),
    "best_less_median": Column("best model less the median one", "share", SHARE),
    "behind": Column("how far it lies behind the best", "share", SHARE),
    "behind_high": Column("upper limit of that", "share", DIFFERENCE),
    "beyond": Column("how far the model lies outside the line's models", "logits", COUNT),
    "bin_high": _share("upper end of the bin of confidences"),
    "bin_low": _share("lower end of the bin of confidences"),
    "borda": _share("mean share of the other models that are worse"),
    "chance": _share("accuracy of guessing"),
    "confidence": _share("probability of the predicted class", "probability"),
    "corrected": Column("accuracy corrected for chance; 0: guessing", "", (-INF, 1)),
    "coverage": _share("share of images that are answered"),
    "covered": _share("share of the study's own targets inside intervals made of the others"),
    "crossing": Column("labels of a class at which the sides first change places", "labels", COUNT),
    "decision_accuracy": _share("share of decided pairs that it orders rightly"),
    "detectable": Column("difference that would be found in 80% of cases", "ρ", COUNT),
    "difference": Column("first less second", "share", DIFFERENCE),
    "drop": Column("accuracy that new groups cost", "share", DIFFERENCE),
    "error": _share("expected calibration error"),
    "error_by_chance": _share("the same of perfectly calibrated answers, on average"),
    "error_sd": Column("standard deviation that test images' chance adds", "share", COUNT),
    "expected": _share("accuracy on the line"),
    "fidelity": Column("mean ρ with the targets", "ρ", DIFFERENCE),
    "first_in": Column("adjusted R² alone", "share of variance", (-INF, 1)),
    "fisher": Column("mean of atanh ρ, told as ρ", "ρ", DIFFERENCE),
    "gap": Column("difference of the sides' means", "share, or logits", ANY),
    "held_out": _share("kNN accuracy without neighbours of the image's group"),
    "kept_value": Column("with scores on data sets that models were trained on", "", ANY),
    "last_in": Column("adjusted R² added to the other factor's", "share of variance", (-INF, 1)),
    "left_value": Column("without these", "", ANY),
    "lmg": Column("R² averaged over both orders", "share of variance", SHARE),
    "logit": _share("mean of logit accuracies, told as an accuracy"),
    "mean": Column("mean over targets", "ρ", DIFFERENCE),
    "mean_rho": Column("mean ρ between two data sets", "ρ", DIFFERENCE),
    "null_mean": Column("what chance explains, on average", "share of variance", (-INF, 1)),
    "null_high": Column("95th percentile of what chance explains", "share of variance", (-INF, 1)),
    "observed": Column("the coefficient as it was measured", "r", DIFFERENCE),
    "p_best": _p("how often it is the best model"),
    "power": _share("how often the stated difference would be found", "probability"),
    "power_now": _share("the same, with what the study has", "probability"),
    "raw": Column("mean of the scores themselves", "as the score", ANY),
    "regret": _share("accuracy that the choice costs, on average"),
    "regret_crossed": Column("regret by one half of the images, judged by the other", "share",
                             DIFFERENCE),
    "regret_high": _share("95th percentile of the same"),
    "regret_naive": _share("regret judged by the images that the choice was made on"),
    "relative_crossed": Column("regret_crossed as a share of best_less_median", "share", ANY),
    "relative_naive": Column("regret_naive as a share of best_less_median", "share", COUNT),
    "reliability": Column(
        "variance over models that is no noise; below 0 where noise is all", "share", (-INF, 1)
    ),
    "reliability_predictor": Column("reliability of the predictor", "share", (-INF, 1)),
    "reliability_target": Column("reliability of the target", "share", (-INF, 1)),
    "rho": Column("ρ to expect on a new data set", "ρ", DIFFERENCE),
    "rho_all": Column("ρ with the mean rank on all other data sets", "ρ", DIFFERENCE),
    "rho_nearest": Column("ρ with the nearest data set", "ρ", DIFFERENCE),
    "risk": _share("share of wrong answers among those given"),
    "robustness": _share("share of neighbours of the same class among those of one kind only"),
    "score": Column("the headline score", "as the score", ANY),
    "seconds": Column("time of the predictor itself, embeddings given", "s", COUNT),
    "share": Column("share of the gap that the backbone accounts for", "share", ANY),
    "share_x": _share("share of the variance along x", "share of variance"),
    "share_y": _share("share of the variance along y", "share of variance"),
    "slope": Column("of the line, logit against logit", "", ANY),
    "spread_sd": Column("standard deviation over models", "share", COUNT),
    "strength": Column("agreement beyond chance, of what is possible", "share", (-INF, 1)),
    "threshold": _share("confidence of the least sure answer", "probability"),
    "top1": _share("how often its best model is the target's best"),
    "top3": _share("how often its best model is among the target's best three"),
    "top_half": Column("mean ρ over the better half of the models", "ρ", DIFFERENCE),
    "top_ten": Column("mean ρ over the ten best models", "ρ", DIFFERENCE),
    "v": _share("Cramér's V of group and class, corrected for chance"),
    "v_plain": _share("Cramér's V as it is"),
    "value": Column("Spearman's ρ", "ρ", DIFFERENCE),
    "w": _share("Kendall's W: 1 for one order on all data sets, 0 for none in common"),
    "win_rate": _share("share of other models that it beats, over shared data sets"),
    "with_all": Column("mean ρ over models that every predictor has", "ρ", DIFFERENCE),
    "within": Column("mean ρ within families", "ρ", DIFFERENCE),
    "without": Column("the same without normalisation", "as the score, or ρ", ANY),
    "x": Column("place along the first direction", "", ANY),
    "y": Column("place along the second direction", "", ANY),
    # Ends of intervals
    "best_rank": Column("best place that chance allows", "place", PLACE),
    "cluster_high": Column("upper end of the interval over clusters", "as value", TWICE),
    "cluster_low": Column("lower end of the interval over clusters", "as value", TWICE),
    "drop_from": _text("accuracy that the drop is from"),
    "drop_over": _text("what the interval of drop is over"),
    "high": Column("upper end of the interval", "as what it is of", ANY),
    "highest": Column("highest over targets, or data sets", "ρ", DIFFERENCE),
    "joint_high": Column("upper end of an interval that holds for all at once", "as mean", ANY),
    "joint_low": Column("lower end of an interval that holds for all at once", "as mean", ANY),
    "low": Column("lower end of the interval", "as what it is of", ANY),
    "lowest": Column("lowest over targets, or data sets", "ρ", DIFFERENCE),
    "new_high": Column("upper end of an interval for new targets", "as mean", ANY),
    "new_low": Column("lower end of an interval for new targets", "as mean", ANY),
    "win_high": _share("upper end of the interval of win_rate"),
    "win_low": _share("lower end of the interval of win_rate"),
    "worst_rank": Column("worst place that chance allows", "place", PLACE),
    # Tests
    "p": _p("two-sided p of no difference"),
    "p_bh": _p("p after Benjamini and Hochberg, for all comparisons of the table"),
    "p_corrected": _p("p for all comparisons at once"),
    "p_holm": _p("p after Holm, for all comparisons"),
    "p_max_t": _p("p for all comparisons at once, by max-T"),
    "p_none": _p("probability that the sides never change places"),
    "p_smallest": _p("smallest p that so many models can reach"),
    "p_zero": _p("two-sided p of no correlation"),
    "smallest_p": _p("smallest p that so many models can reach"),
    # Places
    "place_logit": Column("place by logit means", "place", PLACE),
    "place_rank": Column("place by mean ranks", "place", PLACE),
    "place_raw": Column("place by means of scores", "place", PLACE),
    "rank": Column("place, 1 for the best", "place", PLACE),
    "win_rank": Column("place by win_rate", "place", PLACE),
    # Yes or no, and words
    "above": _yes("the range goes on above the numbers of labels that were tried"),
    "agree": _count("models that say the same wrong class", "models"),
    "agreed": _text("the class that most models say"),
    "asks": _text("what may change: the best model, or evaluation"),
    "below": _yes("the range goes on below the numbers of labels that were tried"),
    "changes": _yes("another model leads without the data set"),
    "claim": _text("of which models the interval speaks"),
    "compared": _yes("it is part of the comparison"),
    "cost": _text("what the null model costs"),
    "differs": _yes("the difference is no chance, for all comparisons at once"),
    "few_families": _yes("the interval is over few families"),
    "first": _text("what is to be told apart"),
    "kept": _text("the best, with scores on data sets that models were trained on"),
    "label": _text("the reader's words"),
    "leader": _text("the best model"),
    "leader_of_all": _text("the best model over all data sets"),
    "left": _text("the best without these"),
    "near_chance": _yes("the model is near chance, left out of the line, and not judged"),
    "nearest": _text("the data set that orders models most like it"),
    "nearest_1": Column("row of train that is nearest; -1: not known", "", (-1, INF)),
    "nearest_2": Column("row of train that is second; -1: not known", "", (-1, INF)),
    "nearest_3": Column("row of train that is third; -1: not known", "", (-1, INF)),
    "of": _text("which protocol's, or targets'"),
    "on_target": _yes("the check is made on the target itself"),
    "outside": Column("1 above the prediction band, -1 below it, else 0", "", DIFFERENCE),
    "over_models": _yes("the interval is over models, not families"),
    "pareto_forward_passes": _yes("nothing is as good with as few images, and better in one"),
    "pareto_seconds": _yes("nothing is as good in as little time, and better in one"),
    "picked": _text("the model that it picks"),
    "predicted": _text("class that the model says, by name or number"),
    "reason": _text("why it is not compared"),
    "relation": _text("how group and class go together"),
    "right": _count("test images that it gets right", "images"),
    "second": _text("from what"),
    "taken_for": _text("wrong class that is said most often"),
    "true": _text("class of the image, by name or number"),
    "unanimous": _yes("all models say the same wrong class"),
    "unknown": _text("of how many models it is known"),
    "verdict": _text("what it says, or why it is withheld"),
    "weak": _yes("the class is surely below the model's mean"),
    "within_chance": _yes("it can't be told from the best"),
    # Where a table's column is another
    "against_null_models.difference": Column("mean ρ less the null model's", "ρ", TWICE),
    "calibration.n": _count("images of the bin", "images"),
    "class_accuracy.n": _count("test images of the class", "images"),
    "confusions.n": _count("test images of the true class", "images"),
    "confusions.share": _share("of the class's test images that are taken for the other"),
    "disattenuated_pearson.value": Column("Pearson's r without noise; may pass 1", "r", ANY),
    "effective_robustness.value": Column("accuracy above the line", "logits", ANY),
    "embedding_map.n": _count("test images", "images"),
    "embedding_map.right": _yes("the model gets the image right"),
    "gap_sensitivity.value": Column("gap of mean accuracy", "share", DIFFERENCE),
    "gaps.value": Column("gap between the sides", "share, or logits", ANY),
    "group_neighbors.accuracy": _share("kNN accuracy without as many neighbours, drawn by lot"),
    "headline_pairs.common": Column("that of models with all scores", "r, ρ or τ", DIFFERENCE),
    "headline_pairs.value": Column("the coefficient", "r, ρ or τ", DIFFERENCE),
    "label_crossing.high": Column("labels where they surely differ again", "labels", COUNT),
    "label_crossing.low": Column("labels where they no longer differ surely", "labels", COUNT),
    "mean_scores.mean": _share("mean accuracy over data sets"),
    "normalization_ranking.difference": Column("ρ with less ρ without", "ρ", TWICE),
    "normalization_tests.difference": Column("mean ρ with less mean ρ without", "ρ", TWICE),
    "overall_ranks.mean": _share("mean logit accuracy, told as an accuracy"),
    "predictor_differences.difference": Column("mean ρ less the reference's", "ρ", TWICE),
    "shared_errors.images": _count("test images that no model gets right", "images"),
    "shared_errors.n": _count("test images", "images"),
    "class_accuracy.limit": _share("upper limit of the share, for all classes at once"),
    "power.targets": _count("targets that the number of models is for", "targets"),
    "transfer_residual.value": Column("accuracy above the line", "logits", ANY),
    "trust.mean": Column("mean coefficient over targets", "r, ρ or τ", DIFFERENCE),
    "wrong_images.n": _count("test images", "images"),
}  # fmt: skip
"""By name; by ``TABLE.NAME`` where the table's column is another."""


def explained(name: str, *tables: Mapping[str, Column]) -> Column:
    """What a column means, by the first table that has it; ``X_low`` is an end of X's interval.

    Raises
    ------
    KeyError
        When nobody has said it.
    """
    for table in (*tables, COLUMNS):
        if name in table:
            return table[name]
    of, _, end = name.rpartition("_")
    if end not in ("low", "high"):
        raise KeyError(name)
    which = {"low": "lower", "high": "upper"}[end]
    return Column(f"{which} end of the interval of {of}", explained(of, *tables).unit)
