"""A million requests with answers of one token take no more memory than a thousand, but 16 bytes a line."""
import unittest

from run_tandem import DATA, TandemTest

LINES = 1_000_000


class MillionAnswersTest(TandemTest):
    def peak_of(self, lines, ordered):
        requests = self.dir / f"{lines}.jsonl"
        with open(requests, "w", encoding="utf-8") as file:
            for i in range(lines):
                # 100,000 different prompts: some that are in flight together are equal.
                prompt = f"[5, {5 + i % 317}, {5 + i // 317 % 317}]"
                file.write(f'{{"id": {i}, "prompt_token_ids": {prompt}, "max_tokens": 1}}\n')
        results = self.dir / "results.jsonl"
        peaks, _ = self.peak_kib(
            "generate", "--model", DATA / "hf" / "text_full", "--input", requests, "--output", results,
            "--overwrite", "--kv-cache-mb", "16", "--max-num-seqs", "256", "--threads", "1",
            *([] if ordered else ["--unordered"]),
        )
        with open(results, encoding="utf-8") as file:
            self.assertEqual(sum('"outputs"' in line for line in file), lines)
        if ordered:
            with open(results, encoding="utf-8") as file:
                for number, line in enumerate(file):
                    self.assertTrue(line.startswith(f'{{"id":{number},'), line)
        return peaks[0] * 1024

    def test_in_order(self):
        self.check(ordered=True)

    def test_unordered(self):
        self.check(ordered=False)

    def check(self, ordered):
        few = self.peak_of(1000, ordered)
        many = self.peak_of(LINES, ordered)
        self.assertLess(many, few + 16 * LINES + 50e6, f"{few} bytes for 1,000 lines")


if __name__ == "__main__":
    unittest.main()
