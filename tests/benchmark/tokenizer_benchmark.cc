// tokenizer_benchmark FILE TEXT [REPEATS]: seconds to load the tokenizer and to encode the text
// (whole, and line by line) on one thread, as one JSON object. scripts/benchmark_tokenizer.py runs
// it beside PyPI's tokenizers.
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "common/text/tokenizer.h"

namespace tandem {
namespace {

template <class Body>
double SecondsOf(const Body& body) {
  const auto begin = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

int Run(const std::string& tokenizer_path, const std::string& text_path, int repeats) {
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer;
  const double load_s = SecondsOf([&] { tokenizer = Tokenizer::LoadFile(tokenizer_path); });
  if (!tokenizer.ok()) {
    std::cerr << tokenizer.status().message() << '\n';
    return 1;
  }
  std::ifstream in(text_path, std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(in), {});
  if (text.empty()) {
    std::cerr << text_path << ": cannot read, or empty\n";
    return 1;
  }
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  std::vector<double> whole_s;
  std::vector<double> lines_s;
  size_t num_ids = 0;
  size_t num_line_ids = 0;
  for (int i = 0; i < repeats; ++i) {
    whole_s.push_back(SecondsOf([&] { num_ids = (*tokenizer)->Encode(text).size(); }));
    lines_s.push_back(SecondsOf([&] {
      num_line_ids = 0;
      for (const std::string& line : lines) num_line_ids += (*tokenizer)->Encode(line).size();
    }));
  }
  std::cout << nlohmann::json{{"load_s", load_s},   {"bytes", text.size()},
                              {"ids", num_ids},     {"line_ids", num_line_ids},
                              {"whole_s", whole_s}, {"lines_s", lines_s}}
                   .dump()
            << '\n';
  return 0;
}

}  // namespace
}  // namespace tandem

int main(int argc, char** argv) {
  const int repeats = argc == 4 ? std::atoi(argv[3]) : 1;
  if (argc >= 3 && argc <= 4 && repeats > 0) return tandem::Run(argv[1], argv[2], repeats);
  std::cerr << "usage: tokenizer_benchmark FILE TEXT [REPEATS]\n";
  return 2;
}
