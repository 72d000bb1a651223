"""The same bytes over tensor-parallel degrees, layouts, batch sizes, threads, order and both dtypes."""
import subprocess
import sys
import unittest

from run_tandem import BINARY, MPIRUN, SOURCE, TandemTest


class InvarianceTest(TandemTest):
    def test_the_short_list(self):
        script = SOURCE / "scripts" / "check_invariance.sh"
        done = subprocess.run(
            ["bash", script, "--tandem", BINARY, "--launcher",
             f"{MPIRUN} --oversubscribe -np {{ranks}}"],
            capture_output=True, text=True, check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("24 of 24 runs gave the same bytes", done.stdout)


if __name__ == "__main__":
    sys.exit(unittest.main())
