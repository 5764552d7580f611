"""Futexes, locks and what is made of them, as one module: wrt_platform.linux.sync and
wrt_platform.linux.sync_objects."""

from wrt_platform.linux import sync, sync_objects
from wrt_platform.linux.sync import *  # noqa: F403
from wrt_platform.linux.sync_objects import *  # noqa: F403

__all__ = [*sync.__all__, *sync_objects.__all__]
