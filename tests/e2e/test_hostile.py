"""A thousand hostile lines among a thousand good ones: each gets what it deserves, and no good answer
changes by a byte."""
import json
import random
import unittest

from run_tandem import DEMO, TandemTest, tandem

COUNT = 1000
HUGE = 10_000_000

# JSON texts that are no value of a field, by field; each must be refused with the field's name.
NO_INTEGER = ["-1.5", '"64"', "[]", "{}", "true", "1e300", "99999999999999999999", "[[1]]", '"NaN"']
NO_NUMBER = ['"hot"', "[0.5]", "{}", "false", "1e300", "-1e300", "123456789012345678901234567890"]
NO_BOOLEAN = ["0", "1", '"true"', "[]", "{}", "0.5"]
NO_IDS = ["7", '"2 3"', "{}", "[-1]", "[2.5]", "[[2]]", "[null]", "[4294967296]", "[999999]", "[true]"]
BAD_VALUES = {
    "id": ["true", "1.5", "[]", "{}", "1e3"],
    "prompt": ["7", "[]", "{}", "true", '["roman: 9"]', '{"a":{"b":[]}}'],
    "images": ['["a.png"]', '"a.png"', "[1]", "{}"],
    "decoder_prompt": ["7", "[]", "{}", "false"],
    "decoder_prompt_token_ids": NO_IDS,
    "max_tokens": NO_INTEGER + ["0", "-1", "2147483648"],
    "min_tokens": NO_INTEGER + ["-1", "2147483648", "9"],
    "ignore_eos": NO_BOOLEAN,
    "temperature": NO_NUMBER + ["-0.1", "1e-9", "101"],
    "top_k": NO_INTEGER + ["-1"],
    "top_p": NO_NUMBER + ["0", "-0.5", "1.01", "1e-300"],
    "min_p": NO_NUMBER + ["-0.01", "1.5"],
    "seed": ["0.5", '"1"', "[]", "{}", "true", "9223372036854775808", "-9223372036854775809"],
    "n": NO_INTEGER + ["0", "-3", "257"],
    "best_of": NO_INTEGER + ["0", "257"],
    "num_beams": NO_INTEGER + ["0", "65"],
    "length_penalty": NO_NUMBER + ["101"],
    "early_stopping": ["0", '"sometimes"', "[]", "{}", '"true"'],
    "repetition_penalty": NO_NUMBER + ["0", "-1"],
    "presence_penalty": NO_NUMBER + ["-101"],
    "frequency_penalty": NO_NUMBER + ["101"],
    "no_repeat_ngram_size": NO_INTEGER + ["-1"],
    "bad_words": ['"a"', '[""]', "[1]", "{}", '[["a"]]', "[null]", "7"],
    "logit_bias": ["[]", '{"x":1}', '{"7":"1"}', '{"7":101}', '{"7":null}', '{"-7":1}', '{"999999":1}',
                   '{"7":1,"07":2}', '{"7":{}}', "3", '{"99999999999999":1}'],
    "stop": ["7", '""', "[1]", '[""]', "{}", "true", '[["a"]]', json.dumps(["s"] * 65)],
    "stop_token_ids": NO_IDS,
    "include_stop_str_in_output": NO_BOOLEAN,
    "logprobs": NO_INTEGER + ["-1", "1025"],
    "skip_special_tokens": NO_BOOLEAN,
}
# Fields that exclude each other, and the one that the message is about.
CONTRADICTIONS = [
    ('"min_tokens":9,"max_tokens":8', "min_tokens"),
    ('"n":3,"best_of":2', "n"),
    ('"n":5,"num_beams":4', "n"),
    ('"num_beams":2,"temperature":0.5', "num_beams"),
    ('"num_beams":2,"stop":"x"', "num_beams"),
    ('"num_beams":2,"best_of":2', "num_beams"),
    ('"prompt_token_ids":[2,5]', "prompt_token_ids"),
    ('"decoder_prompt":"a","decoder_prompt_token_ids":[2]', "decoder_prompt_token_ids"),
]
# Bodies of OpenAI lines, by url, and what is at fault.
BAD_BODIES = [
    ("/v1/completions", "{}", "prompt"),
    ("/v1/completions", '{"prompt":7}', "prompt"),
    ("/v1/completions", '{"prompt":[]}', "prompt"),
    ("/v1/completions", '{"prompt":["a",1]}', "prompt"),
    ("/v1/completions", '{"prompt":[[1],[]]}', "prompt"),
    ("/v1/completions", '{"prompt":[999999]}', "prompt"),
    ("/v1/completions", '{"prompt":[-1]}', "prompt"),
    ("/v1/completions", '{"prompt":"x","logprobs":6}', "logprobs"),
    ("/v1/completions", '{"prompt":"x","echo":true}', "echo"),
    ("/v1/completions", '{"prompt":"x","suffix":"y"}', "suffix"),
    ("/v1/completions", '{"prompt":"x","stream":true}', "stream"),
    ("/v1/completions", '{"prompt":"x","model":7}', "model"),
    ("/v1/completions", '{"prompt":"x","n":1e400000}', None),
    ("/v1/completions", '{"prompt":"x","n":2,"best_of":1}', "n"),
    ("/v1/completions", '{"prompt":"x","temperature":-1}', "temperature"),
    ("/v1/completions", '{"prompt":"x","colour":1}', "colour"),
    ("/v1/completions", '"x"', "body"),
    ("/v1/completions", "[]", "body"),
    ("/v1/completions", "null", "body"),
    ("/v1/embeddings", '{"input":"x"}', "url"),
    ("/v1/responses", '{"input":"x"}', "url"),
    ("", "{}", "url"),
    ("/v1/chat/completions", "{}", "messages"),
    ("/v1/chat/completions", '{"messages":[]}', "messages"),
    ("/v1/chat/completions", '{"messages":"x"}', "messages"),
    ("/v1/chat/completions", '{"messages":[7]}', "messages"),
    ("/v1/chat/completions", '{"messages":[{"role":"system","content":"x"}]}', "messages"),
    ("/v1/chat/completions",
     '{"messages":[{"role":"user","content":"x"},{"role":"user","content":"y"}]}', "messages"),
    ("/v1/chat/completions", '{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}',
     "messages"),
    ("/v1/chat/completions", '{"messages":[{"role":"user","content":"x"}],"top_logprobs":2}',
     "top_logprobs"),
]
# Put into a line at random, each makes it no JSON object or no UTF-8 wherever it lands.
POISONS = [b"\0", b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x01",
           b"\x1f"]
BROKEN = [
    b"[]", b"7", b"null", b'""', b"{", b"}", b"NaN", b"{]", b"\xef\xbb\xbf{}", b"{'prompt':1}",
    b"nonsense", b'{"prompt":NaN}', b'{"prompt":"x","n":-Infinity}', b'{"prompt":"x","n":01}',
    b'{"prompt":"x","n":+1}', b'{"prompt":"x","temperature":1e400}',
    b'{"prompt":"x","temperature":-1e999}', b'{"prompt":"\\ud800"}', b'{"prompt":"\\udc00x"}',
    b'{"prompt":"\\ud800\\ud800"}', b'{"prompt":"\\x41"}', b'{"prompt":"x"} {}',
    b'{"prompt":"x",}', b'{"prompt" "x"}', b'{"prompt":"x","prompt":"y"}',
    b'{"prompt":"x","n":1,"n":2}', b'{"prompt":"a\tb"}', b'{"prompt":"x"}//', b'{"prompt":tru}',
    b'{"metadata":' + b"[" * 200 + b"]" * 200 + b',"prompt":"x"}', b"[" * 100_000,
    b'{"a":' * 5000 + b"1" + b"}" * 5000,
]


class Hostile:
    """Line after line; each with the field that its error must name (None: the text is no request)."""

    def __init__(self, rng):
        self.rng = rng
        self.number = 0

    def wrong_value(self):
        field = self.rng.choice(sorted(BAD_VALUES))
        value = self.rng.choice(BAD_VALUES[field])
        members = [f'"{field}":{value}']
        if field != "id":
            members.append(f'"id":"bad-{self.number}"')
        if field != "prompt":
            members.append('"prompt":"roman: 9"')
        if field != "max_tokens":
            members.append('"max_tokens":8')
        self.rng.shuffle(members)
        return "{" + ",".join(members) + "}", field

    def contradiction(self):
        fields, param = self.rng.choice(CONTRADICTIONS)
        return f'{{"id":"bad-{self.number}","prompt":"roman: 9",{fields}}}', param

    def missing_or_unknown(self):
        name = "".join(self.rng.choices("abcdefghij_\u00e9\u4e2d", k=self.rng.randint(1, 12))) + "z"
        return self.rng.choice([
            ("{}", "prompt"),
            (f'{{"id":"bad-{self.number}"}}', "prompt"),
            ('{"prompt":null,"n":null}', "prompt"),
            ('{"prompt_token_ids":[]}', "prompt_token_ids"),
            (json.dumps({"prompt": "roman: 9", name: {"id": [1]}}, ensure_ascii=False), name),
            (json.dumps({name: 1, "prompt": "roman: 9"}), name),
        ])

    def openai(self):
        custom_id = f'"custom_id":"bad-{self.number}"'
        if self.rng.random() < 0.3:
            field = self.rng.choice(sorted(set(BAD_VALUES) - {
                "id", "prompt", "images", "logprobs", "min_tokens"}))
            value = self.rng.choice(BAD_VALUES[field])
            body = f'{{"model":"m","prompt":"roman: 9","{field}":{value}}}'
            return f'{{{custom_id},"method":"POST","url":"/v1/completions","body":{body}}}', field
        url, body, param = self.rng.choice(BAD_BODIES)
        members = [custom_id, '"method":"POST"', f'"url":{json.dumps(url)}', f'"body":{body}']
        self.rng.shuffle(members)
        return "{" + ",".join(members) + "}", param

    def around_the_body(self):
        return self.rng.choice([
            ('{"custom_id":7,"url":"/v1/completions","body":{"prompt":"x"}}', "custom_id"),
            ('{"url":"/v1/completions","body":{"prompt":"x"}}', "custom_id"),
            (f'{{"custom_id":"bad-{self.number}","url":"/v1/completions"}}', "body"),
            (f'{{"custom_id":"bad-{self.number}","body":{{"prompt":"x"}}}}', "url"),
            (f'{{"custom_id":"bad-{self.number}","method":"GET","url":"/v1/completions",'
             '"body":{}}', "method"),
            (f'{{"custom_id":"bad-{self.number}","url":"/v1/completions","body":{{}},"x":1}}', "x"),
        ])

    def broken(self):
        return self.rng.choice(BROKEN), None

    def cut(self):
        line, _ = self.good_looking()
        return line[: self.rng.randint(1, len(line) - 1)], None

    def poisoned(self):
        line, _ = self.good_looking()
        at = self.rng.randint(0, len(line))
        return line[:at] + self.rng.choice(POISONS) + line[at:], None

    def good_looking(self):
        return json.dumps({"prompt": "roman: 9", "stop": ["a", "b"],
                           "metadata": {"k": [1, None, "\u00e9"]}, "logit_bias": {"7": -1.5},
                           "max_tokens": 4}).encode(), None

    def next(self):
        kind = self.rng.choices(
            [self.wrong_value, self.contradiction, self.missing_or_unknown, self.openai,
             self.around_the_body, self.broken, self.cut, self.poisoned],
            weights=[8, 2, 2, 4, 1, 3, 1, 1])[0]
        line, param = kind()
        self.number += 1
        return (line if isinstance(line, bytes) else line.encode()), param


def huge_lines():
    """Ten megabytes each, where text may stand; the last is longer than any line may be."""
    text = "x" * HUGE
    return [
        (json.dumps({"prompt": "roman: " + "9" * HUGE}).encode(), "prompt"),
        (json.dumps({"prompt": "roman: 9", "stop": text}).encode(), "stop"),
        (json.dumps({"prompt": "roman: 9", "bad_words": [text]}).encode(), "bad_words"),
        (json.dumps({"prompt": "roman: 9", text: 1}).encode(), "xxx"),
        (json.dumps({"prompt": "roman: 9", "max_tokens": text}).encode(), "max_tokens"),
        (json.dumps({"prompt": "roman: 9", "n": 0, "metadata": text}).encode(), "n"),
        (b'{"prompt":"roman: 9","temperature":' + b"9" * HUGE + b"}", None),
        (json.dumps({"custom_id": "huge", "url": text, "body": {"prompt": "x"}}).encode(), "url"),
        (json.dumps({"prompt": text + text}).encode(), None),
    ]


def good_lines(rng):
    """Requests of every kind; sampled ones, too: an answer depends on its own line alone."""
    lines = []
    for i in range(COUNT):
        prompt = rng.choice([f"roman: {rng.randint(1, 2000)}",
                             f"sum: {rng.randint(1, 99)} + {rng.randint(1, 99)}"])
        decoding = rng.choice([
            {}, {}, {"logprobs": 2},
            {"temperature": 0.9}, {"temperature": 1.5, "top_k": 20, "top_p": 0.9},
            {"temperature": 0.7, "seed": i},
            {"temperature": 1.2, "n": 2, "best_of": 3}, {"num_beams": 2, "n": 2}, {"stop": ["V", "7"]},
            {"repetition_penalty": 1.3}, {"logit_bias": {"7": -5}}, {"min_tokens": 2},
        ])
        decoding = {"max_tokens": rng.randint(2, 6), **decoding}
        if i % 10 == 9:
            decoding["logprobs"] = 1
            line = {"custom_id": f"good-{i}", "method": "POST", "url": "/v1/completions",
                    "body": {"model": "demo", "prompt": prompt, **decoding}}
        else:
            line = {"id": f"good-{i}", "prompt": prompt, "metadata": {"i": i}, **decoding}
        lines.append(json.dumps(line).encode())
    return lines


class HostileLines(TandemTest):
    def run_lines(self, lines, name, expect):
        requests = self.write_requests(lines, name + ".jsonl")
        path = self.dir / (name + ".out")
        run = tandem("generate", "--model", DEMO, "--input", requests, "--output", path, "--quiet")
        self.assertEqual(run.code, expect, run.err[-2000:])
        with open(path, "rb") as file:
            return file.read().splitlines()

    def check_error(self, line, param, number, result):
        shown = line[:300]
        result = json.loads(result)
        if "custom_id" in result:
            self.assertEqual(result["response"]["status_code"], 400, shown)
            error = result["response"]["body"]["error"]
        else:
            self.assertEqual(result["line"], number, shown)
            error = result["error"]
        self.assertTrue(error["message"], shown)
        self.assertLess(len(error["message"]), 600, shown)
        if param is None:
            self.assertIn(error["code"], ("invalid_json", "invalid_utf8", "line_too_long"), shown)
        else:
            self.assertTrue((error["param"] or "").startswith(param), (shown, error))
            self.assertIn(error["param"].split(".")[0][:20], error["message"], shown)

    def test_hostile_lines_among_good_ones(self):
        rng = random.Random(5)
        good = good_lines(rng)
        hostile = Hostile(rng)
        bad = huge_lines()
        bad += [(good[i], None) for i in range(0, 50, 10)]  # Their ids a second time.
        bad += [hostile.next() for _ in range(COUNT - len(bad))]
        twice = set(range(9, 14))  # Places of the above in `bad`.

        # Good ones first, so that a repeated id comes behind the line that has it.
        order = [("good", i) for i in range(60)]
        rest = [("good", i) for i in range(60, COUNT)] + [("bad", i) for i in range(COUNT)]
        rest += [("blank", 0)] * 20
        rng.shuffle(rest)
        order += rest
        lines = [good[i] if kind == "good" else bad[i][0] if kind == "bad" else b" \t"
                 for kind, i in order]

        alone = self.run_lines(good, "good", expect=0)
        self.assertEqual(len(alone), COUNT)
        results = iter(self.run_lines(lines, "mixed", expect=3))
        answers = errors = 0
        for number, (kind, i) in enumerate(order, start=1):
            if kind == "blank":
                continue
            result = next(results)
            if kind == "good":
                self.assertEqual(result, alone[i], good[i])
                answers += 1
            elif i in twice:
                self.assertIn(b'"duplicate_id"', result)
                self.assertIn(b"was used by an earlier line", result)
                errors += 1
            else:
                self.check_error(*bad[i], number, result)
                errors += 1
        self.assertIsNone(next(results, None))
        self.assertEqual((answers, errors), (COUNT, COUNT))


if __name__ == "__main__":
    unittest.main()
