"""The documentation as a site: `python -m sphinx -W -c docs . build/docs`.

The pages are plain Markdown, to be read on GitHub as they stand; the home page is
README.md. What GitHub has no need of, their order, is in `PAGES`.
"""

import byol_jax

# caption: pages, in the order in which they are to be read
PAGES = {
  "Tutorials": [
    "tutorials/first-run",
    "tutorials/own-images",
    "tutorials/evaluate",
    "tutorials/collapse",
    "tutorials/hosts",
    "../notebooks/README",
  ],
  "How to": [
    "how-to/data-sets",
    "how-to/folders",
    "how-to/large-photographs",
    "how-to/systems",
    "how-to/networks",
    "how-to/norms",
    "how-to/augmentations",
    "how-to/memory",
    "how-to/watch-a-run",
    "how-to/writers",
    "how-to/the-folder-of-a-run",
    "how-to/from-another-run",
    "how-to/report",
    "how-to/no-labels",
    "how-to/choose-a-checkpoint",
    "how-to/evaluations",
    "how-to/features",
    "how-to/export",
    "how-to/pytorch",
    "clusters",
    "reliability",
    "scale",
    "faq",
  ],
  "Reference": ["settings", "api", "glossary", "benchmarks"],
  "Explanation": ["reproduction", "results", "protocols", "design", "log"],
  "Project": [
    "../CHANGELOG",
    "../CONTRIBUTING",
    "../CODE_OF_CONDUCT",
    "data-terms",
  ],
  "Records": [
    "reproduction/report",
    "reproduction/accelerator",
  ],
}

project = "byol_jax"
version = release = byol_jax.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

root_doc = "README"
include_patterns = ["*.md", "docs/**.md", "notebooks/*.md"]
exclude_patterns = [".*", "build", "dist", "runs"]

myst_heading_anchors = 4  # links to headings as GitHub makes them
autodoc_typehints = "description"

html_theme = "furo"
html_title = f"byol_jax {release}"
html_extra_path = ["index.html"]  # leads to the home page, where a server looks first


def setup(app):
  """Appends the order of the pages to the home page."""
  app.connect("source-read", _add_pages)


def _add_pages(app, page, source):
  if page == root_doc:
    source[0] += "".join(_toctree(*section) for section in PAGES.items())


def _toctree(caption, pages):
  listed = "\n".join(f"docs/{page}" for page in pages)
  return f"\n\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{listed}\n```\n"
