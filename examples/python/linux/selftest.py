"""Walls that are leant against before there is a guest."""

import sys

from wrt_platform import UnsupportedError, selftest

try:
    report = selftest()
except UnsupportedError as error:
    sys.exit(f"selftest: {error}")  # a program that counts on its walls ends here
print(f"{len(report.rows)} walls were leant against, and hold")
