"""Judges the headers of the simulated QNX by an outside source: the crate `libc`, compiled for QNX.

No SDK and no linker are needed: rustc checks constants, layouts and prototypes while it compiles.
Each fact of the C headers becomes a line of Rust that compiles only if the crate says the same.
Core is built for the target from the toolchain's own sources, once, and kept below build/judge.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from common import ROOT, run
from crates import FetchError, fetch_crate, find_tool
from pycparser import c_ast, c_parser
from simulated import HEADERS, guest_flags

LIBC = "0.2.191"
TARGETS = {710: "x86_64-pc-nto-qnx710", 800: "x86_64-pc-nto-qnx800"}
# What the crate calls the system: it knows 8.0 by a name that this rustc doesn't have yet.
SYSTEMS = {710: "nto", 800: "qnx"}
COMPILER_BUILTINS = "#![feature(compiler_builtins)]\n#![compiler_builtins]\n#![no_std]\n"

# Types that C and Rust call differently; the others have one name.
RUST_TYPES = {
    "int": "core::ffi::c_int",
    "unsigned int": "core::ffi::c_uint",
    "long": "core::ffi::c_long",
    "char": "core::ffi::c_char",
    "size_t": "usize",
    "int32_t": "i32",
    "uint32_t": "u32",
    "int64_t": "i64",
    "uint64_t": "u64",
    "intptr_t": "isize",
    "void": "core::ffi::c_void",
}


# What no C type says: these don't come back.
NEVER_RETURNS = {"abort", "_exit", "exit", "pthread_exit"}

# Where the crate has another type of the same size than QNX's documentation.
DISPUTED = {"mallopt": "the value is i64 in the crate, intptr_t in the documentation of 7.1"}


class Facts(NamedTuple):
    """What the C headers say."""

    values: dict[str, int]  # macros with a number
    structs: dict[str, list[str]]  # by tag or name of the type: fields
    functions: dict[str, Any]  # declarations
    layouts: dict[str, int]  # "size X", "align X", "offset X.f", "size X.f"


def header_lines() -> str:
    names = sorted(str(path.relative_to(HEADERS)) for path in HEADERS.rglob("*.h"))
    return "".join(f"#include <{name}>\n" for name in names)


def preprocess(text: str, version: int, *options: str) -> str:
    command = ["gcc", "-std=c11", "-E", *guest_flags("gcc", version), *options, "-x", "c", "-"]
    done = subprocess.run(command, input=text, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def macros(version: int) -> list[str]:
    """Names of the headers' own macros without parameters that are more than a mark."""
    ours: set[str] = set()
    for header in HEADERS.rglob("*.h"):
        if header.name == "stdint.h":  # the compiler's own numbers
            continue
        ours |= set(re.findall(r"^\s*#\s*define\s+(\w+)[ \t]+\S", header.read_text(), re.M))
    defined = preprocess(header_lines(), version, "-dM")
    with_value = re.findall(r"^#define (\w+) (.*\S)", defined, re.M)
    return [name for name, value in with_value if name in ours and not name.startswith("__")]


def declarations(version: int) -> Any:
    """The headers as pycparser reads them: without labels and attributes."""
    plain = ["-P", "-D__asm__(x)=", "-D__attribute__(x)=", "-D__extension__=", "-D__inline=inline"]
    text = preprocess(header_lines(), version, *plain)
    text = text.replace("__builtin_va_list", "void *")
    text = re.sub(r"typedef struct \{[^}]*\} max_align_t;", "", text)
    return c_parser.CParser().parse(text)


def field_names(struct: Any) -> list[str]:
    return [field.name for field in struct.decls or [] if has_size(field)]


def has_size(field: Any) -> bool:
    endless = isinstance(field.type, c_ast.ArrayDecl) and field.type.dim is None
    return field.name is not None and not endless


def structs_and_functions(version: int) -> tuple[dict[str, list[str]], dict[str, Any]]:
    structs: dict[str, list[str]] = {}
    functions: dict[str, Any] = {}

    class Walk(c_ast.NodeVisitor):  # type: ignore[misc]
        def visit_Struct(self, node: Any) -> None:
            if node.decls and node.name:
                structs[f"struct {node.name}"] = field_names(node)
            self.generic_visit(node)

        def visit_Typedef(self, node: Any) -> None:
            inner = getattr(node.type, "type", None)
            if isinstance(inner, c_ast.Struct) and inner.decls:
                structs[node.name] = field_names(inner)
            self.generic_visit(node)

        def visit_Decl(self, node: Any) -> None:
            if isinstance(node.type, c_ast.FuncDecl):
                functions[node.name] = node.type
            self.generic_visit(node)

    Walk().visit(declarations(version))
    return structs, functions


PRINT = """#include <stdio.h>
extern const long long judged[];
int main(void)
{
    for (int i = 0; i < %d; i++) printf("%%lld\\n", judged[i]);
    return 0;
}
"""


def numbers(expressions: dict[str, str], version: int, folder: Path) -> dict[str, int]:
    """What C expressions come to, by a program that is compiled as QNX's own."""
    lines = [f"(long long)({text})," for text in expressions.values()]
    table = f"#include <stddef.h>\n{header_lines()}extern const long long judged[];\n"
    table += "const long long judged[] = {\n" + "\n".join(lines) + "\n0};\n"
    (folder / "table.c").write_text(table)
    (folder / "main.c").write_text(PRINT % len(expressions))
    flags = ["-std=c11", "-w", *guest_flags("gcc", version)]
    run("gcc", *flags, "-c", folder / "table.c", "-o", folder / "table.o")
    run("gcc", "-w", folder / "main.c", folder / "table.o", "-o", folder / "values")
    return dict(zip(expressions, map(int, run(folder / "values").split())))


def gather(version: int, folder: Path) -> Facts:
    structs, functions = structs_and_functions(version)
    bodies = dict(
        re.findall(r"^#define (\w+) (.*\S)", preprocess(header_lines(), version, "-dM"), re.M)
    )
    candidates = {name: bodies[name] for name in macros(version)}
    constant = {name: name for name, body in candidates.items() if is_constant(body, bodies)}
    layouts: dict[str, str] = {}
    for name, fields in structs.items():
        layouts[f"size {name}"] = f"sizeof({name})"
        layouts[f"align {name}"] = f"_Alignof({name})"
        for field in [*fields, *hidden_fields(fields, bodies)]:
            layouts[f"offset {name}.{field}"] = f"offsetof({name}, {field})"
            layouts[f"size {name}.{field}"] = f"sizeof((({name} *)0)->{field})"
    return Facts(
        numbers(constant, version, folder), structs, functions, numbers(layouts, version, folder)
    )


def is_constant(body: str, bodies: dict[str, str]) -> bool:
    """A number, or an expression of numbers and other macros; no name of a type or field."""
    if re.search(r"[{\".]", body):
        return False
    rest = re.sub(r"\b0[xX][0-9a-fA-F]+[uUlL]*|\b\d+[uUlL]*", "", body)
    return all(word in bodies for word in re.findall(r"[A-Za-z_]\w*", rest))


def hidden_fields(fields: list[str], bodies: dict[str, str]) -> list[str]:
    """Fields of its unions that macros give a plain name."""
    paths = {name: body.split(".") for name, body in bodies.items() if re.search(r"\w\.\w", body)}
    return [name for name, path in paths.items() if path[0] in fields]


# The other side.


class Crate(NamedTuple):
    """What the crate has, by name alone: what it says of it is left to the compiler."""

    constants: set[str]
    functions: set[str]
    types: set[str]
    fields: dict[str, set[str]]  # public ones


def crate(version: int) -> Crate:
    folder = fetch_crate("libc", LIBC)
    files = [*folder.glob("src/unix/nto/**/*.rs"), folder / "src/unix/mod.rs"]
    text = "\n".join(for_system(path.read_text(), version) for path in files)
    fields = {}
    for name, body in re.findall(r"pub struct (\w+) \{(.*?)\n    \}", text, re.S):
        fields[name] = set(re.findall(r"^\s*pub (\w+):", body, re.M))
    return Crate(
        set(re.findall(r"pub const (\w+):", text)),
        set(re.findall(r"pub fn (\w+)\(", text)),
        set(re.findall(r"pub (?:struct|type|union) (\w+)", text)),
        fields,
    )


def for_system(text: str, version: int) -> str:
    """The text without what is marked for the other version."""
    other = SYSTEMS[1510 - version]
    marked = rf'#\[cfg\(target_os = "{other}"\)\][^\n]*\n(?:\s*#\[[^\n]*\n)*'
    text = re.sub(marked + r"\s*pub struct \w+ \{.*?\n    \}", "", text, flags=re.S)
    text = re.sub(marked + r"\s*pub fn .*?;", "", text, flags=re.S)
    return re.sub(marked + r"\s*pub (?:const|type) .*?;", "", text, flags=re.S)


class Judgement(NamedTuple):
    """Lines that the compiler has to accept, and names that nobody outside has a word on."""

    lines: list[str]
    by_inspection: list[str]


def judgement(facts: Facts, version: int) -> Judgement:
    known = crate(version)
    lines: list[str] = []
    unknown: list[str] = []
    for name, value in sorted(facts.values.items()):
        if name in known.constants:
            number = f"{value}_i64 as u64"
            lines.append(f"const _: () = assert!(libc::{name} as u64 == {number}, {name!r});")
        else:
            unknown.append(name)
    for name, fields in sorted(facts.structs.items()):
        judge_struct(name, fields, facts, known, lines, unknown)
    for name, function in sorted(facts.functions.items()):
        prototype = rust_prototype(function, known)
        if name in NEVER_RETURNS and prototype is not None:
            prototype += " -> !"
        if name in known.functions and prototype is not None and name not in DISPUTED:
            lines.append(f"const _: {prototype} = libc::{name}; // {name}")
        else:
            unknown.append(f"{name}()")
    lines += initialisers(version)
    return Judgement([line.replace("'", '"') for line in lines], sorted(unknown))


def initialisers(version: int) -> list[str]:
    """Those of <pthread.h>, word by word."""
    lines = []
    for kind in ("mutex", "cond"):
        name = f"PTHREAD_{kind.upper()}_INITIALIZER"
        text = preprocess(f"{header_lines()}judged {name}\n", version, "-P").split("judged ")[1]
        words = [word.rstrip("u") for word in re.findall(r"\b[0-9]\w*", text)]
        assert len(words) == 2
        crate_words = f"core::mem::transmute::<libc::pthread_{kind}_t, [u32; 2]>(libc::{name})"
        for index, word in enumerate(words):
            lines.append(f"const _: () = assert!(unsafe {{ {crate_words} }}[{index}] == {word});")
    return lines


def judge_struct(
    name: str, fields: list[str], facts: Facts, known: Crate, lines: list[str], unknown: list[str]
) -> None:
    rust = name.removeprefix("struct ")
    rust = {"_sync": "sync_t"}.get(rust, rust)
    if rust not in known.fields:
        unknown.append(f"{name}")
        return
    size, alignment = facts.layouts[f"size {name}"], facts.layouts[f"align {name}"]
    lines.append(f"const _: () = assert!(size_of::<libc::{rust}>() == {size}, '{name}');")
    lines.append(f"const _: () = assert!(align_of::<libc::{rust}>() == {alignment}, '{name}');")
    for field in sorted(known.fields[rust]):
        if f"offset {name}.{field}" not in facts.layouts:
            lines.append(f"compile_error!('{name} lacks the field {field}');")
            continue
        offset = facts.layouts[f"offset {name}.{field}"]
        size = facts.layouts[f"size {name}.{field}"]
        lines.append(
            f"const _: () = assert!(core::mem::offset_of!(libc::{rust}, {field}) == {offset}"
            f" && field_size(|s: *const libc::{rust}| unsafe {{ &raw const (*s).{field} }})"
            f" == {size}, '{name}.{field}');"
        )
    unknown += [f"{name}.{field}" for field in fields if field not in known.fields[rust]]


def rust_type(node: Any, known: Crate) -> str | None:
    if isinstance(node, c_ast.PtrDecl):
        if isinstance(node.type, c_ast.FuncDecl):
            inner = rust_prototype(node.type, known, safe=True)
            return inner
        inner = rust_type(node.type, known)
        constant = "const" in getattr(node.type, "quals", [])
        return None if inner is None else f"*{'const' if constant else 'mut'} {inner}"
    if isinstance(node, c_ast.ArrayDecl):
        inner = rust_type(node.type, known)
        constant = "const" in getattr(node.type, "quals", [])
        return None if inner is None else f"*{'const' if constant else 'mut'} {inner}"
    kind = node.type
    name = " ".join(kind.names) if isinstance(kind, c_ast.IdentifierType) else kind.name
    if name in RUST_TYPES:
        return RUST_TYPES[name]
    name = {"_sync": "sync_t"}.get(name, name)
    return f"libc::{name}" if name in known.types else None


def rust_prototype(function: Any, known: Crate, safe: bool = False) -> str | None:
    parameters: list[str | None] = []
    for parameter in function.args.params if function.args else []:
        if isinstance(parameter, c_ast.EllipsisParam):
            parameters.append("...")
            continue
        kind = rust_type(parameter.type, known)
        if kind == RUST_TYPES["void"]:
            continue
        parameters.append(kind)
    result = rust_type(function.type, known)
    if result is None or None in parameters:
        return None
    arrow = "" if result == RUST_TYPES["void"] else f" -> {result}"
    return f'{"" if safe else "unsafe "}extern "C" fn({", ".join(map(str, parameters))}){arrow}'


# The compiler.


def rustc(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [find_tool("rustc"), *map(str, arguments)],
        env={**os.environ, "RUSTC_BOOTSTRAP": "1"},
        capture_output=True,
        text=True,
    )


def must(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def target_of(version: int, folder: Path) -> list[str]:
    """8.0 is the target of that version under the crate's name for the system."""
    if version == 710:
        return ["--target", TARGETS[version]]
    asked = ["-Zunstable-options", "--print", "target-spec-json", "--target", TARGETS[version]]
    specification = json.loads(must(rustc(*asked)))
    specification |= {"os": SYSTEMS[version], "env": ""}
    path = folder / "qnx800.json"
    path.write_text(json.dumps(specification))
    return ["-Zunstable-options", "--target", str(path)]


def core_source() -> Path:
    root = Path(must(rustc("--print", "sysroot")).strip())
    source = root / "lib/rustlib/src/rust/library/core/src/lib.rs"
    if not source.is_file():
        raise FetchError("the toolchain has no sources: run `rustup component add rust-src`")
    return source


def compiled_crate(version: int) -> tuple[Path, list[str]]:
    """A folder with core and libc for the target, as far as they are needed to check types."""
    source, release = core_source(), must(rustc("--version")).split()[1]
    folder = ROOT / "build/judge" / f"{release}-{LIBC}-{version}"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        target = target_of(version, folder)
        common = [*target, "--crate-type", "rlib", "--emit=metadata", "--cap-lints", "allow"]
        common += ["-L", str(folder), "--out-dir", str(folder)]
        internal = ["--edition", "2024", "-Zforce-unstable-if-unmarked"]
        if not (folder / "libcore.rmeta").exists():
            must(rustc(*common, *internal, "--crate-name", "core", source))
        if not (folder / "libcompiler_builtins.rmeta").exists():
            (folder / "builtins.rs").write_text(COMPILER_BUILTINS)
            named = ["--crate-name", "compiler_builtins", str(folder / "builtins.rs")]
            must(rustc(*common, *internal, *named))
        if not (folder / "liblibc.rmeta").exists():
            crate_source = str(fetch_crate("libc", LIBC) / "src/lib.rs")
            named = ["--edition", "2021", "--crate-name", "libc", crate_source]
            must(rustc(*common, *named))
    return folder, target


def verdict(lines: list[str], version: int, folder: Path) -> list[str]:
    """What the compiler rejects: one line each."""
    compiled, target = compiled_crate(version)
    text = "#![no_std]\n#![allow(unused)]\nconst fn field_size<S, F>(_: fn(*const S) -> *const F)"
    text += " -> usize { size_of::<F>() }\n" + "\n".join(lines) + "\n"
    source = folder / "judge.rs"
    source.write_text(text)
    known = ["--extern", f"libc={compiled}/liblibc.rmeta", "--error-format=short"]
    options = [*target, "--edition", "2024", "--crate-type", "rlib", "--emit=metadata"]
    done = rustc(*options, "-L", compiled, *known, "--out-dir", folder, source)
    complaints = [line for line in done.stderr.splitlines() if ": error" in line]
    assert (done.returncode == 0) == (complaints == []), done.stderr
    return [explain(line, text.splitlines()) for line in complaints if "judge.rs:" in line]


def explain(complaint: str, text: list[str]) -> str:
    number = re.search(r"judge\.rs:(\d+)", complaint)
    assert number is not None
    return f"{text[int(number[1]) - 1]}: {complaint.split(': ', 1)[1]}"
