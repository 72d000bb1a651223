#include "common/base/nearest_name.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>

#include "absl/strings/ascii.h"

namespace tandem {
namespace {

constexpr size_t kMaxBytes = 64;

char Folded(char c) { return c == '-' ? '_' : absl::ascii_tolower(static_cast<unsigned char>(c)); }

// Optimal string alignment distance: three rows of the usual table.
size_t Distance(absl::string_view a, absl::string_view b) {
  std::array<size_t, kMaxBytes + 1> before_last{}, last{}, row{};
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    before_last = last;
    last = row;
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const bool same = Folded(a[i - 1]) == Folded(b[j - 1]);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (same ? 0u : 1u)});
      const bool swapped = i > 1 && j > 1 && Folded(a[i - 1]) == Folded(b[j - 2]) &&
                           Folded(a[i - 2]) == Folded(b[j - 1]);
      if (swapped) row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
  }
  return row[b.size()];
}

}  // namespace

absl::string_view NearestName(absl::string_view name, absl::Span<const absl::string_view> known) {
  absl::string_view best;
  size_t best_distance = std::numeric_limits<size_t>::max();
  for (const absl::string_view candidate : known) {
    const size_t distance = Distance(name.substr(0, kMaxBytes), candidate.substr(0, kMaxBytes));
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace tandem
