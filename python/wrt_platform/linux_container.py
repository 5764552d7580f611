"""The documents' name for wrt_platform.linux.container."""

from wrt_platform.linux.container import *  # noqa: F403
from wrt_platform.linux.container import __all__ as __all__
