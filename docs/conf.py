"""The site of the documentation: sphinx-build -W docs build/docs."""

from __future__ import annotations

import skipstream

project = "skipstream"
author = "the skipstream developers"
release = skipstream.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
highlight_language = "none"
smartquotes = False  # options begin with two hyphens
html_theme = "furo"
html_title = f"skipstream {release}"
html_show_copyright = False
myst_heading_anchors = 3
autodoc_typehints = "none"
napoleon_google_docstring = False
