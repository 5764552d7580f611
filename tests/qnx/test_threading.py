"""What the four priorities are on QNX, and which of them its thread system refuses."""

from __future__ import annotations

import pytest
from held_threads import Held
from wrt_platform import QnxThreadSystemBuilder, ThreadBuilder, ThreadPriority
from wrt_platform.errors import InvalidArgumentError

pytestmark = [pytest.mark.row("QT-1", proof="sim"), pytest.mark.usefixtures("world")]

FIFO, ROUND_ROBIN = 1, 2  # QNX's numbers
LOW, NORMAL, HIGH, REALTIME = list(ThreadPriority)[1:]


@pytest.mark.parametrize(
    ("builder", "numbers"),
    [
        (QnxThreadSystemBuilder(), (8, 10, 15, 40)),
        (
            QnxThreadSystemBuilder()
            .with_low_priority(5)
            .with_normal_priority(11)
            .with_high_priority(20)
            .with_realtime_priority(50),
            (5, 11, 20, 50),
        ),
    ],
    ids=["defaults", "own"],
)
def test_priorities_are_the_numbers_of_the_config(
    builder: QnxThreadSystemBuilder, numbers: tuple[int, ...]
) -> None:
    system = builder.build()
    seen = []
    for priority in (LOW, NORMAL, HIGH, REALTIME):
        held = Held(system, ThreadBuilder().with_priority(priority).with_require_priority())
        report = held.thread.report
        assert report.priority == priority
        seen.append((report.system_priority, report.system_policy))
        held.end()
    assert seen == list(zip(numbers, [ROUND_ROBIN, ROUND_ROBIN, ROUND_ROBIN, FIFO]))
    system.close()


@pytest.mark.parametrize(
    "builder",
    [
        QnxThreadSystemBuilder().with_low_priority(11),
        QnxThreadSystemBuilder().with_normal_priority(16),
        QnxThreadSystemBuilder().with_high_priority(41),
        QnxThreadSystemBuilder().with_realtime_priority(14),
        QnxThreadSystemBuilder().with_realtime_priority(256),
    ],
)
def test_priorities_that_fall_or_do_not_exist_are_refused(builder: QnxThreadSystemBuilder) -> None:
    with pytest.raises(InvalidArgumentError, match="is above 255, or falls"):
        builder.build()


def test_a_number_between_two_belongs_to_the_lower() -> None:
    wide = QnxThreadSystemBuilder().build()
    narrow = QnxThreadSystemBuilder().with_normal_priority(12).build()
    narrow.set_priority(NORMAL)
    assert narrow.report.system_priority == 12
    assert (narrow.report.priority, wide.report.priority) == (NORMAL, NORMAL)
    wide.set_priority(NORMAL)
    assert narrow.report.priority == LOW
    wide.close()
    narrow.close()
