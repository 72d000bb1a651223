#!/usr/bin/env python3
"""Compares tandem's tokenizer with PyPI's tokenizers and sentencepiece on random texts and ids.

usage:  python scripts/check_tokenizer.py PROGRAM [--rounds N] [--seed N] [--train] [FOLDER ...]
PROGRAM is build/release/tests/benchmark/tokenizer_lines; each FOLDER holds tokenizer.json and
tokenizer.model (by default the golden files' and the demo model's). --train adds tokenizers made
here: a BPE model of 8,000 pieces trained on this machine's documentation, and files that use what
Gemma's do not. Needs: tokenizers, sentencepiece, protobuf; --train also transformers.
Exits 1 when anything differs.
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import types

import sentencepiece
from tokenizers import Tokenizer

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORDS = """the of and inference encoder tokens Hello world don't I'm naïve Straße 12345 3.14159 1e-9
Привет мир 你好 世界 こんにちは 안녕하세요 नमस्ते สวัสดี שלום مرحبا Καλημέρα for(int i=0;i<n;++i) <html> &amp;
antidisestablishmentarianism https://example.org/a?b=c user@example.org snake_case camelCase""".split()
ODD = ["▁", "▁▁", " ", "  ", "   ", "\n", "\n\n", "\t", "\r\n", "\u00a0", "\u3000", "\u2028", "\ufeff", "\u200d",
       "\u0301", "\x00", "\x7f", "\ufffd", "😀", "👍🏽", "🇩🇪", "𝔘", "\U0010ffff", "<0x41>", "<0x0A>", "<unk>",
       "<", ">", "<<", "_", "é", "e\u0301", "ﬁ", "<bos", "bos>", "½"]


def random_text(r, specials):
    """One of several mixtures; specials are the tokenizer's own whole tokens."""
    kind = r.randrange(6)
    n = r.randrange(1, 40)
    if kind == 0:
        return " ".join(r.choice(WORDS) for _ in range(n))
    if kind == 1:
        return "".join(r.choice(WORDS + ODD + specials) for _ in range(n))
    if kind == 2:
        return "".join(r.choice(ODD + specials) for _ in range(n))
    if kind == 3:
        blocks = [(32, 127), (0xA0, 0x250), (0x370, 0x600), (0x900, 0xE80), (0x3040, 0x3100),
                  (0x4E00, 0x9FFF), (0xAC00, 0xD7A0), (0x1F300, 0x1F650), (0x10000, 0x11000)]
        return "".join(chr(r.randrange(*r.choice(blocks))) for _ in range(n))
    if kind == 4:
        return "".join(r.choice([" ", "\n", "\t", "a", "0", "▁"]) * r.randrange(1, 40) for _ in range(n // 4 + 1))
    piece = r.choice(WORDS + ODD + specials)
    return piece * r.randrange(1, 200 // len(piece) + 2)


def random_bytes(r):
    """UTF-8 with bytes put in, taken out or changed."""
    data = bytearray(random_text(r, []).encode())
    for _ in range(r.randrange(1, 5)):
        i = r.randrange(len(data) + 1)
        data[i:i + r.randrange(2)] = bytes(r.randrange(128, 256) for _ in range(r.randrange(3)))
    return bytes(data)


def random_ids(r, size, byte_ids):
    kind = r.randrange(3)
    if kind == 0:
        return [r.randrange(size) for _ in range(r.randrange(30))]
    if kind == 1 and byte_ids:
        return [r.choice(byte_ids) for _ in range(r.randrange(12))]
    out = []
    for _ in range(r.randrange(1, 5)):
        if byte_ids:
            data = r.choice(["é", "漢字", "😀", "a", "\ufffd"]).encode()
            out += [byte_ids[b] for b in data[:r.randrange(1, len(data) + 1)]]
        out += [r.randrange(size) for _ in range(r.randrange(3))]
    return out


def ask(program, path, requests):
    run = subprocess.run([program, path], input="\n".join(requests) + "\n", capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"{path}: {run.stderr.strip()}")
    answers = run.stdout.splitlines()
    assert len(answers) == len(requests), (len(answers), len(requests))
    return answers


def compare(name, requests, expected, answers):
    wrong = [(q, e, a) for q, e, a in zip(requests, expected, answers) if e.strip() != a.strip()]
    print(f"{name}: {len(requests)} compared, {len(wrong)} differ", flush=True)
    for q, e, a in wrong[:3]:
        text = bytes.fromhex(q[2:]).decode("utf-8", "replace") if q[0] == "E" else ""
        print(f"  asked    {q[:300]} {text!r:.200}\n  expected {e[:300]}\n  got      {a[:300]}")
    return len(wrong), len(requests)


def ids_line(ids):
    return " ".join(map(str, ids))


def check_json(program, path, rounds, seed):
    r = random.Random(seed)
    hf = Tokenizer.from_file(str(path))
    specials = [t.content for t in hf.get_added_tokens_decoder().values()]
    size = max(hf.get_vocab().values()) + 1
    byte_ids = [hf.token_to_id("<0x%02X>" % b) for b in range(256)]
    byte_ids = [hf.token_to_id("\t") if b is None else b for b in byte_ids]
    byte_ids = [] if None in byte_ids else byte_ids
    requests, expected = [], []
    for _ in range(rounds):
        data = random_text(r, specials).encode() if r.random() < 0.9 else random_bytes(r)
        requests.append("E " + data.hex())
        expected.append(ids_line(hf.encode(data.decode("utf-8", "replace"), add_special_tokens=False).ids))
    for _ in range(rounds):
        ids = random_ids(r, size, byte_ids)
        for mode in "DS":
            requests.append(mode + " " + ids_line(ids))
            expected.append(hf.decode(ids, skip_special_tokens=mode == "S").encode().hex())
    return compare(str(path), requests, expected, ask(program, path, requests))


def check_model(program, path, rounds, seed):
    r = random.Random(seed)
    sp = sentencepiece.SentencePieceProcessor(model_file=str(path))
    size = sp.vocab_size()
    specials = [p for p in map(sp.id_to_piece, range(min(size, 1000))) if len(p) > 1 and not p.startswith("<0x")][:80]
    byte_ids = [i for i in range(size) if sp.is_byte(i)]
    byte_ids = sorted(byte_ids, key=sp.id_to_piece) if len(byte_ids) == 256 else []
    requests, expected = [], []
    for _ in range(rounds):
        data = random_text(r, specials).encode() if r.random() < 0.9 else random_bytes(r)
        requests.append("E " + data.hex())
        expected.append(ids_line(sp.encode(data)))
    for _ in range(rounds):
        ids = random_ids(r, size, byte_ids)
        requests.append("D " + ids_line(ids))
        expected.append(sp.decode(ids).encode().hex())
    return compare(str(path), requests, expected, ask(program, path, requests))


def documentation(max_bytes):
    """Text that every Debian machine has: licences, change logs, Python's own sources."""
    out, size = [], 0
    files = sorted(pathlib.Path("/usr/share").glob("**/*.txt")) + sorted(pathlib.Path("/usr/lib/python3.11").glob("*.py"))
    files += sorted(pathlib.Path("/usr/share/common-licenses").iterdir())
    for path in files:
        if size > max_bytes or not path.is_file():
            continue
        text = path.read_bytes().decode("utf-8", "ignore").replace("\0", "")
        out.append(text)
        size += len(text)
    return "\n".join(out)


def train(folder, vocab_size, max_bytes=4_000_000, **options):
    """A SentencePiece BPE model with Gemma's settings, and its tokenizer.json by transformers' converter."""
    from tokenizers import processors
    from transformers.convert_slow_tokenizer import GemmaConverter, GemmaSentencePieceExtractor
    folder.mkdir(parents=True, exist_ok=True)
    corpus = folder / "corpus.txt"
    corpus.write_text(documentation(max_bytes) + "\n" + "\n".join(WORDS * 50), encoding="utf-8")
    settings = dict(
        model_type="bpe", vocab_size=vocab_size, byte_fallback=True, add_dummy_prefix=False,
        remove_extra_whitespaces=False, normalization_rule_name="identity", split_digits=True,
        allow_whitespace_only_pieces=True, pad_id=0, eos_id=1, bos_id=2, unk_id=3, pad_piece="<pad>",
        eos_piece="<eos>", bos_piece="<bos>", unk_piece="<unk>", max_sentence_length=100000,
        user_defined_symbols=["<mask>", "<start_of_turn>", "<end_of_turn>", "<table>", "<start_of_image>"]
        + ["\n" * k for k in range(1, 32)] + ["▁" * k for k in range(2, 32)] + ["\t" * k for k in range(1, 8)],
        num_threads=2, minloglevel=2)
    settings.update(options)
    sentencepiece.SentencePieceTrainer.train(input=str(corpus), model_prefix=str(folder / "tokenizer"), **settings)
    corpus.unlink()
    model = str(folder / "tokenizer.model")
    GemmaSentencePieceExtractor.sp = sentencepiece.SentencePieceProcessor(model_file=model)
    stub = types.SimpleNamespace(vocab_file=model, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>",
                                 unk_token="<unk>", add_prefix_space=False, legacy=False)
    t = GemmaConverter(stub).converted()
    t.post_processor = processors.TemplateProcessing(
        single="<bos>:0 $A:0", pair="<bos>:0 $A:0 <bos>:1 $B:1", special_tokens=[("<bos>", 2)])
    t.save(str(folder / "tokenizer.json"), pretty=False)


def token(i, content, **flags):
    return dict({"id": i, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
                 "normalized": False, "special": False}, **flags)


def variants(base, folder):
    """Changes of a tokenizer.json, one feature each: (name, path)."""
    text = base.read_text()
    probe = json.loads(text)
    size = len(probe["model"]["vocab"])
    content = probe["added_tokens"][-1]["content"]

    def strip_flags(d):
        for i, t in enumerate(d["added_tokens"]):
            if t["content"].startswith("<"):
                t.update([{"lstrip": True}, {"rstrip": True}, {"single_word": True}, {"lstrip": True, "rstrip": True}][i % 4])
        next_id = size  # A token that is a piece has the piece's id.
        for content, flags in (("xyz", {"single_word": True}), ("the", {"single_word": True, "normalized": True}),
                               ("of", {"lstrip": True, "rstrip": True}), (" a b", {"normalized": True})):
            known = d["model"]["vocab"].get(content)
            d["added_tokens"].append(token(next_id if known is None else known, content, **flags))
            next_id += known is None

    def normalized(d):
        for t in d["added_tokens"]:
            t["normalized"] = True

    def prepend(d):
        d["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, d["normalizer"]]}
        d["decoder"]["decoders"].append({"type": "Strip", "content": " ", "start": 1, "stop": 0})

    def split(behavior, pattern=" "):
        def change(d):
            d["normalizer"] = None
            d["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"String": pattern}, "behavior": behavior, "invert": False}]}
        return change

    def unknown(fuse):
        def change(d):
            d["model"]["byte_fallback"] = False
            d["model"]["fuse_unk"] = fuse
        return change

    def merges_as_lines(d):
        d["model"]["merges"] = [" ".join(m) for m in d["model"]["merges"]]

    def ignore_merges(d):
        d["model"]["ignore_merges"] = True
        split("Isolated")(d)

    def shuffled(d):
        random.Random(5).shuffle(d["model"]["merges"])

    def crossing(d):  # Merges over the boundaries of words, so that texts cannot be cut there.
        vocab = d["model"]["vocab"]
        for left in ("e", "s", "n", "."):
            if left in vocab and "▁" in vocab and left + "▁" not in vocab:
                vocab[left + "▁"] = max(list(vocab.values()) + [t["id"] for t in d["added_tokens"]]) + 1
                d["model"]["merges"].insert(7, [left, "▁"])

    changes = dict(strip_flags=strip_flags, normalized=normalized, prepend=prepend, fuse_unk=unknown(True), split_unk=unknown(False),
                   merges_as_lines=merges_as_lines, ignore_merges=ignore_merges, shuffled=shuffled, crossing=crossing,
                   **{"split_" + b: split(b, "e" if b == "Contiguous" else " ") for b in
                      ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")})
    assert content
    for name, change in changes.items():
        d = json.loads(text)
        change(d)
        path = folder / f"{name}.json"
        path.write_text(json.dumps(d, ensure_ascii=False))
        yield path


def model_variants(base, folder):
    """Changes of a tokenizer.model: equal scores, shuffled scores, a character that is no piece, no byte fallback."""
    from sentencepiece import sentencepiece_model_pb2 as pb
    r = random.Random(3)

    def scores_equal(m):
        for p in m.pieces:
            p.score = round(p.score / 50) * 50

    def scores_shuffled(m):
        normal = [p for p in m.pieces if p.type == 1]
        scores = [p.score for p in normal]
        r.shuffle(scores)
        for p, s in zip(normal, scores):
            p.score = s

    def characters_missing(m):
        kept = [p for p in m.pieces if not (p.type == 1 and p.piece in ("e", "t", "▁", "n", "ж"))]
        del m.pieces[:]
        m.pieces.extend(kept)

    def no_bytes(m):
        kept = [p for p in m.pieces if p.type != 6 and not (p.type == 1 and p.piece in ("e", "x"))]
        del m.pieces[:]
        m.pieces.extend(kept)
        m.trainer_spec.byte_fallback = False

    for change in (scores_equal, scores_shuffled, characters_missing, no_bytes):
        m = pb.ModelProto()
        m.ParseFromString(base.read_bytes())
        change(m)
        path = folder / f"{change.__name__}.model"
        path.write_bytes(m.SerializeToString())
        yield path


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("program")
    ap.add_argument("folders", nargs="*", type=pathlib.Path)
    ap.add_argument("--rounds", type=int, default=5000)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--train", action="store_true")
    a = ap.parse_args()
    folders = a.folders or [ROOT / "tests/golden/data/tokenizer", ROOT / "models/demo"]
    wrong = compared = 0
    with tempfile.TemporaryDirectory() as tmp:
        tmp = pathlib.Path(tmp)
        files = [f / n for f in folders for n in ("tokenizer.json", "tokenizer.model")]
        if a.train:
            train(tmp / "bpe8k", 8000)
            files += [tmp / "bpe8k/tokenizer.json", tmp / "bpe8k/tokenizer.model"]
            files += list(variants(tmp / "bpe8k/tokenizer.json", tmp))
            files += list(model_variants(tmp / "bpe8k/tokenizer.model", tmp))
        for path in files:
            check = check_json if path.suffix == ".json" else check_model
            w, n = check(a.program, path, a.rounds, a.seed)
            wrong += w
            compared += n
    print(f"{compared} compared, {wrong} differ")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
