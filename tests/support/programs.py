"""Small WASI programs for tests of the faces, as text."""

from __future__ import annotations

from support.guest import assemble

WASI = "wasi_snapshot_preview1"


def program(body: str, data: str = "", pages: str = "1") -> bytes:
    """A program whose _start is `body`; `$write` prints `length` bytes at 256 to a descriptor."""
    return assemble(rf"""(module
  (import "{WASI}" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "{WASI}" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "{WASI}" "proc_exit" (func $exit (param i32)))
  (import "{WASI}" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "{WASI}" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "{WASI}" "environ_get" (func $environ_get (param i32 i32) (result i32)))
  (import "{WASI}" "path_open" (func $path_open
    (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") {pages})
  (data (i32.const 256) "{data}")
  (func $write (param $descriptor i32) (param $length i32) (result i32)
    (i32.store (i32.const 0) (i32.const 256))
    (i32.store (i32.const 4) (local.get $length))
    (call $fd_write (local.get $descriptor) (i32.const 0) (i32.const 1) (i32.const 8)))
  (func $sleep (param $nanoseconds i64)
    (i32.store8 (i32.const 48) (i32.const 0))
    (i32.store (i32.const 48) (i32.const 1))
    (i64.store (i32.const 56) (local.get $nanoseconds))
    (drop (call $poll (i32.const 32) (i32.const 96) (i32.const 1) (i32.const 160))))
  (func $main (export "_start") {body}))""")


HELLO = program(
    "(drop (call $write (i32.const 1) (i32.const 6)))"
    "(drop (call $write (i32.const 2) (i32.const 4)))",
    "hello\\n",
)
# Prints without end, and does not look at whether it worked.
FLOOD = program("(loop $l (drop (call $write (i32.const 1) (i32.const 2048))) (br $l))")
# Prints once without looking, and ends well.
CARELESS = program("(drop (call $write (i32.const 1) (i32.const 6)))", "hello\\n")
# Gives the error number of its print as its exit code.
CAREFUL = program("(call $exit (call $write (i32.const 1) (i32.const 6)))", "hello\\n")
SPIN = program("(loop $l (br $l))")
SLEEP = program("(call $sleep (i64.const 60000000000))")
TRAP = program("unreachable")
# Asks for memory until it is refused, and then gives up as C's abort() does.
HUNGRY = program(
    "(loop $l (br_if $l (i32.ne (i32.const -1) (memory.grow (i32.const 1))))) unreachable"
)
# The same, but the module's own maximum is what refuses.
MODEST = program(
    "(loop $l (br_if $l (i32.ne (i32.const -1) (memory.grow (i32.const 1))))) unreachable",
    pages="1 3",
)
# Prints its arguments, each with its NUL, up to 64 bytes.
ECHO = program(
    "(drop (call $args_get (i32.const 1024) (i32.const 256)))"
    "(drop (call $write (i32.const 1) (i32.const 64)))"
)
VARIABLES = program(
    "(drop (call $environ_get (i32.const 1024) (i32.const 256)))"
    "(drop (call $write (i32.const 1) (i32.const 64)))"
)
# Copies up to 64 bytes of its input.
COPY = program(
    "(i32.store (i32.const 0) (i32.const 256)) (i32.store (i32.const 4) (i32.const 64))"
    "(drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))"
    "(drop (call $write (i32.const 1) (i32.load (i32.const 8))))"
)
# Exit code: what opening "note.txt" below descriptor 3 answers; prints the file.
READ_FILE = program(
    "(local $error i32)"
    "(local.set $error (call $path_open (i32.const 3) (i32.const 0) (i32.const 256) (i32.const 8)"
    "  (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 12)))"
    "(if (local.get $error) (then (call $exit (local.get $error))))"
    "(i32.store (i32.const 0) (i32.const 256)) (i32.store (i32.const 4) (i32.const 64))"
    "(drop (call $fd_read (i32.load (i32.const 12)) (i32.const 0) (i32.const 1) (i32.const 8)))"
    "(drop (call $write (i32.const 1) (i32.load (i32.const 8))))",
    "note.txt",
)


def exits(code: int) -> bytes:
    """Ends with an exit code."""
    return program(f"(call $exit (i32.const {code}))")
