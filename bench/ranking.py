"""How long do training the policy and ranking a pool take, and how much memory, as the pool grows to a million images?

    python -m bench.ranking             # 10^3 to 10^6 images, a few minutes on two cores
    python -m bench.ranking --quick     # seconds, small pools: does it run

The images are descriptions of 25 numbers in clusters, memory-mapped from a file; no pixels. Each size runs in a process
of its own, whose peak resident memory is taken. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch

import numpy as np

from agent.gain.model import GainModel
from agent.policy.policy import rank_rows
from agent.policy.reinforce import ReinforceConfig, train_policy

FEATURES, CELLS, BUDGET, SHUFFLES = 25, 30, 50, 2
CHUNK = 50_000  # images written at once


class PlantedTable(GainModel):
    """Known gains: Σ_c height_c (1 - exp(-n_c / decay_c)), n_c images in the cell of the nearest centre.

    The standard deviation is a tenth of the mean, so that the lower bound is separable and concave too, and greedy
    choice of a batch is exactly optimal.
    """

    def __init__(self, centres: np.ndarray, heights: np.ndarray, decays: np.ndarray) -> None:
        self.centres, self.heights, self.decays = centres, heights, decays

    @classmethod
    def draw(cls, cells: int, features: int, rng: np.random.Generator) -> PlantedTable:
        """Centres 2 apart from 0 in the root mean square, heights from 0.2 to 1, decays from 1 to 5 images."""
        centres = 2 * rng.normal(size=(cells, features)).astype(np.float32)
        return cls(centres, rng.uniform(0.2, 1.0, cells), rng.uniform(1.0, 5.0, cells))

    def images(self, n: int, noise: float, rng: np.random.Generator) -> np.ndarray:
        """(n, F) float32 descriptions: a random cell's centre and normal noise."""
        chosen = self.centres[rng.integers(len(self.centres), size=n)]
        return chosen + np.float32(noise) * rng.standard_normal(chosen.shape, np.float32)

    def codes(self, phi: np.ndarray) -> np.ndarray:
        squared = np.square(self.centres).sum(axis=1) - 2 * phi @ self.centres.T
        return np.eye(len(self.centres), dtype=np.float32)[squared.argmin(axis=1)]

    def draws(self, sums: np.ndarray) -> np.ndarray:
        gains = (self.heights * (1 - np.exp(-sums / self.decays))).sum(axis=1)
        return gains[:, None] * (1 + np.array([-0.1, 0.1]) / np.sqrt(2))


def measure(path: Path, config: ReinforceConfig, seed: int) -> dict[str, float]:
    """Seconds and peak memory of this process, of training on the pool in the file and ranking it."""
    phi = np.load(path, mmap_mode="r")
    gains = PlantedTable.draw(CELLS, FEATURES, np.random.default_rng(seed))
    start = time.perf_counter()
    policy, _ = train_policy(phi, gains, BUDGET, config, None, seed)
    trained = time.perf_counter()
    ranked = rank_rows(policy, phi, gains, BUDGET, SHUFFLES, seed)
    end = time.perf_counter()
    if len(np.unique(ranked.order)) != len(phi):
        raise AssertionError(f"the ranking of {len(phi)} images holds {len(np.unique(ranked.order))}")
    return {
        "train_seconds": trained - start,
        "rank_seconds": end - trained,
        "seconds": end - start,
        "peak_gb": peak_bytes() / 1e9,
    }


def write_pool(path: Path, n: int, seed: int) -> None:
    """(n, FEATURES) float32 descriptions as .npy, written in parts."""
    table = PlantedTable.draw(CELLS, FEATURES, np.random.default_rng(seed))
    rng = np.random.default_rng([seed, n])
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, FEATURES))
    for start in range(0, n, CHUNK):
        out[start : start + CHUNK] = table.images(min(CHUNK, n - start), 1.0, rng)
    out.flush()


def label(n: int) -> str:
    """1000000 as 1e6, and 1234 as it is."""
    exponent = len(str(n)) - 1
    return f"1e{exponent}" if n == 10**exponent else str(n)


def peak_bytes() -> int:
    """Peak resident memory of this program. Not `ru_maxrss`: a process inherits that from the one that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.ranking", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small pools and few updates: seconds instead of minutes")
    parser.add_argument("--seed", type=int, default=0, help="of the pools and the training (default 0)")
    parser.add_argument("--measure", type=Path, metavar="NPY", help=argparse.SUPPRESS)  # what each process runs
    options = parser.parse_args(arguments)
    config = ReinforceConfig(updates=5, chunks=2) if options.quick else ReinforceConfig()
    if options.measure:
        print(json.dumps(measure(options.measure, config, options.seed)))
        return
    sizes = (100, 1000) if options.quick else (10**3, 10**4, 10**5, 10**6)
    figures: dict[str, float] = {}
    print(f"{'images':>10}{'train s':>10}{'rank s':>10}{'peak GB':>10}   budget {BUDGET}, {SHUFFLES} shuffles")
    for n in sizes:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "phi.npy"
            write_pool(path, n, options.seed)
            command = [sys.executable, "-m", "bench.ranking", "--measure", str(path), "--seed", str(options.seed)]
            command += ["--quick"] * options.quick
            result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        one = json.loads(result.stdout.splitlines()[-1])
        print(f"{n:10,}{one['train_seconds']:10.1f}{one['rank_seconds']:10.1f}{one['peak_gb']:10.2f}", flush=True)
        figures |= {f"{key}_{label(n)}": value for key, value in one.items()}
    before, last = map(label, sizes[-2:])
    figures[f"growth_{before}_{last}"] = figures[f"seconds_{last}"] / figures[f"seconds_{before}"]
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
