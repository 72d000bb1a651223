// Attention against a scalar definition (to the bit), against f64 (within a tolerance), and against
// itself however it is cut.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/common/kernels/attention_reference.h"
#include "tests/unit/common/kernels/ops_test_util.h"

namespace tandem::testing {
namespace {

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (ComputeType type : {ComputeType::kFloat32, ComputeType::kBFloat16}) {
    const auto add = [&](Case c) {
      c.type = type;
      cases.push_back(c);
    };
    add({.head_dim = 24, .self_len = 300, .cross_len = 200});
    add({.head_dim = 20, .self_len = 140, .cross_len = 33, .window_back = 0});
    add({.head_dim = 8, .kv_head_of_head = {0}, .self_len = 300, .window_back = 4});
    add({.head_dim = 72,
         .kv_head_of_head = {0, 0, 0},
         .self_len = 150,
         .cross_len = 1,
         .window_back = 39});
    add({.head_dim = 24, .self_len = 290, .cross_len = 300, .window_back = 127, .holes = true});
    add({.head_dim = 20,
         .kv_head_of_head = {0, 1, 1, 1, 1, 1, 2},
         .self_len = 130,
         .cross_len = 130,
         .window_back = 999,
         .soft_cap = 3.0f,
         .holes = true});
    add({.head_dim = 256, .kv_head_of_head = {0, 0, 0, 0}, .self_len = 40, .cross_len = 140});
    // Encoder windows look ahead.
    add({.head_dim = 24, .self_len = 300, .window_back = 2, .window_ahead = 2});
    add({.head_dim = 24, .self_len = 300, .window_back = 63, .window_ahead = 64, .holes = true});
    add({.head_dim = 24, .self_len = 270, .window_ahead = kNoWindow});
  }
  return cases;
}

class AttentionTest : public ::testing::TestWithParam<Case> {
 protected:
  AttentionTest() : random_(7), request_(GetParam(), random_) {}
  std::mt19937 random_;
  Request request_;
};
INSTANTIATE_TEST_SUITE_P(Cases, AttentionTest, ::testing::ValuesIn(Cases()));

std::vector<Case> CausalCases() {  // An encoder does not decode.
  std::vector<Case> cases = Cases();
  cases.erase(
      std::remove_if(cases.begin(), cases.end(), [](const Case& c) { return c.window_ahead != 0; }),
      cases.end());
  return cases;
}
class CausalAttentionTest : public AttentionTest {};
INSTANTIATE_TEST_SUITE_P(Cases, CausalAttentionTest, ::testing::ValuesIn(CausalCases()));

TEST_P(AttentionTest, IsTheScalarDefinitionToTheBitOnEveryIsa) {
  SetComputeFloatMode();
  const Floats want = Definition{}(GetParam(), request_);
  for (Isa isa : SupportedIsas()) {
    Backend backend(isa, GetParam().type);
    EXPECT_TRUE(SameBits(Prefill(GetParam(), backend, request_), want)) << tandem::NameOf(isa);
  }
}

// Decoding one token or a few at a time, with junk beyond the last one, equals prefill.
TEST_P(CausalAttentionTest, DecodeEqualsPrefill) {
  Backend backend(SupportedIsas().back(), GetParam().type, 2);
  const Floats want = Prefill(GetParam(), backend, request_);
  for (int64_t step : {1, 5, 128}) {
    EXPECT_TRUE(SameBits(Decode(GetParam(), backend, request_, step), want)) << step;
  }
}

TEST_P(AttentionTest, ThreadsLeaveNoTrace) {
  Backend one(SupportedIsas().back(), GetParam().type);
  const Floats want = Prefill(GetParam(), one, request_);
  for (int threads : {2, 3, 7}) {
    Backend backend(SupportedIsas().back(), GetParam().type, threads);
    EXPECT_TRUE(SameBits(Prefill(GetParam(), backend, request_), want)) << threads;
  }
}

// Against f64, all of it: the products' inputs are rounded as specified, the rest is not. fp32 sums
// of at most 512 terms and a few roundings a weight stay within 1e-5 of the largest value (about
// 4); weights rounded to bf16 move a sum by at most 2^-9 of that.
TEST_P(AttentionTest, IsCloseToDoublePrecision) {
  const Case& c = GetParam();
  Backend backend(SupportedIsas().back(), c.type);
  const Floats got = Prefill(c, backend, request_);
  const int64_t stride = c.num_kv_heads() * c.head_dim;
  const double tolerance = c.type == ComputeType::kBFloat16 ? 1e-2 : 2e-5;
  for (int64_t i = 0; i < c.self_len; ++i) {
    for (int64_t head = 0; head < c.num_heads(); ++head) {
      const size_t at = static_cast<size_t>((i * c.num_heads() + head) * c.head_dim);
      const int64_t kv = c.kv_head_of_head[static_cast<size_t>(head)] * c.head_dim;
      double sum = 0.0;
      std::vector<double> out(static_cast<size_t>(c.head_dim));
      const auto join = [&](const Floats& k, const Floats& v, int64_t j) {
        double s = 0.0;
        for (size_t d = 0; d < out.size(); ++d) {
          s += double{Round(c.type, request_.q[at + d])} *
               Round(c.type, k[static_cast<size_t>(j * stride + kv) + d]);
        }
        s *= c.params().scale;
        if (c.soft_cap != 0.0f) s = c.soft_cap * std::tanh(s / c.soft_cap);
        const double weight = std::exp(s);  // Scores are within 30: no overflow.
        sum += weight;
        for (size_t d = 0; d < out.size(); ++d) {
          out[d] += weight * Round(c.type, v[static_cast<size_t>(j * stride + kv) + d]);
        }
      };
      for (int64_t j = 0; j < c.self_len; ++j) {
        if (j >= i - c.window_back && j <= i + c.window_ahead &&
            (!c.holes || request_.self_valid[static_cast<size_t>(j)] != 0)) {
          join(request_.k, request_.v, j);
        }
      }
      for (int64_t j = 0; j < c.cross_len; ++j) {
        if (!c.holes || request_.cross_valid[static_cast<size_t>(j)] != 0) {
          join(request_.cross_k, request_.cross_v, j);
        }
      }
      for (size_t d = 0; d < out.size(); ++d) {
        ASSERT_NEAR(got[at + d], sum == 0.0 ? 0.0 : out[d] / sum, tolerance) << i << " " << head;
      }
    }
  }
}

// The controls: the data shows a change of order, so equality above means something.
TEST(AttentionControlTest, AnotherOrderHasOtherBits) {
  SetComputeFloatMode();
  const Case c{.type = ComputeType::kBFloat16, .self_len = 200, .cross_len = 200};
  std::mt19937 random(7);
  const Request request(c, random);
  const Floats want = Definition{}(c, request);
  EXPECT_FALSE(SameBits(Definition{.block = 64}(c, request), want));
  EXPECT_FALSE(SameBits(Definition{.self_first = false}(c, request), want));
  EXPECT_FALSE(SameBits(Definition{.sum_of_rounded_weights = true}(c, request), want));
}

TEST(AttentionBatchTest, SequencesOfABatchDoNotTouchEachOther) {
  for (ComputeType type : {ComputeType::kFloat32, ComputeType::kBFloat16}) {
    const Case shape{.type = type, .head_dim = 24, .window_back = 100};
    std::vector<Case> cases;
    for (int64_t length : {1, 31, 128, 129, 200, 64, 257}) {
      Case c = shape;
      c.self_len = length;
      c.cross_len = (length * 13) % 200;
      cases.push_back(c);
    }
    std::mt19937 random(3);
    for (int threads : {1, 2, 3, 7}) {
      Backend backend(SupportedIsas().back(), type, threads);
      TestCache cache(type, 2, 24, 127);
      cache.FillWithJunk(random);
      std::vector<AttentionSequence> sequences;
      std::vector<std::unique_ptr<Request>> requests;
      std::vector<std::vector<int32_t>> pages;
      pages.reserve(2 * cases.size());
      Floats q, want;
      int64_t rows = 0;
      for (const Case& c : cases) {  // Decode rows and prompts mixed: the last 1 or all queries.
        requests.push_back(std::make_unique<Request>(c, random));
        const Request& r = *requests.back();
        pages.push_back(cache.Take(c.self_len));
        pages.push_back(cache.Take(c.cross_len));
        backend.ops->StoreKv(View(r.k, c.self_len), View(r.v, c.self_len),
                             TestCache::Slots(pages[pages.size() - 2], 0, c.self_len),
                             cache.view());
        if (c.cross_len > 0) {
          backend.ops->StoreKv(View(r.cross_k, c.cross_len), View(r.cross_v, c.cross_len),
                               TestCache::Slots(pages.back(), 0, c.cross_len), cache.view());
        }
        const int64_t first = sequences.size() % 2 == 0 ? c.self_len - 1 : 0;
        AttentionSequence s;
        s.first_row = rows;
        s.num_rows = c.self_len - first;
        s.positions = r.positions.data() + first;
        s.self_pages = pages[pages.size() - 2];
        s.self_len = c.self_len;
        s.cross_pages = pages.back();
        s.cross_len = c.cross_len;
        sequences.push_back(s);
        rows += s.num_rows;
        const auto dim = static_cast<size_t>(c.num_heads() * c.head_dim);
        const size_t skipped = static_cast<size_t>(first) * dim;
        q.insert(q.end(), r.q.begin() + static_cast<int64_t>(skipped), r.q.end());
        const Floats alone = Prefill(c, backend, r);
        want.insert(want.end(), alone.begin() + static_cast<int64_t>(skipped), alone.end());
      }
      Floats out(q.size());
      const KvView view = cache.view();
      backend.ops->Attention(shape.params(), View(q, rows), view, view, sequences, View(out, rows));
      EXPECT_TRUE(SameBits(out, want)) << NameOf(type) << ", " << threads << " threads";
    }
  }
}

TEST(AttentionEdgeTest, ARowThatSeesNoKeyGetsZeros) {
  const Case c{.type = ComputeType::kBFloat16, .head_dim = 8, .self_len = 40};
  std::mt19937 random(5);
  const Request r(c, random);
  for (int threads : {1, 3}) {
    Backend backend(SupportedIsas().back(), c.type, threads);
    Stored stored(c, *backend.ops, r, /*junk=*/true);
    stored.StoreSelf(c, *backend.ops, r, 0, c.self_len);
    AttentionSequence s = stored.Sequence(c, r, 0, c.self_len, c.self_len);
    const KvView view = stored.cache.view();
    Floats out(r.q.size(), 9.0f);
    const std::vector<uint8_t> none(40, 0);
    s.self_valid = none.data();
    backend.ops->Attention(c.params(), View(r.q, 40), view, view, {&s, 1}, View(out, 40));
    EXPECT_THAT(out, ::testing::Each(0.0f));
    std::fill(out.begin(), out.end(), 9.0f);
    s.self_len = 0;
    s.self_pages = {};
    s.self_valid = nullptr;
    backend.ops->Attention(c.params(), View(r.q, 40), view, view, {&s, 1}, View(out, 40));
    EXPECT_THAT(out, ::testing::Each(0.0f));
  }
}

// A NaN that a query sees reaches its output: an answer must not look sound.
TEST(AttentionEdgeTest, NanIsNotLost) {
  const Case c{.type = ComputeType::kFloat32, .head_dim = 8, .self_len = 40};
  std::mt19937 random(5);
  Request r(c, random);
  r.q[static_cast<size_t>(20 * c.num_heads() * c.head_dim)] = std::nanf("");
  for (Isa isa : SupportedIsas()) {
    Backend backend(isa, c.type);
    const Floats out = Prefill(c, backend, r);
    for (int64_t row = 0; row < 40; ++row) {
      const size_t at = static_cast<size_t>(row * c.num_heads() * c.head_dim);
      EXPECT_EQ(std::isnan(out[at]), row == 20) << tandem::NameOf(isa) << " " << row;
    }
  }
}

// A zero's sign is a bit too. Query 129 sees keys 0 to 129. The first block's output underflows to
// -0 when the second block's larger maximum shrinks it; the second block's own sum is a product
// that underflows to -0. What lies in the slots behind (weight 0, value +1 or -1) must not show.
TEST(AttentionEdgeTest, UnseenValuesDoNotTurnTheSignOfZero) {
  constexpr int64_t kTokens = 160, kDim = 8;
  for (ComputeType type : {ComputeType::kFloat32, ComputeType::kBFloat16}) {
    const Case c{.type = type, .head_dim = kDim, .kv_head_of_head = {0}, .self_len = kTokens};
    Floats k(kTokens * kDim), v(kTokens * kDim);
    for (int64_t j = 0; j < kTokens; ++j) {
      const auto at = static_cast<size_t>(j * kDim);
      k[at] = j < 128 ? -10.0f : j == 128 ? -20.0f : 10.0f;
      v[at] = j < 129 ? -0x1p-126f : -0.0f;
    }
    const Floats q = {4.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
    const int32_t position = 129;
    for (Isa isa : SupportedIsas()) {
      Backend backend(isa, type);
      std::vector<Floats> outs;
      for (float behind : {1.0f, -1.0f}) {
        for (size_t j = 130; j < kTokens; ++j) v[j * kDim] = behind;
        TestCache cache(type, 1, kDim, 8);
        const std::vector<int32_t> pages = cache.Take(kTokens);
        const KvView view = cache.view();
        backend.ops->StoreKv(View(k, kTokens), View(v, kTokens),
                             TestCache::Slots(pages, 0, kTokens), view);
        AttentionSequence s;
        s.num_rows = 1;
        s.positions = &position;
        s.self_pages = pages;
        s.self_len = 130;
        outs.emplace_back(kDim, 9.0f);
        backend.ops->Attention(c.params(), View(q, 1), view, view, {&s, 1}, View(outs.back(), 1));
      }
      EXPECT_EQ(outs[0][0], 0.0f);
      EXPECT_TRUE(SameBits(outs[0], outs[1])) << NameOf(type) << " " << tandem::NameOf(isa);
    }
  }
}

// The whole score matrix would be 4,000 x 4,000; scratch stays a few tiles, and blocks outside the
// window are not looked at: their pages do not even exist.
TEST(AttentionEdgeTest, PagesOutsideTheWindowAreNotRead) {
  const Case c{.type = ComputeType::kBFloat16,
               .head_dim = 8,
               .kv_head_of_head = {0},
               .self_len = 1000,
               .window_back = 50};
  std::mt19937 random(5);
  const Request r(c, random);
  for (int threads : {1, 2}) {
    Backend backend(SupportedIsas().back(), c.type, threads);
    Stored stored(c, *backend.ops, r);
    stored.StoreSelf(c, *backend.ops, r, 0, c.self_len);
    AttentionSequence s = stored.Sequence(c, r, 999, 1, c.self_len);
    const KvView view = stored.cache.view();
    Floats want(8), got(8);
    const ConstMatrix q = View(r.q, c.self_len).Rows(999, 1);
    backend.ops->Attention(c.params(), q, view, view, {&s, 1}, View(want, 1));
    std::vector<int32_t> pages = stored.self_pages;
    for (size_t page = 0; page < 949 / kPageTokens; ++page) pages[page] = 1 << 30;  // Unmapped.
    s.self_pages = pages;
    backend.ops->Attention(c.params(), q, view, view, {&s, 1}, View(got, 1));
    EXPECT_TRUE(SameBits(got, want));
  }
}

}  // namespace
}  // namespace tandem::testing
