#!/usr/bin/env python3
"""The work of check_invariance.sh: many runs of one job, compared byte for byte."""
import argparse
import dataclasses
import itertools
import json
import pathlib
import random
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BATCHES, THREADS, ORDERS, DTYPES = [1, 3, 32], [1, 2], ["as given", "shuffled"], ["float32", "bfloat16"]


@dataclasses.dataclass(frozen=True)
class Layout:
    name: str
    ranks: int  # 0: without a launcher.
    flags: tuple
    tp: int  # The largest degree in it.


def layout(name, ranks, encoder_tp, decoder_tp, *flags):
    return Layout(
        name, ranks, ("--encoder-tp", str(encoder_tp), "--decoder-tp", str(decoder_tp), *flags),
        max(encoder_tp, decoder_tp),
    )


ONE = Layout("one rank", 0, (), 1)
COLOCATED = [layout(f"colocated, TP {t}", t, t, t, "--colocate") for t in (2, 4)]
APART = [layout(f"disaggregated, TP {t}", 2 * t, t, t) for t in (1, 2, 4)]
TWO_DECODERS = [
    layout(f"two decoder groups, TP {t}", 3 * t, t, t, "--decoder-groups", "2") for t in (1, 2, 4)
]
MIXED = [
    layout("encoder TP 1, decoder TP 2, own coordinator", 4, 1, 2, "--coordinator", "own"),
    layout("encoder TP 2, decoder TP 1, two replicas", 6, 2, 1, "--replicas", "2"),
]
LAYOUTS = [ONE, *COLOCATED, *APART, *TWO_DECODERS, *MIXED]


@dataclasses.dataclass(frozen=True)
class Run:
    layout: Layout
    batch: int
    threads: int
    order: str


def short_list():
    """Every layout, batch size, thread count and order, each beside several of the others."""
    runs = [
        Run(each, BATCHES[i % 3], THREADS[i // 2 % 2], ORDERS[i % 2])
        for i, each in enumerate(LAYOUTS)
    ]
    return runs + [Run(ONE, 3, 2, "shuffled")]


def full_list():
    return [Run(*choice) for choice in itertools.product(LAYOUTS, BATCHES, THREADS, ORDERS)]


def largest_tp(model):
    """The largest degree that the model's heads allow: a power of two that divides both stacks' and 8."""
    config = json.loads((pathlib.Path(model) / "config.json").read_text())
    stacks = [config["encoder"]["text_config"], config["decoder"]]
    return next(t for t in (8, 4, 2, 1) if all(s["num_attention_heads"] % t == 0 for s in stacks))


def read_requests(path):
    """The request lines, each with an id of its own: without one it would depend on the line's number."""
    lines = []
    for number, line in enumerate(pathlib.Path(path).read_bytes().splitlines()):
        try:
            request = json.loads(line)
        except ValueError:
            continue  # Its error result names the line's number: nothing to compare.
        if isinstance(request, dict):
            lines.append(json.dumps({"id": str(number), **request}).encode() + b"\n")
    return lines


class Checker:
    def __init__(self, args, folder):
        self.args, self.folder = args, folder
        lines = read_requests(args.requests)
        if not lines:
            sys.exit(f"{args.requests} holds no request")
        shuffled = list(lines)
        random.Random(1).shuffle(shuffled)
        self.inputs = {}
        for order, content in zip(ORDERS, (lines, shuffled)):
            self.inputs[order] = folder / f"{order.replace(' ', '-')}.jsonl"
            self.inputs[order].write_bytes(b"".join(content))

    def command(self, run, dtype, output):
        command = [
            self.args.tandem, "generate", "--model", self.args.model, "--input",
            str(self.inputs[run.order]), "--output", str(output), "--overwrite", "--quiet",
            "--max-num-seqs", str(run.batch), "--threads", str(run.threads), "--dtype", dtype,
            *run.layout.flags, *shlex.split(self.args.flags),
        ]
        if run.layout.ranks == 0:
            return command
        launcher = shlex.split(self.args.launcher.format(ranks=run.layout.ranks))
        if self.args.hostfile:
            launcher += ["--hostfile", self.args.hostfile]
        return launcher + command

    def results(self, run, dtype):
        """The result lines of a run; of a shuffled one, by id."""
        output = self.folder / "results.jsonl"
        command = self.command(run, dtype, output)
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode not in (0, 3):
            sys.exit(f"{shlex.join(command)}\nended with {done.returncode}:\n"
                     f"{done.stderr.decode(errors='replace')}")
        lines = output.read_bytes().splitlines()
        return by_id(lines) if run.order == "shuffled" else lines


def by_id(lines):
    """Without what depends on the input's order: the results' order, and an error's line number."""
    ordered = sorted(lines, key=lambda line: str(json.loads(line)["id"]))
    return [re.sub(rb',"line":\d+}$', b"}", line) for line in ordered]


def first_difference(want, got):
    for a, b in zip(want, got):
        if a != b:
            return f"  wanted {a.decode()[:2000]}\n  got    {b.decode()[:2000]}"
    return f"  wanted {len(want)} results, got {len(got)}"


def check(checker, runs):
    """How many runs differ from one rank's, which took everything at once with one thread."""
    print(f"{'':9}  {'dtype':8}  {'layout':43}  batch  threads  order         s", flush=True)
    different = 0
    for dtype in DTYPES:
        in_order = checker.results(Run(ONE, 32, 1, "as given"), dtype)
        for run in runs:
            start = time.monotonic()
            got = checker.results(run, dtype)
            want = by_id(in_order) if run.order == "shuffled" else in_order
            same = got == want
            different += not same
            print(f"{'same' if same else 'DIFFERENT':9}  {dtype:8}  {run.layout.name:43}  {run.batch:5}  "
                  f"{run.threads:7}  {run.order:8}  {time.monotonic() - start:5.1f}", flush=True)
            if not same:
                print(first_difference(want, got), flush=True)
    return different


def main():
    parser = argparse.ArgumentParser(
        prog="check_invariance.sh", description="Runs the same requests in many layouts and "
        "settings and requires the same result bytes. Exit code 1: some differ.")
    parser.add_argument("--full", action="store_true", help="the whole product of the settings")
    parser.add_argument("--tandem", default=str(ROOT / "build/release/tandem"), help="the binary")
    parser.add_argument("--model", default=str(ROOT / "models/demo"), help="a checkpoint's folder")
    parser.add_argument("--requests", default=str(ROOT / "tests/golden/data/demo/invariance.jsonl"))
    parser.add_argument("--flags", default="", help="more flags for tandem, in one argument")
    parser.add_argument("--launcher", default="mpirun --oversubscribe -np {ranks}",
                        help="what starts ranks, such as 'srun --mpi=pmix -n {ranks}'")
    parser.add_argument("--hostfile", help="passed on to mpirun; hosts of one kind")
    parser.add_argument("--max-ranks", type=int, default=1024, help="leave out larger layouts")
    args = parser.parse_args()
    most = largest_tp(args.model)
    runs = [
        run for run in (full_list() if args.full else short_list())
        if run.layout.tp <= most and run.layout.ranks <= args.max_ranks
    ]
    left_out = [each.name for each in LAYOUTS if each not in {run.layout for run in runs}]
    if left_out:
        print(f"left out (the model allows TP {most}, --max-ranks {args.max_ranks}): "
              f"{'; '.join(left_out)}")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tandem-invariance-"))
    try:
        different = check(Checker(args, folder), runs)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    total = len(DTYPES) * len(runs)
    print(f"{total - different} of {total} runs gave the same bytes")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
