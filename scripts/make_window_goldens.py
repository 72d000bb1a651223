#!/usr/bin/env python3
"""Writes tests/golden/data/windows: prompts of lengths around the sliding window, one row at a time.

A tiny random T5Gemma 2 with sliding and full layers is run by Hugging Face transformers (the version is
written beside the results) in fp32 with eager attention, each prompt alone, so that there is no padding:
greedy tokens, their log-probabilities and the two best of each step. Answers are longer than the decoder's window.
Seeds are tried upward until every greedy margin is over 0.01, a thousand times the error of fp32.

    python scripts/make_window_goldens.py            # needs torch and transformers >= 5.23
"""
import json
import math
import pathlib
import shutil

import torch
import transformers
from transformers import GenerationConfig, T5Gemma2Config, T5Gemma2ForConditionalGeneration

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "data" / "windows"
VOCAB, HIDDEN, BOS, EOS = 384, 64, 2, 1
CASES = {"even": {"window": 8, "kv_heads": 1}, "odd": {"window": 7, "kv_heads": 2}}
STEPS = 24


def stack(window, kv_heads):
    rope = {
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 4.0},
    }
    return {
        "vocab_size": VOCAB, "hidden_size": HIDDEN, "intermediate_size": 128, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": kv_heads, "head_dim": 16,
        "query_pre_attn_scalar": 16, "sliding_window": window, "rope_parameters": rope,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    }


@torch.no_grad()
def make_model(case, seed):
    text = stack(**case)
    vision = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "image_size": 56, "patch_size": 14, "vision_use_head": False,
    }
    config = T5Gemma2Config(
        encoder={"text_config": dict(text), "vision_config": vision, "mm_tokens_per_image": 4,
                 "boi_token_index": VOCAB - 3, "eoi_token_index": VOCAB - 2,
                 "image_token_index": VOCAB - 1},
        decoder=dict(text), image_token_index=VOCAB - 1,
    )
    model = T5Gemma2ForConditionalGeneration._from_config(config, attn_implementation="eager").eval()
    generator = torch.Generator().manual_seed(seed)
    for name, weight in sorted(model.named_parameters()):
        noise = torch.randn(weight.shape, generator=generator)
        if name.endswith("decoder.norm.weight"):
            weight.copy_(noise - 1.0)  # Random signs: a tied model must not repeat its input.
        elif name.endswith(("q_norm.weight", "k_norm.weight")):
            weight.copy_(noise * 0.1 + 0.5)
        elif "norm" in name:
            weight.copy_(noise * 0.1)
        elif name.endswith("embed_tokens.weight"):
            weight.copy_(noise * (2.4 / math.sqrt(HIDDEN)))
        elif weight.dim() == 2:
            weight.copy_(noise / math.sqrt(weight.shape[1]))
        else:
            weight.copy_(noise * 0.1)
    model.generation_config = GenerationConfig(
        bos_token_id=BOS, eos_token_id=EOS, pad_token_id=0, decoder_start_token_id=BOS
    )
    return model


def prompts_of(window, seed):
    half = window // 2
    lengths = [half - 1, half, half + 1, window - 1, window, window + 1, 2 * window, 4 * window]
    generator = torch.Generator().manual_seed(seed + 1)
    return [
        [BOS] + torch.randint(5, VOCAB - 4, (n - 1,), generator=generator).tolist() for n in lengths
    ]


@torch.no_grad()
def answer(model, prompt):
    """Greedy, without a cache: one forward pass over all tokens a step."""
    ids = torch.tensor([prompt])
    encoded = model.get_encoder()(input_ids=ids, attention_mask=torch.ones_like(ids))
    tokens, rows = [BOS], []
    for _ in range(STEPS):
        logits = model(
            encoder_outputs=encoded, attention_mask=torch.ones_like(ids),
            decoder_input_ids=torch.tensor([tokens]), use_cache=False,
        ).logits[0, -1].float()
        logprobs = torch.log_softmax(logits, -1)
        top = torch.topk(logits, 2)
        token = int(top.indices[0])
        rows.append({
            "token": token, "logprob": float(logprobs[token]),
            "margin": float(top.values[0] - top.values[1]), "second": int(top.indices[1]),
        })
        if token == EOS:
            break
        tokens.append(token)
    return rows


def main():
    for name, case in CASES.items():
        for seed in range(1, 200):
            model = make_model(case, seed)
            prompts = prompts_of(case["window"], seed)
            answers = [answer(model, prompt) for prompt in prompts]
            margin = min(row["margin"] for rows in answers for row in rows)
            distinct = min(len({row["token"] for row in rows}) for rows in answers)
            shortest = min(len(rows) for rows in answers)
            if margin > 0.01 and distinct >= 5 and shortest > 2 * case["window"]:
                break
        else:
            raise SystemExit(f"{name}: no seed is good enough")
        folder = OUT / name
        shutil.rmtree(folder, ignore_errors=True)
        model.save_pretrained(folder)
        expected = {
            "transformers": transformers.__version__, "seed": seed, "window": case["window"],
            "least_margin": margin,
            "rows": [{"prompt": p, "steps": a} for p, a in zip(prompts, answers)],
        }
        (folder / "expected.json").write_text(json.dumps(expected) + "\n")
        print(f"{name}: seed {seed}, least margin {margin:.4f}, lengths {[len(p) for p in prompts]}")


if __name__ == "__main__":
    main()
