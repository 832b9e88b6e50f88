"""Exact nearest neighbours, and what they tell: votes, near-duplicates, doubtful labels."""
