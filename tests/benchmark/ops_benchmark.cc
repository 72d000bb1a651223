// Operations other than products, at the 270m preset's shapes, with the machine's roofs beside them
// (roof/read and roof/bf16 of linear_benchmark, here for one ISA).
//
//   ops_benchmark --benchmark_filter='roof|attention'
//
// attention/encode: bound by arithmetic, GFLOP/s against roof/bf16. attention/decode and head:
// bound by memory, GB/s against roof/read; caches and heads cycle through copies that no cache
// holds, as the layers of a model do.
#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "common/kernels/cpu_ops.h"
#include "common/kernels/math.h"
#include "tests/benchmark/roof.h"

namespace tandem {
namespace {

constexpr int64_t kHidden = 640, kIntermediate = 2048, kHeads = 4, kHeadDim = 256;
constexpr int64_t kVocab = 262144;
constexpr int64_t kColdBytes = int64_t{192} << 20;

struct Backend {
  Backend(Isa isa, ComputeType type, int threads)
      : pool(threads, /*pin=*/true), ops(MakeCpuOps(isa, type, pool)) {}
  ThreadPool pool;
  std::unique_ptr<Ops> ops;
};

void FillWords(PageBuffer& memory) {  // About 2^-7 of either sign, as bf16 or float.
  auto* words = static_cast<uint32_t*>(memory.data());
  uint32_t state = 1;
  for (size_t i = 0; i < memory.bytes() / 4; ++i) {
    state = state * 1664525u + 1013904223u;
    words[i] = (state & 0x807f807fu) | 0x3c003c00u;
  }
}

AlignedBuffer<float> Values(int64_t count) {
  AlignedBuffer<float> out(count);
  for (int64_t i = 0; i < count; ++i) out[i] = 0.25f * static_cast<float>(i % 23) - 2.5f;
  return out;
}

void SetRates(benchmark::State& state, double bytes, double operations) {
  const auto rate = [&](double amount) {
    return benchmark::Counter(amount * 1e-9 * static_cast<double>(state.iterations()),
                              benchmark::Counter::kIsRate);
  };
  if (bytes > 0) state.counters["GB/s"] = rate(bytes);
  if (operations > 0) state.counters["GFLOP/s"] = rate(operations);
}

struct AttentionSize {
  int64_t sequences = 1;
  int64_t queries = 1;  // The last ones of self_len.
  int64_t self_len = 0;
  int64_t cross_len = 0;
  int64_t window_back = kNoWindow, window_ahead = 0;
};

void Attention(benchmark::State& state, Backend& backend, const AttentionSize& size) {
  SetComputeFloatMode();
  const KvLayout layout{.type = backend.ops->type(), .num_kv_heads = 1, .head_dim = kHeadDim};
  const int64_t self_pages = (size.self_len + kPageTokens - 1) / kPageTokens;
  const int64_t cross_pages = (size.cross_len + kPageTokens - 1) / kPageTokens;
  const int64_t layer_pages = size.sequences * (self_pages + cross_pages);
  const int64_t layer_bytes = layer_pages * layout.page_bytes();
  const int64_t layers = size.queries > 1 ? 1 : std::max<int64_t>(1, kColdBytes / layer_bytes);
  PageBuffer memory(static_cast<size_t>(layers * layer_bytes));
  FillWords(memory);

  std::vector<int32_t> pages(static_cast<size_t>(layer_pages));
  for (size_t i = 0; i < pages.size(); ++i) pages[i] = static_cast<int32_t>(i);
  std::vector<int32_t> positions(static_cast<size_t>(size.queries));
  for (size_t i = 0; i < positions.size(); ++i) {
    positions[i] = static_cast<int32_t>(size.self_len - size.queries) + static_cast<int32_t>(i);
  }
  std::vector<AttentionSequence> sequences(static_cast<size_t>(size.sequences));
  const int32_t* next_page = pages.data();
  for (size_t i = 0; i < sequences.size(); ++i) {
    AttentionSequence& s = sequences[i];
    s.first_row = static_cast<int64_t>(i) * size.queries;
    s.num_rows = size.queries;
    s.positions = positions.data();
    s.self_pages = {next_page, static_cast<size_t>(self_pages)};
    next_page += self_pages;
    s.self_len = size.self_len;
    s.cross_pages = {next_page, static_cast<size_t>(cross_pages)};
    next_page += cross_pages;
    s.cross_len = size.cross_len;
  }
  const int64_t rows = size.sequences * size.queries;
  const AlignedBuffer<float> q = Values(rows * kHeads * kHeadDim), out = Values(q.size());
  const AttentionParams params{.head_dim = kHeadDim,
                               .kv_head_of_head = std::vector<int32_t>(kHeads, 0),
                               .scale = 0.0625f,
                               .window_back = size.window_back,
                               .window_ahead = size.window_ahead};
  int64_t layer = 0;
  for (auto _ : state) {
    const KvView view{layout, static_cast<std::byte*>(memory.data()) + layer * layer_bytes,
                      layout.page_bytes()};
    backend.ops->Attention(params, {q.data(), rows, kHeads * kHeadDim}, view, view, sequences,
                           {out.data(), rows, kHeads * kHeadDim});
    layer = (layer + 1) % layers;
  }
  double pairs = 0;  // (query, key) pairs seen by one sequence.
  for (int32_t p : positions) {
    const int64_t begin = std::max<int64_t>(0, p - size.window_back);
    pairs += static_cast<double>(std::min(size.self_len, p + size.window_ahead + 1) - begin);
    pairs += static_cast<double>(size.cross_len);
  }
  SetRates(state, size.queries > 1 ? 0 : static_cast<double>(layer_bytes),
           4.0 * pairs * static_cast<double>(size.sequences * kHeads * kHeadDim));
}

void Head(benchmark::State& state, Backend& backend, int64_t rows, const HeadRequest& request) {
  static LinearWeight head;  // One for all: 335 MB.
  if (head.columns == 0 || head.type != backend.ops->type()) {
    head = MakeLinearWeight(backend.ops->type(), {0, kHidden}, {{kVocab}});
    FillWords(head.data);
  }
  const AlignedBuffer<float> x = Values(rows * kHidden);
  const std::vector<HeadRequest> requests(static_cast<size_t>(rows), request);
  std::vector<HeadResult> results(static_cast<size_t>(rows));
  const LeafShard vocabulary = ShardOf(FeatureCut(kVocab), {});
  for (auto _ : state) {
    backend.ops->HeadScan({x.data(), rows, kHidden}, head, vocabulary, 0.0f, requests,
                          absl::MakeSpan(results));
  }
  SetRates(state, static_cast<double>(head.bytes()),
           2.0 * static_cast<double>(rows * kHidden * kVocab));
}

// Row-wise operations: `bytes` read and written a call.
void Rows(benchmark::State& state, Backend& backend, double bytes,
          const std::function<void(Ops&)>& op) {
  for (auto _ : state) op(*backend.ops);
  SetRates(state, bytes, 0);
}

void ReadRoof(benchmark::State& state, ThreadPool& pool) {
  const PageBuffer memory(2 * kColdBytes);
  std::fill_n(static_cast<uint64_t*>(memory.data()), memory.bytes() / 8, 1u);
  const auto* data = static_cast<const std::byte*>(memory.data());
  for (auto _ : state) {
    pool.ParallelFor(2 * kColdBytes, 4096, [&](int64_t begin, int64_t end, int) {
      benchmark::DoNotOptimize(ReadAll(data + begin, end - begin));
    });
  }
  SetRates(state, static_cast<double>(memory.bytes()), 0);
}

void ArithmeticRoof(benchmark::State& state, ThreadPool& pool, Isa isa) {
  double operations = 0;
  for (auto _ : state) {
    pool.Run([&](int thread) {
      const double done = MultiplyAddBf16(isa);
      if (thread == 0) operations = done * pool.num_threads();
    });
  }
  SetRates(state, 0, operations);
}

void Register(const std::string& name, const std::function<void(benchmark::State&)>& body) {
  benchmark::RegisterBenchmark(name.c_str(), body)->UseRealTime()->Unit(benchmark::kMicrosecond);
}

void RegisterAll(Isa isa, ComputeType type, int threads) {
  auto backend = std::make_shared<Backend>(isa, type, threads);
  const std::string suffix =
      absl::StrCat("/", std::string(NameOf(isa)),
                   type == ComputeType::kBFloat16 ? "/bf16" : "/fp32", "/threads:", threads);
  const auto add = [&](const std::string& name, auto body) {
    Register(name + suffix, [=](benchmark::State& state) { body(state, *backend); });
  };
  if (isa != Isa::kPortable && type == ComputeType::kBFloat16) {
    add("roof/read", [](benchmark::State& s, Backend& b) { ReadRoof(s, b.pool); });
    add("roof/bf16", [isa](benchmark::State& s, Backend& b) { ArithmeticRoof(s, b.pool, isa); });
  }
  const auto attention = [&](const std::string& name, const AttentionSize& size) {
    add("attention/" + name, [=](benchmark::State& s, Backend& b) { Attention(s, b, size); });
  };
  attention("encode/full/512", {.queries = 512, .self_len = 512, .window_ahead = kNoWindow});
  attention("encode/window_512/2048",
            {.queries = 2048, .self_len = 2048, .window_back = 255, .window_ahead = 256});
  attention("prefill/causal/2048", {.queries = 2048, .self_len = 2048});
  for (int64_t sequences : {1, 8, 32}) {
    attention(absl::StrCat("decode/256+512/sequences:", sequences),
              {.sequences = sequences, .self_len = 256, .cross_len = 512});
  }
  attention("decode/0+32768/sequences:1", {.self_len = 1, .cross_len = 32768});
  for (int64_t rows : {1, 8, 32}) {
    add(absl::StrCat("head/rows:", rows), [=](benchmark::State& s, Backend& b) {
      Head(s, b, rows, {.num_top = 0, .log_sum_exp = false, .forbidden = {}});
    });
    add(absl::StrCat("head/logprobs/rows:", rows), [=](benchmark::State& s, Backend& b) {
      Head(s, b, rows, {.num_top = 20, .log_sum_exp = true, .forbidden = {}});
    });
  }
  for (int64_t rows : {1, 512}) {
    const auto row_op = [&](const std::string& name, int64_t read_and_written, auto op) {
      add(absl::StrCat(name, "/rows:", rows), [=](benchmark::State& s, Backend& b) {
        Rows(s, b, 4.0 * static_cast<double>(rows * read_and_written), op);
      });
    };
    const auto values = std::make_shared<AlignedBuffer<float>>(Values(rows * 2 * kIntermediate));
    const auto weight = std::make_shared<std::vector<float>>(kHidden, 0.1f);
    const Matrix x(values->data(), rows, kHidden);
    const Matrix gate(values->data(), rows, kIntermediate, 2 * kIntermediate);
    const Matrix up(values->data() + kIntermediate, rows, kIntermediate, 2 * kIntermediate);
    row_op("rms_norm", 2 * kHidden, [=](Ops& ops) {
      ops.RmsNorm(x, *weight, 1e-6f, x);
      (void)values;
    });
    row_op("gelu_tanh", 3 * kIntermediate, [=](Ops& ops) {
      ops.GatedActivation(gate, up, Activation::kGeluTanh, up);
      (void)values;
    });
    const auto positions = std::make_shared<std::vector<int32_t>>(static_cast<size_t>(rows), 1000);
    const auto angles = std::make_shared<AlignedBuffer<float>>(rows * kHeadDim);
    const Matrix cos(angles->data(), rows, kHeadDim / 2);
    const Matrix sin(angles->data() + rows * kHeadDim / 2, rows, kHeadDim / 2);
    const auto frequencies =
        std::make_shared<std::vector<float>>(RopeFrequencies(1e6, 8.0, kHeadDim));
    row_op("rope_tables", kHeadDim, [=](Ops& ops) {
      ops.RopeTables(*positions, *frequencies, cos, sin);
      (void)angles;
    });
    const auto q = std::make_shared<AlignedBuffer<float>>(Values(rows * kHeads * kHeadDim));
    const auto head_weight = std::make_shared<std::vector<float>>(kHeadDim, 0.1f);
    row_op("head_norm_rope", 2 * kHeads * kHeadDim, [=](Ops& ops) {
      const RopeRows rope{cos, sin};
      ops.HeadNormRope(kHeadDim, *head_weight, 1e-6f, &rope, {q->data(), rows, kHeads * kHeadDim});
      (void)angles;
    });
    const KvLayout layout{.type = type, .num_kv_heads = 1, .head_dim = kHeadDim};
    const auto pages =
        std::make_shared<PageBuffer>(static_cast<size_t>((rows / 32 + 1) * layout.page_bytes()));
    std::vector<KvSlot> slots;
    for (int32_t i = 0; i < rows; ++i) slots.push_back({i / 32, i % 32});
    row_op("store_kv", 2 * kHeadDim, [=](Ops& ops) {
      const KvView view{layout, static_cast<std::byte*>(pages->data()), layout.page_bytes()};
      ops.StoreKv({q->data(), rows, kHeadDim}, {q->data(), rows, kHeadDim}, slots, view);
    });
  }
}

}  // namespace
}  // namespace tandem

int main(int argc, char** argv) {
  using tandem::ComputeType;
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  for (int threads = 1; threads <= std::min(cores, 32); threads *= 2) {
    for (tandem::Isa isa : tandem::SupportedIsas()) {
      if (isa == tandem::Isa::kPortable) continue;
      tandem::RegisterAll(isa, ComputeType::kBFloat16, threads);
      tandem::RegisterAll(isa, ComputeType::kFloat32, threads);
    }
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
