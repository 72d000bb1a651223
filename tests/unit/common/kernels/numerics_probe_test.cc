#include <cstdint>
#include <set>

#include "gtest/gtest.h"
#include "tests/unit/common/kernels/ops_test_util.h"

namespace tandem::testing {
namespace {

TEST(NumericsProbeTest, IsOneHashOverInstructionSetsAndThreads) {
  for (ComputeType type : {ComputeType::kFloat32, ComputeType::kBFloat16}) {
    std::set<uint64_t> hashes;
    for (Isa isa : SupportedIsas()) {
      for (int threads : {1, 3}) {
        Backend backend(isa, type, threads);
        hashes.insert(NumericsProbe(*backend.ops));
        hashes.insert(NumericsProbe(*backend.ops));  // And over calls.
      }
    }
    EXPECT_EQ(hashes.size(), 1u) << NameOf(type);
  }
}

// Operations with one of them changed: the hash must show each.
enum class Change { kNone, kLinear, kNorm, kActivation, kRope, kAttention, kHead };
class ChangedOps : public Ops {
 public:
  ChangedOps(Ops& ops, Change change) : ops_(ops), change_(change) {}

  ComputeType type() const override { return ops_.type(); }
  void Linear(ConstMatrix x, const LinearWeight& weight, int64_t first_column, Matrix y) override {
    ops_.Linear(x, weight, first_column, y);
    Touch(Change::kLinear, y);
  }
  void RmsNorm(ConstMatrix x, absl::Span<const float> weight, float eps, Matrix out) override {
    ops_.RmsNorm(x, weight, eps, out);
    Touch(Change::kNorm, out);
  }
  void AddInPlace(ConstMatrix branch, Matrix x) override { ops_.AddInPlace(branch, x); }
  void AddBias(absl::Span<const float> bias, Matrix x) override { ops_.AddBias(bias, x); }
  void GatedActivation(ConstMatrix gate, ConstMatrix up, Activation activation,
                       Matrix out) override {
    ops_.GatedActivation(gate, up, activation, out);
    Touch(Change::kActivation, out);
  }
  void SoftCap(float cap, Matrix x) override { ops_.SoftCap(cap, x); }
  void RoundToCompute(Matrix x) override { ops_.RoundToCompute(x); }
  void EmbedRows(const LinearWeight& table, int64_t first_id, absl::Span<const int32_t> ids,
                 float scale, Matrix out) override {
    ops_.EmbedRows(table, first_id, ids, scale, out);
  }
  void RopeTables(absl::Span<const int32_t> positions, absl::Span<const float> frequencies,
                  Matrix cos, Matrix sin) override {
    ops_.RopeTables(positions, frequencies, cos, sin);
    Touch(Change::kRope, sin);
  }
  void HeadNormRope(int64_t head_dim, absl::Span<const float> weight, float eps,
                    const RopeRows* rope, Matrix x) override {
    ops_.HeadNormRope(head_dim, weight, eps, rope, x);
  }
  void StoreKv(ConstMatrix k, ConstMatrix v, absl::Span<const KvSlot> slots,
               const KvView& cache) override {
    ops_.StoreKv(k, v, slots, cache);
  }
  void Attention(const AttentionParams& params, ConstMatrix q, const KvView& self,
                 const KvView& cross, absl::Span<const AttentionSequence> sequences,
                 Matrix out) override {
    ops_.Attention(params, q, self, cross, sequences, out);
    Touch(Change::kAttention, out);
  }
  void HeadScan(ConstMatrix x, const LinearWeight& head, const LeafShard& vocabulary,
                float soft_cap, absl::Span<const HeadRequest> requests,
                absl::Span<HeadResult> results) override {
    ops_.HeadScan(x, head, vocabulary, soft_cap, requests, results);
    float& sum = results[0].log_sum_exp.sum;
    if (change_ == Change::kHead) sum = std::nextafter(sum, 0.0f);
  }

 private:
  // Moves one element by one unit in the last place.
  void Touch(Change change, Matrix m) {
    float& value = m.row(m.rows - 1)[m.cols - 1];
    if (change == change_) value = std::nextafter(value, 1e9f);
  }

  Ops& ops_;
  Change change_;
};

TEST(NumericsProbeTest, ShowsOneBitInAnyOperation) {
  Backend backend(SupportedIsas().back(), ComputeType::kBFloat16);
  std::set<uint64_t> hashes;
  for (Change change : {Change::kNone, Change::kLinear, Change::kNorm, Change::kActivation,
                        Change::kRope, Change::kAttention, Change::kHead}) {
    ChangedOps ops(*backend.ops, change);
    hashes.insert(NumericsProbe(ops));
  }
  EXPECT_EQ(hashes.size(), 7u);
}

}  // namespace
}  // namespace tandem::testing
