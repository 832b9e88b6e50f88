"""What people write: a study, lists of images, embeddings, scores."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from changes import change_bytes, change_words
from reader import Reader


def readers() -> Iterator[Reader]:
    """The study itself, and every kind of table."""
    import pandas as pd

    from pipeline.datasets.embedding_files import read_embeddings
    from pipeline.datasets.tables import read_table
    from pipeline.results import baseline as baselines
    from pipeline.results.foreign_file import read_foreign
    from pipeline.study.params import load_study

    yield Reader("study", "params.yaml", Path("params.yaml").read_bytes(), change_words, load_study)

    def manifest(path: Path) -> object:
        table = read_table(path.read_bytes(), path.name, path.name, lambda names: list(names)[:3])
        return [table.labels(name) for name in list(table.columns)[1:2]]

    rows = "".join(f"images/{n}.png,class {n % 3},site {n % 2}\n" for n in range(30))
    csv = f"path,label,group\n{rows}".encode()
    yield Reader("manifest, CSV", "m.csv", csv, change_words, manifest)
    yield Reader("manifest, TSV", "m.tsv", csv.replace(b",", b"\t"), change_words, manifest)
    buffer = io.BytesIO()
    frame = pd.read_csv(io.BytesIO(csv))
    frame.to_parquet(buffer)
    yield Reader("manifest, Parquet", "m.parquet", buffer.getvalue(), change_bytes, manifest)

    array = io.BytesIO()
    np.save(array, np.arange(60, dtype=np.float32).reshape(12, 5))
    ids = "id,class\n" + "".join(f"{n},{n % 2}\n" for n in range(12))

    def embeddings(path: Path) -> object:
        if path.suffix == ".npy":
            path.with_suffix(".csv").write_text(ids)
        found = read_embeddings(path.parent, "train").features
        return float(np.asarray(found).sum())

    yield Reader("embeddings, .npy", "train.npy", array.getvalue(), change_bytes, embeddings)
    wide = pd.DataFrame(np.arange(60.0).reshape(12, 5), columns=[f"f{n}" for n in range(5)])
    buffer = io.BytesIO()
    wide.assign(id=[str(n) for n in range(12)], **{"class": ["a", "b"] * 6}).to_parquet(buffer)
    yield Reader(
        "embeddings, .parquet", "train.parquet", buffer.getvalue(), change_bytes, embeddings
    )

    scores = "model,dataset,protocol,metric,value,ci_low,ci_high,n_test,details\n" + "".join(
        f"m{n},pets,knn,top1,0.{n}5,0.{n},0.{n}9,100,\n" for n in range(1, 9)
    )
    yield Reader("scores of others", "s.csv", scores.encode(), change_words, read_foreign)

    def baseline(path: Path) -> object:
        baselines.SCORES = path.parent
        return baselines.declared_baseline([], [f"m{n}" for n in range(9)], {})

    names = b"".join(b"m%d\n" % n for n in range(9))
    file = "s.baseline.txt"
    yield Reader("baseline of others", file, names, change_words, baseline)
