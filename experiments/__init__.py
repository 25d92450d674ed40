"""Experiments: each composes the library into something that can be run."""
