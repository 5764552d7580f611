"""The documents' name for wrt_platform.linux.cgroups."""

from wrt_platform.linux.cgroups import *  # noqa: F403
from wrt_platform.linux.cgroups import __all__ as __all__
