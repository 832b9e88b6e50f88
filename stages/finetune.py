"""Stage finetune by its own name, as scripts call it; see `stages.protocol`."""

from __future__ import annotations

from stages.protocol import main

if __name__ == "__main__":
    main(["finetune"])
