"""Random sequences of calls on the simulated QNX kernel, beside a model that is a sorted list."""

from __future__ import annotations

import ctypes
import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from support.qnx_checks import Kernel

EAGAIN, ETIMEDOUT = 11, 260
SIDE_CHANNEL = 0x40000000
RECEIVE, MONOTONIC = 1 << 5, 2
FIXED_PRIORITY, PULSE_POOL = 1, 0x100
UNIQUE, REPLACE = 0x1000, 0x2000


class Pulse(ctypes.Structure):
    """struct _pulse, by its layout on 64 bits."""

    _fields_ = [
        ("type", ctypes.c_uint16),
        ("subtype", ctypes.c_uint16),
        ("code", ctypes.c_int8),
        ("zero", ctypes.c_uint8 * 3),
        ("value", ctypes.c_int64),
        ("scoid", ctypes.c_int32),
    ]


class PoolConfig(ctypes.Structure):
    """struct nto_channel_config, by its layout on 64 bits."""

    _fields_ = [
        ("event", ctypes.c_uint8 * 32),
        ("num_pulses", ctypes.c_uint),
        ("rearm_threshold", ctypes.c_uint),
        ("options", ctypes.c_uint),
        ("reserved", ctypes.c_uint * 3),
    ]


@dataclass
class Model:
    """Pulses as (priority, code, value), always in the order in which they come out."""

    queue: list[list[int]] = field(default_factory=list)

    def send(self, priority: int, code: int, value: int, flags: int) -> None:
        level = [pulse for pulse in self.queue if pulse[:2] == [priority, code]]
        if flags & REPLACE and level:
            level[0][2] = value
            return
        if flags & UNIQUE and level and level[0][2] == value:
            return
        self.queue.append([priority, code, value])
        self.queue.sort(key=lambda pulse: -pulse[0])  # stable: the order of arrival in a level

    def receive(self) -> list[int] | None:
        return self.queue.pop(0)[1:] if self.queue else None


def receive(kernel: Kernel, channel: int) -> list[int] | None:
    pulse = Pulse()
    assert kernel.call("TimerTimeout_r", MONOTONIC, RECEIVE, None, None, None) == 0
    size = ctypes.c_size_t(ctypes.sizeof(pulse))
    code = kernel.call("MsgReceivePulse_r", channel, ctypes.byref(pulse), size, None)
    assert code in (0, -ETIMEDOUT)
    return [int(pulse.code), int(ctypes.c_int32(pulse.value).value)] if code == 0 else None


def play(kernel: Kernel, seed: int, flag: int) -> None:
    """Sends and receives at random; what comes out must be what the list says. Pulses of code 2
    carry the flag."""
    dice, model = random.Random(seed), Model()
    channel = kernel.call("ChannelCreate_r", FIXED_PRIORITY)
    connection = kernel.call("ConnectAttach_r", 0, 0, channel, SIDE_CHANNEL, 0)
    for _ in range(dice.randrange(40, 200)):
        if dice.random() < 0.6:
            priority, code, value = dice.randrange(1, 5), dice.randrange(3), dice.randrange(3)
            flags = flag if code == 2 else 0
            sent = kernel.call("MsgSendPulse_r", connection, priority | flags, code, value)
            assert sent == 0
            model.send(priority, code, value, flags)
        else:
            assert receive(kernel, channel) == model.receive()
    while model.queue:
        assert receive(kernel, channel) == model.receive()
    assert receive(kernel, channel) is None
    assert kernel.call("ConnectDetach_r", connection) == 0
    assert kernel.call("ChannelDestroy_r", channel) == 0


@pytest.mark.parametrize("flag", [0, UNIQUE, REPLACE])
def test_pulses_come_out_as_the_model_says(kernel: Kernel, flag: int) -> None:
    for seed in range(60):
        play(kernel, seed, flag)


@pytest.mark.parametrize("semantic", ["pulse order", "pulse level", "unique", "replace"])
def test_model_notices_a_broken_semantic(kernel: Kernel, semantic: str) -> None:
    flag = {"unique": UNIQUE, "replace": REPLACE}.get(semantic, 0)
    kernel.must("break", semantic.encode(), ctypes.c_bool(True))
    with pytest.raises(AssertionError):
        for seed in range(60):
            play(kernel, seed, flag)


def test_pool_holds_as_many_different_pulses_as_it_has_entries(kernel: Kernel) -> None:
    for seed in range(30):
        dice, room = random.Random(seed), 1 + seed % 7
        config: Any = PoolConfig(num_pulses=room)
        channel = kernel.call(
            "ChannelCreatePulsePool", FIXED_PRIORITY | PULSE_POOL, ctypes.byref(config)
        )
        connection = kernel.call("ConnectAttach_r", 0, 0, channel, SIDE_CHANNEL, 0)
        entries, last = 0, None
        for _ in range(40):
            code = dice.randrange(2)
            status = kernel.call("MsgSendPulse_r", connection, 10, code, 0)
            if code == last:
                assert status == 0
            elif entries < room:
                assert status == 0
                entries, last = entries + 1, code
            else:
                assert status == -EAGAIN
        assert kernel.call("ConnectDetach_r", connection) == 0
        assert kernel.call("ChannelDestroy_r", channel) == 0
