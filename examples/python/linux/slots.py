"""Two tenants of one slot: the second finds nothing of the first."""

from wrt_platform.linux.slot_pool import SlotPoolBuilder

pool = SlotPoolBuilder().with_slot_count(4).with_maximum_pages(256).build()
with pool.allocate(1) as pages:
    pages.memory[:5] = b"hello"
with pool.allocate(1) as pages:  # the same slot
    print("the next tenant reads", pages.memory[0])
print(f"cleaned: {pool.report.cleaned_bytes} bytes")
