"""Installs byol_jax; what it is and needs stands in pyproject.toml."""

import setuptools

setuptools.setup()
