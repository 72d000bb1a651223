#!/usr/bin/env python3
"""Times tandem beside Hugging Face transformers on one machine, in one run, in bfloat16.

    scripts/compare_transformers.py [--model DIR] [--rounds 5]     # needs torch and transformers >= 5.23

Two figures on the 270m-270m configuration with random weights (or a checkpoint's folder):

    decode   tokens a second of one sequence: the time of 1 + N tokens less the time of 1, over N, after a prompt of 512
    encode   seconds for a prompt of 512 tokens

The two take turns, since machines drift; a figure is the median of the rounds. What is not told apart counts
against tandem: its encode holds the prompt's way in, its cross K/V and one step of the decoder (several prompts less one,
each in its own batch), transformers' is the encoder's forward pass alone. Transformers decodes with `generate`
from encoder states that it is given.
"""
import argparse
import json
import os
import pathlib
import platform
import random
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

import torch
import transformers
from transformers import T5Gemma2ForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROMPT_TOKENS = 512
PROMPTS = 4  # Whose encoding is timed, beside the one that warms up.


def make_prompts(count):
    """Token ids below every published vocabulary's special ones at the top."""
    chance = random.Random(1)
    return [[2] + [chance.randrange(10, 200_000) for _ in range(PROMPT_TOKENS - 1)]
            for _ in range(count)]


class Tandem:
    """A job a measurement; its time is that of the coordinator, after the weights are loaded."""

    def __init__(self, args, model, folder):
        self.new_tokens, self.folder = args.new_tokens, folder
        self.command = [
            args.tandem, "generate", "--model", str(model), "--dtype", "bfloat16", "--threads",
            str(args.threads), "--max-batch-tokens", str(PROMPT_TOKENS), "--ignore-eos",
            "--kv-cache-mb", "256", "--overwrite", "--quiet",
        ]
        self.prompts = make_prompts(1 + PROMPTS)
        self.record = {}

    def seconds(self, prompts, max_tokens):
        requests, output = self.folder / "requests.jsonl", self.folder / "results.jsonl"
        requests.write_text("".join(
            json.dumps({"prompt_token_ids": ids, "max_tokens": max_tokens}) + "\n"
            for ids in self.prompts[:prompts]
        ))
        command = [*self.command, "--input", str(requests), "--output", str(output)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{shlex.join(command)}\nended with {done.returncode}:\n{done.stderr}")
        self.record = json.loads(pathlib.Path(f"{output}.run.json").read_text())
        if self.record["completion_tokens"] != prompts * max_tokens:
            sys.exit(f"{shlex.join(command)}\nanswered with fewer tokens than asked for")
        return self.record["seconds"]

    def round(self):
        first = self.seconds(1, 1)
        decode = self.seconds(1, 1 + self.new_tokens) - first
        encode = (self.seconds(1 + PROMPTS, 1) - first) / PROMPTS
        return self.new_tokens / decode, encode


class Transformers:
    def __init__(self, args, model):
        torch.set_num_threads(args.threads)
        self.new_tokens = args.new_tokens
        self.model = T5Gemma2ForConditionalGeneration.from_pretrained(
            model, dtype=torch.bfloat16, attn_implementation=args.attention
        ).eval()
        self.ids = torch.tensor(make_prompts(1))
        self.mask = torch.ones_like(self.ids)
        self.round()  # The first use of each operation costs more.

    @torch.inference_mode()
    def encode(self):
        return self.model.get_encoder()(input_ids=self.ids, attention_mask=self.mask)

    @torch.inference_mode()
    def decode(self, states, tokens):
        start = time.perf_counter()
        out = self.model.generate(
            input_ids=self.ids, attention_mask=self.mask,
            encoder_outputs=BaseModelOutput(states.clone()), max_new_tokens=tokens,
            min_new_tokens=tokens, do_sample=False, num_beams=1, decoder_start_token_id=2,
        )
        if out.shape[1] != 1 + tokens:
            sys.exit(f"transformers made {out.shape[1] - 1} tokens, not {tokens}")
        return time.perf_counter() - start

    def round(self):
        start = time.perf_counter()
        states = self.encode().last_hidden_state
        encode = time.perf_counter() - start
        first = self.decode(states, 1)
        return self.new_tokens / (self.decode(states, 1 + self.new_tokens) - first), encode


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--tandem", default=str(ROOT / "build/release/tandem"))
    parser.add_argument("--model", help="a checkpoint's folder; left out: random weights")
    parser.add_argument("--config", default=str(ROOT / "configs/models/t5gemma2_270m_270m.json"),
                        help="of the random weights")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--attention", default="sdpa", choices=["sdpa", "eager"])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tandem-compare-") as name:
        folder = pathlib.Path(name)
        model = args.model
        if model is None:
            model = folder / "model"
            subprocess.run([args.tandem, "init", "--model", args.config, "--output", str(model)],
                           check=True)
        peers = {"tandem": Tandem(args, model, folder), "transformers": Transformers(args, model)}
        rounds = {peer: [] for peer in peers}
        for number in range(args.rounds):
            for peer, runner in peers.items():
                decode, encode = runner.round()
                rounds[peer].append((decode, encode))
                print(f"round {number + 1} {peer:13} decode {decode:7.2f} tokens/s, "
                      f"encode {encode:6.3f} s, load {os.getloadavg()[0]:.1f}", flush=True)
        record = peers["tandem"].record
        command = shlex.join(peers["tandem"].command)
    median = {peer: [statistics.median(column) for column in zip(*rows)]
              for peer, rows in rounds.items()}
    (our_decode, our_encode), (decode, encode) = median["tandem"], median["transformers"]
    print(f"\n{processor()}, {len(os.sched_getaffinity(0))} cores, {args.threads} threads; "
          f"medians of {args.rounds}")
    print(f"tandem {record['version']} ({record['commit']}), {record['isa']}: {command}")
    print(f"transformers {transformers.__version__}, torch {torch.__version__}, bfloat16, "
          f"{args.attention}")
    print("\n| | tandem | transformers | tandem is |")
    print("| --- | --- | --- | --- |")
    print(f"| decode, tokens/s | {our_decode:.1f} | {decode:.1f} | "
          f"{our_decode / decode:.2f} times as fast |")
    print(f"| encode of {PROMPT_TOKENS} tokens, s | {our_encode:.3f} | {encode:.3f} | "
          f"{encode / our_encode:.2f} times as fast |")


if __name__ == "__main__":
    main()
