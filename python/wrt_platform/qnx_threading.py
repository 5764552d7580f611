"""The documents' name for QNX's thread pool; see wrt_platform.threading and
wrt_platform.qnx.threading."""

from wrt_platform.qnx.threading import QnxThreadSystem, QnxThreadSystemBuilder
from wrt_platform.threading import QnxThreadPool

__all__ = ["QnxThreadPool", "QnxThreadSystem", "QnxThreadSystemBuilder"]
