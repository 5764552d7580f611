"""What is accepted and what is refused, judged by others: wasm-tools and the specification."""

from __future__ import annotations

import random
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from crates import find_tool
from support.guest import assemble, last_error, new_config
from wrt_platform._native import ffi, lib

FEATURES = (Path(__file__).parent / "features.wat").read_text()
VERDICTS = {
    lib.WRT_OK: "valid",
    lib.WRT_ERR_MALFORMED: "malformed",
    lib.WRT_ERR_INVALID_MODULE: "invalid",
    lib.WRT_ERR_UNSUPPORTED: "unsupported",
}


def load(content: bytes) -> int:
    """The status of layout and init."""
    content_in_c = ffi.new("uint8_t[]", len(content))
    ffi.buffer(content_in_c)[:] = content
    config = new_config("wrt_module_config", bytes=content_in_c, bytes_size=len(content))
    layout = ffi.new("wrt_layout *")
    status = lib.wrt_module_layout(config, layout)
    if status != lib.WRT_OK:
        assert layout.bytes == layout.alignment == 0
        return int(status)
    buffer = ffi.new("uint64_t[]", layout.bytes // 8 + 1)
    config.buffer, config.buffer_size = buffer, layout.bytes
    return int(lib.wrt_module_init(ffi.new("wrt_module *"), config))


def verdict(content: bytes) -> str:
    return VERDICTS[load(content)]


def leb(number: int) -> bytes:
    more = number >> 7
    return bytes([number & 0x7F | 0x80]) + leb(more) if more else bytes([number])


def vector(items: list[bytes]) -> bytes:
    return leb(len(items)) + b"".join(items)


def section(number: int, content: bytes) -> bytes:
    return bytes([number]) + leb(len(content)) + content


def mutants(content: bytes, count: int, seed: int) -> list[bytes]:
    choice = random.Random(seed)
    made = []
    for _ in range(count):
        changed = bytearray(content)
        for _ in range(choice.choice((1, 1, 1, 2, 3))):
            place = choice.randrange(8, len(changed))
            changed[place] = choice.choice(
                (
                    choice.randrange(256),
                    (changed[place] + choice.choice((-1, 1))) % 256,
                    changed[place] ^ 1 << choice.randrange(8),
                )
            )
        made.append(bytes(changed))
    return made


def accepted_by_wasm_tools(path: Path) -> bool:
    command = [find_tool("wasm-tools"), "validate", "--features=wasm2,-simd", str(path)]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.row("WE-1")
def test_verdict_on_mutated_modules_is_that_of_wasm_tools(tmp_path: Path) -> None:
    cases = mutants(assemble(FEATURES), 1500, seed=1)
    paths = [tmp_path / f"{number}.wasm" for number in range(len(cases))]
    for path, case in zip(paths, cases, strict=True):
        path.write_bytes(case)
    ours = [verdict(case) for case in cases]
    with ThreadPoolExecutor(2) as pool:
        theirs = list(pool.map(accepted_by_wasm_tools, paths))
    differing = [
        path.read_bytes().hex()
        for path, mine, accepted in zip(paths, ours, theirs, strict=True)
        if (mine == "valid") != accepted
    ]
    assert differing == []
    assert min(ours.count(kind) for kind in ("valid", "malformed", "invalid")) > 100


# Texts that wasm-tools assembles without validating them, and what is said of each. The words
# before "at byte" are those of the specification's own tests, as far as they have any.
INVALID = {
    "(func (result i32) (i64.const 0))": "type mismatch at byte 26",
    "(func (result i32))": "type mismatch at byte 24",
    "(func (result i32) (br 0 (i64.const 0)))": "type mismatch at byte 26",
    "(func (drop (block (result i32) (unreachable) (br_if 0 (i32.const 0)) (i64.eqz))))":
        "type mismatch at byte 30",
    "(func (i32.const 0))": "type mismatch at byte 25: values remain at the end of the block",
    "(func (i32.const 0) (i32.add) (drop))": "type mismatch at byte 25",
    "(func (drop (select (ref.null func) (ref.null func) (i32.const 0))))":
        "type mismatch at byte 29: select of references needs a type",
    "(func (if (result i32) (i32.const 1) (then (i32.const 2))) (drop))":
        "type mismatch at byte 29: if without else",
    "(func (block (result i32) (i32.const 1) (br_table 0 1 (i32.const 0))) (drop))":
        "type mismatch at byte 29: label 1 takes another number of values than those before",
    "(func (local.get 0) (drop))": "unknown local 0 at byte 23",
    "(func (global.get 3) (drop))": "unknown global 3 at byte 23",
    "(func (call 5))": "unknown function 5 at byte 23",
    "(func (call_indirect (type 0)))": "unknown table 0 at byte 23",
    "(func (br 1))": "unknown label 1 at byte 23",
    "(func (block (type 9)))": "unknown type 9 of the block at byte 23",
    "(func (drop (memory.size)))": "unknown memory 0 at byte 23",
    "(func (drop (table.get 0 (i32.const 0))))": "unknown table 0 at byte 25",
    "(func (elem.drop 2))": "unknown elem segment 2 at byte 23",
    "(global i32 (i32.const 1)) (func (global.set 0 (i32.const 1)))":
        "global 0 is immutable, but set at byte 33",
    "(func) (func (drop (ref.func 0)))": "undeclared function reference at byte 27: function 0",
    "(memory 1) (func (drop (i32.load align=8 (i32.const 0))))":
        "alignment must not be larger than natural at byte 30: 2 to the power of 3",
    "(memory 1) (memory 1)": "multiple memories: the second is at byte 13",
    "(memory 65537)": "memory size must be at most 65536 pages (4GiB) at byte 11",
    "(memory 1 4294967295)": "memory size must be at most 65536 pages (4GiB) at byte 11",
    "(memory 2 1)": "size minimum must not be greater than maximum at byte 11",
    "(table 2 1 funcref)": "size minimum must not be greater than maximum at byte 11",
    "(global i32 (i64.const 0))": "type mismatch in the constant expression at byte 13",
    "(global i32 (i32.const 0) (i32.const 0))":
        "type mismatch in the constant expression at byte 13",
    "(global i32 (i32.ctz (i32.const 1)))": "constant expression required at byte 15",
    "(import \"a\" \"b\" (global (mut i32))) (global i32 (global.get 0))":
        "constant expression required: global 0 at byte 23 is mutable",
    "(global i32 (i32.const 1)) (global i32 (global.get 0))":
        "unknown global 0 at byte 18 of a constant expression",
    "(func (export \"a\")) (func (export \"b\")) (export \"a\" (func 1))":
        "duplicate export name at byte 30, as at byte 22",
    "(export \"a\" (func 0))": "unknown function 0 at byte 14",
    "(func (param i32)) (start 0)": "start function 0 at byte 21 has parameters or results",
    "(data (i32.const 0) \"a\")": "unknown memory 0 of the data segment at byte 11",
    "(elem (i32.const 0) func)": "unknown table 0 of the element segment at byte 11",
    "(table 1 externref) (func) (elem (i32.const 0) func 0)":
        "type mismatch of table 0 and the element segment at byte 27",
}  # fmt: skip

HEADER = b"\0asm\1\0\0\0"
TYPE = bytes([1, 4, 1, 0x60, 0, 0])
FUNCTION = bytes([3, 2, 1, 0])


def with_body(*code: int, before: bytes = b"") -> bytes:
    """A module of one function without parameters, and with this code."""
    body = bytes([0, *code])
    section = bytes([1, len(body)]) + body
    return HEADER + TYPE + FUNCTION + before + bytes([10, len(section)]) + section


MALFORMED = {
    b"": "unexpected end at byte 0",
    b"\0as": "unexpected end at byte 3",
    b"\0asn\1\0\0\0": "magic header not detected at byte 3",
    b"\0asm\2\0\0\0": "unknown binary version at byte 4",
    HEADER + b"\x0d\0": "malformed section id 13 at byte 8",
    HEADER + TYPE + TYPE:
        "unexpected content at byte 14: section 1 is out of order or there twice",
    HEADER + FUNCTION + TYPE:
        "unexpected content at byte 12: section 1 is out of order or there twice",
    HEADER + b"\1\xff\xff\xff\xff\x0f":
        "unexpected end: length out of bounds at byte 9, 4294967295 items are announced",
    HEADER + b"\1\6\xff\xff\xff\xff\x0f\0":
        "unexpected end: length out of bounds at byte 10, 4294967295 items are announced",
    HEADER + b"\1\6\x80\x80\x80\x80\x80\0":
        "integer representation too long at byte 14",
    HEADER + b"\1\6\x80\x80\x80\x80\x10\0": "integer too large at byte 14",
    HEADER + b"\1\4\1\x61\0\0": "malformed type at byte 11",
    HEADER + b"\1\5\1\x60\1\x11\0": "malformed value type 17 at byte 13",
    HEADER + b"\1\5\1\x60\0\0\0": "section size mismatch at byte 14",
    HEADER + b"\2\5\1\1\xff\0\0":
        "malformed UTF-8 encoding in the name at byte 12",
    HEADER + b"\0\2\1\xc0": "malformed UTF-8 encoding in the name at byte 11",
    HEADER + b"\0\3\1\xc3\xa9": "malformed UTF-8 encoding in the name at byte 11",
    HEADER + TYPE + FUNCTION:
        "function and code section have inconsistent lengths; end at byte 18",
    HEADER + b"\x0c\1\1": "data count and data section have inconsistent lengths; end at byte 11",
    HEADER + b"\5\3\1\2\1": "malformed limits flags 2 at byte 11",
    with_body(0xFF, 0x0B): "illegal opcode 255 at byte 23",
    with_body(0xFC, 0x12, 0x0B): "illegal opcode 0xFC 18 at byte 23",
    with_body(0x05, 0x0B): "else without if at byte 23",
    with_body(0x01, 0x01): "unexpected end at byte 25",
    with_body(0x0B, 0x0B): "END opcode expected at the end of the function, not at byte 24",
    with_body(0x3F, 0x01, 0x1A, 0x0B): "zero byte expected at byte 24",
    with_body(0xFC, 0x09, 0x00, 0x0B):
        "data count section required by the instruction before byte 25",
    with_body(0x41, 0x80, 0x80, 0x80, 0x80, 0x70, 0x1A, 0x0B): "integer too large at byte 28",
}  # fmt: skip

UNSUPPORTED = {
    HEADER + b"\1\5\1\x60\1\x7b\0": "value type v128 (SIMD) at byte 13",
    with_body(0xFD, 0x0C, 0x0B): "SIMD instruction at byte 23",
    HEADER + TYPE + FUNCTION + b"\x0a\x08\1\6\1\xd1\x86\3\x7f\x0b":
        "function at byte 22 has 50001 locals, more than this engine takes",
    HEADER + b"\1\xed\7\1\x60\xe9\7" + b"\x7f" * 1001 + b"\0":
        "function type at byte 13 has 1001 parameters or results, more than this engine takes",
}  # fmt: skip


def said_of(content: bytes) -> tuple[str, str]:
    """The kind of the refusal, and its words without the name of the call."""
    kind = verdict(content)
    return kind, last_error().partition(": ")[2]


@pytest.mark.row("WE-1")
@pytest.mark.parametrize("text", INVALID)
def test_invalid_module_is_refused_with_the_place(text: str) -> None:
    assert said_of(assemble(f"(module {text})")) == ("invalid", INVALID[text])


@pytest.mark.row("WE-1")
@pytest.mark.parametrize("content", MALFORMED, ids=MALFORMED.values())
def test_malformed_module_is_refused_with_the_place(content: bytes) -> None:
    assert said_of(content) == ("malformed", MALFORMED[content])


@pytest.mark.row("WE-1")
@pytest.mark.parametrize("content", UNSUPPORTED, ids=UNSUPPORTED.values())
def test_what_the_engine_does_not_take_is_told_from_what_is_wrong(content: bytes) -> None:
    assert said_of(content) == ("unsupported", UNSUPPORTED[content])


def text_samples(count: int) -> list[bytes]:
    """Byte strings that are UTF-8, or nearly."""
    choice = random.Random(8)
    edges = [0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF]
    samples = [chr(edge).encode() for edge in edges]
    samples += [b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf4\x90\x80\x80", b"\xe0\x9f\xbf"]
    samples += [b"\xf0\x8f\xbf\xbf", b"\xc1\xbf", b"\xf5\x80\x80\x80", b"\x80"]
    while len(samples) < count:
        sample = bytearray(choice.choice(samples))
        if choice.random() < 0.3:
            sample += choice.choice(samples[:17])
        sample[choice.randrange(len(sample))] ^= choice.choice((0, 1 << choice.randrange(8)))
        samples.append(bytes(sample[choice.randrange(2) : 9]) or b"x")
    return samples


def is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8", "strict")
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.row("WE-1")
def test_names_are_utf8_just_where_python_says_so() -> None:
    samples = text_samples(5000)
    ours = [verdict(HEADER + section(0, leb(len(text)) + text)) for text in samples]
    theirs = ["valid" if is_utf8(text) else "malformed" for text in samples]
    assert ours == theirs
    assert min(theirs.count("valid"), theirs.count("malformed")) > 500


@pytest.mark.row("WE-1")
def test_offset_is_that_of_the_instruction() -> None:
    """Found again in what wasm-tools prints."""
    content = assemble("(module (func (param i32) nop nop (drop (i64.eqz (local.get 0)))))")
    assert verdict(content) == "invalid"
    tool = find_tool("wasm-tools")
    printed = subprocess.run(
        [tool, "print", "--print-offsets"], input=content, capture_output=True, check=True
    )
    line = next(line for line in printed.stdout.decode().splitlines() if "i64.eqz" in line)
    offset = int(line.split("@")[1].split()[0], 16)
    assert last_error() == f"wrt_module_init: type mismatch at byte {offset}"


@pytest.mark.row("WE-1")
def test_malformed_wins_over_invalid_wherever_it_stands() -> None:
    """The specification decodes all of a module before it validates any of it."""
    content = assemble("(module (func (drop)) (func (nop)))")
    assert verdict(content) == "invalid"
    at = content.rindex(b"\x01\x0b")
    assert verdict(content[:at] + b"\xff" + content[at + 1 :]) == "malformed"


@pytest.mark.row("WE-1")
def test_deepest_operand_stack_is_the_limit_that_the_header_tells() -> None:
    most = lib.WRT_MODULE_STACK_MAX
    assert load(with_large_body("(i32.const 0)" * most + "(drop)" * most)) == lib.WRT_OK
    over = with_large_body("(i32.const 0)" * (most + 1) + "(drop)" * (most + 1))
    assert said_of(over)[0] == "unsupported"
    assert f"deeper than the {most} values" in last_error()


@pytest.mark.row("WE-1")
@pytest.mark.parametrize(
    "text",
    [
        "(func (return) " + "(block (result i32) (return))" * 99 + "(return))",
        f"(func (result {'i32 ' * 40}) "
        + "".join(f"(unreachable) (br_if {depth}) (block " for depth in range(99))
        + ") (unreachable)" * 99
        + ")",
        "(func " + "(return) (block (param i32 i32 i32) (block " * 99 + ") (return))" * 99 + ")",
        "(func (return) " + "(if (param i32 i32) (then (return)) (else (return)))" * 99 + ")",
        '(import "a" "b" (func (result i32 i32))) (func ' + "(call 0)" * 99 + "(return))",
        "(func (local i32) " + "(local.get 0)" * 99 + "(return))",
    ],
    ids=["ends", "br_if", "block parameters", "else", "calls", "locals"],
)
def test_layout_is_enough_for_code_that_only_piles_up_values(text: str) -> None:
    """`load` hands init just the bytes that the layout asked for."""
    assert load(assemble(f"(module {text})")) == lib.WRT_OK, last_error()


def with_large_body(code: str) -> bytes:
    return assemble(f"(module (func {code}))")


@pytest.mark.row("WE-1")
@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("(block " * 50_000 + "(br 49999)" * 50_000 + ")" * 50_000, 2, id="labels"),
        pytest.param("(br_table " + "0 " * 300_000 + "(i32.const 0))", 2, id="br_table"),
    ],
)
def test_cost_stays_linear_where_it_could_be_made_quadratic(text: str, seconds: float) -> None:
    content = with_large_body(text)
    start = time.process_time()
    assert load(content) == lib.WRT_OK
    assert time.process_time() - start < seconds


@pytest.mark.row("WE-1")
def test_many_equal_types_and_long_export_names_cost_no_more() -> None:
    types = 40_000
    names = [b"x" * 60 + str(number).encode() for number in range(20_000)]
    content = (
        HEADER
        + section(1, vector([b"\x60\x02\x7f\x7f\x01\x7f"] * types))
        + section(3, vector([b"\0"]))
        + section(7, vector([leb(len(name)) + name + b"\0\0" for name in names]))
        + section(10, vector([b"\x04\x00\x41\x00\x0b"]))
    )
    start = time.process_time()
    assert load(content) == lib.WRT_OK
    assert time.process_time() - start < 1
