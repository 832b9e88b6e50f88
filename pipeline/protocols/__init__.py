"""The protocols: one object each, light enough for `status`; what runs them is imported later."""
