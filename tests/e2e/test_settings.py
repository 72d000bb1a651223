"""Settings as a user gives them, and what the program tells of them and of itself."""
import json
import re
import socket
import unittest

from run_tandem import DEMO, SOURCE, TandemTest, read_lines, tandem

HOST = socket.gethostname()


class JobTest(TandemTest):
    """Has self.job, a settings file of a job with two requests."""

    def setUp(self):
        super().setUp()
        self.requests = self.write_requests([
            {"id": "own", "prompt": "number: six hundred forty-two", "max_tokens": 2},
            {"id": "job", "prompt": "number: six hundred forty-two"},
        ])
        self.out = self.dir / "out.jsonl"
        self.job = self.dir / "job.yaml"
        self.job.write_text(f"model: {DEMO}\ninput: {self.requests}\noutput: {self.out}\nmax_tokens: 1\n"
                            "log_level: warn\noverwrite: true\nthreads: 1\n")


class SettingsTest(JobTest):
    def tokens(self, *flags, env=None):
        """completion_tokens of both requests, by what --max-tokens there is."""
        run = tandem("generate", "--config", self.job, *flags, env=env)
        self.assertEqual((run.code, run.err), (0, ""))
        return [r["usage"]["completion_tokens"] for r in read_lines(self.out)]

    def test_the_nearer_word_is_the_stronger(self):
        self.assertEqual(self.tokens(), [2, 1])
        self.assertEqual(self.tokens(env={"TANDEM_MAX_TOKENS": "3"}), [2, 3])
        self.assertEqual(self.tokens("--max-tokens", "4", env={"TANDEM_MAX_TOKENS": "3"})[0], 2)
        settings = json.loads((self.dir / "out.jsonl.run.json").read_text())["settings"]
        self.assertEqual(settings["max_tokens"], {"value": 4, "origin": "flag"})
        self.assertEqual(settings["threads"], {"value": 1, "origin": "config file"})
        self.assertEqual(settings["max_num_seqs"], {"value": 32, "origin": "built-in"})

    def test_print_config_shows_origins_and_reads_back(self):
        run = tandem("generate", "--config", self.job, "--min-tokens", "1", "--print-config",
                     env={"TANDEM_MAX_TOKENS": "3"}, ranks=2)
        self.assertEqual((run.code, run.err), (0, ""))
        for line in (r"max_tokens: 3 +# environment", r"min_tokens: 1 +# flag",
                     r"threads: 1 +# config file", r"load: auto +# built-in"):
            self.assertEqual(len(re.findall(rf"^{line}$", run.out, re.MULTILINE)), 1, run.out)
        again = self.dir / "again.yaml"
        again.write_text(run.out)
        second = tandem("generate", "--config", again, "--print-config")
        values = [re.sub(" *#.*", "", text) for text in (run.out, second.out)]
        self.assertEqual(values[0], values[1])

    def test_print_layout_is_a_layout_file(self):
        flags = ("--encoder-tp", "1", "--decoder-tp", "2", "--coordinator", "own")
        run = tandem("generate", "--model", DEMO, *flags, "--print-layout", ranks=4)
        self.assertEqual(run.code, 0, run.err)
        layout = self.dir / "layout.yaml"
        layout.write_text(run.out)
        again = tandem("generate", "--model", DEMO, "--layout", layout, "--print-layout", ranks=4)
        self.assertEqual((again.code, again.out), (0, run.out), again.err)
        self.assertIn("decoder: [{ranks: [2, 3]}]\n", run.out)
        self.assertFalse(self.out.exists())

    def test_every_layout_of_configs_serves(self):
        # tests/unit/common/parallel/layout_test.cc checks what each file says; this one that a job takes it.
        for path in sorted((SOURCE / "configs" / "layouts").glob("*.yaml")):
            ranks = int(re.match(r"# (\d+) ranks?:", path.read_text())[1])
            run = tandem("generate", "--config", self.job, "--layout", path, "--print-layout",
                         ranks=ranks)
            self.assertEqual(run.code, 0, run.err)
            lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
            self.assertEqual(run.out.splitlines()[1:], lines, path)


class DryRunTest(JobTest):
    def test_it_prints_what_the_job_would_be(self):
        requests = self.write_requests([{"id": 1, "prompt": "roman: 9"}, {"id": 1, "prompt": "roman: 9"},
                                        {"prompt": 3}])
        run = tandem("generate", "--config", self.job, "--input", requests, "--dry-run",
                     "--encoder-tp", "2", "--decoder-tp", "2", "--colocate", "--kv-cache-mb", "4",
                     ranks=2)
        self.assertEqual(run.code, 3, run.err)
        lines = run.out.splitlines()
        self.assertEqual(lines[0], f"model {DEMO}, bfloat16")
        for rank in (0, 1):
            self.assertRegex(
                lines[1 + rank],
                rf"^rank {rank} on {HOST}, cores [-\d,]+: .*encoder 0 shard {rank + 1}/2 \(\d+\.\d MB\), "
                rf"decoder 0 shard {rank + 1}/2 \(\d+\.\d MB\)$")
        self.assertRegex(lines[3], r"^decoder 0: K/V memory for [1-9]\d+ tokens$")
        self.assertEqual(lines[4:], ["3 requests: 1 would be answered (5 prompt tokens), 2 would fail",
                                     "  invalid_value: 1", "  duplicate_id: 1"])
        self.assertIn("line 3: prompt must be a string, not 3", run.err)
        self.assertEqual(list(self.dir.glob("out*")), [])

    def test_the_plan_is_what_a_job_then_holds(self):
        flags = ("--kv-cache-mb", "4", "--log-level", "info")
        planned = tandem("generate", "--config", self.job, "--dry-run", *flags, ranks=2).out
        held = tandem("generate", "--config", self.job, *flags, ranks=2).err
        sizes = r"(encoder|decoder) (\d+) shard (\d/\d) \((\d+\.\d) MB\)"
        # Packing rounds up to whole panels, which shows in a model this small.
        for plan, real in zip(re.findall(sizes, planned), re.findall(sizes, held), strict=True):
            self.assertEqual(plan[:3], real[:3])
            self.assertAlmostEqual(float(plan[3]), float(real[3]), delta=0.1 + 0.1 * float(real[3]))
        tokens = r"decoder 0: K/V memory for (\d+) tokens"
        self.assertEqual(re.findall(tokens, planned), re.findall(tokens, held))

    def test_too_little_memory(self):
        run = tandem("generate", "--config", self.job, "--dry-run", "--kv-cache-mb", "16777216")
        self.assertEqual((run.code, run.out), (2, ""), run.err)
        self.assertRegex(
            run.err.strip(), rf"error: host {HOST} has \d+\.\d+ [GM]iB of memory left, but its rank needs .* of "
            r"weights and 16\.00 TiB of K/V memory: give less --kv-cache-mb, .*$")

    def test_an_output_that_the_job_would_refuse(self):
        self.out.write_text("precious\n")
        run = tandem("generate", "--config", self.job, "--dry-run", "--overwrite=false")
        self.assertEqual(run.code, 6, run.err)
        self.assertIn(f"the output {self.out} exists; give --overwrite", run.err)
        run = tandem("generate", "--config", self.job, "--dry-run")
        self.assertEqual(run.code, 0, run.err)
        self.assertEqual(self.out.read_text(), "precious\n")


class LogTest(JobTest):
    def log(self, *flags, ranks=0):
        run = tandem("generate", "--config", self.job, *flags, ranks=ranks)
        self.assertEqual(run.code, 0, run.err)
        return run.err

    def test_levels_and_quiet(self):
        self.assertEqual(self.log(), "")
        info = self.log("--log-level", "info")
        self.assertIn("2 of 2 requests (100%)", info)
        self.assertNotIn("sequence", info)
        self.assertIn("prompts encoded", self.log("--log-level", "debug"))
        self.assertEqual(self.log("--log-level", "trace", "--quiet"), "")
        self.assertEqual(self.log("--log-level", "trace", "--quiet", ranks=2), "")

    def test_json(self):
        lines = [json.loads(line) for line in
                 self.log("--log-level", "info", "--log-format", "json", ranks=2).splitlines()]
        self.assertTrue(all(set(line) == {"time", "level", "rank", "host", "message"} for line in lines))
        self.assertEqual({(line["level"], line["rank"], line["host"]) for line in lines},
                         {("info", 0, HOST)})


class RunRecordTest(JobTest):
    def test_what_the_job_was(self):
        requests = self.write_requests([{"prompt": "roman: 9"}, {"prompt": 3}, {"prompt": 4}, b"{"])
        run = tandem("generate", "--config", self.job, "--input", requests, ranks=2)
        self.assertEqual(run.code, 3, run.err)
        record = json.loads((self.dir / "out.jsonl.run.json").read_text())
        version = tandem("--version").out.splitlines()[0]
        self.assertEqual(version, f"tandem {record['version']} ({record['commit']})")
        self.assertEqual(record["command"][1:4], ["generate", "--config", str(self.job)])
        self.assertTrue(record["working_directory"].startswith("/"))
        self.assertEqual(record["model"]["path"], str(DEMO))
        self.assertRegex(record["model"]["identity"], "^[0-9a-f]{16}$")
        self.assertRegex(record["model"]["tokenizer"], "^[0-9a-f]{16}$")
        self.assertIn("decoder: [{ranks: [0, 1]}]", record["layout"])
        self.assertEqual(record["hosts"], [HOST] * 2)
        self.assertEqual(len(record["ranks"]), 2)
        self.assertIn(record["isa"], tandem("--version").out)
        times = [record[name] for name in ("launch", "start", "end")]
        self.assertEqual(times, sorted(times))
        self.assertGreaterEqual(record["seconds"], 0)
        self.assertEqual((record["requests"], record["answered"], record["failed"]), (4, 1, 3))
        self.assertEqual(record["errors"], {"invalid_json": 1, "invalid_value": 2})


class FirstTryTest(TandemTest):
    ASK = ("generate", "--model", DEMO, "--format", "text")

    def test_the_answer_and_nothing_else(self):
        for ranks in (0, 2):
            run = tandem(*self.ASK, "--prompt", "roman: 1448", ranks=ranks)
            self.assertEqual((run.code, run.out, run.err), (0, "MCDXLVIII\n", ""))

    def test_a_failure_is_said_on_standard_error(self):
        run = tandem(*self.ASK, "--prompt", "a" * 20000)
        self.assertEqual((run.code, run.out.strip()), (3, ""))
        self.assertRegex(run.err, r"^\[0/\S+\] error: prompt has [\d,]+ tokens; the model takes 2,048")
        requests = self.write_requests([{"prompt": "roman: 7"}, {"prompt": 3}, {"prompt": "roman: 9"}])
        run = tandem(*self.ASK, "--input", requests, "--output", "-", "--log-level", "error")
        self.assertEqual((run.code, run.out), (3, "VII\n\nIX\n"))
        self.assertRegex(run.err, r"error: line 2: prompt must be a string, not 3\n$")

    def test_a_prompt_without_its_flag(self):
        run = tandem(*self.ASK, "roman: 9")
        self.assertEqual(run.code, 2)
        self.assertIn("--prompt TEXT", run.err)


class VersionTest(unittest.TestCase):
    VERSION = (r"tandem \d+\.\d+\.\d+ \([0-9a-f]+(-dirty)?\)\n"
               r"compiler: \S+ \d+\.\d+\.\d+\n"
               r"MPI built with: MPI \d\.\d, .+\n"
               r"MPI at run time: .+\n"
               r"backends: CPU\n"
               r"instruction sets: portable(, \w+)*\n")

    def rank(self, rank, of):
        return (rf"rank {rank} on {HOST} \({rank + 1} of {of} there\)\n"
                r"  processor: .+\n"
                r"  instruction sets: portable(, \w+)*\n"
                r"  cores: \d+ online, (bound to [-\d,]+|not bound)\n"
                r"  NUMA nodes: (unknown|\d+ \(cores .+\))\n"
                r"  memory: \d+\.\d GiB in all, \d+\.\d GiB available(, .* limited to \d+\.\d GiB)?\n"
                r"  huge pages: transparent: \w+; reserved: \w+ of .+\n"
                r"  kernel: Linux \S+\n")

    def test_version(self):
        for words in (("--version",), ("version",), ("generate", "--version")):
            run = tandem(*words)
            self.assertEqual((run.code, run.err), (0, ""))
            self.assertRegex(run.out, f"^{self.VERSION}$")
        self.assertEqual(tandem("--version", ranks=2).out, tandem("--version").out)

    def test_env(self):
        for ranks in (0, 2):
            run = tandem("env", ranks=ranks)
            self.assertEqual(run.code, 0, run.err)
            of = max(ranks, 1)
            self.assertRegex(run.out, "^" + self.VERSION + "".join(
                self.rank(rank, of) for rank in range(of)) + "$")

    def test_env_tells_the_binding(self):
        run = tandem("env", wrapper=("taskset", "-c", "0"))
        self.assertEqual(run.code, 0, run.err)
        cores = re.search(r"  cores: (\d+) online, (.+)", run.out)
        self.assertEqual(cores[2], "not bound" if cores[1] == "1" else "bound to 0")


if __name__ == "__main__":
    unittest.main()
