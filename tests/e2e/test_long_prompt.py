"""A prompt of 32,768 tokens goes through the 270m model, in memory that no score matrix would fit."""
import random
import unittest

from run_tandem import TandemTest, tandem

TOKENS = 32768


class LongPromptTest(TandemTest):
    def test_memory_stays_bounded(self):
        model = self.dir / "model"
        done = tandem("init", "--model", "t5gemma2_270m_270m", "--output", model)
        self.assertEqual(done.code, 0, done.err)
        chance = random.Random(1)
        requests = self.write_requests(
            [
                {
                    "id": "long",
                    "prompt_token_ids": [chance.randrange(1000, 200000) for _ in range(TOKENS)],
                    "max_tokens": 2,
                    "ignore_eos": True,
                }
            ]
        )
        output = self.dir / "out.jsonl"
        peaks, run = self.peak_kib(
            "generate", "--model", model, "--input", requests, "--output", output,
            "--kv-cache-mb", "1024",
        )
        self.assertIn(f'"prompt_tokens":{TOKENS},"completion_tokens":2', output.read_text(), run.err)
        # 0.74 GB of weights, 0.6 GB of encoder K/V, and activations of the encoder: a score matrix of one
        # layer alone is 4 heads x 32,768^2 x 4 B = 17 GB.
        self.assertLess(peaks[0] * 1024, 2.5e9)


if __name__ == "__main__":
    unittest.main()
