# What a collection of cases that lies elsewhere needs to know of this project: its words of params.yaml.
# Sourced by such a collection, where there is one; see `tests/pipeline/test_renamed.py` for what changed.
SECTIONS=$(printf '%s' "$SECTIONS" | sed -E 's/\bkeep: /n_neighbors: /; s/presets: \[study\]/presets: [paper]/; s/\bdraws: /episodes: /; s/\bdraws_above_five: /episodes_above_five: /; s/\bclass_counts: /ways: /; s/^predictors: /transferability: /')
