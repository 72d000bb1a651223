#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "common/kernels/cpu_ops.h"
#include "common/kernels/math.h"

#define XXH_INLINE_ALL
#include "xxhash.h"

namespace tandem {
namespace {

// Values whose sums depend on their order: signs and magnitudes vary.
class Probe {
 public:
  explicit Probe(Ops& ops) : ops_(ops) {}

  std::vector<float> Values(int64_t count) {
    std::vector<float> out(static_cast<size_t>(count));
    for (float& value : out) {
      state_ = state_ * 6364136223846793005u + 1442695040888963407u;  // Knuth's MMIX generator.
      const auto fraction = static_cast<float>(state_ >> 40) * 0x1p-24f;
      value = (fraction - 0.5f) * ((state_ >> 39 & 1) != 0 ? 4.0f : 0.25f);
    }
    return out;
  }

  LinearWeight Weight(std::vector<int64_t> leaves, int64_t outputs) {
    const int64_t sizes[] = {outputs};
    LinearWeight weight = MakeLinearWeight(ops_.type(), std::move(leaves), sizes);
    const std::vector<float> values = Values(outputs * weight.in_features);
    PackRows({.data = reinterpret_cast<const std::byte*>(values.data()),
              .dtype = DType::kF32,
              .row_stride_bytes = weight.in_features * 4},
             0, 0, outputs, weight);
    return weight;
  }

  void Hash(const void* data, size_t bytes) { hash_ = XXH3_64bits_withSeed(data, bytes, hash_); }
  void Hash(const std::vector<float>& values) {
    Hash(values.data(), values.size() * sizeof(float));
  }

  void Products();
  void Rows();
  void Attention();
  void Head();

  uint64_t hash() const { return hash_; }

 private:
  Ops& ops_;
  uint64_t state_ = 1;
  uint64_t hash_ = 0;
};

// Leaves of odd lengths, one of them empty.
void Probe::Products() {
  constexpr int64_t kK = 203, kOutputs = 48;
  const LinearWeight weight = Weight({0, 48, 48, 155, kK}, kOutputs);
  for (int64_t rows : {1, 5, 19}) {
    const std::vector<float> x = Values(rows * kK);
    std::vector<float> y(static_cast<size_t>(rows * kOutputs));
    ops_.Linear({x.data(), rows, kK}, weight, 0, {y.data(), rows, kOutputs});
    Hash(y);
  }
}

void Probe::Rows() {
  constexpr int64_t kCols = 300;
  const std::vector<float> x = Values(kCols), weight = Values(kCols);
  std::vector<float> out(kCols);
  const ConstMatrix row(x.data(), 1, kCols);
  const Matrix to(out.data(), 1, kCols);
  ops_.RmsNorm(row, weight, 1e-6f, to);
  Hash(out);
  for (Activation activation :
       {Activation::kGeluTanh, Activation::kGeluErf, Activation::kSilu, Activation::kRelu}) {
    ops_.GatedActivation(row, {weight.data(), 1, kCols}, activation, to);
    Hash(out);
  }
  ops_.SoftCap(3.0f, to);
  Hash(out);
  ops_.RoundToCompute(to);
  Hash(out);
}

// A window, encoder memory, masked keys, a soft cap; keys beyond one block.
void Probe::Attention() {
  constexpr int64_t kHeadDim = 24, kHeads = 4, kTokens = 150, kPages = 5;
  const KvLayout layout{.type = ops_.type(), .num_kv_heads = 2, .head_dim = kHeadDim};
  PageBuffer memory(static_cast<size_t>(kPages * layout.page_bytes()));
  const KvView cache{layout, static_cast<std::byte*>(memory.data()), layout.page_bytes()};
  std::vector<int32_t> positions, pages;
  std::vector<KvSlot> slots;
  std::vector<uint8_t> valid;
  for (int32_t i = 0; i < kTokens; ++i) {
    positions.push_back(i);
    slots.push_back({static_cast<int32_t>(i / kPageTokens), static_cast<int32_t>(i % kPageTokens)});
    valid.push_back(i % 7 != 3);
  }
  for (int32_t page = 0; page < kPages; ++page) pages.push_back(page);

  const std::vector<float> frequencies = RopeFrequencies(1e4, 2.0, kHeadDim);
  std::vector<float> cos(kTokens * kHeadDim / 2), sin(cos.size()), weight = Values(kHeadDim);
  const Matrix cos_rows(cos.data(), kTokens, kHeadDim / 2),
      sin_rows(sin.data(), kTokens, kHeadDim / 2);
  ops_.RopeTables(positions, frequencies, cos_rows, sin_rows);
  const RopeRows rope{cos_rows, sin_rows};
  std::vector<float> q = Values(kTokens * kHeads * kHeadDim), out(q.size());
  std::vector<float> k = Values(kTokens * 2 * kHeadDim), v = Values(kTokens * 2 * kHeadDim);
  const Matrix q_rows(q.data(), kTokens, kHeads * kHeadDim),
      k_rows(k.data(), kTokens, 2 * kHeadDim);
  ops_.HeadNormRope(kHeadDim, weight, 1e-6f, &rope, q_rows);
  ops_.HeadNormRope(kHeadDim, weight, 1e-6f, &rope, k_rows);
  Hash(q);
  ops_.StoreKv(k_rows, {v.data(), kTokens, 2 * kHeadDim}, slots, cache);

  AttentionSequence sequence;
  sequence.num_rows = kTokens;
  sequence.positions = positions.data();
  sequence.self_pages = sequence.cross_pages = pages;
  sequence.self_len = kTokens;
  sequence.self_valid = sequence.cross_valid = valid.data();
  for (int64_t cross_len : {0, 131}) {
    sequence.cross_len = cross_len;
    const AttentionParams params{.head_dim = kHeadDim,
                                 .kv_head_of_head = {0, 0, 1, 1},
                                 .scale = 0.2f,
                                 .soft_cap = cross_len == 0 ? 0.0f : 5.0f,
                                 .window_back = cross_len == 0 ? kNoWindow : 40};
    ops_.Attention(params, q_rows, cache, cache, {&sequence, 1},
                   {out.data(), kTokens, kHeads * kHeadDim});
    Hash(out);
  }
}

void Probe::Head() {
  constexpr int64_t kHidden = 40, kVocab = 2500;
  const LinearWeight head = Weight({0, kHidden}, kVocab);
  const std::vector<float> x = Values(2 * kHidden);
  HeadRequest request;
  request.num_top = 3;
  request.log_sum_exp = true;
  request.temperature = 0.7f;
  request.draw = true;
  request.draw_key = {.seed = 1, .sample = 2, .step = 3};
  request.scaled_sum = true;
  std::vector<HeadResult> results(2);
  ops_.HeadScan({x.data(), 2, kHidden}, head, {FeatureCut(kVocab, 2), 0, 2}, 20.0f,
                std::vector<HeadRequest>(2, request), absl::MakeSpan(results));
  for (const HeadResult& result : results) {
    for (const Candidate& c : result.top) Hash(&c, sizeof c);
    Hash(&result.drawn, sizeof result.drawn);
    const float numbers[] = {result.log_sum_exp.max, result.log_sum_exp.sum,
                             LogOf(result.log_sum_exp), LogOf(result.scaled_sum)};
    Hash(numbers, sizeof numbers);
  }
}

}  // namespace

uint64_t NumericsProbe(Ops& ops) {
  Probe probe(ops);
  probe.Products();
  probe.Rows();
  probe.Attention();
  probe.Head();
  return probe.hash();
}

}  // namespace tandem
