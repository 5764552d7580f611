"""The documents' name for wrt_platform.linux.io_uring."""

from wrt_platform.linux.io_uring import *  # noqa: F403
from wrt_platform.linux.io_uring import __all__ as __all__
