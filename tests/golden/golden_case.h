// A case of tests/golden/data/hf: a small checkpoint, its inputs and what the reference makes of
// them.
#ifndef TANDEM_TESTS_GOLDEN_GOLDEN_CASE_H_
#define TANDEM_TESTS_GOLDEN_GOLDEN_CASE_H_

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/checkpoint/safetensors.h"
#include "coordinator/forward_job.h"

namespace tandem {

struct Tolerance {
  double abs = 0;
  double rel = 0;
};

struct GoldenCase {
  std::string name;
  std::string directory;
  nlohmann::json facts;  // case.json
  std::map<std::string, HostTensor> inputs;
  std::map<std::string, HostTensor> expected;  // In fp32.

  // Loads tests/golden/data/hf/NAME; a missing file fails the test.
  static GoldenCase Load(const std::string& name);

  PaddedTokens EncoderTokens() const;
  PaddedTokens DecoderTokens() const;
  // Of an intermediate in fp32 ("hidden", "logits", "logprob").
  Tolerance Fp32(const std::string& kind) const;
  // Of a tensor computed in bf16 against the fp32 expectation; abs < 0 where the case has none.
  Tolerance Bf16(const std::string& tensor) const;
  bool HasBf16() const;
};

// The text cases.
std::vector<std::string> GoldenCaseNames();

}  // namespace tandem

#endif  // TANDEM_TESTS_GOLDEN_GOLDEN_CASE_H_
