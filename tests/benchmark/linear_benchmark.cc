// Products at the presets' shapes, with the machine's roofs beside them.
//
//   linear_benchmark --benchmark_filter='roof|decode/270m/.*bf16/avx512_bf16'
//
// decode: few rows, bound by memory: GB/s of weights against roof/read. encode: 512 rows, bound by
// arithmetic: GFLOP/s against roof/bf16 and roof/fp32. On a shared machine compare within one run:
// --benchmark_repetitions=5 --benchmark_enable_random_interleaving=true. Products cycle through
// copies of their weights that no cache holds, as the layers of a model do.
#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "common/kernels/linear.h"
#include "common/parallel/leaves.h"
#include "tests/benchmark/preset_shapes.h"
#include "tests/benchmark/roof.h"

namespace tandem {
namespace {

constexpr int64_t kColdBytes = int64_t{192} << 20;
constexpr int64_t kEncodeRows = 512;

ThreadPool& PoolOf(int threads) {
  static std::vector<std::unique_ptr<ThreadPool>> pools(64);
  std::unique_ptr<ThreadPool>& pool = pools.at(static_cast<size_t>(threads));
  if (pool == nullptr) pool = std::make_unique<ThreadPool>(threads, /*pin=*/true);
  return *pool;
}

LinearWeight RandomWeight(const ProductShape& shape, ComputeType type) {
  const LeafCut cut = {.features = shape.in_features, .num_leaves = shape.num_leaves, .unit = 16};
  LinearWeight weight = MakeLinearWeight(type, ShardOf(cut, {}).LocalBoundaries(), {shape.outputs});
  auto* words = static_cast<uint32_t*>(weight.data.data());
  uint32_t state = 1;
  for (size_t i = 0; i < weight.bytes() / 4; ++i) {
    state = state * 1664525u + 1013904223u;
    words[i] = (state & 0x807f807fu) | 0x3c003c00u;  // About 2^-7 of either sign.
  }
  return weight;
}

// The copies for one shape at a time: all shapes together would not fit.
std::vector<LinearWeight>& ColdWeights(const ProductShape& shape, ComputeType type) {
  static std::vector<LinearWeight> weights;
  static const ProductShape* held = nullptr;
  static ComputeType held_type;
  if (held != &shape || held_type != type) {
    weights.clear();
    for (int64_t bytes = 0; bytes < kColdBytes;) {
      weights.push_back(RandomWeight(shape, type));
      bytes += static_cast<int64_t>(weights.back().bytes());
    }
    held = &shape;
    held_type = type;
  }
  return weights;
}

void SetRates(benchmark::State& state, double bytes, double operations) {
  const auto rate = [&](double amount) {
    return benchmark::Counter(amount * 1e-9 * static_cast<double>(state.iterations()),
                              benchmark::Counter::kIsRate);
  };
  if (bytes > 0) state.counters["GB/s"] = rate(bytes);
  if (operations > 0) state.counters["GFLOP/s"] = rate(operations);
}

void Product(benchmark::State& state, const ProductShape& shape, ComputeType type,
             const LinearKernels& kernels, int64_t rows, int threads) {
  SetComputeFloatMode();
  std::vector<LinearWeight>& weights = ColdWeights(shape, type);
  AlignedBuffer<float> x(rows * shape.in_features), y(rows * weights[0].columns);
  for (int64_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 7) - 3.0f;
  ThreadPool& pool = PoolOf(threads);
  LinearInput input;
  size_t next = 0;
  for (auto _ : state) {
    Linear(kernels, pool, input, ConstMatrix(x.data(), rows, shape.in_features), weights[next], 0,
           Matrix(y.data(), rows, weights[next].columns));
    next = (next + 1) % weights.size();
  }
  SetRates(state, static_cast<double>(weights[0].bytes()),
           2.0 * static_cast<double>(rows * shape.in_features * shape.outputs));
}

void ReadRoof(benchmark::State& state, int threads) {
  static const PageBuffer* const buffer = [] {
    auto* pages = new PageBuffer(2 * kColdBytes);
    std::fill_n(static_cast<uint64_t*>(pages->data()), pages->bytes() / 8, 1u);
    return pages;
  }();
  ThreadPool& pool = PoolOf(threads);
  const auto* data = static_cast<const std::byte*>(buffer->data());
  for (auto _ : state) {
    pool.ParallelFor(2 * kColdBytes, 4096, [&](int64_t begin, int64_t end, int) {
      benchmark::DoNotOptimize(ReadAll(data + begin, end - begin));
    });
  }
  SetRates(state, 2.0 * static_cast<double>(kColdBytes), 0);
}

void ArithmeticRoof(benchmark::State& state, double (*multiply_add)(Isa), Isa isa, int threads) {
  ThreadPool& pool = PoolOf(threads);
  double operations = 0;
  for (auto _ : state) {
    pool.Run([&](int thread) {
      const double done = multiply_add(isa);
      if (thread == 0) operations = done * threads;
    });
  }
  SetRates(state, 0, operations);
}

void Register(const std::string& name, const std::function<void(benchmark::State&)>& body) {
  benchmark::RegisterBenchmark(name.c_str(), body)->UseRealTime()->Unit(benchmark::kMicrosecond);
}

// Every kernel once: some serve two instruction sets.
std::vector<LinearKernel> KernelsOf(ComputeType type) {
  std::vector<LinearKernel> out;
  for (Isa isa : SupportedIsas()) {
    for (const LinearKernels& kernels : LinearVariants(isa)) {
      const LinearKernel& kernel = kernels.For(type);
      const bool seen = std::any_of(out.begin(), out.end(), [&](const LinearKernel& other) {
        return other.product == kernel.product;
      });
      if (!seen) out.push_back(kernel);
    }
  }
  return out;
}

void RegisterProducts(int threads) {
  constexpr int64_t kRows[] = {1, 2, 4, 7, 8, 9, 12, 16, 24, 25, 32, 64, kEncodeRows};
  for (const ProductShape& shape : kProductShapes) {
    for (ComputeType type : {ComputeType::kBFloat16, ComputeType::kFloat32}) {
      for (const LinearKernel& kernel : KernelsOf(type)) {
        for (int64_t rows : kRows) {
          if (rows == kEncodeRows && shape.outputs > 100000) continue;  // No head when encoding.
          Register(absl::StrCat(rows == kEncodeRows ? "encode/" : "decode/", shape.preset, "/",
                                shape.name, "/", kernel.name, "/rows:", rows, "/threads:", threads),
                   [=, &shape](benchmark::State& state) {
                     Product(state, shape, type, {.bf16 = kernel, .fp32 = kernel}, rows, threads);
                   });
        }
      }
    }
  }
}

void RegisterRoofs(int threads) {
  Register(absl::StrCat("roof/read/threads:", threads),
           [=](benchmark::State& state) { ReadRoof(state, threads); });
  for (Isa isa : SupportedIsas()) {
    if (isa == Isa::kPortable) continue;
    Register(
        absl::StrCat("roof/bf16/", std::string(NameOf(isa)), "/threads:", threads),
        [=](benchmark::State& state) { ArithmeticRoof(state, MultiplyAddBf16, isa, threads); });
    Register(
        absl::StrCat("roof/fp32/", std::string(NameOf(isa)), "/threads:", threads),
        [=](benchmark::State& state) { ArithmeticRoof(state, MultiplyAddFp32, isa, threads); });
  }
}

}  // namespace
}  // namespace tandem

int main(int argc, char** argv) {
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  for (int threads = 1; threads <= std::min(cores, 32); threads *= 2) {
    tandem::RegisterRoofs(threads);
    tandem::RegisterProducts(threads);
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::AddCustomContext("bf16 kernel",
                              tandem::LinearKernelsFor(tandem::SupportedIsas().back()).bf16.name);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
