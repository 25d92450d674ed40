"""The report of a run: one HTML file that says what was learned, and by what.

  python -m byol_jax.report runs/mine
  python -m byol_jax.report runs/mine runs/other --out=comparison.html
  python -m byol_jax.report runs/results.jsonl

It needs no server and no network, and of a run it needs no more than the folder: what
is not there, is not finished or was not recorded is said in its place. Of the results
of evaluations it makes a table, in Markdown too.

What is named here is imported when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from byol_jax.report.page import write
  from byol_jax.report.results import write as write_results

__all__ = ["write", "write_results"]

_MODULES = {"write": "page", "write_results": "results"}


def __getattr__(name: str) -> Any:
  if name not in _MODULES:
    raise AttributeError(f"module 'byol_jax.report' has no attribute {name!r}")
  return importlib.import_module(f"byol_jax.report.{_MODULES[name]}").write
