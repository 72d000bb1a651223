// What the tests of operations share: seeded values, bit comparison, a K/V cache, and the scalar
// definitions of docs/numerics.md's sums.
#ifndef TANDEM_TESTS_UNIT_COMMON_KERNELS_OPS_TEST_UTIL_H_
#define TANDEM_TESTS_UNIT_COMMON_KERNELS_OPS_TEST_UTIL_H_

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "common/base/aligned_buffer.h"
#include "common/base/thread_pool.h"
#include "common/kernels/cpu_ops.h"
#include "common/tensor/dtype.h"
#include "gtest/gtest.h"

namespace tandem::testing {

using Floats = std::vector<float>;

inline Floats Gauss(std::mt19937& random, int64_t count, float scale = 1.0f) {
  std::normal_distribution<float> normal(0.0f, scale);
  Floats out(static_cast<size_t>(count));
  for (float& value : out) value = normal(random);
  return out;
}

inline Matrix View(Floats& values, int64_t rows) {
  return {values.data(), rows, rows == 0 ? 0 : static_cast<int64_t>(values.size()) / rows};
}
inline ConstMatrix View(const Floats& values, int64_t rows) {
  return {values.data(), rows, rows == 0 ? 0 : static_cast<int64_t>(values.size()) / rows};
}

// The index of the first element whose bits differ, -1 where there is none.
inline int64_t FirstDifference(const Floats& a, const Floats& b) {
  if (a.size() != b.size()) return 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::bit_cast<uint32_t>(a[i]) != std::bit_cast<uint32_t>(b[i])) {
      return static_cast<int64_t>(i);
    }
  }
  return -1;
}

inline ::testing::AssertionResult SameBits(const Floats& got, const Floats& want) {
  const int64_t i = FirstDifference(got, want);
  if (i < 0) return ::testing::AssertionSuccess();
  const auto at = static_cast<size_t>(i);
  return ::testing::AssertionFailure() << "element " << i << " of " << got.size() << ": "
                                       << std::hexfloat << got.at(at) << " for " << want.at(at);
}

// A pool with operations on it.
struct Backend {
  Backend(Isa isa, ComputeType type, int num_threads = 1)
      : pool(num_threads), ops(MakeCpuOps(isa, type, pool)) {}
  ThreadPool pool;
  std::unique_ptr<Ops> ops;
};

inline const char* NameOf(ComputeType type) {
  return type == ComputeType::kBFloat16 ? "bf16" : "fp32";
}

inline float Round(ComputeType type, float value) {
  return type == ComputeType::kBFloat16 ? Bf16ToFloat(FloatToBf16(value)) : value;
}

// Sixteen lanes in sequence, then the tree: l joins l + 8, then l + 4, l + 2, l + 1.
inline float LaneTree(float (&lane)[16]) {
  for (int step = 8; step > 0; step /= 2) {
    for (int l = 0; l < step; ++l) lane[l] += lane[l + step];
  }
  return lane[0];
}

// acc + sum of w[i] * x[i] in the order of products: bf16 pairs with the odd element first. Rounds
// its inputs. `stride` is w's.
inline float DotInOrder(ComputeType type, const float* w, int64_t stride, const float* x,
                        int64_t count, float acc = 0.0f) {
  const auto term = [&](int64_t i) {
    acc = std::fma(Round(type, w[i * stride]), Round(type, x[i]), acc);
  };
  if (type == ComputeType::kFloat32) {
    for (int64_t i = 0; i < count; ++i) term(i);
    return acc;
  }
  for (int64_t i = 0; i < count; i += 2) {
    if (i + 1 < count) term(i + 1);
    term(i);
  }
  return acc;
}

// Pages for one layer, handed out in an order that is not ascending.
class TestCache {
 public:
  TestCache(ComputeType type, int64_t num_kv_heads, int64_t head_dim, int32_t num_pages)
      : layout_{.type = type, .num_kv_heads = num_kv_heads, .head_dim = head_dim},
        num_pages_(num_pages),
        memory_(static_cast<size_t>(num_pages * layout_.page_bytes())) {}

  KvView view() const {
    return {layout_, static_cast<std::byte*>(memory_.data()), layout_.page_bytes()};
  }

  // Pages for num_tokens more tokens.
  std::vector<int32_t> Take(int64_t num_tokens) {
    std::vector<int32_t> pages;
    for (int64_t i = 0; i < num_tokens; i += kPageTokens) {
      pages.push_back((next_++ * 7 + 3) % num_pages_);  // num_pages is no multiple of 7.
    }
    EXPECT_LE(next_, num_pages_);
    return pages;
  }

  // Finite junk in every slot: what unused slots may hold.
  void FillWithJunk(std::mt19937& random) {
    auto* words = static_cast<uint32_t*>(memory_.data());
    for (size_t i = 0; i < memory_.bytes() / 4; ++i) {
      // Exponents below the largest: finite as a float, and as two bf16.
      words[i] = static_cast<uint32_t>(random()) & 0xbfffbfffu;
    }
  }

  static std::vector<KvSlot> Slots(const std::vector<int32_t>& pages, int64_t first,
                                   int64_t count) {
    std::vector<KvSlot> slots;
    for (int64_t i = first; i < first + count; ++i) {
      slots.push_back(
          {pages[static_cast<size_t>(i / kPageTokens)], static_cast<int32_t>(i % kPageTokens)});
    }
    return slots;
  }

 private:
  KvLayout layout_;
  int32_t num_pages_ = 0;
  int32_t next_ = 0;
  PageBuffer memory_;
};

}  // namespace tandem::testing

#endif  // TANDEM_TESTS_UNIT_COMMON_KERNELS_OPS_TEST_UTIL_H_
