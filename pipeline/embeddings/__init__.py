"""Embeddings: which a study needs, their keys, and the engine that makes them or takes them in."""
