"""How Sphinx builds the documentation: `make docs`, offline, every warning an error."""

from importlib.metadata import version as installed_version

project = "sklearn_ddfad"
author = "the sklearn_ddfad developers"
copyright = f"2026, {author}"
version = release = installed_version("sklearn-ddfad")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]

# The API pages follow `sklearn_ddfad.__all__`: a new public name needs no line in docs/.
autosummary_ignore_module_all = False
autodoc_typehints = "none"  # the docstrings say it, with shapes and units
numpydoc_show_class_members = False  # autodoc shows them

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "abort_on_example_error": True,
    "show_memory": False,
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_title = project
html_show_sourcelink = False


def skip_foreign_member(app, what, name, obj, skip, options):
    """Show what a class has from its own family, not from the libraries below it."""
    home = getattr(obj, "__module__", None) or "sklearn_ddfad"
    return skip or home.split(".")[0] != "sklearn_ddfad"


def setup(app):
    """Let Sphinx ask before it shows a member."""
    app.connect("autodoc-skip-member", skip_foreign_member)
