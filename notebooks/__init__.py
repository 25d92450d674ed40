"""Notebooks that show what the project does, and what runs them; see `__main__`."""
