"""Says what a figure was measured on, and summarizes the rounds of a figure."""

import math
import os
import platform
import statistics
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec


class Spread(msgspec.Struct, frozen=True):
    """Median, smallest and largest value of several rounds."""

    median: float
    low: float
    high: float
    rounds: int

    def __str__(self) -> str:
        digits = 2 if abs(self.median) < 10 else 1 if abs(self.median) < 100 else 0
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f} to {self.high:,.{digits}f})"


def spread(values: Sequence[float]) -> Spread:
    """Summarizes at least one value."""
    return Spread(statistics.median(values), min(values), max(values), len(values))


def ms_cell(seconds: Sequence[float]) -> str:
    """Milliseconds for a table: median, fastest and slowest; of no run, that it was refused."""
    if not seconds:
        return "refused"
    low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
    return f"{middle * 1e3:,.0f} ({low * 1e3:,.0f} to {high * 1e3:,.0f})"


def percentile(values: Sequence[float], percent: float) -> float:
    """Nearest rank, of at least one value."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def machine(*packages: str) -> dict[str, str]:
    """Processor, memory, kernel, Python, and the packages that matter."""
    cpu = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    kib = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "processor": f"{os.cpu_count()} x {cpu.partition(': ')[2] or platform.machine()}",
        "memory": f"{kib / 2**20:.0f} GiB",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": f"{os.getloadavg()[0]:.2f}",
        **{package: version(package) for package in packages},
    }
