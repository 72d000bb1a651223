#!/usr/bin/env python3
"""Shows results beside the prompts they answer."""
import argparse
import json


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("requests")
    parser.add_argument("results")
    parser.add_argument("--first", type=int, default=10, help="how many to show")
    args = parser.parse_args()
    prompts = {}
    for number, request in enumerate(lines(args.requests)):
        prompts[str(request.get("id", number))] = request.get("prompt", "(token ids)")
    shown = lines(args.results)[: args.first]
    width = max((len(prompts[str(result["id"])]) for result in shown), default=0)
    for result in shown:
        if "error" in result:
            answer = "error: " + result["error"]["message"]
        else:
            answer = result["outputs"][0]["text"]
        print(f"  {prompts[str(result['id'])]:<{width}}  ->  {answer}")


if __name__ == "__main__":
    main()
