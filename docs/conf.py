"""How the documentation site is built: `make docs`."""

import mien

project, author, release = "mien", "the mien authors", mien.__version__
copyright = "the mien authors; MIT licence"  # noqa: A001  (the name that Sphinx reads)

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["conf.py"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
default_role = "code"  # docstrings say `name` as Markdown does

html_theme = "furo"
html_title = f"mien {release}"
html_theme_options = {"navigation_with_keys": True}
highlight_language = "text"
