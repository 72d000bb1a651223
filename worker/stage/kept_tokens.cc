#include "worker/stage/kept_tokens.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "common/base/status_macros.h"
#include "common/kernels/math.h"

namespace tandem {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
constexpr double kMassUnit = 0x1p40;

uint64_t MassOf(float value, float max) {
  return static_cast<uint64_t>(static_cast<double>(Exp(value - max)) * kMassUnit);
}

bool PassesMinP(const ChoiceSpec& choice, float value, float max) {
  return choice.min_p <= 0.0f || Exp(value - max) >= choice.min_p;
}

// The mass that better tokens may have for a token to be kept; `total` in units of MassOf.
double MassLimit(const ChoiceSpec& choice, double total) {
  return static_cast<double>(choice.top_p) * total;
}

// Floats as integers in the same order; -0 and +0 are one value.
uint32_t KeyOf(float value) {
  const auto bits = std::bit_cast<uint32_t>(value + 0.0f);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

float ValueOf(uint32_t key) {
  return std::bit_cast<float>((key & 0x80000000u) != 0 ? key & 0x7fffffffu : ~key);
}

// The value at which the sum of weights of the tokens from the best on first reaches `limit`, found
// digit by digit from the highest. 11 bits at a time: 3 rounds of 2,048 sums.
class BorderSearch {
 public:
  struct Border {
    float value = kMinusInfinity;  // -inf: the sum of all does not reach the limit.
    uint64_t above = 0;            // The weight of the tokens above `value`.
  };

  explicit BorderSearch(Communicator& tp) : tp_(tp) {}

  // `weight` of the i-th value; `reached` of a sum of weights.
  template <class Weight, class Reached>
  absl::StatusOr<Border> Find(absl::Span<const float> values, const Weight& weight,
                              const Reached& reached) {
    Border border;
    uint32_t prefix = 0;
    int shift = 32;
    for (const int bits : {11, 11, 10}) {
      std::array<uint64_t, 2048> sums = {};
      for (size_t i = 0; i < values.size(); ++i) {
        if (values[i] == kMinusInfinity) continue;
        const uint32_t key = KeyOf(values[i]);
        if (shift < 32 && key >> shift != prefix) continue;
        sums[(key >> (shift - bits)) & ((1u << bits) - 1)] += weight(i);
      }
      TANDEM_RETURN_IF_ERROR(AddUp(absl::MakeSpan(sums)));
      shift -= bits;
      uint32_t digit = 1u << bits;
      do {
        if (digit == 0) return Border();  // In the first round alone.
        border.above += sums[--digit];
      } while (!reached(border.above));
      border.above -= sums[digit];
      prefix = (prefix << bits) | digit;
    }
    border.value = ValueOf(prefix);
    return border;
  }

  // Sums over the ranks.
  absl::Status AddUp(absl::Span<uint64_t> sums) {
    if (tp_.size() == 1) return absl::OkStatus();
    std::vector<uint64_t> all(sums.size() * static_cast<size_t>(tp_.size()));
    TANDEM_RETURN_IF_ERROR(
        tp_.AllGather({reinterpret_cast<const std::byte*>(sums.data()), sums.size() * 8},
                      {reinterpret_cast<std::byte*>(all.data()), all.size() * 8}));
    std::fill(sums.begin(), sums.end(), 0);
    for (size_t i = 0; i < all.size(); ++i) sums[i % sums.size()] += all[i];
    return absl::OkStatus();
  }

  // The sum of the lower ranks' numbers.
  absl::StatusOr<uint64_t> SumBefore(uint64_t mine) {
    std::vector<uint64_t> slots(static_cast<size_t>(tp_.size()), 0);
    slots[static_cast<size_t>(tp_.rank())] = mine;
    TANDEM_RETURN_IF_ERROR(AddUp(absl::MakeSpan(slots)));
    uint64_t before = 0;
    for (int rank = 0; rank < tp_.rank(); ++rank) before += slots[static_cast<size_t>(rank)];
    return before;
  }

 private:
  Communicator& tp_;
};

// How many tokens of one mass are kept, when `above` is the mass of the better ones.
uint64_t TiesKept(uint64_t above, uint64_t mass, double limit) {
  if (!(static_cast<double>(above) < limit)) return 0;
  if (mass == 0) return std::numeric_limits<uint64_t>::max();
  uint64_t kept = 1;  // A few tokens tie, so counting is as good as dividing, and exact.
  while (static_cast<double>(above + kept * mass) < limit) ++kept;
  return kept;
}

}  // namespace

bool Truncates(const ChoiceSpec& choice) {
  return choice.top_k > 0 || choice.top_p < 1.0f || choice.min_p > 0.0f;
}

int NumCandidates(const ChoiceSpec& choice) {
  constexpr int kUsual = 256;
  // One more than top_k, which shows that there is no tie at its border.
  if (choice.top_k > 0 && choice.top_k < kMaxCandidates) return choice.top_k + 1;
  return kUsual;
}

bool NeedsTotalMass(const ChoiceSpec& choice) { return choice.top_p < 1.0f && choice.top_k == 0; }

double TotalMass(const LogSumExp& scaled_sum, absl::Span<const float> edited_values, float max) {
  double total = static_cast<double>(scaled_sum.sum) * Exp(scaled_sum.max - max);
  if (scaled_sum.max == kMinusInfinity) total = 0.0;
  for (const float value : edited_values) {
    if (value > kMinusInfinity) total += Exp(value - max);
  }
  return total;
}

std::optional<std::vector<Candidate>> KeptOf(const ChoiceSpec& choice,
                                             absl::Span<const Candidate> tokens, float floor,
                                             double total_mass) {
  if (tokens.empty()) return std::vector<Candidate>();
  const float max = tokens.front().logit;
  std::vector<Candidate> kept(tokens.begin(), tokens.end());
  bool whole = floor == kMinusInfinity;  // `kept` is all there is to keep.
  const auto top_k = static_cast<size_t>(choice.top_k);
  double total = total_mass * kMassUnit;
  if (top_k > 0) {
    if (top_k < kept.size()) {
      const float border = kept[top_k - 1].logit;
      if (border > floor) {
        std::erase_if(kept, [border](const Candidate& c) { return c.logit < border; });
        whole = true;
      }
    }
    if (!whole) return std::nullopt;
    uint64_t sum = 0;
    for (const Candidate& c : kept) sum += MassOf(c.logit, max);
    total = static_cast<double>(sum);
  }
  if (choice.top_p < 1.0f) {
    const double limit = MassLimit(choice, total);
    uint64_t above = 0;
    size_t count = 0;
    while (count < kept.size() && static_cast<double>(above) < limit) {
      above += MassOf(kept[count++].logit, max);
    }
    // The last kept token, and so every tie before it, must be above the floor.
    if (static_cast<double>(above) >= limit && count > 0 && kept[count - 1].logit > floor) {
      kept.resize(count);
      whole = true;
    }
    if (!whole) return std::nullopt;
  }
  if (choice.min_p > 0.0f) {
    // Those that are not at hand are no better than the floor.
    whole = whole || !PassesMinP(choice, floor, max);
    std::erase_if(kept, [&](const Candidate& c) { return !PassesMinP(choice, c.logit, max); });
  }
  if (!whole) return std::nullopt;
  return kept;
}

absl::StatusOr<std::vector<Candidate>> SearchKept(const ChoiceSpec& choice,
                                                  absl::Span<const float> values, int32_t first_id,
                                                  float max, double total_mass, Communicator& tp) {
  BorderSearch search(tp);
  std::vector<float> left(values.begin(), values.end());
  double total = total_mass * kMassUnit;
  if (choice.top_k > 0) {
    const auto wanted = static_cast<uint64_t>(choice.top_k);
    TANDEM_ASSIGN_OR_RETURN(const BorderSearch::Border border,
                            search.Find(
                                left, [](size_t) { return uint64_t{1}; },
                                [wanted](uint64_t count) { return count >= wanted; }));
    uint64_t sum = 0;
    for (float& value : left) {
      if (value < border.value) value = kMinusInfinity;
      if (value > kMinusInfinity && choice.top_p < 1.0f) sum += MassOf(value, max);
    }
    TANDEM_RETURN_IF_ERROR(search.AddUp({&sum, 1}));
    total = static_cast<double>(sum);
  }
  if (choice.top_p < 1.0f) {
    const double limit = MassLimit(choice, total);
    TANDEM_ASSIGN_OR_RETURN(
        const BorderSearch::Border border,
        search.Find(
            left, [&](size_t i) { return MassOf(left[i], max); },
            [limit](uint64_t mass) { return static_cast<double>(mass) >= limit; }));
    // Tokens of the border's own value are kept from the lowest id on: the lower ranks' first.
    const uint64_t ties_kept = TiesKept(border.above, MassOf(border.value, max), limit);
    uint64_t ties = 0;
    for (const float value : left) ties += value == border.value ? 1 : 0;
    TANDEM_ASSIGN_OR_RETURN(uint64_t tie, search.SumBefore(ties));
    if (border.value > kMinusInfinity) {
      for (float& value : left) {
        const bool kept = value > border.value || (value == border.value && tie++ < ties_kept);
        if (!kept) value = kMinusInfinity;
      }
    }
  }
  std::vector<Candidate> kept;
  for (size_t i = 0; i < left.size(); ++i) {
    if (left[i] == kMinusInfinity || !PassesMinP(choice, left[i], max)) continue;
    kept.push_back({first_id + static_cast<int32_t>(i), left[i]});
  }
  return kept;
}

}  // namespace tandem
