// tokenizer_lines FILE: encodes and decodes line by line, for scripts/check_tokenizer.py.
//
// stdin has one request a line: "E HEX" for a text as hexadecimal bytes, "D ID ID ..." and
// "S ID ID ..." for ids to decode, S without special tokens. stdout has one answer a line: ids, or
// the text in hexadecimal; for D and S a stream decoder must agree, or the answer is "STREAM".
#include <cstdint>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "common/text/stream_decoder.h"
#include "common/text/tokenizer.h"

namespace tandem {
namespace {

std::string Answer(const Tokenizer& tokenizer, const std::string& line) {
  if (line.empty()) return "?";
  std::istringstream rest(line.substr(1));
  if (line[0] == 'E') {
    std::string hex;
    rest >> hex;
    std::ostringstream out;
    for (const int32_t id : tokenizer.Encode(absl::HexStringToBytes(hex))) out << id << ' ';
    return out.str();
  }
  std::vector<int32_t> ids;
  for (int32_t id = 0; rest >> id;) ids.push_back(id);
  const bool skip_special = line[0] == 'S';
  const std::string text = tokenizer.Decode(ids, skip_special);
  StreamDecoder stream(tokenizer, skip_special);
  std::string streamed;
  for (const int32_t id : ids) streamed += stream.Push(id);
  streamed += stream.Finish();
  return streamed == text ? absl::BytesToHexString(text) : "STREAM";
}

int Run(const std::string& path) {
  const auto tokenizer = Tokenizer::LoadFile(path);
  if (!tokenizer.ok()) {
    std::cerr << tokenizer.status().message() << '\n';
    return 1;
  }
  std::ios::sync_with_stdio(false);
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << Answer(**tokenizer, line) << '\n';
  }
  return std::cout.flush() ? 0 : 1;
}

}  // namespace
}  // namespace tandem

int main(int argc, char** argv) {
  if (argc == 2) return tandem::Run(argv[1]);
  std::cerr << "usage: tokenizer_lines FILE\n";
  return 2;
}
