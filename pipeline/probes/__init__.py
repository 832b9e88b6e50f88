"""The cheap protocols on cached features: kNN, linear, few-shot, transfer, and predictors."""
