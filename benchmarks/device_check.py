"""Proves, or refutes, the GPU paths on one NVIDIA card in 15 minutes: twelve checks.

    python benchmarks/device_check.py               # in the repository's root
    ONLY=04,08 python benchmarks/device_check.py    # some of them
    SCALE=tiny python benchmarks/device_check.py    # all, on a CPU; rates are printed, not judged

Prints a JSON line per check, {"check", "ok", "found", "wanted", "seconds"}, which $OUT/checks.jsonl
keeps, too; exit 1 if any failed. BUDGET: seconds after which no check is started (560).
"""

from __future__ import annotations

import concurrent.futures
import copy
import hashlib
import json
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import torch

T0 = time.time()
TINY = os.environ.get("SCALE") == "tiny"
BUDGET = float(os.environ.get("BUDGET", "560"))
OUT = Path(os.environ.get("OUT", "device-check"))
OUT.mkdir(exist_ok=True, parents=True)
BAD = []
WORK = Path(os.environ.get("TMPDIR", "/tmp")) / "probeline-check"
WORK.mkdir(exist_ok=True)
REPO = Path.cwd()

DEV = "cpu" if TINY else "cuda"
os.environ["PROBELINE_DEVICE"] = DEV


def sync():
    """Wait for the device, before a clock is read."""
    if DEV == "cuda":
        torch.cuda.synchronize()


def check(name, most=60):
    """Run a function as a check; it needs at most `most` seconds and gives (ok, found, wanted)."""

    def run(f):
        if os.environ.get("ONLY") and name[:2] not in os.environ["ONLY"].split(","):
            return
        if time.time() - T0 + most > BUDGET:
            print(json.dumps({"check": name, "ok": None, "found": "no time left"}))
            return
        t = time.time()
        try:
            ok, found, wanted = f()
        except Exception:  # noqa: BLE001 — the other checks go on, this one failed
            ok, found, wanted = False, traceback.format_exc(limit=-3)[-900:], "no error"
        line = json.dumps(
            {
                "check": name,
                "ok": bool(ok),
                "found": found,
                "wanted": wanted,
                "seconds": round(time.time() - t, 1),
            },
            default=str,
        )
        print(line, flush=True)
        with (OUT / "checks.jsonl").open("a") as log:
            log.write(line + "\n")
        if not ok:
            BAD.append(name)

    return run


def model(arch, **kw):
    from pipeline.models.networks import load_model
    from pipeline.models.settings import Model

    return load_model(
        "m",
        Model.model_validate(
            {"architecture": arch, "weights": "random(0)", "family": "f", "method": "m", **kw}
        ),
    )


def jpeg(i):
    from PIL import Image

    rng = np.random.default_rng(i)
    small = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).resize((500, 375), 3)
    a = np.clip(
        np.asarray(small).astype(np.int16) + rng.normal(0, 11, (375, 500, 3)).astype(np.int16),
        0,
        255,
    ).astype(np.uint8)
    p = WORK / "images" / ("train" if i % 10 else "val") / f"c{(i // 10) % 20}" / f"{i}.jpg"
    p.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(a).save(p, quality=88)


def row_error(a, b):
    """The median row's distance, relative to its length."""
    return float(np.median(np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)))


@check("01 machine")
def machine():
    from importlib.metadata import version

    return (
        DEV == "cpu" or torch.cuda.is_available(),
        {
            "torch": torch.__version__,
            "gpu": torch.cuda.get_device_name() if DEV == "cuda" else None,
            "cores": os.cpu_count(),
            "timm": version("timm"),
            "cudnn.allow_tf32": torch.backends.cudnn.allow_tf32,
            "matmul": torch.get_float32_matmul_precision(),
        },
        "a GPU",
    )


@check("02 pytest -m gpu (cuML skipped)", 90)
def gpu_tests():
    r = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-m",
            "gpu",
            *(["--collect-only"] if TINY else []),
            "-p",
            "no:cacheprovider",
            "-o",
            "filterwarnings=default",
            "tests/pipeline/neighbors/test_search.py",
            "tests/pipeline/heads/test_heads.py",
        ],
        capture_output=True,
        text=True,
    )
    return r.returncode == 0, r.stdout[-300:], "17 passed"


@check("03 make JPEGs")
def images():
    n = 200 if TINY else 12_000
    with concurrent.futures.ProcessPoolExecutor() as pool:
        made = len(list(pool.map(jpeg, range(n), chunksize=50)))
    return made == n, made, n


PX = np.random.default_rng(0).integers(0, 256, (8 if TINY else 256, 224, 224, 3), dtype=np.uint8)


@check("04 float32 on the GPU is float32 (TF32 off) against the CPU")
def float32():
    from pipeline.embeddings.forward import Forward
    from pipeline.machine.devices import this_machine

    found = {}
    for arch in ("resnet18",) if TINY else ("resnet50", "vit_base_patch16_224"):
        m = model(arch)
        mach = this_machine()
        px = PX[:16]
        cpu = Forward(
            copy.copy(m)
            if DEV == "cpu"
            else type(m)(**{**m.__dict__, "backbone": copy.deepcopy(m.backbone)}),
            mach,
            device=torch.device("cpu"),
        )(px, ["pooled"])["pooled"]
        gpu = Forward(m, mach)
        found[arch] = row_error(gpu(px, ["pooled"])["pooled"], cpu)
        # Whatever others allow, each precision is its own: `Forward` sets it for each pass.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
        found[arch + " tf32 allowed by others"] = row_error(gpu(px, ["pooled"])["pooled"], cpu)
        if DEV == "cuda":
            tf32 = Forward(m, mach, "tf32")
            found[arch + " as tf32"] = row_error(tf32(px, ["pooled"])["pooled"], cpu)
        a = gpu(px, ["pooled"])["pooled"]
        b = gpu(px, ["pooled"])["pooled"]
        found[arch + " twice equal"] = bool((a == b).all())
        c = np.concatenate(
            [
                gpu(px[: len(px) // 2], ["pooled"])["pooled"],
                gpu(px[len(px) // 2 :], ["pooled"])["pooled"],
            ]
        )
        found[arch + " half batches"] = row_error(c, a)
    exact = max(v for k, v in found.items() if " " not in k or k.endswith("others"))
    rounded = min([v for k, v in found.items() if k.endswith("as tf32")], default=1.0)
    return (
        exact < 1e-5 and rounded > 10 * exact,
        found,
        "float32 < 1e-5 of the row's norm, whatever is allowed; tf32 is another precision (~5e-4)",
    )


@check("05 forward rates, images/s", 90)
def forward_rates():
    from pipeline.embeddings.forward import Forward
    from pipeline.machine.devices import this_machine

    found = {}
    for arch in ("resnet18",) if TINY else ("resnet50", "vit_base_patch16_224"):
        for precision in ("float32", "bfloat16"):
            f = Forward(model(arch), this_machine(), precision)
            f(PX, ["pooled"])
            t = time.time()
            k = 1 if TINY else 8
            for _ in range(k):
                f(PX, ["pooled"])
            whole = k * len(PX) / (time.time() - t)
            batch = torch.from_numpy(PX).to(DEV)
            sync()
            t = time.time()
            with torch.inference_mode():
                for _ in range(k):
                    f._features(batch, ["pooled"])
            sync()
            found[f"{arch} {precision}"] = {
                "product": round(whole),
                "device alone": round(k * len(PX) / (time.time() - t)),
                "share": round(whole / (k * len(PX) / (time.time() - t)), 2),
            }
    fast = all(v["share"] > 0.9 for v in found.values())
    return TINY or fast, found, "product / device alone > 0.9"


@check("06 decode rate with all cores, images/s", 60)
def decoding():
    import pandas as pd

    from pipeline.datasets.folders import Folder
    from pipeline.embeddings.loading import BatchLoader
    from pipeline.models.transforms import Geometry

    root = Folder(WORK / "images")
    e = root.entries()[: 64 if TINY else 6000]
    df = pd.DataFrame(
        {
            "path": [x.path for x in e],
            "offset": 0,
            "bytes": [x.size for x in e],
            "sha256": [hashlib.sha256((root.path / x.path).read_bytes()).hexdigest() for x in e],
        }
    )
    found = {}
    for w in (1, 4, 8, os.cpu_count()):
        part = df.iloc[: len(df) // (8 if w == 1 else 1)].reset_index(drop=True)
        t = time.time()
        for _ in BatchLoader(root, part, [Geometry(224, 0.875, "bicubic")], w).batches(
            [slice(i, min(i + 256, len(part))) for i in range(0, len(part), 256)]
        ):
            pass
        found[w] = round(len(part) / (time.time() - t))
    return (
        TINY or found[os.cpu_count()] > 0.6 * os.cpu_count() * found[1],
        found,
        "scales to 0.6 of cores x one thread; expected to FAIL by the GIL near 2,000",
    )


@check("07 out of memory backs off", 60)
def out_of_memory():
    from pipeline.embeddings.forward import Forward
    from pipeline.machine.devices import this_machine

    if DEV == "cpu":
        return True, "skipped", ""
    f = Forward(model("vit_base_patch16_224"), this_machine())
    want = f(PX, ["pooled"])["pooled"]
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1.5 / 79)
    try:
        got = f(PX, ["pooled"])["pooled"]
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    return (
        row_error(got, want) < 1e-5 and f._at_once.size < 256,
        {"largest": f._at_once.size, "error": row_error(got, want)},
        "smaller batches, same rows",
    )


@check("08 kNN by torch = numpy; rate against a bare product", 120)
def search():
    from pipeline.neighbors.banks import ArrayBank
    from pipeline.neighbors.search import nearest

    rng = np.random.default_rng(1)
    n, q, d = (3000, 200, 64) if TINY else (200_000, 4_000, 768)
    bank = rng.normal(0, 1, (n, d)).astype(np.float16)
    ask = rng.normal(0, 1, (q, d)).astype(np.float16)
    found = {}
    r = {}
    for b in ("numpy", "torch"):
        t = time.time()
        r[b] = nearest(
            ArrayBank(bank),
            ArrayBank(ask),
            200,
            "cosine",
            backend=b,
            threads=min(16, os.cpu_count()),
        )
        found[b + " s"] = round(time.time() - t, 2)
    x, y = torch.randn(q, d, device=DEV), torch.randn(n, d, device=DEV)
    x @ y.T
    sync()
    t = time.time()
    x @ y.T
    sync()
    found["bare product s"] = round(time.time() - t, 4)
    same = bool((r["numpy"].indices == r["torch"].indices).all())
    found["same"] = same
    return (
        same and (TINY or found["torch s"] < found["numpy s"] / 5),
        found,
        "equal, and 5x faster than 16 cores",
    )


@check("09 logistic by torch = numpy; peak memory", 120)
def logistic():
    from pipeline.heads.linear_heads import fit_head
    from pipeline.study.linear import Linear

    rng = np.random.default_rng(2)
    found = {}
    for n, d, classes in ((2100, 32, 5),) if TINY else ((30_000, 768, 100), (30_000, 768, 400)):
        y = rng.integers(0, classes, n)
        x = (rng.normal(0, 1, (classes, d))[y] * 0.3 + rng.normal(0, 1, (n, d))).astype(np.float32)
        s = {}
        if DEV == "cuda":
            torch.cuda.reset_peak_memory_stats()
        for b in ("torch", "numpy")[: 2 if classes <= 100 else 1]:
            t = time.time()
            h = fit_head("logistic", "none", x, y, classes, Linear(), b)
            s[b] = h
            found[f"{n}x{d}x{classes} {b} s"] = round(time.time() - t, 1)
            found[f"{classes} {b} C"] = h.details["C"]
        if DEV == "cuda":
            found[f"{classes} peak / (n(d+K)4)"] = round(
                torch.cuda.max_memory_allocated() / (n * (d + classes) * 4), 1
            )
        if len(s) == 2:
            found["same"] = float(
                np.abs(
                    np.exp(s["torch"].scores(x[:500])) - np.exp(s["numpy"].scores(x[:500]))
                ).max()
            )
    return (
        found["same"] < 1e-3,
        found,
        "probabilities to 1e-3; peak times 1.28M x (768 + 1000) x 4 must stay below 70 GB",
    )


@check("10 SGD heads: seconds an epoch, extrapolated to ImageNet", 60)
def sgd_heads():
    from pipeline.heads.heads import Head, Recipe, fit_heads

    n, d, classes = (2000, 64, 10) if TINY else (100_000, 768, 1000)
    rng = np.random.default_rng(3)
    x = rng.normal(0, 1, (n, d)).astype(np.float32)
    y = rng.integers(0, classes, n)
    t = time.time()
    fit_heads(
        [Head(r, b) for r in (0.01, 0.03, 0.1, 0.3, 1.0) for b in (False, True)],
        [x],
        y,
        classes,
        Recipe(epochs=2),
        device=DEV,
    )
    s = (time.time() - t) / 2
    return (
        TINY or s * 1.28e6 / n * 140 < 4 * 3600,
        {
            "s an epoch": round(s, 2),
            "ImageNet, hours for one model (10 + 4 heads, 100 epochs)": round(
                s * 1.28e6 / n * 140 / 3600, 2
            ),
        },
        "below 4 h a model",
    )


def stage(*a, **env):
    t = time.time()
    r = subprocess.run(
        [sys.executable, "-m", *a],
        cwd=WORK / "study",
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{REPO}:{os.environ.get('PYTHONPATH', '')}", **env},
    )
    return r.returncode, round(time.time() - t, 1), (r.stdout + r.stderr)[-400:]


@check("11 whole stages on the GPU", 200)
def stages():
    from ruamel.yaml import YAML

    (WORK / "study").mkdir(exist_ok=True)
    y = YAML()
    p = y.load(Path("studies/digits.yaml"))
    p["datasets"] = {
        "made": {"source": "folder", "path": str(WORK / "images"), "role": "in_domain"}
    }
    p["pretrain"] = {}
    p["finetune"] = {}
    p["transfer"] = {}
    p["fewshot"] |= {"coarse": {}, "ways": []}
    arch = (
        ("resnet18",)
        if TINY
        else ("resnet50", "vit_base_patch16_224", "convnext_tiny", "resnet101")
    )
    p["models"] = {
        f"m{i}": {
            "architecture": a,
            "weights": f"random({i})",
            "family": f"f{i}",
            "method": "m",
            "backbone": "b",
            "supervision": "none",
        }
        for i, a in enumerate(arch)
    }
    p["extraction"] = {
        "precision": "float32" if TINY else "bfloat16",
        "storage": "float32",
        "views": 0,
    }
    p["linear"]["heads"] = ["ridge", "logistic", "sgd"]
    p["linear"]["sgd"] = {"epochs": 5}
    y.dump(p, WORK / "study/params.yaml")
    subprocess.run(["cp", "dvc.yaml", str(WORK / "study")])
    found = {}
    for a in (
        ("stages.index", "made"),
        ("stages.extract", "made"),
        ("stages.neighbors",),
        ("stages.knn",),
        ("stages.linear",),
        ("stages.predictors",),
    ):
        found[a[0]] = stage(
            *a,
            PROBELINE_BACKEND="neighbors:torch,linear:torch,predictors:torch",
        )
        if found[a[0]][0]:
            break
    return (
        all(v[0] == 0 for v in found.values()),
        found,
        "rc 0; note the seconds, and nvidia-smi's processes during neighbors",
    )


@check("12 extraction killed and resumed gives the same bytes", 90)
def killed_and_resumed():
    chunks = WORK / "study/data/embeddings/made/m0.zarr/train/embedding/c"

    def digests():
        files = [path for path in sorted(chunks.rglob("0")) if path.is_file()]
        return [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]

    before = digests()
    assert before
    subprocess.run(["rm", "-rf", str(chunks.parents[2])])
    env = {**os.environ, "PYTHONPATH": f"{REPO}:{os.environ.get('PYTHONPATH', '')}"}
    p = subprocess.Popen(
        [sys.executable, "-m", "stages.extract", "made"],
        cwd=WORK / "study",
        env=env,
        stderr=subprocess.DEVNULL,
    )
    part = WORK / "study/data/embeddings/made/m0.train.partial/journal.jsonl"
    while (
        not TINY and p.poll() is None and not (part.exists() and part.read_text().count("\n") >= 2)
    ):
        time.sleep(0.2)
    killed = not TINY and p.poll() is None
    if killed:
        p.kill()
    p.wait()
    rc = stage("stages.extract", "made")
    return (
        rc[0] == 0 and digests() == before,
        {"killed in the middle": killed, "rc": rc},
        "same bytes",
    )


print(json.dumps({"failed": BAD, "seconds": round(time.time() - T0)}))
sys.exit(bool(BAD))
