"""The requests behind tests/golden/data/decoding: rows, histories and options for make_decoding_goldens.py."""
import numpy as np

START, EOS = 2, 1


def make_row(rng, kind, vocab):
    if kind == "ties":  # Steps of 1/2, so that groups of ids are exactly equal.
        return np.round(rng.normal(0, 3, vocab) * 2) / 2
    if kind == "equal":
        return np.full(vocab, 0.75)
    if kind == "large":
        return rng.choice([-1e4, 1e4], vocab, p=[0.8, 0.2]) + rng.normal(0, 3, vocab)
    return rng.normal(0, 3 if kind == "normal" else 0.7, vocab)


def make_history(rng, vocab):
    """A decoder prompt of 1 to 3 tokens; an answer of few distinct ids, so that n-grams repeat."""
    few = rng.choice(np.arange(3, vocab), 4, replace=False).tolist()
    prompt = [START] + rng.choice(few, rng.integers(0, 3)).tolist()
    return prompt, rng.choice(few, rng.integers(6, 12)).tolist()


P, A = [START, 11, 12], [11, 12, 13, 11, 12, 14, 11, 12]  # "11 12" and "12 13" or "12 14" repeat.
SHORT_A = [20, 21, 20]


def single_option_cases():
    """(name, row kind, decoder prompt, answer, options), one option at a time, at its extremes too."""
    def each(option, values, kind="normal"):
        for value in values:
            yield f"{option}/{value}" + ("" if kind == "normal" else f"/{kind}"), kind, P, A, {option: value}

    yield "off", "normal", P, A, {}
    yield from each("temperature", [0.1, 0.7, 2.0])
    yield from each("top_k", [1, 2, 5, 96, 97, 500])
    yield from each("top_p", [1e-6, 0.5, 0.9, 0.999])
    yield from each("top_p", [0.1, 0.5, 0.95], "flat")
    yield from each("min_p", [0.01, 0.1, 0.5, 1.0])
    yield from each("repetition_penalty", [0.5, 0.9, 1.3, 2.0])
    yield from each("presence_penalty", [-1.5, 0.5, 2.0])
    yield from each("frequency_penalty", [-0.7, 0.3, 2.0])
    for option in ("repetition_penalty", "presence_penalty", "frequency_penalty"):
        yield f"{option}/prompt_alone", "normal", P, [], {option: 1.7}
        yield f"{option}/prompt_not_counted", "normal", P, SHORT_A, {option: 1.7}
    yield "presence_and_frequency", "normal", P, A, {"presence_penalty": 0.6, "frequency_penalty": 0.4}
    yield from each("no_repeat_ngram_size", [1, 2, 3, 4])
    yield "no_repeat_ngram_size/start_token", "normal", [START], [], {"no_repeat_ngram_size": 1}
    yield "no_repeat_ngram_size/too_short", "normal", [START], [7], {"no_repeat_ngram_size": 3}
    yield "no_repeat_ngram_size/prompt", "normal", [START, 11, 12, 13], [11, 12], {"no_repeat_ngram_size": 3}
    for name, words in {
        "one": [[30]], "two": [[12, 31]], "two_unmatched": [[13, 31]], "three": [[11, 12, 32]],
        "three_unmatched": [[13, 12, 32]], "several": [[30], [12, 31], [11, 12, 32], [14, 33], [12, 30]],
        "whole_history": [P + A + [34]], "longer_than_history": [[5] + P + A + [34]],
        "repeated_last": [[12, 11], [11, 12, 11], [11, 12, 11]],
        "all_but_three": [[token] for token in range(3, 97)],
    }.items():
        yield f"bad_words/{name}", "normal", P, A, {"bad_words_token_ids": words}
    yield "bad_words/prompt", "normal", [START, 11], [], {"bad_words_token_ids": [[START, 11, 35], [11, 36]]}
    yield "bad_words/eos", "normal", P, A, {"bad_words_token_ids": [[EOS], [7]], "stop_token_ids": [EOS]}
    yield "bad_words/eos_alone", "normal", P, A, {"bad_words_token_ids": [[EOS]], "stop_token_ids": [EOS]}
    yield "bad_words/two_eos", "normal", P, A, {
        "bad_words_token_ids": [[EOS], [12, EOS], [9], [7]], "stop_token_ids": [EOS, 9]}
    for bias in (-100, 100, 0.25, -0.7):
        yield f"logit_bias/{bias}", "normal", P, A, {"logit_bias": {"11": bias}}
    yield "logit_bias/several", "normal", P, A, {
        "logit_bias": {"0": 3.5, "1": -2.25, "11": 100, "12": -100, "96": 1e-3}}
    for least in (7, 8, 9, 100):
        yield f"min_tokens/{least}", "normal", P, A, {"min_tokens": least, "stop_token_ids": [EOS]}
    yield "min_tokens/several_stops", "normal", P, A, {"min_tokens": 9, "stop_token_ids": [EOS, 5, 96]}
    yield "min_tokens/first", "normal", P, [], {"min_tokens": 1, "stop_token_ids": [EOS]}

    yield from each("top_k", [1, 2, 5, 20, 60], "ties")
    yield from each("top_k", [1, 50], "equal")
    yield from each("min_p", [0.3, 1.0], "ties")
    yield "top_k/9/min_p/ties", "ties", P, A, {"top_k": 9, "min_p": 0.05}
    yield "top_k/9/temperature/ties", "ties", P, A, {"top_k": 9, "temperature": 0.7}
    yield "top_k/9/top_p/ties", "ties", P, A, {"top_k": 9, "top_p": 0.8}
    yield "top_k/9/eight_left", "ties", P, A, {
        "top_k": 9, "bad_words_token_ids": [[token] for token in range(3, 92)]}
    yield "large", "large", P, A, {}
    for options in ({"temperature": 0.5}, {"temperature": 2.0, "top_k": 10}, {"top_p": 0.8}, {"min_p": 0.2},
                    {"repetition_penalty": 1.5}, {"logit_bias": {"11": 100, "40": -100}},
                    {"frequency_penalty": 2.0, "top_k": 30, "top_p": 0.9, "min_p": 0.01}):
        yield "large/" + ",".join(options), "large", P, A, options


def mixture(rng, vocab, prompt, answer):
    """Several options with random values."""
    tail = (prompt + answer)[-2:]
    draw = {
        "temperature": lambda: round(float(rng.uniform(0.3, 1.8)), 2),
        "top_k": lambda: int(rng.integers(2, vocab // 2)),
        "top_p": lambda: round(float(rng.uniform(0.3, 0.99)), 3),
        "min_p": lambda: round(float(rng.uniform(0.001, 0.2)), 3),
        "repetition_penalty": lambda: round(float(rng.uniform(0.7, 1.8)), 2),
        "presence_penalty": lambda: round(float(rng.uniform(-1, 2)), 2),
        "frequency_penalty": lambda: round(float(rng.uniform(-1, 2)), 2),
        "no_repeat_ngram_size": lambda: int(rng.integers(1, 4)),
        "bad_words_token_ids": lambda: [
            [int(rng.integers(3, vocab))], tail[1:] + [int(rng.integers(3, vocab))],
            tail + [int(rng.integers(3, vocab))], [int(t) for t in rng.integers(3, vocab, 2)]],
        "logit_bias": lambda: {
            str(int(t)): round(float(rng.normal(0, 4)), 2) for t in set(rng.integers(0, vocab, 4).tolist())},
        "min_tokens": lambda: int(rng.integers(1, 2 * len(answer))),
    }
    chosen = rng.choice(list(draw), rng.integers(3, len(draw) + 1), replace=False)
    options = {name: draw[name]() for name in draw if name in chosen}
    options["stop_token_ids"] = [EOS] + sorted(set(rng.integers(3, vocab, rng.integers(0, 3)).tolist()))
    return options


def greedy_options(plain, sure=False):
    """Options by name; some aim at the answer `plain` without options, so that they have to change it.
    A trained model is sure of its answers: the additive penalties that change those are large."""
    first, middle, last = plain[0], plain[len(plain) // 2], plain[-1]
    words = [[middle], [first, plain[1]], [plain[-2], last, EOS]]
    bias = {str(first): -20.0, str(middle): 4.5, "1": -6.0}
    return {
        "plain": {}, "repetition_penalty_1.3": {"repetition_penalty": 1.3},
        "repetition_penalty_0.8": {"repetition_penalty": 0.8}, "no_repeat_ngram_2": {"no_repeat_ngram_size": 2},
        "bad_words": {"bad_words_token_ids": words}, "logit_bias": {"logit_bias": bias},
        "min_tokens_12": {"min_tokens": 12, "stop_token_ids": sorted({EOS, middle})},
        "presence_and_frequency": {
            "presence_penalty": 8.0 if sure else 1.5, "frequency_penalty": 5.0 if sure else 0.75},
        "combination": {"repetition_penalty": 1.2, "presence_penalty": 0.5, "frequency_penalty": 0.75,
                        "no_repeat_ngram_size": 3, "bad_words_token_ids": words[:2],
                        "logit_bias": {"1": -3.0, str(last): 1.5}, "min_tokens": 8},
    }
