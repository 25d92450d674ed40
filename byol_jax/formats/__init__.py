"""Encoders as files: our own, and those of others."""
