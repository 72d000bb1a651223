#!/usr/bin/env python3
"""The work of check_invariance.sh: many runs of one job, compared byte for byte."""
import argparse
import itertools
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Name, ranks, flags.
LAYOUTS = [
    ("one rank", 0, []),
    ("TP 2", 2, ["--colocate", "--encoder-tp", "2", "--decoder-tp", "2"]),
    ("TP 4", 4, ["--colocate", "--encoder-tp", "4", "--decoder-tp", "4"]),
    ("encoder 1, decoder 2", 3, ["--encoder-tp", "1", "--decoder-tp", "2"]),
    ("encoder 2, decoder 4, own coordinator", 7,
     ["--encoder-tp", "2", "--decoder-tp", "4", "--coordinator", "own"]),
    ("encoder 1, two decoders", 3,
     ["--encoder-tp", "1", "--decoder-tp", "1", "--decoder-groups", "2"]),
    ("two replicas colocated", 2,
     ["--colocate", "--encoder-tp", "1", "--decoder-tp", "1", "--replicas", "2"]),
]
BATCHES = [1, 3, 32]
THREADS = [1, 2]
ORDERS = ["as given", "shuffled"]
DTYPES = ["float32", "bfloat16"]


def short_list():
    """Every layout, batch size, thread count and order, each with several of the others."""
    runs = []
    for index, layout in enumerate(LAYOUTS[1:]):
        runs.append((layout, BATCHES[index % 3], THREADS[index % 2], ORDERS[index % 2]))
    runs += [(LAYOUTS[0], 1, 1, "shuffled"), (LAYOUTS[0], 3, 2, "as given"),
             (LAYOUTS[0], 32, 1, "as given"), (LAYOUTS[1], 32, 1, "shuffled"),
             (LAYOUTS[2], 1, 1, "as given"), (LAYOUTS[3], 3, 1, "shuffled")]
    return runs


def full_list():
    return list(itertools.product(LAYOUTS, BATCHES, THREADS, ORDERS))


class Checker:
    def __init__(self, args, folder):
        self.args, self.folder = args, folder
        lines = pathlib.Path(args.requests).read_bytes().splitlines(keepends=True)
        shuffled = list(lines)
        random.Random(1).shuffle(shuffled)
        self.inputs = {}
        for order, content in zip(ORDERS, (lines, shuffled)):
            path = folder / f"{order.replace(' ', '-')}.jsonl"
            path.write_bytes(b"".join(content))
            self.inputs[order] = path

    def run(self, layout, batch, threads, order, dtype):
        """The result lines, sorted (the order of the input does not count)."""
        _, ranks, flags = layout
        output = self.folder / "results.jsonl"
        command = [
            self.args.tandem, "generate", "--model", self.args.model, "--input",
            str(self.inputs[order]), "--output", str(output), "--overwrite", "--quiet",
            "--max-num-seqs", str(batch), "--threads", str(threads), "--dtype", dtype, *flags,
        ]
        if ranks:
            mpirun = [self.args.mpirun, "--oversubscribe", "-np", str(ranks)]
            if self.args.hostfile:
                mpirun += ["--hostfile", self.args.hostfile]
            command = mpirun + command
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode not in (0, 3):
            sys.exit(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stderr.decode()}")
        return sorted(output.read_bytes().splitlines())


def first_difference(want, got):
    for a, b in zip(want, got):
        if a != b:
            return f"  wanted {a.decode()[:400]}\n  got    {b.decode()[:400]}"
    return f"  wanted {len(want)} results, got {len(got)}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--tandem", default=str(ROOT / "build/release/tandem"))
    parser.add_argument("--mpirun", default="mpirun")
    parser.add_argument("--model", default=str(ROOT / "models/demo"))
    parser.add_argument("--requests", default=str(ROOT / "tests/golden/data/demo/invariance.jsonl"))
    parser.add_argument("--hostfile")
    args = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tandem-invariance-"))
    different = 0
    runs = full_list() if args.full else short_list()
    try:
        checker = Checker(args, folder)
        for dtype in DTYPES:
            want = checker.run(LAYOUTS[0], 32, 1, "as given", dtype)
            for layout, batch, threads, order in runs:
                got = checker.run(layout, batch, threads, order, dtype)
                same = got == want
                different += not same
                print(f"{'same     ' if same else 'DIFFERENT'} {dtype:8} {layout[0]:38} "
                      f"batch {batch:2} threads {threads} {order}", flush=True)
                if not same:
                    print(first_difference(want, got))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{2 * len(runs) - different} of {2 * len(runs)} runs gave the same bytes")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
