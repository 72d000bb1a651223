"""The demo model's held-out prompts through the whole system: the reference's recorded answers."""
import unittest

from run_tandem import DATA, DEMO, TandemTest, read_lines


class DemoTest(TandemTest):
    def answers(self, *flags, ranks):
        self.held_out = read_lines(DATA / "demo" / "text.jsonl")
        requests = self.write_requests(
            [{"id": row["id"], "prompt": row["prompt"], "max_tokens": 48} for row in self.held_out]
        )
        results = self.generate(DEMO, requests, *flags, "--threads", "1", ranks=ranks)
        self.assertEqual([r["id"] for r in results], [row["id"] for row in self.held_out])
        return results

    def wrong(self, results):
        out = []
        for row, result in zip(self.held_out, results):
            answer = result["outputs"][0]
            got = (answer["text"], answer["token_ids"], answer["finish_reason"])
            if got != (row["text"], row["token_ids"], row["finish_reason"]):
                out.append((row["prompt"], row["text"], answer["text"]))
            self.assertEqual(result["usage"]["prompt_tokens"], len(row["prompt_token_ids"]))
        return out

    def test_float32_equals_the_reference_everywhere(self):
        layout = ("--coordinator", "own", "--encoder-tp", "1", "--decoder-tp", "2")
        results = self.answers("--dtype", "float32", *layout, ranks=4)
        self.assertEqual(self.wrong(results), [])

    def test_bfloat16_equals_it_in_99_of_100(self):
        results = self.answers("--dtype", "bfloat16", ranks=2)
        self.assertLessEqual(len(self.wrong(results)), len(results) // 100)


if __name__ == "__main__":
    unittest.main()
