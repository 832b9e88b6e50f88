"""cuML behind our own measure of convergence; against stand-ins of its interface, and for real."""

from __future__ import annotations

import inspect

import cuml_stub
import numpy as np
import pytest
from cuml_stub import UPLOADED
from simulated_gpus import simulate
from sklearn.linear_model import LogisticRegression

from cache.errors import ProbelineError
from pipeline.heads.library_logistic import LibraryPath
from pipeline.heads.linear_heads import fit_head
from pipeline.heads.linear_solvers import LogisticSolver, fit_ridge_by
from pipeline.heads.ridge import fit_ridge
from pipeline.heads.ridge_solvers import Ridge
from pipeline.heads.tuning import PLAIN
from pipeline.machine.backends import CUML_ELEMENTS, choose_backend
from pipeline.neighbors.banks import ArrayBank
from pipeline.neighbors.library_search import nearest_by
from pipeline.study.linear import Linear
from pipeline.study.protocol_list import backends_offered

BACKENDS = ("numpy", "torch", "sklearn", "cuml")


def clouds(seed: int, n: int = 150, d: int = 10, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes).astype(np.int64)
    features = np.random.default_rng(99).normal(0, 1, (classes, d))[labels]
    return (features + rng.normal(0, 1.5, (n, d))).astype(np.float32), labels


@pytest.fixture
def stub(monkeypatch):
    cuml_stub.install(monkeypatch)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["LogisticRegression", "Ridge", "NearestNeighbors"])
def test_the_stand_ins_have_the_real_signatures(name):
    cuml = pytest.importorskip("cuml")
    real = getattr(cuml.neighbors if name == "NearestNeighbors" else cuml.linear_model, name)
    methods = ("__init__", "fit", *(("kneighbors",) if name == "NearestNeighbors" else ()))
    for method in methods:
        ours = inspect.signature(getattr(getattr(cuml_stub, name), method)).parameters
        theirs = inspect.signature(getattr(real, method)).parameters
        assert {p: (x.kind, x.default) for p, x in ours.items()} == {
            p: (x.kind, x.default) for p, x in theirs.items()
        }


def test_it_is_chosen_where_there_is_a_gpu(stub, monkeypatch):
    monkeypatch.setenv("PROBELINE_BACKEND", "linear:cuml")
    monkeypatch.setenv("PROBELINE_DEVICE", "cpu")
    with pytest.raises(ProbelineError, match="no CUDA device"):
        choose_backend("linear", backends_offered())
    monkeypatch.delenv("PROBELINE_DEVICE")
    simulate(monkeypatch, 2)
    choice = choose_backend("linear", backends_offered())
    assert (choice.of(1.0), choice.gpus, choice.is_on_gpu("cuml")) == (
        "cuml", ("cuda:0", "cuda:1"), True,
    )  # fmt: skip
    assert choose_backend("neighbors", backends_offered()).of(1.0) == "numpy"


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", ["logistic", "ridge"])
def test_all_backends_give_the_same_answers(stub, name, classes):
    """Probabilities to 1e-3 and ridge's scores to 1e-4 of float32's; the same choice of C or λ."""
    x, y = clouds(0, n=600, classes=classes)
    other, _ = clouds(1, n=80, classes=classes)
    asked = Linear(c=[1e-2, 0.1, 1.0], max_iterations=5000)
    heads = {b: fit_head(name, "zscore", x, y, classes, asked, b) for b in BACKENDS}
    chosen = "C" if name == "logistic" else "lambda"
    expected = heads["numpy"].scores(other)
    for backend, head in heads.items():
        assert head.backend == backend
        assert head.details[chosen] == heads["numpy"].details[chosen]
        found, wanted = head.scores(other), expected
        if name == "logistic":
            found, wanted = np.exp(found), np.exp(wanted)
            assert head.details["converged"]
        np.testing.assert_allclose(found, wanted, atol=1e-3 if name == "logistic" else 1e-4)


@pytest.mark.parametrize("backend", ["sklearn", "cuml"])
@pytest.mark.parametrize("classes", [2, 4])
def test_the_gradient_is_that_of_the_objective(stub, backend, classes):
    """By differences of the objective itself, written out; classes of no image have no part."""
    x, y = clouds(2, n=60, d=4, classes=classes)
    path = LibraryPath(backend, x, y, classes + 1, 4)
    fit = path.fit(0.7)
    w, b = fit.coefficients[:classes], fit.intercept[:classes]
    strength = 2.0 if classes == 2 else 1.0

    def objective(w: np.ndarray, b: np.ndarray) -> float:
        scores = x.astype(np.float64) @ w.T + b
        top = scores.max(1, keepdims=True)
        logs = scores - top - np.log(np.exp(scores - top).sum(1, keepdims=True))
        return strength * (w**2).sum() / 2 - 0.7 * logs[np.arange(len(y)), y].sum()

    assert fit.objective == pytest.approx(objective(w, b), rel=1e-12)
    assert np.isneginf(fit.intercept[classes])
    mean, step = x.astype(np.float64).mean(0), 1e-6
    slope = np.zeros((classes, 5))
    for row in range(classes):
        for column in range(5):
            move, shift = np.zeros_like(w), np.zeros_like(b)
            if column:  # of centred features: the intercept moves against the weight
                move[row, column - 1], shift[row] = step, -step * mean[column - 1]
            else:
                shift[row] = step
            up, down = objective(w + move, b + shift), objective(w - move, b - shift)
            slope[row, column] = (up - down) / (2 * step)
    slope -= slope.mean(0)
    ours = LogisticSolver("numpy", x.astype(np.float64), classes, 1000)
    first = ours.open_path(ours.train, y, tolerance=PLAIN)(0.7)  # scales its own in the same way
    assert first.gradient_norm < 1e-3
    shares = np.bincount(y) / len(y)
    residual = shares - (y[:, None] == np.arange(classes))
    start = np.column_stack([residual.sum(0), residual.T @ (x - mean)])
    expected = np.linalg.norm(slope) / (0.7 * np.linalg.norm(start))
    assert fit.gradient_norm == pytest.approx(expected, rel=1e-3, abs=1e-7)


def test_a_library_that_stops_early_is_not_believed(stub, monkeypatch):
    """cuML's line search may give up: fewer iterations than allowed, and no word of it."""
    x, y = clouds(3, n=400, d=20)
    early = LibraryPath("cuml", x, y, 3, 1000).fit(1.0)
    assert (early.converged, early.stopped) == (True, "converged")
    monkeypatch.setattr(cuml_stub.LogisticRegression, "iterations", 2)
    stopped = LibraryPath("cuml", x, y, 3, 1000).fit(1.0)
    assert stopped.iterations == 2 < 1000
    assert (stopped.converged, stopped.stopped) == (False, "library")
    assert stopped.gradient_norm > 1e-3
    assert stopped.gap > early.gap >= 0
    ran_out = LibraryPath("cuml", x, y, 3, 2).fit(1.0)
    assert (ran_out.converged, ran_out.stopped) == (False, "iterations")
    asked = Linear(c=[1.0])
    assert fit_head("logistic", "none", x, y, 3, asked, "cuml").details["converged"] is False


def test_the_gap_is_no_less_than_the_true_one(stub, monkeypatch):
    x, y = clouds(4, n=200, d=6)
    exact = LogisticRegression(C=0.5, tol=1e-12, max_iter=20_000).fit(x.astype(np.float64), y)
    losses = -exact.predict_log_proba(x.astype(np.float64))[np.arange(200), y].sum()
    best = (exact.coef_**2).sum() / 2 + 0.5 * losses
    for iterations in (3, 6, 12):
        monkeypatch.setattr(cuml_stub.LogisticRegression, "iterations", iterations)
        fit = LibraryPath("cuml", x, y, 3, 1000).fit(0.5)
        assert fit.gap >= 0.5 * (fit.objective - best) / best >= 0


def test_features_are_uploaded_once_for_all_c(stub):
    """By columns, as the solver wants them: once for the hold-out's part, once for all of train."""
    x, y = clouds(5, n=2100)
    for grid in ([1e-2, 0.1], [1e-3, 1e-2, 0.1, 1.0]):
        UPLOADED.clear()
        fit_head("logistic", "zscore", x, y, 3, Linear(c=grid), "cuml")
        assert sorted(UPLOADED) == [8 * 10 * 1680, 8 * 10 * 2100]  # float64: they are few
    path = LibraryPath("cuml", x, y, 3, 10)
    features, labels = path._given
    assert features.flags.f_contiguous
    assert labels.shape == y.shape


def wide(rows: int, columns: int) -> np.ndarray:
    return np.broadcast_to(np.zeros((), np.float32), (rows, columns))  # no memory


@pytest.mark.parametrize(
    ("rows", "columns", "classes", "words"),
    [
        (2**20, 2**11, 2, "logistic regression"),
        (2**16, 2, 2**15, "its scores"),
        (2**14, 2**17 - 1, 2**14, "its weights"),
    ],
)
def test_what_it_cannot_count_is_refused_before_it_is_made(stub, rows, columns, classes, words):
    """Images x features, images x classes, and features x classes."""
    labels = np.arange(rows) % classes
    with pytest.raises(ProbelineError, match="32 bits") as refused:
        LibraryPath("cuml", wide(rows, columns), labels, classes, 10)
    assert words in refused.value.place
    assert "PROBELINE_BACKEND=torch" in refused.value.remedy
    assert not UPLOADED


def test_ridge_refuses_targets_that_it_cannot_count(stub):
    rows, classes = 2**16, 2**15
    own = Ridge(wide(classes, 2), np.zeros(classes), 1.0)
    with pytest.raises(ProbelineError, match="its targets"):
        fit_ridge_by("cuml", wide(rows, 2), np.zeros(rows, np.int64), own)
    assert rows * classes > CUML_ELEMENTS > rows * 2


@pytest.mark.parametrize("classes", [2, 3])
def test_ridge_is_fitted_in_float64(stub, classes):
    x, y = clouds(6, n=90, classes=classes)
    own = fit_ridge(x + 100, y, classes, [0.1])[0][0]
    other = fit_ridge_by("cuml", x + 100, y, own)
    np.testing.assert_allclose(other.coefficients, own.coefficients, atol=1e-9)


@pytest.mark.parametrize("room", [None, 7])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_neighbors_are_those_of_our_own_search(stub, monkeypatch, metric, room):
    """Its candidates are float32's; distances and order are measured again."""
    monkeypatch.setattr(cuml_stub.NearestNeighbors, "room", room)
    rng = np.random.default_rng(7)
    bank, queries = (rng.normal(3, 1, (n, 16)).astype(np.float32) for n in (400, 50))
    found = {
        b: nearest_by(b, ArrayBank(bank), ArrayBank(queries), 9, metric, "none") for b in BACKENDS
    }
    for backend in BACKENDS:
        np.testing.assert_array_equal(found[backend].indices, found["numpy"].indices)
        np.testing.assert_allclose(found[backend].distances, found["numpy"].distances, rtol=1e-5)


def test_a_search_refuses_neighbors_that_it_cannot_count(stub, monkeypatch):
    from pipeline.machine import backends

    monkeypatch.setattr(backends, "CUML_ELEMENTS", 50 * 18)
    rng = np.random.default_rng(8)
    bank, queries = (ArrayBank(rng.normal(0, 1, (50, 16)).astype(np.float32)) for _ in "ab")
    with pytest.raises(ProbelineError, match="its neighbours"):
        nearest_by("cuml", bank, queries, 9, "euclidean", "none")
