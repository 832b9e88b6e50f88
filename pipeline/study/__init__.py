"""What params.yaml says, and what all results are called: protocols, variants, metrics."""
