// Lines that must be requests, and lines that must not.
#ifndef TANDEM_TESTS_UNIT_COORDINATOR_IO_PARSE_HELPERS_H_
#define TANDEM_TESTS_UNIT_COORDINATOR_IO_PARSE_HELPERS_H_

#include <gtest/gtest.h>

#include <string>
#include <variant>
#include <vector>

#include "coordinator/io/request.h"

namespace tandem {

inline Request Accepted(absl::string_view line, const RequestOptions& options = {},
                        const RequestDefaults& defaults = {}) {
  auto parsed = ParseRequest(line, 5, defaults, options);
  if (auto* rejected = std::get_if<RejectedLine>(&parsed)) {
    ADD_FAILURE() << line << "\n" << rejected->error.message;
    Request empty;
    empty.prompts.resize(1);
    return empty;
  }
  return std::get<Request>(std::move(parsed));
}

inline RejectedLine Rejected(absl::string_view line, const RequestOptions& options = {},
                             const RequestDefaults& defaults = {}) {
  auto parsed = ParseRequest(line, 5, defaults, options);
  if (std::holds_alternative<Request>(parsed)) {
    ADD_FAILURE() << "was accepted: " << line;
    return {};
  }
  return std::get<RejectedLine>(std::move(parsed));
}

struct Refusal {
  std::string line;
  std::string code;
  std::string message;
  std::string param;
};

inline void ExpectRefusals(const std::vector<Refusal>& refusals, const RequestOptions& options = {},
                           const RequestDefaults& defaults = {}) {
  for (const Refusal& refusal : refusals) {
    const RejectedLine rejected = Rejected(refusal.line, options, defaults);
    EXPECT_EQ(NameOf(rejected.error.code), refusal.code) << refusal.line;
    EXPECT_EQ(rejected.error.message, refusal.message) << refusal.line;
    EXPECT_EQ(rejected.error.param, refusal.param) << refusal.line;
    EXPECT_EQ(rejected.line, 5);
  }
}

}  // namespace tandem

#endif  // TANDEM_TESTS_UNIT_COORDINATOR_IO_PARSE_HELPERS_H_
