"""One builder, two profiles: the strict one puts its walls round an ordinary program, which tells
itself what it found, and each profile refuses what belongs to the other."""

from __future__ import annotations

import json
import os
import signal

import pytest
from support.environments import namespaces_refused
from wrt_platform import InvalidArgumentError, SandboxBuilder, UnsupportedError
from wrt_platform.linux.landlock import LandlockAccess
from wrt_platform.linux.sandbox import SandboxWall

# A process behind these walls gets none of the environment, and so no sanitizer's run time.
pytestmark = [pytest.mark.row("SC-5"), pytest.mark.whole_process]

LOOK = """
import json, os
spaces = {name: os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")}
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
try:
    os.listdir("/etc")
    reached = True
except PermissionError:
    reached = False
print(json.dumps([spaces, int(status["Seccomp"]), int(status["NoNewPrivs"]), reached]))
"""


def look(builder: SandboxBuilder) -> tuple[set[str], list[int]]:
    """What a program finds: namespaces that are not those of this process, filters, files."""
    program = builder.confine("/usr/bin/python3").with_system_files()
    program.allow("/proc", LandlockAccess.READ)
    done = program.with_arguments(["python3", "-S", "-I", "-c", LOOK]).run(timeout=20)
    assert done.result.ok, done
    spaces, *rest = json.loads(done.output)
    here = {name: os.readlink(f"/proc/self/ns/{name}") for name in spaces}
    return {name for name in spaces if spaces[name] != here[name]}, rest


needs_python = pytest.mark.skipif(
    not os.path.exists("/usr/bin/python3") or namespaces_refused() != "",
    reason=namespaces_refused() or "/usr/bin/python3 is not there",
)


@needs_python
def test_one_builder_puts_an_ordinary_program_behind_strict_walls() -> None:
    apart, rest = look(SandboxBuilder().with_profile("strict"))
    assert {"user", "mnt", "ipc", "pid", "uts"} <= apart and "net" not in apart
    assert rest == [2, 1, False]
    builder = SandboxBuilder().with_profile("strict").with_network_namespace()
    apart, rest = look(builder.with_ipc_namespace("off").with_landlock("off"))
    assert "net" in apart and "ipc" not in apart
    assert rest == [2, 1, True]


@needs_python
def test_required_walls_of_the_builder_are_required_of_the_program() -> None:
    builder = SandboxBuilder().with_profile("strict")
    assert builder.confine("/bin/true")._config.namespace_wall == SandboxWall.PREFERRED
    builder.with_user_namespace("required").with_landlock("required").with_cpu_seconds(1)
    program = builder.confine("/usr/bin/python3")
    assert program._config.namespace_wall == program._config.file_wall == SandboxWall.REQUIRED
    words = ["python3", "-S", "-I", "-c", "while True: pass"]
    done = program.with_system_files().with_arguments(words).run(timeout=30)
    assert (done.end.name, done.code, done.timed_out) == ("SIGNALLED", signal.SIGXCPU, False) or (
        done.code == signal.SIGKILL and not done.timed_out
    )


def test_settings_of_the_other_profile_are_refused_with_the_way_to_go() -> None:
    with pytest.raises(UnsupportedError, match=r"for a module.*build\(\)"):
        SandboxBuilder().confine("/bin/true")
    for builder in (
        SandboxBuilder().with_maximum_pages(1),
        SandboxBuilder().with_working_bytes(1),
        SandboxBuilder().with_maximum_module_bytes(1),
        SandboxBuilder().with_program_path("/bin/true"),
    ):
        with pytest.raises(InvalidArgumentError, match="memory_bytes"):
            builder.with_profile("strict").confine("/bin/true")
