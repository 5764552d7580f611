"""The documents' name for wrt_platform.linux.perf."""

from wrt_platform.linux.perf import *  # noqa: F403
from wrt_platform.linux.perf import __all__ as __all__
