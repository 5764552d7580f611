"""Control groups and detection where the kernel is old, a container's filter refuses, or the user
has no rights: each call works by its fallback, or says why not."""

from __future__ import annotations

import pytest
from support.environments import ENVIRONMENTS, run_in

LOAD = """
import importlib, traceback
from pathlib import Path
from wrt_platform.errors import *
from wrt_platform.events import EventsBuilder
from wrt_platform.limits import RunLimits
from wrt_platform.linux.cgroups import *
from wrt_platform.linux.container import *
from wrt_platform.linux.pressure import *
"""


def said(environment: str, body: str) -> list[str]:
    done = run_in(environment, body, before=LOAD)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout.splitlines()


@pytest.mark.row("CT-1")
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_detection_needs_no_rights(environment: str) -> None:
    body = """
    print(detect_resources().memory_limit > 0, detect_resources().cpus > 0)
    print(RunLimits.from_environment().memory >= 65536)
    describe_environment()
    print(locate_cgroup().layout.name)
    """
    first, second, layout = said(environment, body)
    assert (first, second) == ("True True", "True")
    assert layout in ("NONE", "V1", "V2", "HYBRID")


@pytest.mark.row("CG-2")
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_groups_work_by_fallback_or_say_why_not(environment: str) -> None:
    """Without clone3 the child moves itself; without rights there is no group, and a remedy."""
    body = """
    builder = CgroupBuilder(f"wrt-elsewhere-{os.getpid()}").with_parent("/")
    try:
        group = builder.build()
    except UnsupportedError as error:
        assert "mount -t cgroup2" in str(error)
        print("none is mounted")
    except PermissionDeniedError as error:
        assert "Delegate=yes" in str(error)
        assert builder.plan().obstacle.name in ("NOT_PERMITTED", "NOT_OFFERED")
        print("remedy")
    else:
        child = group.spawn(["/bin/sleep", "100"])
        print(group.path.rsplit("/", 1)[1] in Path(f"/proc/{child}/cgroup").read_text())
        group.kill()
        os.waitpid(child, 0)
        group.remove()
        print(Path(group.path).exists())
    """
    told = said(environment, body)
    assert told in (["True", "False"], ["remedy"], ["none is mounted"])


@pytest.mark.row("CG-2")
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_pressure_is_watched_or_says_what_it_takes(environment: str) -> None:
    body = """
    try:
        LinuxPressureBuilder().with_events(EventsBuilder().build()).build().close()
    except PermissionDeniedError as error:
        assert "CAP_SYS_RESOURCE" in str(error)
    except UnsupportedError as error:
        assert "psi=1" in str(error)
    print("told")
    """
    assert said(environment, body) == ["told"]
