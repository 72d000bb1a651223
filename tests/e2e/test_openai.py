"""OpenAI batch files run unchanged, beside lines of our own, and give the same bytes each time."""
import json
import unittest

from run_tandem import DEMO, SOURCE, TandemTest, tandem

EXAMPLE = SOURCE / "examples" / "openai_batch.jsonl"


class OpenAiBatches(TandemTest):
    def test_the_example(self):
        results = self.generate(DEMO, EXAMPLE, expect=3)
        self.assertEqual([r["custom_id"] for r in results], [f"request-{i}" for i in range(1, 5)])
        self.assertEqual([r["error"] for r in results], [None] * 4)
        self.assertEqual([r["response"]["status_code"] for r in results], [200, 200, 200, 400])
        self.assertEqual(len({r["id"] for r in results}), 4)
        roman, total, chat, refused = (r["response"]["body"] for r in results)
        self.assertEqual((roman["object"], roman["model"]), ("text_completion", "demo"))
        (choice,) = roman["choices"]
        self.assertEqual((choice["text"], choice["index"], choice["logprobs"], choice["finish_reason"]),
                         ("MCDXLVIII", 0, None, "stop"))
        usage = roman["usage"]
        self.assertEqual(usage["total_tokens"], usage["prompt_tokens"] + usage["completion_tokens"])
        logprobs = total["choices"][0]["logprobs"]
        self.assertEqual("".join(logprobs["tokens"]), total["choices"][0]["text"])
        for i, token in enumerate(logprobs["tokens"]):
            self.assertEqual(logprobs["text_offset"][i], len("".join(logprobs["tokens"][:i])))
            self.assertEqual(logprobs["top_logprobs"][i][token], logprobs["token_logprobs"][i])
        self.assertEqual(chat["object"], "chat.completion")
        self.assertEqual(chat["choices"][0]["message"],
                         {"role": "assistant", "content": "XII", "refusal": None})
        for token in chat["choices"][0]["logprobs"]["content"]:
            self.assertEqual(bytes(token["bytes"]).decode(), token["token"])
            self.assertEqual(len(token["top_logprobs"]), 1)
        self.assertEqual(refused["error"]["param"], "messages")
        self.assertEqual(refused["error"]["type"], "invalid_request_error")

    def test_two_runs_give_the_same_bytes(self):
        outputs = []
        for i in range(2):
            path = self.dir / f"out{i}.jsonl"
            run = tandem("generate", "--model", DEMO, "--input", EXAMPLE, "--output", path,
                         "--max-num-seqs", 1 + 3 * i)
            self.assertEqual(run.code, 3, run.err)
            outputs.append(path.read_bytes())
        self.assertEqual(outputs[0], outputs[1])

    def test_both_kinds_of_lines_share_their_ids(self):
        body = {"model": "demo", "prompt": "roman: 9"}
        requests = self.write_requests([
            {"id": "a", "prompt": "roman: 9"},
            {"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": body},
            {"custom_id": "b", "method": "POST", "url": "/v1/completions", "body": body},
            {"id": "b", "prompt": "roman: 9"},
        ])
        results = self.generate(DEMO, requests, expect=3)
        self.assertEqual(results[1]["response"]["body"]["error"]["code"], "duplicate_id")
        self.assertEqual(results[1]["response"]["body"]["error"]["param"], "custom_id")
        self.assertEqual(results[2]["response"]["status_code"], 200)
        self.assertEqual(results[3]["error"]["code"], "duplicate_id")
        self.assertEqual(json.dumps(results[0]["id"]), '"a"')


if __name__ == "__main__":
    unittest.main()
