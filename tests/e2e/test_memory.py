"""Memory: a rank holds its shard, and a long input costs nothing."""
import random
import unittest

from run_tandem import DEMO, TandemTest, tandem

class MemoryTest(TandemTest):
    def test_a_rank_holds_its_shard(self):
        model = self.dir / "model"
        done = tandem("init", "--model", "t5gemma2_270m_270m", "--output", model)
        self.assertEqual(done.code, 0, done.err)
        chance = random.Random(1)
        requests = self.write_requests(
            [
                {
                    "id": i,
                    "prompt_token_ids": [chance.randrange(5, 250000) for _ in range(40)],
                    "max_tokens": 4,
                }
                for i in range(50)
            ]
        )
        peaks, run = self.peak_kib(
            "generate", "--model", model, "--input", requests, "--output",
            self.dir / "out.jsonl", "--kv-cache-mb", "128", "--threads", "1", ranks=3,
        )
        # 3 ranks: the encoder on the first, the decoder at TP 2 on the others. bf16: table 262,144 x 640 and
        # 100,270,080 parameters of layers in a stack; of k and v every rank has the whole.
        table = 262144 * 640 * 2
        layers = 100270080 * 2
        key_value = 18 * 2 * 640 * 256 * 2
        shards = {0: table + layers, 1: (table + layers + key_value) / 2}
        shards[2] = shards[1]
        for rank, peak in peaks.items():
            allowed = shards[rank] + (128 + 300) * 2**20
            self.assertLess(peak * 1024, allowed, f"rank {rank}: {run.err}")
        self.assertEqual(sorted(peaks), [0, 1, 2])

    def test_a_million_lines(self):
        def peak_of(lines):
            path = self.dir / f"{lines}.jsonl"
            with open(path, "w", encoding="utf-8") as file:
                for i in range(lines):
                    file.write('{"id": %d, "prompt_token_ids": [5, 6], "max_tokens": 1}\n' % i)
            peaks, _ = self.peak_kib(
                "generate", "--model", DEMO, "--input", path, "--output", "unused.jsonl",
                "--dry-run",
            )
            return peaks[0] * 1024

        few = peak_of(1000)
        many = peak_of(1000000)
        # 16 bytes a line to find duplicate ids, and 50 MB.
        self.assertLess(many, few + 16 * 1000000 + 50e6)


if __name__ == "__main__":
    unittest.main()
