"""What a user can do wrong: each with its message and its exit code, and nothing lost."""
import json
import pathlib
import re
import shutil
import socket
import struct
import unittest

from run_tandem import DATA, DEMO, TandemTest, tandem

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


class ErrorTest(TandemTest):
    def assert_ends(self, run, code, message):
        """It ended with this exit code and said exactly this, once, whatever mpirun adds."""
        self.assertEqual(run.code, code, run.err)
        said = re.findall(r"^\[\d+/\S+\] error: (.*)$", run.err, re.MULTILINE)
        self.assertEqual(said, [message], run.err)


class ModelErrors(ErrorTest):
    """Exit code 4, before anything is computed and without an output."""

    def copy(self, source):
        model = self.dir / "model"
        shutil.copytree(source, model)
        return model

    def refuses(self, model, message, ranks=0, rank_1=None):
        """`rank_1`: the model of rank 1, where it is another one."""
        requests = self.write_requests([{"prompt_token_ids": [2, 5, 6]}])
        out = self.dir / "out.jsonl"
        rest = ("--input", requests, "--output", out)
        run = tandem(
            "generate", "--model", model, *rest, ranks=ranks,
            rank_1=rank_1 and ("generate", "--model", rank_1, *rest),
        )
        self.assert_ends(run, 4, message)
        self.assertEqual(list(self.dir.glob("out.jsonl*")), [])

    def test_no_such_folder(self):
        nowhere = self.dir / "nowhere"
        message = (
            f"{nowhere}: there is no such folder or file, and no preset of this name "
            "(presets: t5gemma2_270m_270m, t5gemma2_1b_1b, t5gemma2_4b_4b)"
        )
        self.refuses(nowhere, message)
        host = socket.gethostname()
        self.refuses(TINY, f"rank 1 on {host}: {message}", ranks=1, rank_1=nowhere)

    def test_another_model_on_another_host(self):
        host = socket.gethostname()
        self.refuses(
            TINY,
            f"the model of rank 1 on {host} differs from rank 0's on {host} (configuration, index or "
            "tensor headers): copy the same files to both hosts",
            ranks=1, rank_1=SHARDED,
        )

    def test_truncated_file(self):
        model = self.copy(TINY)
        path = model / "model.safetensors"
        header, data = read_header(path)
        begin = path.stat().st_size - len(data)
        size = path.stat().st_size - 100
        path.write_bytes(path.read_bytes()[:size])
        ends = {name: begin + entry["data_offsets"][1] for name, entry in header.items()
                if name != "__metadata__"}
        name = min((n for n in ends if ends[n] > size), key=ends.get)
        self.refuses(
            model, f'{path}: tensor "{name}" ends at byte {ends[name]}, but the file has {size}: it is '
            "cut short")

    def test_truncated_header(self):
        model = self.copy(TINY)
        path = model / "model.safetensors"
        path.write_bytes(path.read_bytes()[:7])
        self.refuses(model, f"{path}: has 7 bytes; a safetensors file has at least 8")

    def test_damaged_header(self):
        model = self.copy(TINY)
        path = model / "model.safetensors"
        data = bytearray(path.read_bytes())
        data[20] = 0xFF
        path.write_bytes(bytes(data))
        self.refuses(model, f"{path}: header is not valid JSON at byte 13")

    def test_missing_shard(self):
        model = self.copy(SHARDED)
        shard = model / "model-00002-of-00004.safetensors"
        shard.unlink()
        self.refuses(
            model, f"a shard that model.safetensors.index.json names: {shard}: No such file or "
            "directory")

    def test_wrong_shape(self):
        model = self.copy(TINY)
        header, data = read_header(model / "model.safetensors")
        name = next(n for n in header if n.endswith("decoder.layers.0.self_attn.q_proj.weight"))
        header[name]["shape"] = list(reversed(header[name]["shape"]))
        header[name]["shape"][0] //= 2
        header[name]["shape"][1] *= 2
        write_file(model / "model.safetensors", header, data)
        self.refuses(
            model, f"{model}/model.safetensors: tensor {name} has shape [32, 128], but config.json "
            "asks for [64, 64]")

    def test_missing_tensor(self):
        model = self.copy(TINY)
        header, data = read_header(model / "model.safetensors")
        name = next(n for n in header if n.endswith("encoder.norm.weight"))
        header["model.other"] = header.pop(name)
        write_file(model / "model.safetensors", header, data)
        self.refuses(model, f"{model}: tensor encoder.norm.weight is missing")

    def nan_model(self):
        model = self.copy(TINY)
        header, data = read_header(model / "model.safetensors")
        name = next(n for n in header if n.endswith("decoder.layers.1.mlp.up_proj.weight"))
        begin = header[name]["data_offsets"][0]
        data = data[: begin + 40] + struct.pack("<f", float("nan")) + data[begin + 44 :]
        write_file(model / "model.safetensors", header, data)
        return model

    NAN = (
        'tensor "decoder.layers.1.mlp.up_proj.weight" holds a NaN or an infinite value; the checkpoint is '
        "damaged or was saved from a broken run: fetch or export it again"
    )

    def test_nan_weights(self):
        self.refuses(self.nan_model(), self.NAN)

    def test_nan_weights_on_one_rank_of_two(self):
        # The value lies in the first rows: rank 0 has them.
        self.refuses(self.nan_model(), f"rank 0 on {socket.gethostname()}: {self.NAN}", ranks=2)

    def test_unsupported_config(self):
        model = self.copy(TINY)
        config = json.loads((model / "config.json").read_text())
        config["decoder"]["hidden_activation"] = "mish"
        (model / "config.json").write_text(json.dumps(config))
        self.refuses(
            model, f'{model}/config.json: decoder.hidden_activation is "mish": supported are '
            "gelu_pytorch_tanh, gelu_approximate, gelu, silu, swish and relu")

    def test_generation_config(self):
        model = self.copy(TINY)
        path = model / "generation_config.json"
        path.write_text('{"top_p": 1.5}')
        self.refuses(model, f'{path}: top_p must be a number above 0, up to 1, not "1.5"')

    def test_generation_config_is_told(self):
        model = self.copy(DEMO)
        (model / "generation_config.json").write_text(
            json.dumps({"max_new_tokens": 1, "top_k": 7, "typical_p": 0.5, "eos_token_id": 1}))
        run = tandem("generate", "--model", model, "--prompt", "roman: 1448", "--top-k", "3",
                     "--log-level", "info")
        self.assertEqual(run.code, 0, run.err)
        self.assertIn("generation_config.json sets max_tokens 1\n", run.err)
        self.assertIn(f"{model}/generation_config.json: typical_p is 0.5, which is not offered", run.err)
        self.assertEqual(len(json.loads(run.out)["outputs"][0]["token_ids"]), 1)
        run = tandem("generate", "--model", model, "--print-config", "--top-k", "3")
        self.assertRegex(run.out, "max_tokens: 1 +# generation_config.json\n")
        self.assertRegex(run.out, "top_k: 3 +# flag\n")

    def test_config_without_weights(self):
        model = DATA / "configs" / "270m-270m"
        self.refuses(
            model, f"{model}: has neither model.safetensors nor model.safetensors.index.json")


class LayoutErrors(ErrorTest):
    """Exit code 2, before any rank computes."""

    def refuses(self, flags, message, ranks=0):
        requests = self.write_requests([{"prompt_token_ids": [2, 5, 6]}])
        run = tandem(
            "generate", "--model", TINY, "--input", requests, "--output", self.dir / "out.jsonl",
            *flags, ranks=ranks,
        )
        self.assert_ends(run, 2, message)

    def test_a_tp_degree_that_the_heads_do_not_allow(self):
        self.refuses(
            ["--decoder-tp", "8", "--encoder-tp", "1", "--colocate"],
            "decoder TP 8 does not divide this model's 4 query heads; 1, 2 or 4 fit", ranks=1)

    def test_more_ranks_than_there_are(self):
        self.refuses(
            ["--encoder-tp", "2", "--decoder-tp", "2"],
            "encoder (1 group of TP 2) and decoder (1 group of TP 2) need 4 ranks, but there are 3; "
            "--decoder-tp 1 fits, and --colocate lets the stages share ranks", ranks=3)

    def test_a_layout_file_that_does_not_fit(self):
        layout = self.dir / "layout.yaml"
        layout.write_text("encoder: [{ranks: [0]}]\ndecoder: [{ranks: [1, 2]}]\n")
        self.refuses(
            ["--layout", layout],
            f"{layout}: layout, line 2: decoder group 1 names rank 2, but the job has 2 ranks, "
            "numbered from 0; start 3 or more", ranks=2)

    def test_a_default_outside_the_vocabulary(self):
        self.refuses(
            ["--logit-bias", "999999=1"],
            "--logit-bias has the token id 999999; the model's vocabulary has ids from 0 to 511")

    def test_unknown_flag(self):
        run = tandem("generate", "--model", TINY, "--max-token", "3", ranks=2)
        self.assertEqual(run.code, 2, run.err)
        said = "unknown flag --max-token of generate; the nearest known one is --max-tokens"
        self.assertEqual(run.err.count(said), 1, run.err)


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
                {"id": "hot", "prompt": "roman: 9", "temperature": -0.5},
                {"id": "typo", "promt": "roman: 9"},
                {"id": "b", "prompt": "sum: 1 + 2"},
            ]
        )
        results = self.generate(DEMO, requests, expect=3)
        self.assertEqual(results[0]["outputs"][0]["text"], "MCDXLVIII")
        self.assertEqual(results[9]["outputs"][0]["text"], "3")
        errors = results[1:9]
        self.assertEqual([r["line"] for r in errors], list(range(2, 10)))
        self.assertEqual([r["id"] for r in errors],
                         ["1", "2", "a", "long", "none", "out", "hot", "typo"])
        said = [(r["error"]["code"], r["error"]["param"], r["error"]["message"]) for r in errors]
        self.assertEqual(said, [
            ("invalid_json", None,
             "not valid JSON at byte 3: invalid literal; expected string literal"),
            ("invalid_utf8", None, "byte 16 is not UTF-8"),
            ("duplicate_id", "id", 'id "a" was used by an earlier line'),
            ("prompt_too_long", "prompt_token_ids",
             "prompt has 3,000 tokens; the model takes 2,048 (use --truncate to cut it)"),
            ("empty_prompt", "prompt_token_ids",
             "prompt_token_ids has no tokens; at least one is needed"),
            ("invalid_token", "prompt_token_ids",
             "prompt_token_ids[0] is 999999; the vocabulary has ids from 0 to 511"),
            ("invalid_value", "temperature",
             "temperature must be 0 or a number from 0.001 to 100, not -0.5"),
            ("unknown_field", "promt",
             'unknown field "promt"; the nearest known one is "prompt" '
             "(--ignore-unknown-fields lets it pass)"),
        ])

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


class FileErrors(ErrorTest):
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
        nothing = self.dir / "nothing.jsonl"
        run = self.run_with(nothing, self.dir / "out.jsonl")
        self.assert_ends(run, 6, f"cannot read the input {nothing}: No such file or directory")

    def test_unwritable_output(self):
        requests = self.write_requests([{"prompt": "roman: 9"}])
        out = self.dir / "no" / "folder" / "out.jsonl"
        run = self.run_with(requests, out)
        self.assert_ends(
            run, 6, f"cannot write results to {out}.partial: No such file or directory")

    def test_existing_output(self):
        requests = self.write_requests([{"prompt": "roman: 9"}])
        out = self.dir / "out.jsonl"
        out.write_text("precious\n")
        run = self.run_with(requests, out)
        self.assert_ends(
            run, 6, f"the output {out} exists; give --overwrite to replace it, or another --output")
        self.assertEqual(out.read_text(), "precious\n")

    def test_a_full_disk(self):
        requests = self.write_requests([{"prompt": "roman: 9"}] * 3)
        run = self.run_with(requests, "/dev/full")
        self.assert_ends(run, 6, "cannot write results to /dev/full: No space left on device")

    def test_results_on_standard_output(self):
        requests = self.write_requests([{"id": 7, "prompt": "roman: 9"}])
        run = self.run_with(requests, "-")
        self.assertEqual(run.code, 0, run.err)
        self.assertEqual(json.loads(run.out)["outputs"][0]["text"], "IX")
        run = tandem("generate", "--model", DEMO, "--prompt", "roman: 9", "--format", "text")
        self.assertEqual((run.code, run.out), (0, "IX\n"), run.err)


class LaunchErrors(ErrorTest):
    def test_several_tasks_that_do_not_see_each_other(self):
        requests = self.write_requests([{"prompt": "roman: 9"}])
        run = tandem(
            "generate", "--model", DEMO, "--input", requests, "--output", self.dir / "o.jsonl",
            env={"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "4", "SLURM_NTASKS": "4",
                 "SLURM_JOB_ID": "1", "SLURM_STEP_ID": "0"},
        )
        self.assert_ends(
            run, 2, "srun started 4 tasks without PMIx, so that they cannot find each other; use 'srun "
            "--mpi=pmix' ('srun --mpi=list' shows what this Slurm has), or mpirun inside the allocation")


if __name__ == "__main__":
    unittest.main()
