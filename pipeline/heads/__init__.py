"""Heads that are fitted on features: logistic regression, ridge, SGD, prototypes."""
