// Attention against a scalar definition (to the bit), against f64 (within a tolerance), and against
// itself however it is cut.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "common/kernels/math.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/common/kernels/ops_test_util.h"

namespace tandem::testing {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

struct Case {
  ComputeType type = ComputeType::kFloat32;
  int64_t head_dim = 24;
  std::vector<int32_t> kv_head_of_head = {0, 0, 1, 1};
  int64_t self_len = 300;
  int64_t cross_len = 0;
  int64_t window_back = kNoWindow;
  int64_t window_ahead = 0;
  float soft_cap = 0.0f;
  bool holes = false;  // Masked keys.

  int64_t num_heads() const { return static_cast<int64_t>(kv_head_of_head.size()); }
  int64_t num_kv_heads() const { return kv_head_of_head.back() + 1; }
  AttentionParams params() const {
    return {.head_dim = head_dim,
            .kv_head_of_head = kv_head_of_head,
            .scale = 1.0f / std::sqrt(static_cast<float>(head_dim)),
            .soft_cap = soft_cap,
            .window_back = window_back,
            .window_ahead = window_ahead};
  }
};

std::ostream& operator<<(std::ostream& os, const Case& c) {
  return os << NameOf(c.type) << " head_dim " << c.head_dim << " heads " << c.num_heads() << " kv "
            << c.num_kv_heads() << " self " << c.self_len << " cross " << c.cross_len << " window "
            << c.window_back << "+" << c.window_ahead << " cap " << c.soft_cap << " holes "
            << c.holes;
}

// One request's numbers, [tokens][heads * head_dim].
struct Request {
  Request(const Case& c, std::mt19937& random)
      : q(Gauss(random, c.self_len * c.num_heads() * c.head_dim, 1.5f)),
        k(Gauss(random, c.self_len * c.num_kv_heads() * c.head_dim, 1.5f)),
        v(Gauss(random, c.self_len * c.num_kv_heads() * c.head_dim)),
        cross_k(Gauss(random, c.cross_len * c.num_kv_heads() * c.head_dim, 1.5f)),
        cross_v(Gauss(random, c.cross_len * c.num_kv_heads() * c.head_dim)) {
    for (int32_t i = 0; i < c.self_len; ++i) {
      positions.push_back(i);
      self_valid.push_back(!c.holes || i % 5 != 2);
    }
    for (int64_t i = 0; i < c.cross_len; ++i) {
      // A block that is masked whole, too.
      cross_valid.push_back(!c.holes || (i % 3 != 1 && (i < 128 || i >= 256)));
    }
    // Values that underflow to -0 where weights are small.
    for (size_t i = 0; i < v.size(); i += static_cast<size_t>(c.head_dim)) v[i] = -0x1p-126f;
  }
  Floats q, k, v, cross_k, cross_v;
  std::vector<int32_t> positions;
  std::vector<uint8_t> self_valid, cross_valid;
};

// A request's cache, filled up to some number of self tokens.
struct Stored {
  Stored(const Case& c, Ops& ops, const Request& r, bool junk = false, int seed = 1)
      : cache(c.type, c.num_kv_heads(), c.head_dim, 64) {
    std::mt19937 random(static_cast<unsigned>(seed));
    if (junk) cache.FillWithJunk(random);
    self_pages = cache.Take(c.self_len);
    cross_pages = cache.Take(c.cross_len);
    if (c.cross_len > 0) {
      ops.StoreKv(View(r.cross_k, c.cross_len), View(r.cross_v, c.cross_len),
                  TestCache::Slots(cross_pages, 0, c.cross_len), cache.view());
    }
  }
  void StoreSelf(const Case& c, Ops& ops, const Request& r, int64_t first, int64_t count) {
    ops.StoreKv(View(r.k, c.self_len).Rows(first, count), View(r.v, c.self_len).Rows(first, count),
                TestCache::Slots(self_pages, first, count), cache.view());
  }
  AttentionSequence Sequence(const Case& c, const Request& r, int64_t first, int64_t count,
                             int64_t self_len) const {
    AttentionSequence s;
    s.num_rows = count;
    s.positions = r.positions.data() + first;
    s.self_pages = self_pages;
    s.self_len = self_len;
    s.cross_pages = cross_pages;
    s.cross_len = c.cross_len;
    if (c.holes) {
      s.self_valid = r.self_valid.data();
      s.cross_valid = r.cross_valid.data();
    }
    return s;
  }
  TestCache cache;
  std::vector<int32_t> self_pages, cross_pages;
};

// All queries in one call.
Floats Prefill(const Case& c, Backend& backend, const Request& r) {
  Stored stored(c, *backend.ops, r);
  stored.StoreSelf(c, *backend.ops, r, 0, c.self_len);
  Floats out(r.q.size());
  const AttentionSequence s = stored.Sequence(c, r, 0, c.self_len, c.self_len);
  const KvView view = stored.cache.view();
  backend.ops->Attention(c.params(), View(r.q, c.self_len), view, view, {&s, 1},
                         View(out, c.self_len));
  return out;
}

// `step` queries a call, with junk in the slots to come. For causal windows.
Floats Decode(const Case& c, Backend& backend, const Request& r, int64_t step) {
  Stored stored(c, *backend.ops, r, /*junk=*/true, static_cast<int>(step));
  Floats out(r.q.size());
  for (int64_t first = 0; first < c.self_len; first += step) {
    const int64_t count = std::min(step, c.self_len - first);
    stored.StoreSelf(c, *backend.ops, r, first, count);
    const AttentionSequence s = stored.Sequence(c, r, first, count, first + count);
    const KvView view = stored.cache.view();
    backend.ops->Attention(c.params(), View(r.q, c.self_len).Rows(first, count), view, view,
                           {&s, 1}, View(out, c.self_len).Rows(first, count));
  }
  return out;
}

// What the scalar definition computes; its members are changed for the controls.
struct Definition {
  int64_t block = 128;
  bool self_first = true;
  bool sum_of_rounded_weights = false;

  struct State {
    float max = kMinusInfinity, sum = 0.0f;
    Floats out;
  };

  void Join(const Case& c, const float* q, const Floats& k, const Floats& v, int64_t kv_head,
            int64_t length, const std::vector<bool>& seen, State& state) const {
    const int64_t dim = c.head_dim, stride = c.num_kv_heads() * dim;
    for (int64_t begin = 0; begin < length; begin += block) {
      const int64_t end = std::min(length, begin + block);
      Floats p(static_cast<size_t>(block), kMinusInfinity);
      float max = kMinusInfinity;
      for (int64_t j = begin; j < end; ++j) {
        if (!seen[static_cast<size_t>(j)]) continue;
        float s = DotInOrder(c.type, k.data() + j * stride + kv_head * dim, 1, q, dim);
        s *= c.params().scale;
        if (c.soft_cap != 0.0f) s = c.soft_cap * Tanh(s / c.soft_cap);
        p[static_cast<size_t>(j - begin)] = s;
        max = std::max(max, s);
      }
      if (max == kMinusInfinity) continue;
      float lane[16] = {};
      for (size_t j = 0; j < p.size(); ++j) {
        const float weight = Exp(p[j] - max);
        p[j] = Round(c.type, weight);
        lane[j % 16] += sum_of_rounded_weights ? p[j] : weight;
      }
      const float sum = LaneTree(lane);
      const float now = std::max(state.max, max);
      const float keep = Exp(state.max - now), part_weight = Exp(max - now);
      state.max = now;
      state.sum = std::fma(sum, part_weight, state.sum * keep);
      for (int64_t d = 0; d < dim; ++d) {
        const float part = DotInOrder(c.type, v.data() + begin * stride + kv_head * dim + d, stride,
                                      p.data(), end - begin);
        float& out = state.out[static_cast<size_t>(d)];
        out = std::fma(part + 0.0f, part_weight, out * keep);
      }
    }
  }

  Floats operator()(const Case& c, const Request& r) const {
    Floats out(r.q.size());
    for (int64_t i = 0; i < c.self_len; ++i) {
      for (int64_t head = 0; head < c.num_heads(); ++head) {
        const int64_t at = (i * c.num_heads() + head) * c.head_dim;
        const int64_t kv_head = c.kv_head_of_head[static_cast<size_t>(head)];
        std::vector<bool> self_seen, cross_seen;
        for (int64_t j = 0; j < c.self_len; ++j) {
          self_seen.push_back(j >= i - c.window_back && j <= i + c.window_ahead &&
                              (!c.holes || r.self_valid[static_cast<size_t>(j)] != 0));
        }
        for (int64_t j = 0; j < c.cross_len; ++j) {
          cross_seen.push_back(!c.holes || r.cross_valid[static_cast<size_t>(j)] != 0);
        }
        State state;
        state.out.resize(static_cast<size_t>(c.head_dim));
        for (bool self : {self_first, !self_first}) {
          Join(c, r.q.data() + at, self ? r.k : r.cross_k, self ? r.v : r.cross_v, kv_head,
               self ? c.self_len : c.cross_len, self ? self_seen : cross_seen, state);
        }
        for (int64_t d = 0; d < c.head_dim && state.sum != 0.0f; ++d) {
          out[static_cast<size_t>(at + d)] = state.out[static_cast<size_t>(d)] * (1.0f / state.sum);
        }
      }
    }
    return out;
  }
};

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
