"""Tests of monitoring/policies."""
