"""Configs: one file a system of the papers, `file.py:preset` picks the scale."""
