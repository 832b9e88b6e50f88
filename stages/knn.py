"""The stage of knn by its own name, as scripts call it: ``python -m stages.protocol knn``."""

from __future__ import annotations

from stages.protocol import main

if __name__ == "__main__":
    main(["knn"])
