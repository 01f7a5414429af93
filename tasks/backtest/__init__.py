"""Backtest: a pipeline's history, walked through its own retraining policy and others, with true label delay."""
