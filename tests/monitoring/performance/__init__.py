"""Tests of monitoring/performance."""
