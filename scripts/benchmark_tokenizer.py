#!/usr/bin/env python3
"""Times tandem's tokenizer beside PyPI's tokenizers: same file, same text, one thread, taking turns.

usage:  python scripts/benchmark_tokenizer.py PROGRAM [--tokenizer FILE] [--text FILE] [--rounds N]
PROGRAM is build/release/tests/benchmark/tokenizer_benchmark. Without --tokenizer, a tokenizer.json of
Gemma's size (262,144 pieces, about half a million merges) is made of this machine's documentation;
without --text, the text is 4 MB of it. Prints medians over the rounds, and how many times faster
tandem is. Each round starts both programs anew; the second of two runs counts, so that both have
seen the text. Needs: tokenizers. Exits 1 when the two do not agree on the number of ids.
"""
import argparse
import collections
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

REPEATS = 2
VOCAB_SIZE = 262_144


def documentation(max_bytes):
    files = sorted(pathlib.Path("/usr/share/common-licenses").iterdir())
    for pattern in ("/usr/share/**/*.txt", "/usr/share/**/copyright", "/usr/lib/python3*/**/*.py", "/usr/include/**/*.h"):
        files += sorted(pathlib.Path("/").glob(pattern[1:]))
    out, size = [], 0
    for path in files:
        if size >= max_bytes:
            break
        if path.is_file() and not path.is_symlink():
            text = path.read_bytes().decode("utf-8", "ignore").replace("\0", "")
            out.append(text)
            size += len(text)
    return "\n".join(out)[:max_bytes]


def make_tokenizer(path, text):
    """Pieces are beginnings and ends of words; the merges are two ways to cut each in two pieces, as many as Gemma has."""
    vocab = {p: i for i, p in enumerate(["<pad>", "<eos>", "<bos>", "<unk>"] + ["<0x%02X>" % b for b in range(256)])}
    vocab.update({c: len(vocab) + i for i, c in enumerate(sorted(set(text.replace(" ", "▁"))))})
    pieces = []
    for word, _ in collections.Counter(re.findall(r" ?[^\W\d_]+", text)).most_common():
        word = word.replace(" ", "▁")
        for piece in [word[:k] for k in range(2, len(word) + 1)] + [word[-k:] for k in range(2, len(word))]:
            if len(vocab) < VOCAB_SIZE and piece not in vocab:
                vocab[piece] = len(vocab)
                pieces.append(piece)
    extra = 0
    while len(vocab) < VOCAB_SIZE:  # A small machine has fewer words.
        piece = pieces[extra % len(pieces)] + chr(97 + extra // len(pieces) % 26)
        extra += 1
        if piece not in vocab:
            vocab[piece] = len(vocab)
            pieces.append(piece)
    merges = []
    for p in pieces:
        cuts = [k for k in range(1, len(p)) if p[:k] in vocab and p[k:] in vocab]
        merges += [[p[:k], p[k:]] for k in sorted({cuts[0], cuts[-1]})] if cuts else []
    added = [{"id": i, "content": p, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
              "special": True} for p, i in list(vocab.items())[:3]]
    model = {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
             "vocab": vocab, "merges": merges}
    space = {"String": " "}
    path.write_text(json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": {"type": "Replace", "pattern": space, "content": "▁"},
        "pre_tokenizer": {"type": "Split", "pattern": space, "behavior": "MergedWithPrevious", "invert": False},
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": model}, ensure_ascii=False, indent=2), encoding="utf-8")
    print(f"made a tokenizer: {len(vocab):,} pieces, {len(merges):,} merges, {path.stat().st_size / 1e6:.1f} MB")


def reference(tokenizer_path, text_path):
    """What tokenizer_benchmark does, with PyPI's tokenizers; prints the same JSON."""
    from tokenizers import Tokenizer
    begin = time.perf_counter()
    tokenizer = Tokenizer.from_file(tokenizer_path)
    out = {"load_s": time.perf_counter() - begin, "whole_s": [], "lines_s": []}
    text = pathlib.Path(text_path).read_bytes().decode()
    lines = text.split("\n")
    for _ in range(REPEATS):
        begin = time.perf_counter()
        out["ids"] = len(tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids)
        out["whole_s"].append(time.perf_counter() - begin)
        begin = time.perf_counter()
        encoded = tokenizer.encode_batch_fast(lines, add_special_tokens=False)
        out["lines_s"].append(time.perf_counter() - begin)
        out["line_ids"] = sum(len(e.ids) for e in encoded)
    print(json.dumps(out))


def run(command):
    # One thread: encode_batch_fast would use all cores.
    env = dict(os.environ, TOKENIZERS_PARALLELISM="false", RAYON_NUM_THREADS="1")
    return json.loads(subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout)


def compare(program, tokenizer, text, rounds):
    measured = {"tandem": [], "tokenizers": []}
    commands = {"tandem": [program, str(tokenizer), str(text), str(REPEATS)],
                "tokenizers": [sys.executable, __file__, "--reference", str(tokenizer), str(text)]}
    for _ in range(rounds):
        for name, command in commands.items():
            measured[name].append(run(command))
    counts = [{(m["ids"], m["line_ids"]) for m in runs} for runs in measured.values()]
    if counts[0] != counts[1]:
        sys.exit(f"the numbers of ids differ: {counts}")
    megabytes = text.stat().st_size / 1e6
    print(f"{megabytes:.1f} MB of text, {rounds} rounds, medians")
    for label, key in (("load", "load_s"), ("one text", "whole_s"), ("line by line", "lines_s")):
        seconds = {name: statistics.median(m[key] if key == "load_s" else m[key][-1] for m in runs)
                   for name, runs in measured.items()}
        speeds = "" if key == "load_s" else "".join(f"  {name} {megabytes / s:7.1f} MB/s" for name, s in seconds.items())
        print(f"{label:>12}: tandem {seconds['tandem']:.3f} s, tokenizers {seconds['tokenizers']:.3f} s,"
              f" {seconds['tokenizers'] / seconds['tandem']:.2f} times faster{speeds}")


def main():
    if sys.argv[1:2] == ["--reference"]:
        return reference(*sys.argv[2:4])
    ap = argparse.ArgumentParser()
    ap.add_argument("program")
    ap.add_argument("--tokenizer", type=pathlib.Path)
    ap.add_argument("--text", type=pathlib.Path)
    ap.add_argument("--rounds", type=int, default=5)
    a = ap.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        text = a.text or folder / "text.txt"
        if a.text is None:
            text.write_text(documentation(4_000_000), encoding="utf-8", newline="")
        tokenizer = a.tokenizer or folder / "tokenizer.json"
        if a.tokenizer is None:
            make_tokenizer(tokenizer, documentation(40_000_000))
        compare(a.program, tokenizer, text, a.rounds)
    return None


if __name__ == "__main__":
    main()
