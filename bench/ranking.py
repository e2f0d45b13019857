"""How long does the product's own strategy take to order a pool, and how much memory, up to a million images?

    python -m bench.ranking             # 10^3 to 10^6 images, some minutes on two cores
    python -m bench.ranking --quick     # seconds, small pools: does it run

The strategy is `mgral` as the worker runs it with nothing measured: descriptors, all baselines, the gain table,
the trained policy, what is published where it is not better, the record with reasons. Of the pool only what a scan
stores is made up, and lies in files: encodings of 64 channels in clusters, every second image a near-copy of another,
and sums over the boxes of ten classes. No pixels. Each size runs in a process of its own, whose peak resident memory
is taken. The last line is JSON.
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

from agent.policy.reinforce import ReinforceConfig
from agent.pool.pool import Pool
from agent.strategies.mgral import Mgral, MgralConfig

CHANNELS, CLUSTERS, CLASSES, LABELED, BUDGET = 64, 200, 10, 500, 50
CHUNK = 50_000  # images written at once
NAMES = tuple(f"class {k}" for k in range(CLASSES))
ENCODINGS, SUMMARIES = "encodings.npy", "summaries.npy"


def measure(directory: Path, config: ReinforceConfig, seed: int) -> dict[str, float]:
    """Seconds and peak memory of this process, of ordering the pool in the directory."""
    encodings, summaries = (np.load(directory / name, mmap_mode="r") for name in (ENCODINGS, SUMMARIES))
    began = time.perf_counter()
    pool = Pool.from_summaries(
        np.arange(LABELED, len(encodings)),
        summaries[LABELED:],
        encodings[LABELED:],
        NAMES,
        encodings[:LABELED],
        np.linspace(0.1, 0.7, CLASSES),
        labeled_ids=np.arange(LABELED),
        labeled_summaries=summaries[:LABELED],
        directory=directory,
    )
    described = time.perf_counter()
    ranking = Mgral((), 1, MgralConfig(config)).rank(pool, BUDGET, np.random.default_rng(seed))
    json.dumps(dict(ranking.details))
    end = time.perf_counter()
    if len(np.unique(ranking.order)) != len(pool):
        raise AssertionError(f"the ranking of {len(pool)} images holds {len(np.unique(ranking.order))}")
    return {
        "describe_seconds": described - began,
        "rank_seconds": end - described,
        "seconds": end - began,
        "peak_gb": peak_bytes() / 1e9,
    }


def write_pool(directory: Path, n: int, seed: int) -> None:
    """What a scan leaves of n images beside LABELED labeled ones, as .npy, written in parts."""
    rng = np.random.default_rng([seed, n])
    count = n + LABELED
    encodings = np.lib.format.open_memmap(directory / ENCODINGS, mode="w+", dtype=np.float16, shape=(count, CHANNELS))
    shape = (count, 4 + 2 * CLASSES)
    summaries = np.lib.format.open_memmap(directory / SUMMARIES, mode="w+", dtype=np.float32, shape=shape)
    centres = 2 * rng.normal(size=(CLUSTERS, CHANNELS))
    rare = 1.0 / np.arange(1, CLASSES + 1)
    for start in range(0, count, CHUNK):
        part = slice(start, min(start + CHUNK, count))
        size = part.stop - start
        places = centres[rng.integers(CLUSTERS, size=size)] + rng.normal(size=(size, CHANNELS))
        half = size // 2
        places[:half] = places[half : 2 * half] + 0.02 * rng.normal(size=(half, CHANNELS))
        encodings[part] = places[rng.permutation(size)]
        expected = rng.gamma(0.3, 3.0, (size, CLASSES)) * rare
        entropies = 0.4 * expected
        summaries[part, :4] = rng.uniform(size=(size, 4))
        summaries[part, 4:] = np.concatenate([entropies, expected], axis=1)


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
    parser.add_argument("--sizes", help="numbers of images, separated by commas")
    parser.add_argument("--measure", type=Path, metavar="DIR", help=argparse.SUPPRESS)  # what each process runs
    options = parser.parse_args(arguments)
    config = ReinforceConfig(updates=5, chunks=2) if options.quick else ReinforceConfig()
    if options.measure:
        print(json.dumps(measure(options.measure, config, options.seed)))
        return
    sizes: Sequence[int] = (100, 1000) if options.quick else (10**3, 10**4, 10**5, 10**6)
    if options.sizes:
        sizes = [int(float(size)) for size in options.sizes.split(",")]
    figures: dict[str, float] = {}
    print(f"{'images':>10}{'describe s':>12}{'rank s':>10}{'peak GB':>10}   budget {BUDGET}")
    for n in sizes:
        with tempfile.TemporaryDirectory() as directory:
            write_pool(Path(directory), n, options.seed)
            command = [sys.executable, "-m", "bench.ranking", "--measure", directory, "--seed", str(options.seed)]
            command += ["--quick"] * options.quick
            result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        one = json.loads(result.stdout.splitlines()[-1])
        print(f"{n:10,}{one['describe_seconds']:12.1f}{one['rank_seconds']:10.1f}{one['peak_gb']:10.2f}", flush=True)
        figures |= {f"{key}_{label(n)}": value for key, value in one.items()}
    if len(sizes) > 1:
        before, last = map(label, sizes[-2:])
        figures[f"growth_{before}_{last}"] = figures[f"seconds_{last}"] / figures[f"seconds_{before}"]
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
