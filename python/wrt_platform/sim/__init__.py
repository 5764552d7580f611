"""Simulated systems: their clock, their faults and what they hold, for tests and notebooks."""
