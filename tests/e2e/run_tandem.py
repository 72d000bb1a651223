"""Runs the real program for tests: alone or under mpirun, on files of its own.

The environment says where things are: TEST_TANDEM, TEST_MPIRUN, TEST_SOURCE_DIR (ctest sets them).
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

BINARY = os.environ["TEST_TANDEM"]
MPIRUN = os.environ.get("TEST_MPIRUN", "mpirun")
SOURCE = pathlib.Path(os.environ["TEST_SOURCE_DIR"])
DATA = SOURCE / "tests" / "golden" / "data"
DEMO = SOURCE / "models" / "demo"

# Prints the peak resident size of what it runs, mapped pages included, in KiB.
PEAK_SCRIPT = """
import os, resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print("PEAK", os.environ.get("OMPI_COMM_WORLD_RANK", "0"),
      resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr, flush=True)
sys.exit(code)
"""


class Run:
    """A finished run: exit code, standard output and standard error as text."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err


def tandem(*args, ranks=0, rank_1=None, stdin=None, mca=(), env=None, timeout=600, wrapper=()):
    """Runs tandem with these arguments; under mpirun where ranks > 0, each rank by `wrapper`.

    `rank_1`: the arguments of one more rank, where they differ, as on another host.
    """
    command = [*map(str, wrapper), BINARY, *map(str, args)]
    environment = dict(os.environ, **(env or {}))
    if ranks > 0:
        command = [MPIRUN, "--oversubscribe", *mca, "-np", str(ranks), *command]
        if rank_1:
            command += [":", "-np", "1", *map(str, wrapper), BINARY, *map(str, rank_1)]
        if os.geteuid() == 0:
            environment.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    done = subprocess.run(
        command, capture_output=True, env=environment, timeout=timeout, check=False,
        # Never the terminal's or the test runner's own: mpirun would wait on it.
        **({"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}),
    )
    return Run(done.returncode, done.stdout.decode(), done.stderr.decode(errors="replace"))


def read_lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


class TandemTest(unittest.TestCase):
    """Each test has an empty folder, self.dir."""

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="tandem-test-"))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def write_requests(self, requests, name="requests.jsonl"):
        """Requests as objects, or lines as bytes."""
        path = self.dir / name
        with open(path, "wb") as file:
            for request in requests:
                line = request if isinstance(request, bytes) else json.dumps(request).encode()
                file.write(line + b"\n")
        return path

    def generate(self, model, requests, *flags, output="results.jsonl", expect=0, **how):
        """Runs generate and returns its result lines."""
        path = self.dir / output
        run = tandem(
            "generate", "--model", model, "--input", requests, "--output", path, "--overwrite",
            *flags, **how,
        )
        self.assertEqual(run.code, expect, run.err)
        return read_lines(path)

    def peak_kib(self, *args, ranks=0):
        """Peak resident KiB by rank, mapped pages included, and the run."""
        script = self.dir / "peak.py"
        script.write_text(PEAK_SCRIPT)
        run = tandem(*args, ranks=ranks, wrapper=[sys.executable, script])
        self.assertEqual(run.code, 0, run.err)
        peaks = {}
        for line in run.err.splitlines():
            words = line.split()
            if words and words[0] == "PEAK":
                peaks[int(words[1])] = int(words[2])
        return peaks, run
