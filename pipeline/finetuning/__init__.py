"""End-to-end training from a model's weights: the one heavy protocol."""
