"""The documents' name for wrt_platform.linux.memory."""

from wrt_platform.linux.memory import *  # noqa: F403
from wrt_platform.linux.memory import __all__ as __all__
