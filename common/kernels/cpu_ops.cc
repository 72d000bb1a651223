#include "common/kernels/cpu_ops.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>

#include "common/base/check.h"
#include "common/kernels/cpu_attention.h"
#include "common/kernels/cpu_head_scan.h"
#include "common/kernels/cpu_kernels.h"
#include "common/kernels/linear.h"
#include "common/kernels/math.h"
#include "common/tensor/dtype.h"

namespace tandem {
namespace {

// Elements of row-wise work below which a thread is not worth waking.
constexpr int64_t kElementsPerThread = 16384;

MathFunction FunctionOf(Activation activation) {
  switch (activation) {
    case Activation::kGeluTanh:
      return MathFunction::kGeluTanh;
    case Activation::kGeluErf:
      return MathFunction::kGeluErf;
    case Activation::kSilu:
      return MathFunction::kSilu;
    case Activation::kRelu:
      break;
  }
  return MathFunction::kRelu;
}

template <class A, class B>
bool SameShape(const MatrixView<A>& a, const MatrixView<B>& b) {
  return a.rows == b.rows && a.cols == b.cols;
}

float Element(const uint32_t* panel, ComputeType type, int64_t feature, int64_t lane) {
  if (type == ComputeType::kFloat32) {
    return std::bit_cast<float>(panel[feature * kPanel + lane]);
  }
  const uint32_t word = panel[feature / 2 * kPanel + lane];
  return Bf16ToFloat(static_cast<uint16_t>(feature % 2 == 0 ? word : word >> 16));
}

class CpuOps : public Ops {
 public:
  CpuOps(Isa isa, ComputeType type, ThreadPool& pool)
      : type_(type),
        pool_(pool),
        kernels_(CpuKernelsOf(isa)),
        linear_(LinearKernelsFor(isa)),
        attention_(kernels_, pool),
        head_scan_(kernels_, linear_, pool) {}

  ComputeType type() const override { return type_; }

  void Linear(ConstMatrix x, const LinearWeight& weight, int64_t first_column, Matrix y) override {
    tandem::Linear(linear_, pool_, linear_input_, x, weight, first_column, y);
  }

  void RmsNorm(ConstMatrix x, absl::Span<const float> weight, float eps, Matrix out) override {
    TANDEM_CHECK(SameShape(x, out) && static_cast<int64_t>(weight.size()) == x.cols);
    ForRows(x, [&](int64_t row) {
      kernels_.rms_norm(x.row(row), weight.data(), x.cols, eps, out.row(row));
    });
  }

  void AddInPlace(ConstMatrix branch, Matrix x) override {
    TANDEM_CHECK(SameShape(branch, x));
    ForRows(x, [&](int64_t row) { kernels_.add(branch.row(row), x.cols, x.row(row)); });
  }

  void AddBias(absl::Span<const float> bias, Matrix x) override {
    TANDEM_CHECK(static_cast<int64_t>(bias.size()) == x.cols);
    ForRows(x, [&](int64_t row) { kernels_.add(bias.data(), x.cols, x.row(row)); });
  }

  void GatedActivation(ConstMatrix gate, ConstMatrix up, Activation activation,
                       Matrix out) override {
    TANDEM_CHECK(SameShape(gate, out) && SameShape(up, out));
    const MathFunction function = FunctionOf(activation);
    ForRows(out, [&](int64_t row) {
      kernels_.gate(function, gate.row(row), up.row(row), out.cols, out.row(row));
    });
  }

  void SoftCap(float cap, Matrix x) override {
    TANDEM_CHECK(cap > 0.0f);
    ForRows(x, [&](int64_t row) { kernels_.soft_cap(cap, x.cols, x.row(row)); });
  }

  void RoundToCompute(Matrix x) override {
    if (type_ == ComputeType::kFloat32) return;
    ForRows(x, [&](int64_t row) { kernels_.round_to_bf16(x.cols, x.row(row)); });
  }

  void EmbedRows(const LinearWeight& table, int64_t first_id, absl::Span<const int32_t> ids,
                 float scale, Matrix out) override {
    TANDEM_CHECK(table.segments.size() == 1 && table.num_leaves() == 1);
    TANDEM_CHECK(out.rows == static_cast<int64_t>(ids.size()) && out.cols == table.in_features);
    ForRows(out, [&](int64_t i) {
      const int64_t row = ids[static_cast<size_t>(i)] - first_id;
      float* to = out.row(i);
      if (row < 0 || row >= table.segments[0].size) {
        std::fill_n(to, out.cols, 0.0f);
        return;
      }
      const int64_t column = table.segments[0].column + row;
      const uint32_t* panel = table.panel(column / kPanel);
      for (int64_t f = 0; f < out.cols; ++f) {
        to[f] = Element(panel, table.type, f, column % kPanel) * scale;
      }
    });
  }

  void RopeTables(absl::Span<const int32_t> positions, absl::Span<const float> inverse_frequencies,
                  Matrix cos, Matrix sin) override {
    TANDEM_CHECK(cos.rows == static_cast<int64_t>(positions.size()) && SameShape(cos, sin));
    TANDEM_CHECK(cos.cols == static_cast<int64_t>(inverse_frequencies.size()));
    ForRows(cos, [&](int64_t row) {
      const auto position = static_cast<float>(positions[static_cast<size_t>(row)]);
      for (int64_t c = 0; c < cos.cols; ++c) {
        const CosSin value = CosSinOf(position * inverse_frequencies[static_cast<size_t>(c)]);
        cos.row(row)[c] = value.cos;
        sin.row(row)[c] = value.sin;
      }
    });
  }

  void HeadNormRope(int64_t head_dim, absl::Span<const float> weight, float eps,
                    const RopeRows* rope, Matrix x) override {
    TANDEM_CHECK(head_dim > 0 && head_dim % 2 == 0 && x.cols % head_dim == 0);
    TANDEM_CHECK(weight.empty() || static_cast<int64_t>(weight.size()) == head_dim);
    const int64_t half = head_dim / 2;
    if (rope != nullptr) {
      TANDEM_CHECK(SameShape(rope->cos, rope->sin));
      TANDEM_CHECK(rope->cos.rows == x.rows && rope->cos.cols == half);
    }
    ForRows(x, [&](int64_t row) {
      for (float* head = x.row(row); head != x.row(row) + x.cols; head += head_dim) {
        if (!weight.empty()) kernels_.rms_norm(head, weight.data(), head_dim, eps, head);
        if (rope != nullptr) kernels_.rotate(rope->cos.row(row), rope->sin.row(row), half, head);
      }
    });
  }

  void StoreKv(ConstMatrix k, ConstMatrix v, absl::Span<const KvSlot> slots,
               const KvView& cache) override {
    const KvLayout& layout = cache.layout;
    TANDEM_CHECK(SameShape(k, v) && k.rows == static_cast<int64_t>(slots.size()));
    TANDEM_CHECK(k.cols == layout.num_kv_heads * layout.head_dim && layout.type == type_);
    ForRows(k, [&](int64_t row) {
      const KvSlot slot = slots[static_cast<size_t>(row)];
      TANDEM_DCHECK(slot.slot >= 0 && slot.slot < kPageTokens);
      for (int64_t head = 0; head < layout.num_kv_heads; ++head) {
        const int64_t column = head * layout.head_dim;
        StoreKey(k.row(row) + column, slot.slot, layout, cache.key_part(slot.page, head));
        StoreValue(v.row(row) + column, slot.slot, layout, cache.value_part(slot.page, head));
      }
    });
  }

  void Attention(const AttentionParams& params, ConstMatrix q, const KvView& self,
                 const KvView& cross, absl::Span<const AttentionSequence> sequences,
                 Matrix out) override {
    TANDEM_CHECK(self.layout.type == type_);
    attention_.Run(params, q, self, cross, sequences, out);
  }

  void HeadScan(ConstMatrix x, const LinearWeight& head, const LeafShard& vocabulary,
                float soft_cap, absl::Span<const HeadRequest> requests,
                absl::Span<HeadResult> results) override {
    head_scan_.Run(x, head, vocabulary, soft_cap, requests, linear_input_, results);
  }

 private:
  // body(row) for every row of x; on several threads where there is work for them.
  template <class T, class Body>
  void ForRows(const MatrixView<T>& x, Body body) {
    const int64_t grain = std::max<int64_t>(1, kElementsPerThread / std::max<int64_t>(1, x.cols));
    pool_.ParallelFor(x.rows, grain, [&](int64_t begin, int64_t end, int) {
      for (int64_t row = begin; row < end; ++row) body(row);
    });
  }

  // Tokens in lanes, words along head_dim.
  static void StoreKey(const float* k, int64_t slot, const KvLayout& layout, uint32_t* part) {
    uint32_t* to = part + slot / kPanel * layout.key_words() * kPanel + slot % kPanel;
    for (int64_t word = 0; word < layout.key_words(); ++word, to += kPanel) {
      *to = layout.type == ComputeType::kFloat32
                ? std::bit_cast<uint32_t>(k[word])
                : FloatToBf16(k[2 * word]) | static_cast<uint32_t>(FloatToBf16(k[2 * word + 1]))
                                                 << 16;
    }
  }

  // Channels in lanes, words along tokens: in bf16 two tokens share a word, and two threads may
  // write its halves at once.
  static void StoreValue(const float* v, int64_t slot, const KvLayout& layout, uint32_t* part) {
    const int64_t panel_words = layout.value_words() * kPanel;
    for (int64_t c = 0; c < layout.head_dim; ++c) {
      uint32_t* panel = part + c / kPanel * panel_words + c % kPanel;
      if (layout.type == ComputeType::kFloat32) {
        panel[slot * kPanel] = std::bit_cast<uint32_t>(v[c]);
      } else {
        const uint16_t half = FloatToBf16(v[c]);
        auto* word = reinterpret_cast<std::byte*>(panel + slot / 2 * kPanel);
        std::memcpy(word + slot % 2 * 2, &half, sizeof half);
      }
    }
  }

  const ComputeType type_;
  ThreadPool& pool_;
  const CpuKernels& kernels_;
  const LinearKernels& linear_;
  LinearInput linear_input_;
  CpuAttention attention_;
  CpuHeadScan head_scan_;
};

}  // namespace

std::unique_ptr<Ops> MakeCpuOps(Isa isa, ComputeType type, ThreadPool& pool) {
  return std::make_unique<CpuOps>(isa, type, pool);
}

}  // namespace tandem
