"""The documents' name for wrt_platform.linux.security."""

from wrt_platform.linux.security import *  # noqa: F403
from wrt_platform.linux.security import __all__ as __all__
