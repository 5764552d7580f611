"""What the examples `runtime` say, in C, Python and Rust alike."""

from __future__ import annotations

import re

from common import ROOT

_SAYS = """\
{0}: the sum of 1 to 1000 is 500500
{0}: 15 pages more: granted, 500: refused
{0}: a loop without end is stopped for its CPU time
{0}: the sum of 1 to 1000 is 500500
{0}: 1048576 bytes of 4194304 were used; isolation: {1}
"""

ON_LINUX = _SAYS.format("linux", "not asked")
ON_QNX = _SAYS.format("qnx", "partial")


def module_in(path: str) -> bytes:
    """The module in a source in C or Rust: the numbers of its array."""
    source = (ROOT / path).read_text()
    array = re.search(r"(?:guest\[\] = \{|GUEST: &\[u8\] = &\[)([^\]}]*)", source)
    assert array is not None
    return bytes.fromhex("".join(re.findall(r"0x([0-9a-f]{2})", array[1])))
