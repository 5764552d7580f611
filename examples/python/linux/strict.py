"""An ordinary program behind the walls of a sandbox's strict profile."""

from wrt_platform import SandboxBuilder

builder = SandboxBuilder().with_profile("strict").with_network_namespace("preferred")
program = builder.confine("/bin/echo").with_system_files().with_memory_bytes(1 << 30)
outcome = program.with_arguments(["echo", "inside"]).run(timeout=5)
print(outcome.output.decode(), end="")
print("exited with", outcome.code)
print("filter", outcome.report.filter.state.name.lower())
