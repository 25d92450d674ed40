"""The report of a run: one HTML file that says what was learned, and by what.

  python -m byol_jax.report runs/mine
  python -m byol_jax.report runs/mine runs/other --out=comparison.html

It needs no server and no network, and of a run it needs no more than the folder: what
is not there, is not finished or was not recorded is said in its place.
"""

from byol_jax.report.page import write

__all__ = ["write"]
