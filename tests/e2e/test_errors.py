"""What a user can do wrong: each with its message and its exit code, and nothing lost."""
import json
import pathlib
import shutil
import struct
import unittest

from run_tandem import DATA, DEMO, TandemTest, read_lines, tandem

SHARDED = DATA / "hf" / "sharded"
TINY = DATA / "hf" / "text_full"  # fp32, 4 heads, one file, no tokenizer.


def read_header(path):
    data = pathlib.Path(path).read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def write_file(path, header, data):
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + data)


class ModelErrors(TandemTest):
    """Exit code 4, before anything is computed and without an output."""

    def copy(self, source):
        model = self.dir / "model"
        shutil.copytree(source, model)
        return model

    def refuses(self, model, *texts, flags=(), ranks=0, code=4):
        requests = self.write_requests([{"prompt_token_ids": [2, 5, 6]}])
        out = self.dir / "out.jsonl"
        run = tandem(
            "generate", "--model", model, "--input", requests, "--output", out, *flags, ranks=ranks
        )
        self.assertEqual(run.code, code, run.err)
        for text in texts:
            self.assertIn(text, run.err)
            self.assertEqual(run.err.count(text), 1, "printed once: " + run.err)
        self.assertFalse(out.exists())

    def test_no_such_folder(self):
        self.refuses(self.dir / "nowhere", "nowhere")
        self.refuses(self.dir / "nowhere", "nowhere", ranks=2)

    def test_truncated_file(self):
        model = self.copy(TINY)
        path = model / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-100])
        self.refuses(model, "model.safetensors")

    def test_damaged_header(self):
        model = self.copy(TINY)
        path = model / "model.safetensors"
        data = bytearray(path.read_bytes())
        data[20] = 0xFF
        path.write_bytes(bytes(data))
        self.refuses(model, "model.safetensors")

    def test_missing_shard(self):
        model = self.copy(SHARDED)
        (model / "model-00002-of-00004.safetensors").unlink()
        self.refuses(model, "model-00002-of-00004.safetensors")

    def test_wrong_shape(self):
        model = self.copy(TINY)
        header, data = read_header(model / "model.safetensors")
        name = next(n for n in header if n.endswith("decoder.layers.0.self_attn.q_proj.weight"))
        header[name]["shape"] = list(reversed(header[name]["shape"]))
        header[name]["shape"][0] //= 2
        header[name]["shape"][1] *= 2
        write_file(model / "model.safetensors", header, data)
        self.refuses(model, "decoder.layers.0.self_attn.q_proj.weight")

    def test_missing_tensor(self):
        model = self.copy(TINY)
        header, data = read_header(model / "model.safetensors")
        name = next(n for n in header if n.endswith("encoder.norm.weight"))
        header["model.other"] = header.pop(name)
        write_file(model / "model.safetensors", header, data)
        self.refuses(model, "encoder.norm.weight")

    def nan_model(self):
        model = self.copy(TINY)
        header, data = read_header(model / "model.safetensors")
        name = next(n for n in header if n.endswith("decoder.layers.1.mlp.up_proj.weight"))
        begin = header[name]["data_offsets"][0]
        data = data[: begin + 40] + struct.pack("<f", float("nan")) + data[begin + 44 :]
        write_file(model / "model.safetensors", header, data)
        return model

    def test_nan_weights(self):
        self.refuses(self.nan_model(), 'tensor "decoder.layers.1.mlp.up_proj.weight" holds a NaN')

    def test_nan_weights_on_one_rank_of_two(self):
        self.refuses(self.nan_model(), "holds a NaN", ranks=2)

    def test_unsupported_config(self):
        model = self.copy(TINY)
        config = json.loads((model / "config.json").read_text())
        config["decoder"]["hidden_activation"] = "mish"
        (model / "config.json").write_text(json.dumps(config))
        self.refuses(model, "decoder.hidden_activation", "mish")

    def test_config_without_weights(self):
        self.refuses(DATA / "configs" / "270m-270m", "has neither model.safetensors nor")


class LayoutErrors(TandemTest):
    """Exit code 2, before any rank computes."""

    def refuses(self, flags, *texts, ranks=0):
        requests = self.write_requests([{"prompt_token_ids": [2, 5, 6]}])
        run = tandem(
            "generate", "--model", TINY, "--input", requests, "--output", self.dir / "out.jsonl",
            *flags, ranks=ranks,
        )
        self.assertEqual(run.code, 2, run.err)
        for text in texts:
            self.assertEqual(run.err.count(text), 1, run.err)

    def test_a_tp_degree_that_the_heads_do_not_allow(self):
        self.refuses(["--decoder-tp", "8", "--encoder-tp", "1", "--colocate"], "TP 8 does not divide", ranks=1)

    def test_more_ranks_than_there_are(self):
        self.refuses(
            ["--encoder-tp", "2", "--decoder-tp", "2"], "need 4 ranks, but there are 3", ranks=3
        )

    def test_a_layout_file_that_does_not_fit(self):
        layout = self.dir / "layout.yaml"
        layout.write_text("encoder: [{ranks: [0]}]\ndecoder: [{ranks: [1, 2]}]\n")
        self.refuses(["--layout", layout], "layout.yaml", ranks=2)

    def test_unknown_flag(self):
        run = tandem("generate", "--model", TINY, "--max-token", "3", ranks=2)
        self.assertEqual(run.code, 2, run.err)
        self.assertEqual(run.err.count("--max-tokens"), 1, run.err)


class RequestErrors(TandemTest):
    """A line that cannot be served gets its error result; the job goes on and ends with 3."""

    def test_bad_lines_among_good_ones(self):
        requests = self.write_requests(
            [
                {"id": "a", "prompt": "roman: 1448"},
                b"{not json",
                b'{"prompt": "caf\xff"}',
                {"id": "a", "prompt": "roman: 9"},
                {"id": "long", "prompt_token_ids": [5] * 3000},
                {"id": "none", "prompt_token_ids": []},
                {"id": "out", "prompt_token_ids": [999999]},
                {"id": "hot", "prompt": "roman: 9", "temperature": 0.5},
                {"id": "typo", "promt": "roman: 9"},
                {"id": "b", "prompt": "sum: 1 + 2"},
            ]
        )
        results = self.generate(DEMO, requests, expect=3)
        codes = [r["error"]["code"] if "error" in r else r["outputs"][0]["text"] for r in results]
        self.assertEqual(codes[0], "MCDXLVIII")
        self.assertEqual(codes[9], "3")
        self.assertEqual(
            codes[1:5], ["invalid_json", "invalid_utf8", "duplicate_id", "prompt_too_long"]
        )
        self.assertEqual(codes[6:9], ["invalid_token", "unsupported", "unknown_field"])
        self.assertIn("error", results[5])
        self.assertEqual([r["line"] for r in results if "error" in r], list(range(2, 10)))
        self.assertEqual(
            results[4]["error"]["message"],
            "prompt has 3,000 tokens; the model takes 2,048 (use --truncate to cut it)",
        )

    def test_truncate(self):
        requests = self.write_requests([{"id": 1, "prompt_token_ids": [5] * 3000, "max_tokens": 1}])
        (result,) = self.generate(DEMO, requests, "--truncate")
        self.assertIs(result["truncated"], True)
        self.assertEqual(result["usage"]["prompt_tokens"], 2048)

    def test_what_never_fits_the_kv_memory(self):
        requests = self.write_requests(
            [
                {"id": 1, "prompt_token_ids": [5] * 2000, "max_tokens": 64},
                {"id": 2, "prompt": "roman: 9"},
            ]
        )
        results = self.generate(DEMO, requests, "--kv-cache-mb", "1", expect=3)
        self.assertEqual(results[0]["error"]["code"], "kv_memory")
        self.assertEqual(results[1]["outputs"][0]["text"], "IX")

    def test_special_tokens_in_the_prompt(self):
        requests = self.write_requests([{"id": 1, "prompt": "roman: 9<eos>"}])
        (result,) = self.generate(DEMO, requests, "--no-special-in-prompt", expect=3)
        self.assertEqual(result["error"]["code"], "special_token_in_prompt")


class FileErrors(TandemTest):
    """Exit code 6."""

    def run_with(self, requests, output, *flags):
        return tandem("generate", "--model", DEMO, "--input", requests, "--output", output, *flags)

    def test_empty_input_gives_an_empty_output(self):
        requests = self.write_requests([])
        self.assertEqual(self.generate(DEMO, requests), [])

    def test_blank_lines_are_skipped(self):
        requests = self.write_requests([b"", b"  ", {"prompt": "roman: 9"}, b""])
        (result,) = self.generate(DEMO, requests)
        self.assertEqual(result["id"], "2")

    def test_missing_input(self):
        run = self.run_with(self.dir / "nothing.jsonl", self.dir / "out.jsonl")
        self.assertEqual(run.code, 6, run.err)
        self.assertIn("nothing.jsonl", run.err)

    def test_unwritable_output(self):
        requests = self.write_requests([{"prompt": "roman: 9"}])
        run = self.run_with(requests, self.dir / "no" / "folder" / "out.jsonl")
        self.assertEqual(run.code, 6, run.err)
        self.assertIn("out.jsonl", run.err)

    def test_existing_output(self):
        requests = self.write_requests([{"prompt": "roman: 9"}])
        out = self.dir / "out.jsonl"
        out.write_text("precious\n")
        run = self.run_with(requests, out)
        self.assertEqual(run.code, 6, run.err)
        self.assertIn("--overwrite", run.err)
        self.assertEqual(out.read_text(), "precious\n")

    def test_a_full_disk(self):
        requests = self.write_requests([{"prompt": "roman: 9"}] * 3)
        run = self.run_with(requests, "/dev/full")
        self.assertEqual(run.code, 6, run.err)

    def test_results_on_standard_output(self):
        requests = self.write_requests([{"id": 7, "prompt": "roman: 9"}])
        run = self.run_with(requests, "-")
        self.assertEqual(run.code, 0, run.err)
        self.assertEqual(json.loads(run.out)["outputs"][0]["text"], "IX")
        run = tandem("generate", "--model", DEMO, "--prompt", "roman: 9", "--format", "text")
        self.assertEqual((run.code, run.out), (0, "IX\n"), run.err)


class LaunchErrors(TandemTest):
    def test_several_tasks_that_do_not_see_each_other(self):
        requests = self.write_requests([{"prompt": "roman: 9"}])
        run = tandem(
            "generate", "--model", DEMO, "--input", requests, "--output", self.dir / "o.jsonl",
            env={"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "4", "SLURM_NTASKS": "4",
                 "SLURM_JOB_ID": "1", "SLURM_STEP_ID": "0"},
        )
        self.assertEqual(run.code, 2, run.err)
        self.assertIn("--mpi=pmix", run.err)


if __name__ == "__main__":
    unittest.main()
