"""The ground floor: what is remembered, and how it survives.

Embeddings (Zarr cells), result records (Parquet), and the tools that make both durable and
verifiable. Nothing here knows what a model or an image is: it imports neither torch nor anything
of ``pipeline`` or ``stages``.
"""
