"""What the heads of the report's columns mean, for those that do not say it in full."""

from __future__ import annotations

from collections.abc import Iterable

COLUMNS = {
    # correlations of predictors with scores
    "Mean ρ of two data sets": "Spearman’s ρ of the models’ scores on two data sets, averaged over "
    "all pairs of data sets.",
    "Mean ρ": "Spearman’s ρ between the predictor’s order of the models and that of the scores, "
    "averaged over the targets; 1 is the same order, 0 has nothing to do with it.",
    "ρ, one target": "Spearman’s ρ with the only target there is; what holds there need not hold "
    "for another one.",
    "Δ mean ρ": "The mean ρ of one predictor less that of the other, on the same models and "
    "targets.",
    "Δ from linear": "Mean ρ less that of the in-domain linear probe, on the same models and "
    "targets.",
    "ρ with the nearest, held out": "Spearman’s ρ with the nearest data set, over models that had "
    "no part in finding it.",
    "ρ with the mean rank elsewhere": "Spearman’s ρ with the models’ mean rank on all other data "
    "sets, over the same models.",
    "ρ in its top half": "Spearman’s ρ among the better half of the models, by the predictor.",
    "ρ with": "Change of Spearman’s ρ with the scores by that protocol, out of domain.",
    "ρ of": "Two columns of scores; the numbers are Spearman’s ρ between them over models.",
    "In its top half": "ρ among the better half of the models, by the predictor: weak models alone "
    "can make an order look right.",
    "In its top ten": "ρ among the ten models that the predictor puts first.",
    "Within backbones": "ρ among models of the same backbone, pooled over backbones.",
    "With untrained and collapsed models": "Mean ρ with the models that are left out of the other "
    "columns, as any check tells them from trained ones.",
    "Lowest to highest": "ρ on the single targets, from the lowest to the highest.",
    "By Fisher’s z": "The mean taken of atanh ρ, and turned back: high values weigh more.",
    "For new targets": "Interval of the mean for other data sets of the same kind.",
    "Shows up in 4 of 5 studies from": "The smallest true difference that 80% of such studies "
    "would find.",
    "Could have been found": "The smallest true difference that 80% of such studies would find.",
    "p, corrected by max-T": "p for all these comparisons at once, from joint redraws.",
    "p, max-T": "p for all these comparisons at once, from joint redraws.",
    "p, corrected by Holm": "p for all these comparisons at once, by Holm’s rule.",
    "p, Holm": "p for all these comparisons at once, by Holm’s rule.",
    "p alone": "p of this comparison, as if it were the only one.",
    "p": "How often chance alone would give as much, or more.",
    # what choosing costs
    "Regret, points": "How far the model that the predictor puts first lies behind the best one; "
    "too large by luck (cross-fitted: too small).",
    "Regret / (best − median)": "The same, as a share of what lies between the best model and the "
    "median one.",
    "Best model chosen": "Share of the targets on which the predictor puts the best model first.",
    "Best among its first three": "Share of the targets on which the best model is among the first "
    "three.",
    "Pairs ordered rightly": "Share of model pairs that the predictor orders rightly, of those "
    "that differ beyond chance on the target.",
    "Points behind the best": "How far the model that the check puts first lies behind the best "
    "one on the target.",
    "At most behind": "Upper limit, for all models at once, of how far it lies behind the best.",
    "Any of them at most behind": "Upper limit of how far any of the tied models lies behind "
    "the best.",
    "At most": "Upper limit of that, for all models at once.",
    "Puts first": "The model that the check would have you take.",
    "Beside the best": "Within chance: no model is known to be better. Differs: one is.",
    "Images to tell": "Test images with which a model that truly lies one margin behind is told "
    "from the best in 80% of cases.",
    "Images that would tell": "Test images with which a model that truly lies one margin behind is "
    "told from the best in 80% of cases.",
    "Seconds a model": "Of the check itself on one model, embeddings given.",
    "It costs": "What has to be done to have this order.",
    # ranks and means
    "Rank by mean": "Place by the mean of the logits over data sets, clusters alike.",
    "Mean of logits": "Mean over data sets of log(accuracy / errors): a point near 100% counts "
    "more.",
    "Rank by wins": "Place by the share of pairwise wins.",
    "Pairwise wins": "Share of data sets on which the model is better, averaged over the other "
    "models; ties count half.",
    "Borda": "Mean share of the other models that it beats; another model may change it.",
    "Raw mean": "Mean of the scores as they are; its place in small.",
    "Mean rank": "Mean over data sets of the model’s place.",
    "Kendall’s W": "Agreement of all data sets on the order of the models: 0 none, 1 all the same.",
    "First by": "The model that leads by this way of averaging.",
    # noise, gaps
    "Observed r": "Pearson’s r as measured.",
    "Without image noise": "Pearson’s r after what chance in the test images takes from it.",
    "Reliabilities": "Share of each score’s variance over models that is not noise of its images.",
    "Gap at equal backbone": "The gap that is left between models of the same backbone.",
    "Gap, logits": "Generative less discriminative models, mean logit of accuracy.",
    "Share explained": "1 − gap at equal backbone / gap: what the backbones explain.",
    "Beyond the other": "Adjusted R² that the factor adds to the other one.",
    "Mean of both (LMG)": "Mean of what it explains alone and beyond the other.",
    "P(no crossing)": "Probability that the difference has the same sign at all label counts.",
    "Within chance at": "Label counts at which the difference may be 0.",
    "Change places at": "Label counts at which the difference changes its sign.",
    "Says something of": "Whether the claim is about families of models or the models named.",
    "Own targets covered": "Share of the study’s own targets that the interval made from the "
    "others holds.",
    "Needed for 80%": "How many would find the stated difference in 80% of cases.",
    "Power now": "How often a study like this one finds the stated difference.",
    "Clusters": "Groups of related data sets; each counts once.",
    "GMACs": "Billions of multiply-adds for one image.",
    "Extraction, s": "Seconds of the model’s own forward passes, all data sets together.",
    "Few-shot head": "Mean over the same models of a head on frozen embeddings that saw as few "
    "labels.",
}  # fmt: skip
"""By a column's head, or how it begins."""


def explained(head: str) -> str:
    """What a column's head means; empty of one that says it itself."""
    keys = [key for key in COLUMNS if head == key or (head.startswith(key) and len(key) > 1)]
    return COLUMNS[max(keys, key=len)] if keys else ""


def legend(heads: Iterable[str]) -> list[tuple[str, str]]:
    """The heads of a table that need words, each meaning once, with the first head that has it."""
    found: dict[str, str] = {}
    for head in heads:
        if words := explained(head):
            found.setdefault(words, head)
    return [(head, words) for words, head in found.items()]
