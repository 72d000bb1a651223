"""cmake --install into an empty folder: what lies there runs, from anywhere, without sources or build."""
import json
import os
import pathlib
import shutil
import subprocess
import unittest

from run_tandem import SOURCE, TandemTest, read_lines

CMAKE = os.environ.get("TEST_CMAKE", "cmake")
BUILD = pathlib.Path(os.environ["TEST_BINARY_DIR"])


class InstallTest(TandemTest):
    def setUp(self):
        super().setUp()
        self.prefix = self.dir / "first"
        # In an environment without the variables that would change what is installed, or where.
        done = subprocess.run([CMAKE, "--install", BUILD, "--prefix", self.prefix],
                              env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def run_installed(self, prefix, *args, cwd=None):
        """From a folder of its own, as a user whose PATH has the prefix."""
        elsewhere = self.dir / "elsewhere"
        elsewhere.mkdir(exist_ok=True)
        environment = {"PATH": f"{prefix}/bin:{os.environ['PATH']}", "HOME": str(elsewhere)}
        return subprocess.run(["tandem", *map(str, args)], cwd=cwd or elsewhere, env=environment,
                              capture_output=True, text=True, timeout=300, check=False)

    def test_what_is_there(self):
        share = self.prefix / "share"
        for path in ("bin/tandem", "share/man/man1/tandem.1",
                     "share/bash-completion/completions/tandem", "share/doc/tandem/README.md",
                     "share/doc/tandem/docs/reference.md"):
            self.assertTrue((self.prefix / path).is_file(), path)
        for folder in ("configs", "examples", "models/demo"):
            listed = subprocess.run(["git", "-C", SOURCE, "ls-files", folder],
                                    capture_output=True, text=True, check=False).stdout.split()
            for path in listed:
                self.assertEqual((share / "tandem" / path).read_bytes(), (SOURCE / path).read_bytes())
            self.assertTrue(any((share / "tandem" / folder).iterdir()), folder)
        texts = (("--man-page", "man/man1/tandem.1"),
                 ("--bash-completion", "bash-completion/completions/tandem"))
        for flag, path in texts:
            printed = self.run_installed(self.prefix, flag).stdout
            self.assertEqual((share / path).read_text(), printed, path)
            self.assertNotEqual(printed, "")

    def test_it_runs_where_it_was_moved(self):
        moved = self.dir / "moved here"
        self.prefix.rename(moved)
        model = moved / "share/tandem/models/demo"
        run = self.run_installed(moved, "generate", "--model", model, "--prompt", "roman: 1448",
                                 "--format", "text")
        self.assertEqual((run.returncode, run.stdout), (0, "MCDXLVIII\n"), run.stderr)
        requests = moved / "share/tandem/examples/requests.jsonl"
        run = self.run_installed(moved, "generate", "--model", model, "--input", requests,
                                 "--output", "results.jsonl")
        self.assertEqual(run.returncode, 0, run.stderr)
        results = read_lines(self.dir / "elsewhere" / "results.jsonl")
        ids = [r.get("id", str(number)) for number, r in enumerate(read_lines(requests))]
        self.assertEqual([r["id"] for r in results if "outputs" in r], ids)
        record = json.loads((self.dir / "elsewhere" / "results.jsonl.run.json").read_text())
        self.assertEqual(record["model"]["path"], str(model))

    def test_the_example_of_a_settings_file(self):
        # It names the model and the requests as they lie in a clone, and under share/tandem.
        for folder in (self.prefix / "share/tandem", SOURCE):
            out = self.dir / "results.jsonl"
            run = self.run_installed(self.prefix, "generate", "--config", "examples/job.yaml",
                                     "--output", out, "--overwrite", cwd=folder)
            self.assertEqual(run.returncode, 0, run.stderr)
            self.assertEqual(len(read_lines(out)), len(read_lines(SOURCE / "examples/requests.jsonl")))

    @unittest.skipUnless(shutil.which("readelf"), "readelf is not installed")
    def test_the_binary_names_no_place_of_the_build(self):
        listed = subprocess.run(["readelf", "-d", self.prefix / "bin/tandem"], capture_output=True,
                                text=True, check=True).stdout
        for line in listed.splitlines():
            if "RPATH" in line or "RUNPATH" in line:
                self.assertNotIn(str(BUILD), line)
                self.assertNotIn(str(SOURCE), line)
        data = (self.prefix / "bin/tandem").read_bytes()
        for needed in (b"models/demo", b"configs/models"):
            self.assertNotIn(bytes(SOURCE) + b"/" + needed, data)


if __name__ == "__main__":
    unittest.main()
