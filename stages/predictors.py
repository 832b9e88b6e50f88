"""The stage of predictors by its own name, as scripts call it: ``python -m stages.protocol predictors``."""

from __future__ import annotations

from stages.protocol import main

if __name__ == "__main__":
    main(["predictors"])
