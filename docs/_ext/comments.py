"""Comments of our sources as reStructuredText.

Headers, docstrings and Rust's doc comments are written for people who read the source: plain
sentences, `names` in single backticks, examples indented by four, and labels such as `Errors:` in
the running text. Here the labels become a list of fields, examples become blocks of code, and
names become links.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable

_LABELS = "Errors|Error|Cost|Threads and ISR|Threads|ISR|Heap|OS calls|Fork|Limits|Source"
_LABEL = re.compile(rf"(?:(?<=[.;)]\s)|(?<=\s\s)|^)({_LABELS}): ", re.MULTILINE)
_PARAMETERS = re.compile(r"(?:\A|(?<=\.\n))([a-z_]+(?:, [a-z_]+)*): ")
_CODE_WORD = re.compile(r"``[^`]*``|`[^`]*`")
_MARKDOWN_LINK = re.compile(r"\[(`[^`]+`)\](?:\([^)]*\))?")

Link = Callable[[str], str]


def as_rst(lines: Iterable[str], language: str, link: Link = lambda text: text) -> list[str]:
    """The comment in reStructuredText; `link` makes links of the names in escaped prose."""
    result: list[str] = []
    in_code = False
    for block in _blocks(lines):
        is_code = _is_code(block, language)
        if is_code:
            if not in_code:
                result += [f".. code-block:: {language}", ""]
            margin = 4 if block[0].startswith("    ") else 0
            result += [f"   {line[margin:]}" for line in block]
        else:
            result += _prose("\n".join(block), link)
        result.append("")
        in_code = is_code
    return result


def from_markdown(lines: Iterable[str], language: str, link: Link = lambda text: text) -> list[str]:
    """The same for Rust: fences become indented examples, without the lines that only make them
    run; headings become a word."""
    plain: list[str] = []
    in_fence = False
    for line in lines:
        if line.startswith("```"):
            in_fence = not in_fence
            plain.append("")
        elif in_fence and re.match(r"#(?: |$)", line):
            continue
        elif in_fence:
            plain.append(f"    {line}" if line else "")
        else:
            plain.append(_MARKDOWN_LINK.sub(r"\1", re.sub(r"^# (.*)$", r"\1:", line)))
    return as_rst(plain, language, link)


def _is_code(block: list[str], language: str) -> bool:
    """Whether it is indented, or (at the head of Python modules) can't be anything but Python."""
    if all(line.startswith("    ") for line in block):
        return True
    if language != "python" or not re.search(r"[(=]", block[0]):
        return False
    try:
        ast.parse("\n".join(block))
    except SyntaxError:
        return False
    return True


def _blocks(lines: Iterable[str]) -> list[list[str]]:
    blocks: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            blocks[-1].append(line.rstrip())
        elif blocks[-1]:
            blocks.append([])
    return [block for block in blocks if block]


def _prose(text: str, link: Link) -> list[str]:
    parts = _LABEL.split(_PARAMETERS.sub(_hide_parameter, text))
    lines = _paragraph(parts[0], link)
    if lines:
        lines.append("")
    fields = [f":{label}: {_one_line(body, link)}" for label, body in zip(parts[1::2], parts[2::2])]
    return lines + fields


def _hide_parameter(match: re.Match[str]) -> str:
    return f"\0{match[1]}\0"


def _paragraph(text: str, link: Link) -> list[str]:
    """Prose, and what it says of single parameters as a list."""
    first, *rest = re.split(r"^\0", text, flags=re.MULTILINE)
    lines = [_one_line(first, link)] if first.strip() else []
    for item in rest:
        names, _, body = item.partition("\0")
        lines += ["", f"- ``{names}``: {_one_line(body, link)}"]
    return lines


def _one_line(text: str, link: Link) -> str:
    """Escapes what reStructuredText would take for markup; sets code words as such."""
    flat = " ".join(text.replace("\0", ": ").split())
    pieces, end = [], 0
    for match in _CODE_WORD.finditer(flat):
        pieces += [link(_escaped(flat[end : match.start()])), f"``{match[0].strip('`')}``"]
        end = match.end()
    pieces.append(link(_escaped(flat[end:])))
    return "".join(pieces)


def _escaped(text: str) -> str:
    return re.sub(r"([*|`\\]|_(?!\w))", r"\\\1", text)
