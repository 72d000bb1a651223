"""score, embed and what generate can be asked for, by the real program: alone and under mpirun."""
import json
import math
import re
import struct
import unittest

from run_tandem import DEMO, SOURCE, TandemTest, read_lines, tandem

TARGETS = SOURCE / "examples" / "targets.jsonl"
DECODING = SOURCE / "examples" / "decoding.jsonl"
# Three ranks: the decoder (or all there is) on two of them.
SPREAD = ("--encoder-tp", "1", "--decoder-tp", "2")
PROMPTS = ["roman: 1448", "words: 4217", "sum: 1 + 1", "date: 3.10.1990", "roman: 1448"]


def read_tensors(path):
    """A safetensors file's tensors in the order of their data: name to rows of floats."""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    tensors, end = {}, 0
    for name, entry in header.items():
        rows, cols = entry["shape"][-2:]
        begin, last = entry["data_offsets"]
        assert entry["dtype"] == "F32" and begin == end and last - begin == 4 * rows * cols, entry
        values = struct.unpack(f"<{rows * cols}f", body[begin:last])
        tensors[name] = [list(values[i * cols : (i + 1) * cols]) for i in range(rows)]
        end = last
    assert end == len(body)
    return tensors


def write_ids(path, tensors):
    """Rows of ints by name as a safetensors file of int32 [1, n]."""
    header, data = {}, b""
    for name, ids in tensors.items():
        block = struct.pack(f"<{len(ids)}i", *ids)
        header[name] = {"dtype": "I32", "shape": [1, len(ids)],
                        "data_offsets": [len(data), len(data) + len(block)]}
        data += block
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


class VerbTest(TandemTest):
    def run_verb(self, verb, requests, *flags, output="results.jsonl", expect=0, **how):
        """The run, and the path of its output."""
        path = self.dir / output
        run = tandem(verb, "--model", DEMO, "--input", requests, "--output", path, "--overwrite",
                     *flags, **how)
        self.assertEqual(run.code, expect, run.err)
        return run, path

    def lines(self, verb, requests, *flags, **how):
        return read_lines(self.run_verb(verb, requests, *flags, **how)[1])

    def counts(self, run):
        """Prompts encoded and prompts that shared an encoding."""
        (match,) = re.findall(r"(\d+) prompts encoded in \d+ batches, (\d+) shared", run.err)
        return tuple(map(int, match))

    def refuses(self, message, *args):
        run = tandem(*args)
        self.assertEqual(run.code, 2, run.err)
        self.assertEqual(run.out, "")
        self.assertEqual(run.err.splitlines()[0], "tandem: " + message)


class ScoreTest(VerbTest):
    def test_the_example(self):
        results = {r["id"]: r for r in self.lines("score", TARGETS)}
        self.assertEqual(len(results), 6)
        for result in results.values():
            self.assertEqual(len(result["logprobs"]), len(result["token_ids"]))
            self.assertAlmostEqual(result["sum_logprob"], math.fsum(result["logprobs"]), places=4)
            self.assertEqual(result["usage"]["completion_tokens"], len(result["token_ids"]))
        score = {name: result["sum_logprob"] for name, result in results.items()}
        # What the model answers is nearly certain; what it does not is far from it.
        for right, wrong in (("roman-right", "roman-wrong"), ("date-day-first", "date-month-first")):
            self.assertGreater(score[right], score[wrong] + 1)
        for name in ("roman-right", "roman-prefix", "sum-ids"):
            self.assertGreater(score[name], -0.01, name)
        self.assertEqual(results["roman-right"]["token_ids"][-1], 1)
        self.assertNotEqual(results["roman-prefix"]["token_ids"][-1], 1)
        self.assertEqual(results["sum-ids"]["token_ids"], [484, 470, 1])
        self.assertIn("note", results["roman-prefix"]["metadata"])

    def test_every_layout_gives_the_same_bytes(self):
        outputs = [
            self.run_verb("score", TARGETS, *flags, output=f"{i}.jsonl", **how)[1].read_bytes()
            for i, (flags, how) in enumerate([
                ((), {}), (("--max-num-seqs", "1"), {}), (("--max-batch-tokens", "1"), {}),
                (SPREAD, {"ranks": 3}), (("--colocate", "--encoder-tp", "2"), {"ranks": 3})])
        ]
        for output in outputs[1:]:
            self.assertEqual(output, outputs[0])

    def test_it_agrees_with_what_generate_says_of_its_answer(self):
        prompts = [{"id": i, "prompt": p} for i, p in enumerate(PROMPTS[:4])]
        answers = self.generate(DEMO, self.write_requests([{**p, "logprobs": 0} for p in prompts]),
                                "--dtype", "float32")
        targets = self.write_requests([
            {**p, "target_token_ids": a["outputs"][0]["token_ids"]} for p, a in zip(prompts, answers)])
        for answer, result in zip(answers, self.lines("score", targets, "--dtype", "float32")):
            answer = answer["outputs"][0]
            self.assertEqual(result["token_ids"], answer["token_ids"] + [1])
            self.assertAlmostEqual(result["sum_logprob"], answer["cumulative_logprob"], places=4)
            for mine, its in zip(result["logprobs"], answer["logprobs"]):
                self.assertAlmostEqual(mine, its["logprob"], places=5)

    def test_targets_of_one_prompt_encode_it_once(self):
        requests = self.write_requests(
            [{"prompt": "roman: 1448", "target": "M" * (1 + i)} for i in range(12)])
        run, path = self.run_verb("score", requests, "--log-level", "debug")
        self.assertEqual(self.counts(run), (1, 11))
        self.assertEqual(len(set(r["sum_logprob"] for r in read_lines(path))), 12)

    def test_lines_that_fail(self):
        requests = self.write_requests([
            {"id": 1, "prompt": "roman: 4", "target": "IV"},
            {"id": "1", "prompt": "roman: 4", "target": "V"},
            {"id": 2, "prompt": "roman: 4"},
            {"id": 3, "prompt": "roman: 4", "target": "IV", "temperature": 1},
            {"id": 4, "prompt": "roman: 4", "target": "", "add_eos": False},
            {"id": 5, "prompt": "roman: 4", "target_token_ids": [512]},
            {"id": 6, "prompt": "roman: 4", "target_token_ids": [300] * 3000},
            {"id": 7, "custom_id": "a", "method": "POST", "url": "/v1/completions",
             "body": {"model": "demo", "prompt": "roman: 4"}},
            {"id": 8, "prompt": "roman: 4", "target": "IV", "target_token_ids": [376]},
            {"id": 9, "prompt": "roman: 4", "target": ""},
        ])
        results = self.lines("score", requests, expect=3)
        self.assertEqual(len(results), 10)
        self.assertGreater(results[0]["sum_logprob"], -0.01)
        self.assertEqual(len(results[9]["logprobs"]), 1)  # The end alone.
        errors = [(r["error"]["code"], r["error"]["param"]) for r in results[1:7]]
        self.assertEqual(errors, [
            ("duplicate_id", "id"), ("missing_field", "target"), ("unknown_field", "temperature"),
            ("empty_prompt", "target"), ("invalid_token", "target_token_ids"),
            ("prompt_too_long", "target_token_ids")])
        self.assertEqual(
            results[6]["error"]["message"],
            "target_token_ids has 3,001 tokens; behind a decoder prompt of 1 the model's decoder "
            "takes 2,047")
        self.assertIsNotNone(results[7].get("error") or results[7]["response"]["body"].get("error"))
        self.assertEqual(results[8]["error"]["code"], "invalid_value")

    def test_dry_run(self):
        run = tandem("score", "--model", DEMO, "--input", TARGETS, "--dry-run")
        self.assertEqual(run.code, 0, run.err)
        self.assertIn("decoder 0 shard 1/1", run.out)
        self.assertIn("6 requests: 6 would be answered", run.out)

    def test_what_is_missing(self):
        self.refuses("--model is missing: give the checkpoint's folder", "score", "--input", TARGETS)
        self.refuses("--input is missing: give a file of requests, or - for standard input",
                     "score", "--model", DEMO)
        self.refuses("--output is missing: give a file for the results, or - for standard output",
                     "score", "--model", DEMO, "--input", TARGETS)


class EmbedTest(VerbTest):
    def setUp(self):
        super().setUp()
        self.requests = self.write_requests(
            [{"id": f"p{i}", "prompt": prompt} for i, prompt in enumerate(PROMPTS)])

    def states(self, *flags, **how):
        return read_tensors(
            self.run_verb("embed", self.requests, "--pooling", "none", *flags,
                          output="states.safetensors", **how)[1])

    def test_the_poolings_agree(self):
        states = self.states()
        self.assertEqual(list(states), [f"p{i}" for i in range(len(PROMPTS))])
        mean, last, unit = (
            {r["id"]: r["embedding"] for r in self.lines("embed", self.requests, *flags)}
            for flags in ((), ("--pooling", "last"), ("--normalize",)))
        for name, rows in states.items():
            self.assertEqual(len(mean[name]), 128)
            for j, column in enumerate(zip(*rows)):
                self.assertAlmostEqual(mean[name][j], math.fsum(column) / len(rows), delta=1e-6)
            # Printed so that it reads back as the same float.
            self.assertEqual(struct.pack("<128f", *last[name]), struct.pack("<128f", *rows[-1]))
            length = math.sqrt(math.fsum(x * x for x in mean[name]))
            for x, y in zip(mean[name], unit[name]):
                self.assertAlmostEqual(x / length, y, delta=1e-6)
            self.assertAlmostEqual(math.fsum(x * x for x in unit[name]), 1, delta=1e-5)
        self.assertEqual(mean["p0"], mean["p4"])
        self.assertNotEqual(mean["p0"], mean["p1"])

    def test_the_states_are_those_of_forward(self):
        ids = [json.loads(line)["ids"] for line in tandem(
            "tokenize", "--model", DEMO, stdin="".join(
                json.dumps({"text": p}) + "\n" for p in PROMPTS).encode()).out.splitlines()]
        for dtype in ("float32", "bfloat16"):
            states = self.states("--dtype", dtype)
            for i in (0, 1, 3):
                given, out = self.dir / "in.safetensors", self.dir / f"out{i}{dtype}.safetensors"
                ones = [1] * len(ids[i])
                write_ids(given, {"encoder_token_ids": ids[i], "encoder_padding_mask": ones,
                                  "decoder_token_ids": [2], "decoder_padding_mask": [1]})
                run = tandem("forward", "--model", DEMO, "--input", given, "--output", out,
                             "--dtype", dtype)
                self.assertEqual(run.code, 0, run.err)
                self.assertEqual(read_tensors(out)["encoder_sequence_output"], states[f"p{i}"])

    def test_every_layout_gives_the_same_bytes(self):
        layouts = [((), {}), (("--max-batch-tokens", "1"), {}), (("--encoder-tp", "2"), {"ranks": 3}),
                   (("--encoder-tp", "1", "--encoder-groups", "3"), {"ranks": 3}),
                   (("--encoder-tp", "1", "--coordinator", "own"), {"ranks": 3})]
        for pooling, name in (("mean", "o.jsonl"), ("none", "o.safetensors")):
            outputs = [
                self.run_verb("embed", self.requests, "--pooling", pooling, *flags,
                              output=f"{i}{name}", **how)[1].read_bytes()
                for i, (flags, how) in enumerate(layouts)]
            for output in outputs[1:]:
                self.assertEqual(output, outputs[0])

    def test_no_decoder_is_loaded_and_equal_prompts_are_encoded_once(self):
        run, _ = self.run_verb("embed", self.requests, "--log-level", "debug", ranks=3)
        self.assertEqual(self.counts(run), (4, 1))
        ranks = re.findall(r"rank \d on .*", run.err)
        self.assertEqual(len(ranks), 3, run.err)
        self.assertNotIn("decoder", run.err)
        self.assertNotIn("K/V memory", run.err)
        self.assertIn("encoder 0 shard 2/2", run.err)

    def test_openai_lines(self):
        def body(**fields):
            return {"model": "demo", **fields}

        def line(name, **fields):
            return {"custom_id": name, "method": "POST", "url": "/v1/embeddings",
                    "body": body(**fields)}

        requests = self.write_requests([
            line("two", input=PROMPTS[:2]),
            line("base64", input=PROMPTS[1], encoding_format="base64"),
            line("narrow", input=PROMPTS[1], dimensions=64),
            {"id": "own", "prompt": PROMPTS[1]},
        ])
        two, base64, narrow, own = self.lines("embed", requests, expect=3)
        data = two["response"]["body"]["data"]
        self.assertEqual([d["index"] for d in data], [0, 1])
        self.assertEqual(data[1]["embedding"], own["embedding"])
        self.assertNotEqual(data[0]["embedding"], own["embedding"])
        self.assertEqual(two["response"]["body"]["object"], "list")
        self.assertIsInstance(base64["response"]["body"]["data"][0]["embedding"], str)
        self.assertEqual(narrow["response"]["body"]["error"]["param"], "dimensions")
        # A file of tensors has one for each id, and no room for errors.
        run, path = self.run_verb("embed", requests, "--pooling", "none", expect=3)
        self.assertEqual(list(read_tensors(path)), ["base64", "own"])
        self.assertIn("line 1: input has 2 prompts; --pooling none writes one tensor for each id: "
                      "give each prompt a line of its own\n", run.err)

    def test_ids_that_name_tensors(self):
        names = ['a"b\\c', "caf\u00e9 \U0001f600", "line\nfeed", "{}", ""]
        requests = self.write_requests(
            [{"id": name, "prompt": "roman: 4"} for name in names]
            + [{"id": "__metadata__", "prompt": "roman: 4"}, {"id": 7, "prompt": "roman: 7"}])
        run, path = self.run_verb("embed", requests, "--pooling", "none", expect=3)
        self.assertEqual(list(read_tensors(path)), names + ["7"])
        self.assertIn('line 6: id is "__metadata__", a name that safetensors files keep for '
                      "themselves; --pooling none needs another id\n", run.err)
        record = json.loads((self.dir / "results.jsonl.run.json").read_text())
        self.assertEqual(record["answered"], 6)
        dry = tandem("embed", "--model", DEMO, "--input", requests, "--pooling", "none", "--dry-run")
        self.assertEqual(dry.code, 3, dry.err)
        self.assertIn("7 requests: 6 would be answered", dry.out)
        # For vectors it is a name like any other.
        self.assertEqual(len(self.lines("embed", requests)), 7)

    def test_lines_that_fail(self):
        requests = self.write_requests([
            {"id": 1, "prompt": "roman: 4"}, {"id": 1, "prompt": "roman: 5"},
            {"id": 2, "prompt": "roman: 4", "max_tokens": 3}, {"id": 3},
            {"id": 4, "prompt_token_ids": [2] * 3000},
        ])
        results = self.lines("embed", requests, expect=3)
        self.assertEqual([r["error"]["code"] for r in results[1:]],
                         ["duplicate_id", "unknown_field", "missing_field", "prompt_too_long"])
        results = self.lines("embed", requests, "--truncate", expect=3)
        self.assertIs(results[4]["truncated"], True)
        self.assertEqual(results[4]["usage"], {"prompt_tokens": 2048, "total_tokens": 2048})

    def test_dry_run(self):
        run = tandem("embed", "--model", DEMO, "--input", self.requests, "--dry-run")
        self.assertEqual(run.code, 0, run.err)
        self.assertIn("encoder 0 shard 1/1", run.out)
        self.assertNotIn("decoder", run.out)
        self.assertIn("5 requests: 5 would be answered", run.out)

    def test_a_printed_layout_is_taken(self):
        printed = tandem("embed", "--model", DEMO, "--input", self.requests, "--encoder-tp", "2",
                         "--print-layout", ranks=3)
        self.assertEqual(printed.code, 0, printed.err)
        self.assertNotIn("decoder", printed.out)
        layout = self.dir / "layout.yaml"
        layout.write_text(printed.out)
        results = self.lines("embed", self.requests, "--layout", layout, ranks=3)
        self.assertEqual(results, self.lines("embed", self.requests))

    def test_what_is_missing(self):
        self.refuses("--model is missing: give the checkpoint's folder", "embed", "--input",
                     self.requests)
        self.refuses("--input is missing: give a file of requests, or - for standard input",
                     "embed", "--model", DEMO)
        given = ("embed", "--model", DEMO, "--input", self.requests)
        self.refuses("--output is missing: give a file for the results, or - for standard output",
                     *given)
        self.refuses("--pooling none writes a safetensors file: --output needs its name",
                     *given, "--pooling", "none", "--output", "-")
        self.refuses("--normalize is for vectors: --pooling none gives whole states",
                     *given, "--pooling", "none", "--output", self.dir / "f", "--normalize")


class DecodingTest(VerbTest):
    def test_the_example(self):
        results = {r["id"]: r for r in self.generate(DEMO, DECODING)}
        outputs = {name: result["outputs"] for name, result in results.items()}
        texts = {name: [o["text"] for o in out] for name, out in outputs.items()}
        self.assertEqual(len(results), 11)
        self.assertEqual(len(texts["sampled"]), 4)
        self.assertGreater(len(set(texts["sampled"])), 1)
        self.assertEqual([o["index"] for o in outputs["sampled"]], [0, 1, 2, 3])
        first, second = (o["cumulative_logprob"] for o in outputs["best"])
        self.assertGreaterEqual(first, second)
        scores = [o["score"] for o in outputs["beams"]]
        self.assertEqual(scores, sorted(scores, reverse=True))
        self.assertEqual(len(set(texts["beams"])), 3)
        self.assertEqual(texts["stop"], ["four thousand two"])
        self.assertEqual(outputs["stop"][0]["stop_reason"], " hundred")
        self.assertEqual(outputs["stop"][0]["finish_reason"], "stop")
        self.assertEqual(texts["stop-kept"], ["four thousand two hundred"])
        self.assertNotIn("thousand", texts["bad-words"][0])
        self.assertNotIn("IV", texts["bias"][0])
        repeated = outputs["no-repeat"][0]["token_ids"]
        self.assertEqual(len(set(repeated)), len(repeated))
        self.assertIn(len(outputs["longer"][0]["token_ids"]), (4, 5, 6))
        answer = outputs["logprobs"][0]
        self.assertEqual(answer["text"], "405")
        self.assertEqual("".join(token["token"] for token in answer["logprobs"]), "405")
        for token in answer["logprobs"]:
            self.assertEqual(len(token["top"]), 2)
            self.assertEqual(token["top"][0]["token_id"], token["token_id"])
            self.assertLessEqual(token["top"][1]["logprob"], token["logprob"])

    def test_every_layout_gives_the_same_bytes(self):
        outputs = []
        for i, (flags, how) in enumerate([((), {}), (("--max-num-seqs", "2"), {}),
                                          (SPREAD, {"ranks": 3})]):
            path = self.dir / f"{i}.jsonl"
            run = tandem("generate", "--model", DEMO, "--input", DECODING, "--output", path, *flags,
                         **how)
            self.assertEqual(run.code, 0, run.err)
            outputs.append(path.read_bytes())
        self.assertEqual(outputs[1], outputs[0])
        self.assertEqual(outputs[2], outputs[0])

    def test_best_of_gives_the_best_of_its_samples(self):
        ask = {"prompt": "sum: 999 + 999 + 1", "temperature": 1.5, "seed": 7, "max_tokens": 8,
               "logprobs": 0}
        every, best = self.generate(DEMO, self.write_requests(
            [{"id": 0, **ask, "n": 8}, {"id": 1, **ask, "n": 3, "best_of": 8}]))
        ranked = sorted(every["outputs"], key=lambda o: -o["cumulative_logprob"])  # Stable.
        self.assertEqual([o["token_ids"] for o in best["outputs"]],
                         [o["token_ids"] for o in ranked[:3]])
        self.assertGreater(ranked[0]["cumulative_logprob"], ranked[-1]["cumulative_logprob"])

    def test_samples_share_their_encoding(self):
        requests = self.write_requests([{"prompt": "roman: 9", "temperature": 1, "n": 16}])
        run, path = self.run_verb("generate", requests, "--log-level", "debug")
        self.assertEqual(self.counts(run)[0], 1)
        self.assertEqual(len(read_lines(path)[0]["outputs"]), 16)

    def test_several_prompts_of_one_line_are_numbered_on(self):
        body = {"model": "demo", "prompt": ["roman: 9", "roman: 4"], "n": 2, "temperature": 0}
        requests = self.write_requests(
            [{"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": body}])
        (result,) = self.generate(DEMO, requests)
        choices = result["response"]["body"]["choices"]
        self.assertEqual([(c["index"], c["text"]) for c in choices],
                         [(0, "IX"), (1, "IX"), (2, "IV"), (3, "IV")])

    def test_flags_of_one_prompt(self):
        given = ("generate", "--model", DEMO, "--prompt", "words: 4217", "--format", "text", "--quiet")
        for flags, text in (((), "four thousand two hundred seventeen"),
                            (("--stop", " two"), "four thousand"),
                            (("--stop", "xyz", "--stop", "and"), "four thous"),
                            (("--stop", " two", "--include-stop-str-in-output"), "four thousand two"),
                            (("--num-beams", "2"), "four thousand two hundred seventeen"),
                            (("--n", "2", "--stop", " two"), "four thousand\nfour thousand")):
            run = tandem(*given, *flags)
            self.assertEqual((run.code, run.out), (0, text + "\n"), run.err)


if __name__ == "__main__":
    unittest.main()
