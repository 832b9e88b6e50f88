"""The top: one module per DVC stage, and the command line.

A stage reads params.yaml and the cache, computes what is missing, and writes the cache. Nobody
imports it but the command line.
"""
