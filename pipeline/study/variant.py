"""One way in which a protocol is run: the object behind every variant's name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.project.words import number_of
from pipeline.study.budget import Budget
from pipeline.study.words import HEAD_WORDS, NORMALIZATION_WORDS, WEIGHTING_WORDS

if TYPE_CHECKING:
    from pipeline.study.protocol import Protocol


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What tells a protocol's scores apart, other than model, data set and metric.

    A field is empty (None, "", False) where the protocol does not vary it. Names are composed here
    and taken apart nowhere: who needs to know what a name means has the object.

    Attributes
    ----------
    protocol : str
    called : str
        The name, where someone chose it: of a fine-tuning run, a transferability metric, an
        imported score.
    said : str
        The label, where an imported file gives one.
    head : str
        ``knn``, ``logistic``, ``ridge``, ``sgd``, ``mlp`` or ``prototypes``.
    preset : str
        Of kNN: ``study`` or ``dino``.
    distance : str
        Of kNN: ``euclidean`` or ``cosine``.
    k : int or None
        Neighbours that vote.
    weighting : str
        Of votes: ``distance``, ``uniform`` or ``softmax``.
    temperature : float or None
        Of softmax votes.
    normalization : str
        Of features: ``none``, ``zscore``, ``l2``, ``centered_l2``, ``target_zscore`` (by the data
        set tested on), or ``bn`` (a BatchNorm before a head trained by gradient descent).
    views : int
        Augmented views that ``sgd`` is trained on; 0: the evaluation crop.
    tuned : bool
        Of kNN everything, of ``sgd`` and ``mlp`` the learning rate.
    budget : Budget or None
        Labels to learn from; None: all.
    ways : int or None
        Classes that an image is judged among, where they are fewer than the data set has.
    coarse : bool
        Whether classes are merged into coarser ones.
    source : str
        The data set trained on, where it is not the one tested on.
    held_out_group : bool
        Whether each group of the train split is judged by what all others taught.
    """

    protocol: str
    called: str = ""
    said: str = ""
    head: str = ""
    preset: str = ""
    distance: str = ""
    k: int | None = None
    weighting: str = ""
    temperature: float | None = None
    normalization: str = ""
    views: int = 0
    tuned: bool = False
    budget: Budget | None = None
    ways: int | None = None
    coarse: bool = False
    source: str = ""
    held_out_group: bool = False

    @property
    def name(self) -> str:
        """What records and scores.csv call it: ``k20_cosine_distance_none``, ``ridge_5_shots``."""
        if self.called:
            return self.called
        if self.budget is not None:
            return _joined(self.head, self.budget.name, self.task)
        probe = self._knn_name if self.head == "knn" else self._head_name
        if not self.source and not self.held_out_group:
            return probe
        trained = f"from_{self.source}" if self.source else "held_out_group"
        return _joined(trained, "knn" if self.head == "knn" else "", probe)

    @property
    def full_name(self) -> str:
        """With the protocol, as the cube has it: ``knn/k20_cosine_distance_none``."""
        return f"{self.protocol}/{self.name}"

    @property
    def task(self) -> str:
        """``2_classes`` or ``coarse``; empty for all of the data set's classes."""
        return "coarse" if self.coarse else f"{self.ways}_classes" if self.ways else ""

    @property
    def label(self) -> str:
        """The reader's words: ``kNN: 20 neighbours, cosine, 1/distance, plain``."""
        if self.said:
            return self.said
        of = self._protocol
        if of is not None and not of.classifies:
            return self.short_label
        return f"{self.protocol if of is None else of.label}: {self.short_label}"

    @property
    def short_label(self) -> str:
        """The same without the protocol; names that someone chose stay as they are."""
        if self.called:
            known = {} if self._protocol is None else self._protocol.names
            return known.get(self.called, self.called)
        if self.budget is not None:
            return _listed(self.budget.label, HEAD_WORDS[self.head], self._task_words)
        trained = f"trained on {self.source}" if self.source else ""
        if self.held_out_group:
            trained = "tested on each group left out of training"
        if self.head != "knn":
            return _listed(trained, *self._head_words)
        return _listed(trained, "kNN" if trained else "", *self._knn_words)

    @property
    def _protocol(self) -> Protocol | None:
        from pipeline.study.protocol_list import find_protocol  # which is made of variants

        return find_protocol(self.protocol)

    @property
    def _normalized(self) -> str:
        return "" if self.normalization == "none" else self.normalization

    @property
    def _knn_name(self) -> str:
        if self.tuned:
            return "tuned"
        if self.preset == "dino":
            return _joined(f"dino_k{self.k}", self._normalized)
        if self.preset:
            return _joined(self.preset, self._normalized)
        temperature = "" if self.temperature is None else repr(self.temperature)
        votes = f"{self.weighting}{temperature}"
        return _joined(f"k{self.k}", self.distance, votes, self.normalization)

    @property
    def _head_name(self) -> str:
        if self.head == "sgd":
            trained_on = f"views_{self.views}" if self.views else "cached"
            return _joined("sgd", trained_on, self._normalized, "tuned" if self.tuned else "")
        if self.head == "mlp":
            return _joined("mlp", self._normalized, "tuned" if self.tuned else "")
        return _joined(self.head, self.normalization)

    @property
    def _knn_words(self) -> tuple[str, ...]:
        normalization = NORMALIZATION_WORDS.get(self._normalized, "")
        if self.tuned:
            return ("tuned by leave-one-out",)
        if self.preset == "dino":
            return (f"DINO’s preset, {number_of(self.k or 0, 'neighbour')}", normalization)
        if self.preset:
            votes = f"{number_of(self.k or 0, 'neighbour')}, {WEIGHTING_WORDS[self.weighting]}"
            return (f"the paper’s preset ({votes})", normalization)
        temperature = "" if self.temperature is None else f" {self.temperature!r}"
        return (
            number_of(self.k or 0, "neighbour"),
            self.distance,
            f"{WEIGHTING_WORDS[self.weighting]}{temperature}",
            NORMALIZATION_WORDS[self.normalization],
        )

    @property
    def _head_words(self) -> tuple[str, ...]:
        if self.head not in ("sgd", "mlp"):
            return (HEAD_WORDS[self.head], NORMALIZATION_WORDS[self.normalization])
        trained_on = f"{self.views} views" if self.views else "cached"
        return (
            HEAD_WORDS[self.head],
            trained_on if self.head == "sgd" else "",
            NORMALIZATION_WORDS.get(self._normalized, ""),
            "tuned learning rate" if self.tuned else "",
        )

    @property
    def _task_words(self) -> str:
        if self.coarse:
            return "coarse classes"
        return f"{self.ways} classes at a time" if self.ways else ""


def _joined(*parts: str) -> str:
    return "_".join(filter(None, parts))


def _listed(*parts: str) -> str:
    return ", ".join(filter(None, parts))
