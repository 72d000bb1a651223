#!/usr/bin/env python3
"""Writes tests/golden/data/decoding: what transformers makes of every decoding option, beams and scores.

    python scripts/make_decoding_goldens.py [processors] [greedy] [beams] [scores]     # all, in some minutes

It needs torch, numpy and transformers >= 5.23.

Four files, each {"transformers", "torch", "seed", "cases": [...]}, one case a line. A number that is an fp32
value is the shortest decimal that reads back as it. Ids are token ids; `stop_token_ids` are *all* ids that end
an answer, the model's eos ids included. `model` is a folder relative to the repository's root; whatever its
checkpoint stores, models are computed in float32 with eager attention, one prompt at a time, without padding.
An option that a case leaves out is off; names and meanings are those of a request (docs/reference.md), but
`bad_words_token_ids` (bad words as ids) and `max_new_tokens` (the stop token counts).

processors.json  one row of logits through the processors: `name`, `logits` [V], `history` {`decoder_prompt`
  (start token 2 first), `answer`}, `options` (`temperature` always), `processed` [V] after all processors and
  the temperature (null: -infinity), `kept`: the ids in order that are left after top_k, top_p, min_p, and
  their `probabilities` (softmax in float64, 12 digits).
greedy.json      answers of models: `name`, `model`, `prompt_token_ids`, `options`, `max_new_tokens`,
  `token_ids` (without the stop token), `finished_by` {"stop": id} or "length", `logprobs` of the tokens and
  `cumulative_logprob` (the stop token counts) in the raw distribution, `least_margin` of the two best processed logits.
beams.json       `generate(num_beams=...)`: `name`, `model`, `prompt_token_ids`, `decoder_prompt_token_ids`
  (start token first), `options` (also `num_beams`, `n`, `length_penalty`, `early_stopping`), `max_new_tokens`,
  `sequences`: n of {`token_ids` (without decoder prompt and stop token), `finished_by`, `score`
  (`sequences_scores`), `cumulative_logprob` (raw)}, best score first.
scores.json      `model`, `prompt_token_ids`, `targets`: {`token_ids`, `logprobs` of each, `eos_logprob` after the
  last, `sum_logprob` without and `sum_logprob_eos` with it (sums in float64)}. The eos id is 1.

The processors are transformers' own classes in its order (`_get_logits_processor`): logit bias, repetition,
[presence and frequency], no repeated n-grams, bad words, min tokens, temperature, top_k, top_p, min_p. What differs:
  * repetition counts the answer's tokens alone (transformers: `prompt_ignore_length`; `generate` itself counts
    all decoder tokens). n-grams and bad words look at all of them, the start token too.
  * transformers has no presence and frequency penalty: logit -= presence * [count > 0] + frequency * count,
    float32, the answer's tokens alone.
What transformers does that one might not expect, and the data hold it to:
  * top_k keeps every id that ties with the k-th; min_p keeps ids equal to the best.
  * top_p removes, from the least likely on, while the sum is <= 1 - top_p, so the id that crosses the border stays.
    Between equal ids on both sides of the border its sort decides: no case depends on that.
  * a bad word that is one eos id and nothing else is dropped from the list.
  * a bad word's last token is forbidden where all before it end the decoder's tokens.
  * in beam search the processors see log-probabilities (log_softmax of the logits), not logits, and are not
    normalised again: a bias moves the score by itself, and a repetition penalty multiplies.
  * a beam's score is its sum / (number of tokens, stop token counted, decoder prompt not) ** length_penalty.
Rounding must not decide: rows are drawn again where a border is near, answers and beams are kept where margins are
wide, and beams must come out the same with noise on every logit that is larger than the error of fp32.
"""
import itertools
import json
import pathlib
import sys

import numpy as np
import torch
import transformers
from decoding_cases import EOS, START, A, P, greedy_options, make_history, make_row, mixture, single_option_cases
from safetensors.torch import load_file
from transformers import LogitsProcessorList, T5Gemma2ForConditionalGeneration
from transformers.generation import logits_process as lp

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "tests" / "golden" / "data" / "decoding"
SEED = 20260
DEMO, HF = "models/demo", "tests/golden/data/hf/"
NOISE, NOISE_RUNS = 3e-5, 4


def short(values):
    """fp32 values as the shortest decimals that read back; None for -infinity."""
    if np.ndim(values) == 0:
        value = np.float32(values)
        return None if np.isneginf(value) else float(str(value))
    return [short(value) for value in np.asarray(values, dtype=np.float32)]


def write(name, cases, **extra):
    head = {"transformers": transformers.__version__, "torch": torch.__version__, "seed": SEED, **extra}
    lines = ",\n".join(json.dumps(case, separators=(",", ":"), allow_nan=False) for case in cases)
    text = json.dumps(head)[:-1] + ', "cases": [\n' + lines + "\n]}\n"
    (OUT / name).write_text(text)
    print(f"{name}: {len(cases)} cases, {len(text):,} bytes")


# ---------------------------------------------------------------------------------------------- processors


class PresenceAndFrequency(lp.LogitsProcessor):
    """logit -= presence * [count > 0] + frequency * count, over the answer's tokens."""

    def __init__(self, presence, frequency, prompt_length):
        self.presence, self.frequency = np.float32(presence), np.float32(frequency)
        self.prompt_length = prompt_length

    def __call__(self, input_ids, scores):
        rows = scores.numpy().copy()
        for row, ids in zip(rows, input_ids[:, self.prompt_length:].tolist()):
            for token in set(ids):
                row[token] -= self.presence + self.frequency * np.float32(ids.count(token))
        return torch.from_numpy(rows)


def make_processors(options, prompt_length):
    """transformers' processors in transformers' order, without those that only sampling uses."""
    made = LogitsProcessorList()
    stops = options.get("stop_token_ids", [EOS])
    if options.get("logit_bias"):
        made.append(lp.SequenceBiasLogitsProcessor(
            [[[int(token)], float(bias)] for token, bias in options["logit_bias"].items()]))
    if options.get("repetition_penalty", 1) != 1:
        made.append(lp.RepetitionPenaltyLogitsProcessor(
            float(options["repetition_penalty"]), prompt_ignore_length=prompt_length))
    if options.get("presence_penalty") or options.get("frequency_penalty"):
        made.append(PresenceAndFrequency(
            options.get("presence_penalty", 0), options.get("frequency_penalty", 0), prompt_length))
    if options.get("no_repeat_ngram_size"):
        made.append(lp.NoRepeatNGramLogitsProcessor(options["no_repeat_ngram_size"]))
    if options.get("bad_words_token_ids"):
        made.append(lp.NoBadWordsLogitsProcessor(options["bad_words_token_ids"], stops))
    if options.get("min_tokens"):
        made.append(lp.MinNewTokensLengthLogitsProcessor(prompt_length, options["min_tokens"], stops))
    return made


def near_a_border(row, options):
    """Whether a float64 walk through top_k, top_p, min_p passes a border so closely that rounding could decide."""
    values = np.sort(row[np.isfinite(row)].astype(np.float64))  # Ascending.
    k = options.get("top_k", 0)
    if 0 < k < len(values):
        gap = values[-k] - values[-k - 1]
        if 0 < gap < 8 * np.spacing(np.float32(abs(values[-k]))):
            return True
        values = values[values >= values[-k]]
    exps = np.exp(values - values[-1])
    if options.get("top_p", 1) < 1:
        cumulative = np.cumsum(exps / exps.sum())[:-1]  # The best stays whatever the sum.
        border = 1 - options["top_p"]
        if np.any(np.abs(cumulative - border) < 1e-5):
            return True
        cut = int(np.sum(cumulative <= border))
        if 0 < cut and values[cut] - values[cut - 1] < 1e-5:
            return True  # A tie across the border: the order of the sort would decide.
        values, exps = values[cut:], exps[cut:]
    if options.get("min_p", 0) > 0:
        ratio = exps[exps < 1]
        return bool(np.any(np.abs(ratio - options["min_p"]) < 1e-5 * options["min_p"]))
    return False


def processor_case(name, logits, decoder_prompt, answer, options):
    options = {"temperature": 1.0, **options}
    ids = torch.tensor([decoder_prompt + answer])
    row = torch.from_numpy(np.asarray(logits, dtype=np.float32))[None]
    processors = make_processors(options, len(decoder_prompt))
    if options["temperature"] != 1:
        processors.append(lp.TemperatureLogitsWarper(float(options["temperature"])))
    processed = processors(ids, row.clone())
    if near_a_border(processed[0].numpy(), options):
        return None
    if name.endswith("/ties") and "top_k" in options:
        ordered = torch.sort(processed[0], descending=True).values
        if ordered[options["top_k"] - 1] != ordered[options["top_k"]]:
            return None
    samplers = LogitsProcessorList()
    if options.get("top_k", 0):
        samplers.append(lp.TopKLogitsWarper(options["top_k"]))
    if options.get("top_p", 1) < 1:
        samplers.append(lp.TopPLogitsWarper(options["top_p"]))
    if "min_p" in options:
        samplers.append(lp.MinPLogitsWarper(options["min_p"]))
    final = samplers(ids, processed.clone())[0]
    kept = torch.isfinite(final).nonzero()[:, 0]
    if len(kept) < 3 and (name.startswith("mixture") or name.endswith("/ties")):
        return None
    probabilities = torch.softmax(final.double(), -1)[kept]
    return {
        "name": name, "logits": short(row[0]),
        "history": {"decoder_prompt": decoder_prompt, "answer": answer}, "options": options,
        "processed": short(processed[0]), "kept": kept.tolist(),
        "probabilities": [float(f"{p:.12g}") for p in probabilities.tolist()],
    }


def drawn(index, make):
    for attempt in range(1000):
        case = make(np.random.default_rng([SEED, index, attempt]))
        if case is not None:
            return case
    raise SystemExit(f"case {index}: every row lies near a border")


def check_that_prompts_are_ignored():
    row = torch.tensor([[1.0, -1.0, 2.0, -2.0]])
    repetition = lp.RepetitionPenaltyLogitsProcessor(2.0, prompt_ignore_length=2)
    assert repetition(torch.tensor([[0, 1, 2, 3]]), row.clone()).tolist() == [[1, -1, 1, -4]]


def write_processors():
    check_that_prompts_are_ignored()
    singles = list(single_option_cases())
    cases = [
        drawn(i, lambda rng: processor_case(name, make_row(rng, kind, 97), prompt, answer, options))
        for i, (name, kind, prompt, answer, options) in enumerate(singles)
    ]

    def mixed(rng, index, vocab):
        prompt, answer = make_history(rng, vocab)
        row = make_row(rng, ["normal", "flat"][index % 2], vocab)
        return processor_case(f"mixture/{vocab}/{index}", row, prompt, answer, mixture(rng, vocab, prompt, answer))

    for i, vocab in enumerate([97] * 18 + [1000] * 6):
        cases.append(drawn(1000 + i, lambda rng: mixed(rng, i, vocab)))
    big = [{"top_k": 50}, {"top_p": 0.9}, {"min_p": 0.02}, {"temperature": 0.7, "top_k": 40, "top_p": 0.95}]
    for i, options in enumerate(big):
        cases.append(drawn(2000 + i, lambda rng: processor_case(
            "1000/" + ",".join(options), make_row(rng, "normal", 1000), P, A, options)))
    write("processors.json", cases)


# -------------------------------------------------------------------------------------------- whole models


def load(folder):
    return T5Gemma2ForConditionalGeneration.from_pretrained(
        ROOT / folder, dtype=torch.float32, attn_implementation="eager").eval()


def encode(model, prompt):
    ids = torch.tensor([prompt])
    return model.get_encoder()(input_ids=ids, attention_mask=torch.ones_like(ids)), torch.ones_like(ids)


def forward(model, encoded, tokens):
    """Logits [T, V] of a teacher-forced pass, without a cache."""
    states, mask = encoded
    return model(encoder_outputs=states, attention_mask=mask, decoder_input_ids=torch.tensor([tokens]),
                 use_cache=False).logits[0].float()


def finished_by(stop):
    return "length" if stop is None else {"stop": stop}


def greedy(model, prompt, options, max_new_tokens):
    """Greedy decoding through the processors; `generate` would let repetition count the start token."""
    encoded, tokens, stop, margin, logprobs = encode(model, prompt), [START], None, np.inf, []
    processors = make_processors(options, 1)
    for _ in range(max_new_tokens):
        raw = forward(model, encoded, tokens)[-1]
        row = processors(torch.tensor([tokens]), raw[None].clone())[0]
        best = torch.topk(row, 2)
        margin = min(margin, float(best.values[0] - best.values[1]))
        token = int(best.indices[0])
        logprobs.append(float(torch.log_softmax(raw, -1)[token]))
        if token in options["stop_token_ids"]:
            stop = token
            break
        tokens.append(token)
    return {
        "token_ids": tokens[1:], "finished_by": finished_by(stop),
        "logprobs": short(logprobs[:len(tokens) - 1]), "cumulative_logprob": short(np.sum(logprobs)),
        "least_margin": round(margin, 5),
    }


def held_out():
    lines = (ROOT / "tests/golden/data/demo/text.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def random_prompts(count, seed):
    rng = np.random.default_rng([SEED, seed])
    return [[START] + rng.integers(5, 500, rng.integers(3, 15)).tolist() for _ in range(count)]


def write_greedy():
    cases = []
    for folder, count in ((DEMO, 12), (HF + "text_full", 8)):
        model = load(folder)
        prompts = [line["prompt_token_ids"] for line in held_out()[40:110]] if folder == DEMO else random_prompts(24, 1)
        plain = [greedy(model, prompt, {"stop_token_ids": [EOS]}, 24) for prompt in prompts]
        for option in greedy_options([0, 0]):
            changed, same = [], []
            for prompt, before in zip(prompts, plain):
                if len(before["token_ids"]) < 2 or len(changed) == count:
                    continue
                options = {"stop_token_ids": [EOS], **greedy_options(before["token_ids"], folder == DEMO)[option]}
                answer = greedy(model, prompt, options, 24)
                if answer["least_margin"] > 1e-3:
                    (changed if answer["token_ids"] != before["token_ids"] else same).append({
                        "name": option, "model": folder, "prompt_token_ids": prompt, "options": options,
                        "max_new_tokens": 24, **answer})
            print(f"  greedy {folder} {option}: {len(changed)} answers changed, {len(same)} not")
            cases += (changed + same)[:count]
    write("greedy.json", cases)


# --------------------------------------------------------------------------------------------------- beams


class Noise(lp.LogitsProcessor):
    """Another normal noise on every logit of every beam of every row."""

    def __init__(self):
        self.generator = torch.Generator().manual_seed(SEED)

    def __call__(self, input_ids, scores):
        return scores + NOISE * torch.randn(scores.shape, generator=self.generator)


def generate(model, prompt, decoder_prompt, options, max_new_tokens, noisy_rows=0, own=None):
    """All num_beams sequences: [(ids with the stop token, stop or None, score)], best first.
    `noisy_rows`: that many times the same prompt, each with other noise: the sequences of all, in one list.
    `own`: options as generate's own arguments, instead of as a list of processors."""
    processors = make_processors(options, len(decoder_prompt)) if own is None else LogitsProcessorList()
    if noisy_rows:
        processors.insert(0, Noise())
    rows, beams, stops = max(1, noisy_rows), options["num_beams"], options["stop_token_ids"]
    ids = torch.tensor([prompt] * rows)
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), decoder_input_ids=torch.tensor([decoder_prompt] * rows),
        do_sample=False, num_beams=beams, num_return_sequences=beams, length_penalty=options["length_penalty"],
        early_stopping=options["early_stopping"], max_new_tokens=max_new_tokens, eos_token_id=stops,
        logits_processor=processors, output_scores=True, return_dict_in_generate=True, **(own or {}),
    )
    results = []
    lengths = (out.beam_indices >= 0).sum(1).tolist()  # Not by the padding: a model may choose its id.
    for row, length, score in zip(out.sequences.tolist(), lengths, out.sequences_scores.tolist()):
        tokens = row[len(decoder_prompt):len(decoder_prompt) + length]
        stop = tokens[-1] if tokens[-1] in stops else None
        assert stop is not None or length == max_new_tokens
        assert not set(tokens[:-1]) & set(stops)
        results.append((tokens, stop, score))
    return results


def own_arguments(options):
    """The same options in the words of generate, which has no penalty that spares the decoder's prompt."""
    own = {}
    if "logit_bias" in options:
        own["sequence_bias"] = [[[int(t)], float(b)] for t, b in options["logit_bias"].items()]
    if "no_repeat_ngram_size" in options:
        own["no_repeat_ngram_size"] = options["no_repeat_ngram_size"]
    if "bad_words_token_ids" in options:
        own["bad_words_ids"] = options["bad_words_token_ids"]
    if "min_tokens" in options:
        own["min_new_tokens"] = options["min_tokens"]
    return own


def beam_case(model, name, folder, prompt, decoder_prompt, options, max_new_tokens):
    """A case, or None where fp32 rounding could decide. Scores are computed again from a teacher-forced pass."""
    arguments = (model, prompt, decoder_prompt, options, max_new_tokens)
    results = generate(*arguments)
    scores = np.array([score for _, _, score in results])
    if np.any(scores[:-1] - scores[1:] < NOISE) or np.any(scores < -1e8):
        return None
    noisy = generate(*arguments, noisy_rows=NOISE_RUNS)
    if [tokens for tokens, _, _ in noisy] != [tokens for tokens, _, _ in results] * NOISE_RUNS:
        return None
    own = own_arguments(options)
    if own and not {"repetition_penalty", "presence_penalty", "frequency_penalty"} & set(options):
        assert generate(*arguments, own=own) == results, name
    encoded, processors, sequences = encode(model, prompt), make_processors(options, len(decoder_prompt)), []
    for tokens, stop, score in results[:options["n"]]:
        path = decoder_prompt + tokens
        raw = torch.log_softmax(forward(model, encoded, path[:-1]), -1)
        total, raw_total = 0.0, 0.0
        for position in range(len(decoder_prompt), len(path)):
            row = raw[position - 1]
            raw_total += float(row[path[position]])
            total += float(processors(torch.tensor([path[:position]]), row[None].clone())[0, path[position]])
        again = total / len(tokens) ** options["length_penalty"]
        assert abs(again - score) < 2e-4 * max(1, abs(score)), (name, again, score)
        sequences.append({
            "token_ids": tokens[:-1] if stop is not None else tokens, "finished_by": finished_by(stop),
            "score": short(score), "cumulative_logprob": short(raw_total)})
    return {
        "name": name, "model": folder, "prompt_token_ids": prompt, "decoder_prompt_token_ids": decoder_prompt,
        "options": options, "max_new_tokens": max_new_tokens, "sequences": sequences}


GRID = list(itertools.product((0.5, 1.0, 2.0), (False, True, "never")))


def beam_grid(rng, models, beams, grid, max_new_tokens, stable, label, prefix_length=1):
    """Cases over `grid` for one prompt and one set of stop ids: of several stable draws, the one whose
    results differ most."""
    best, most = [], 0
    for _ in range(200):
        folder, model, prompts = models[rng.integers(len(models))]
        prompt = prompts[rng.integers(len(prompts))]
        options = {"num_beams": beams, "n": int(rng.integers(1, beams + 1)) if label != "long" else beams,
                   "length_penalty": 1.0, "early_stopping": False, "stop_token_ids": [EOS]}
        decoder_prompt = [START] + rng.integers(5, 500, prefix_length - 1).tolist()
        first = generate(model, prompt, decoder_prompt, options, max_new_tokens)
        if folder != DEMO:  # Random models do not know eos: let ids that their beams use end them.
            used = sorted({token for tokens, _, _ in first for token in tokens[1:] or tokens} - {EOS, START})
            if len(used) < min(4, beams):
                continue
            stops = rng.choice(used, rng.integers(1, 4), replace=False).tolist()
            options["stop_token_ids"] = [EOS] + sorted(stops)
        cases = []
        for penalty, early in grid:
            options = {**options, "length_penalty": penalty, "early_stopping": early}
            name = f"{label}/beams_{beams}/penalty_{penalty:g}/early_{str(early).lower()}"
            case = beam_case(model, name, folder, prompt, decoder_prompt, options, max_new_tokens)
            if case is None:
                break
            cases.append(case)
        if len(cases) < len(grid):
            continue
        different = len({json.dumps([s["token_ids"] for s in case["sequences"]]) for case in cases})
        if different > most:
            best, most = cases, different
        stable -= 1
        if stable == 0 or most == len(grid):
            break
    if not best:
        raise SystemExit(f"{label}: no draw is stable")
    print(f"  beams {label}, {beams}: {len(best)} cases, {most} different results")
    return best


def beam_option_cases(rng, models):
    """Beams with processors: a draw is tried until it is stable and the options change the result."""
    wanted = [{"repetition_penalty": 1.3}, {"repetition_penalty": 0.8}, {"no_repeat_ngram_size": 2},
              {"no_repeat_ngram_size": 1}, "logit_bias", "bad_words_token_ids", {"min_tokens": 6},
              {"presence_penalty": 0.6, "frequency_penalty": 0.4},
              {"repetition_penalty": 1.2, "no_repeat_ngram_size": 3, "min_tokens": 3, "logit_bias": {"1": 2.5}}]
    for index, extra in enumerate(wanted * 2):
        for _ in range(200):
            folder, model, prompts = models[rng.integers(len(models))]
            prompt = prompts[rng.integers(len(prompts))]
            decoder_prompt = [START] + rng.integers(5, 500, rng.integers(0, 3)).tolist()
            beams, limit = int(rng.choice([2, 3, 4, 8])), int(rng.choice([6, 16, 24]))
            penalty, early = GRID[rng.integers(len(GRID))]
            options = {"num_beams": beams, "n": beams, "length_penalty": penalty, "early_stopping": early,
                       "stop_token_ids": [EOS]}
            tokens = generate(model, prompt, decoder_prompt, options, limit)[0][0]
            if len(tokens) < 4:
                continue
            if folder != DEMO:
                options["stop_token_ids"] = [EOS] + sorted({tokens[2], tokens[-1]} - {EOS})
            before = generate(model, prompt, decoder_prompt, options, limit)
            added = extra
            if extra == "logit_bias":
                added = {extra: {str(tokens[0]): -2.5, str(tokens[1]): 1.75, "1": 3.0}}
            elif extra == "bad_words_token_ids":
                added = {extra: [[tokens[1]], tokens[:2], [EOS], [EOS + 6]]}
            options = {**options, **added}
            name = f"options_{index}/" + ",".join(added)
            case = beam_case(model, name, folder, prompt, decoder_prompt, options, limit)
            after = case and [s["token_ids"] for s in case["sequences"]]
            if case and after != [t[:-1] if s is not None else t for t, s, _ in before]:
                yield case
                break
        else:
            raise SystemExit(f"beams with {extra}: no draw is stable")


def write_beams():
    rng = np.random.default_rng([SEED, 3])
    demo = [(DEMO, load(DEMO), [line["prompt_token_ids"] for line in held_out()[:120]])]
    tiny = []
    for name in ("text_full", "text_sliding", "asymmetric", "untied", "eoi_eos_prefix"):
        inputs = load_file(ROOT / HF / name / "inputs.safetensors")
        rows = [ids[mask.bool()].tolist() for ids, mask in zip(inputs["input_ids"], inputs["attention_mask"])]
        tiny.append((HF + name, load(HF + name), rows))
    cases = []
    for beams in (2, 3, 4, 8):
        cases += beam_grid(rng, tiny, beams, GRID, 24, 15, "long")
        cases += beam_grid(rng, tiny, beams, GRID[beams % 3::3], 6, 4, "six")
        cases += beam_grid(rng, tiny, beams, GRID[(beams + 1) % 3::3], 3, 4, "three")
        cases += beam_grid(rng, demo, beams, GRID[(beams + 2) % 3::3], 24, 8, "demo")
    cases += beam_grid(rng, tiny, 4, GRID[::4], 16, 6, "decoder_prompt", prefix_length=4)
    odd = list(itertools.product((0.0, -1.0), (False, True, "never")))
    cases += beam_grid(rng, tiny, 4, odd, 24, 20, "odd")
    cases += beam_grid(rng, tiny, 3, [(1.0, False), (2.0, "never")], 1, 1, "one")
    for beams, penalty in ((2, 2.0), (3, 1.0), (4, 0.5), (4, 2.0), (8, 1.0)):  # Seldom do these differ: search.
        cases += beam_grid(rng, tiny, beams, [(penalty, False), (penalty, "never")], 24, 150, "never")
    for penalty in (0.0, -1.0):
        cases += beam_grid(rng, tiny, 3, [(penalty, False), (penalty, True)], 24, 60, "odd_early")
    cases += beam_option_cases(rng, tiny + demo)
    write("beams.json", cases, noise=NOISE)


# -------------------------------------------------------------------------------------------------- scores


def write_scores():
    """Targets: the true answer, another prompt's answer, and random ids, 1 to 20 tokens long."""
    rng, model, cases = np.random.default_rng([SEED, 4]), load(DEMO), []
    lines = sorted(held_out(), key=lambda line: len(line["prompt_token_ids"]))
    for index, position in enumerate(np.linspace(0, len(lines) - 1, 12).astype(int)):
        line = lines[position]
        targets = [line["token_ids"], lines[int(rng.integers(len(lines)))]["token_ids"],
                   rng.integers(3, 500, [1, 2, 5, 13, 19, 20][index % 6]).tolist()]
        encoded, scored = encode(model, line["prompt_token_ids"]), []
        for target in targets[index % 3:] if index % 2 else targets:
            rows = torch.log_softmax(forward(model, encoded, [START] + target), -1)
            logprobs = [float(rows[i, token]) for i, token in enumerate(target + [EOS])]
            scored.append({
                "token_ids": target, "logprobs": short(logprobs[:-1]), "eos_logprob": short(logprobs[-1]),
                "sum_logprob": float(np.sum(logprobs[:-1])), "sum_logprob_eos": float(np.sum(logprobs))})
        cases.append({"model": DEMO, "prompt_token_ids": line["prompt_token_ids"], "targets": scored})
    write("scores.json", cases)


@torch.no_grad()
def main():
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)  # The models are tiny; and sums do not depend on the machine's cores.
    OUT.mkdir(parents=True, exist_ok=True)
    parts = {"processors": write_processors, "greedy": write_greedy, "beams": write_beams, "scores": write_scores}
    for part in sys.argv[1:] or parts:
        parts[part]()


if __name__ == "__main__":
    main()
