"""The documentation site: ``make docs`` builds it into ``build/docs``, without network."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_ext"))

import bascule  # noqa: E402

project = "Bascule"
author = "The Bascule authors"
copyright = "The Bascule authors, GPL-3.0-or-later"
release = version = bascule.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "bascule_docs",
]
source_suffix = {".md": "myst-nb", ".rst": "restructuredtext", ".ipynb": "myst-nb"}
exclude_patterns = ["_ext", "_templates", "**.ipynb_checkpoints"]
templates_path = ["_templates"]
# the words of both languages are indexed: Chinese ones as jieba cuts them, others as English ones
html_search_language = "zh"
html_search_options = {"dict": str(HERE / "_ext/bascule_docs/words.txt")}

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # notebooks are shown as they are stored; the tests execute them

autosummary_generate = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_use_ivar = True
napoleon_attr_annotations = False
napoleon_use_rtype = False
napoleon_preprocess_types = False
default_role = "py:obj"  # `name` in a docstring is a link where there is something to link to

html_theme = "pydata_sphinx_theme"
html_title = "Bascule"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/logo.svg"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"image_light": "_static/logo.svg", "image_dark": "_static/logo.svg", "text": "Bascule"},
    "navbar_align": "left",
    "navbar_center": ["navigation"],
    "navbar_end": ["language", "theme-switcher"],
    "navigation_with_keys": False,
    "show_toc_level": 1,
    "show_nav_level": 2,
    "collapse_navigation": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "back_to_top_button": False,
}
# pages without pages below them need no column for these
html_sidebars = {
    page: []
    for name in ("index", "quickstart", "tutorial", "comparison", "contributing")
    for page in (name, f"zh/{name}")
}
copybutton_exclude = ".linenos, .gp, .go"
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True
