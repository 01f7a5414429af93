"""Measurements of Everfit beside a floor and its peers: ``python -m benchmarks [NAME]``; no timed tests."""
