#!/usr/bin/env python3
"""Writes common/text/unicode_classes.cc: the classes \\w and \\s as PyPI's tokenizers has them.

usage:  python scripts/make_unicode_classes.py > common/text/unicode_classes.cc
Needs: tokenizers.  The library is asked about every code point: a token with single_word is not
matched beside a word character, one with lstrip takes white space along.
"""
import tokenizers
from tokenizers import AddedToken, Tokenizer, models


def ask():
    t = Tokenizer(models.BPE(vocab={"<unk>": 0}, merges=[], unk_token="<unk>", fuse_unk=True))
    t.add_tokens([AddedToken("<w>", single_word=True, normalized=False),
                  AddedToken("<l>", lstrip=True, normalized=False)])
    word, space = [], []
    for c in range(0x110000):
        if 0xD800 <= c < 0xE000:
            continue
        if t.token_to_id("<w>") not in t.encode("<w>" + chr(c)).ids:
            word.append(c)
        if 0 not in t.encode(chr(c) + "<l>").ids:
            space.append(c)
    return word, space


def ranges(code_points):
    out = []
    for c in code_points:
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def table(name, code_points):
    items = ["{0x%04X, 0x%04X}," % (a, b) for a, b in ranges(code_points)]
    rows = "\n".join("    " + " ".join(items[i:i + 4]) for i in range(0, len(items), 4))
    return f"constexpr Range {name}[] = {{\n{rows}\n}};\n"


def main():
    word, space = ask()
    print(f"""// Written by scripts/make_unicode_classes.py with tokenizers {tokenizers.__version__}; not edited by hand.
#include "common/text/unicode_classes.h"

#include <algorithm>
#include <iterator>

namespace tandem {{
namespace {{

struct Range {{
  char32_t first;
  char32_t last;
}};

// clang-format off
{table("kWhiteSpace", space)}
{table("kWordCharacters", word)}// clang-format on

template <size_t kSize>
bool IsIn(const Range (&ranges)[kSize], char32_t c) {{
  const Range* const after =
      std::upper_bound(std::begin(ranges), std::end(ranges), c,
                       [](char32_t value, const Range& range) {{ return value < range.first; }});
  return after != std::begin(ranges) && c <= (after - 1)->last;
}}

}}  // namespace

bool IsWhiteSpace(char32_t c) {{ return IsIn(kWhiteSpace, c); }}
bool IsWordCharacter(char32_t c) {{ return IsIn(kWordCharacters, c); }}

}}  // namespace tandem""")


if __name__ == "__main__":
    main()
