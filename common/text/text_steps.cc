#include "common/text/text_steps.h"

#include <cstddef>
#include <utility>

namespace tandem {
namespace {

struct Part {
  absl::string_view text;
  bool is_match = false;
};

absl::string_view Joined(absl::string_view a, absl::string_view b) {
  return {a.data(), a.size() + b.size()};  // Neighbours in one text.
}

// Matches of the pattern and what lies between them, in order.
std::vector<Part> FindParts(absl::string_view pattern, absl::string_view text) {
  std::vector<Part> parts;
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t found = text.find(pattern, begin);
    const size_t end = found == absl::string_view::npos ? text.size() : found;
    if (end > begin) parts.push_back({text.substr(begin, end - begin), false});
    if (found == absl::string_view::npos) break;
    parts.push_back({text.substr(found, pattern.size()), true});
    begin = found + pattern.size();
  }
  return parts;
}

void AppendSplit(const SplitStep& step, absl::string_view text,
                 std::vector<absl::string_view>* out) {
  using Behavior = SplitStep::Behavior;
  const std::vector<Part> parts = FindParts(step.pattern, text);
  for (size_t i = 0; i < parts.size(); ++i) {
    const Part& part = parts[i];
    const bool previous_is_match = i > 0 && parts[i - 1].is_match;
    bool join = false;  // To the part before.
    switch (step.behavior) {
      case Behavior::kRemoved:
        if (part.is_match) continue;
        break;
      case Behavior::kIsolated:
        break;
      case Behavior::kMergedWithPrevious:
        join = i > 0 && part.is_match && !previous_is_match;
        break;
      case Behavior::kMergedWithNext:
        join = previous_is_match && !part.is_match;
        break;
      case Behavior::kContiguous:
        join = i > 0 && part.is_match == previous_is_match;
        break;
    }
    if (join) {
      out->back() = Joined(out->back(), part.text);
    } else {
      out->push_back(part.text);
    }
  }
}

}  // namespace

std::string ReplaceLiteral(absl::string_view text, absl::string_view pattern,
                           absl::string_view content) {
  std::string out;
  out.reserve(text.size() + text.size() / 2);
  size_t begin = 0;
  while (true) {
    const size_t found = text.find(pattern, begin);
    const size_t end = found == absl::string_view::npos ? text.size() : found;
    out.append(text.data() + begin, end - begin);
    if (found == absl::string_view::npos) return out;
    out.append(content.data(), content.size());
    begin = found + pattern.size();
  }
}

std::string Normalize(const std::vector<NormalizeStep>& steps, absl::string_view text) {
  std::string out(text);
  for (const NormalizeStep& step : steps) {
    if (step.kind == NormalizeStep::Kind::kReplace) {
      out = ReplaceLiteral(out, step.pattern, step.content);
    } else if (!out.empty()) {
      out.insert(0, step.content);
    }
  }
  return out;
}

std::vector<absl::string_view> Split(const std::vector<SplitStep>& steps, absl::string_view text) {
  std::vector<absl::string_view> parts;
  if (!text.empty()) parts.push_back(text);
  for (const SplitStep& step : steps) {
    std::vector<absl::string_view> next;
    for (const absl::string_view part : parts) AppendSplit(step, part, &next);
    parts = std::move(next);
  }
  return parts;
}

}  // namespace tandem
