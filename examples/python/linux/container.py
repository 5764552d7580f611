"""Where this process runs, and how much of the machine it may use."""

from wrt_platform import RunLimits
from wrt_platform.linux.container import describe_environment, detect_resources

found = describe_environment()
print("signs found:", len(found.evidence))
for sign in found.evidence:
    print("-", sign.text)

resources = detect_resources()
print("memory: at most", resources.memory_limit, "bytes")
print(f"processors: {resources.cpus:.2f}")
limits = RunLimits.from_environment(share=0.5)  # half of what is left, for a run
assert limits.memory is not None
