"""Policies: when a training is worth its price. Pure and replayable; live monitoring and the backtest share them."""
