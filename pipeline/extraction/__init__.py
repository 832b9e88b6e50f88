"""Images through networks into the cache, in one pass; and embeddings from elsewhere."""
