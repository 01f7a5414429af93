"""Tests of the service in operation."""
