"""The documentation: pages by hand, references and tables from the sources. See _ext for how."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(Path(__file__).resolve().parent / "_ext"))

project = "wrt_platform"
author = "the authors of wrt_platform"
project_copyright = author
release = re.findall(r'return "([0-9.]+)";', (ROOT / "c/src/core/version.c").read_text())[0]

extensions = [
    "sphinx.ext.autodoc",
    "sphinx_design",
    "hawkmoth",
    "c_headers",
    "examples",
    "faces",
    "rust_items",
    "tables",
]
exclude_patterns = ["_build", "_ext"]

# The headers declare their types themselves and need no include folder of a system.
hawkmoth_autoconf: list[str] = []
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 80
c_maximum_signature_line_length = 80

html_theme = "alabaster"
html_theme_options = {
    "description": "WebAssembly inside limits that are enforced",
    "fixed_sidebar": True,
    "page_width": "1200px",
    "sidebar_width": "240px",
}
html_static_path = ["_static"]
html_css_files = ["wrt.css"]
html_copy_source = False
