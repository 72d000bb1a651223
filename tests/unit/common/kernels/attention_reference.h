// Attention for tests: a request and its cache, and the scalar definition of what is computed.
#ifndef TANDEM_TESTS_UNIT_COMMON_KERNELS_ATTENTION_REFERENCE_H_
#define TANDEM_TESTS_UNIT_COMMON_KERNELS_ATTENTION_REFERENCE_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <ostream>
#include <random>
#include <vector>

#include "common/kernels/math.h"
#include "tests/unit/common/kernels/ops_test_util.h"

namespace tandem::testing {

inline constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

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

inline std::ostream& operator<<(std::ostream& os, const Case& c) {
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
inline Floats Prefill(const Case& c, Backend& backend, const Request& r) {
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
inline Floats Decode(const Case& c, Backend& backend, const Request& r, int64_t step) {
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

}  // namespace tandem::testing

#endif  // TANDEM_TESTS_UNIT_COMMON_KERNELS_ATTENTION_REFERENCE_H_
