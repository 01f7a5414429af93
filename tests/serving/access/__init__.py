"""Tests of who may ask the service for what."""
