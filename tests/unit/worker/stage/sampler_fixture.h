// Samplers over given logits, at any TP degree: ranks are threads, and the head is a real one whose
// rows are the logits (states are unit vectors, so products are exact).
#ifndef TANDEM_TESTS_UNIT_WORKER_STAGE_SAMPLER_FIXTURE_H_
#define TANDEM_TESTS_UNIT_WORKER_STAGE_SAMPLER_FIXTURE_H_

#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/thread_pool.h"
#include "common/parallel/thread_world.h"
#include "gtest/gtest.h"
#include "tests/unit/common/kernels/ops_test_util.h"
#include "worker/stage/sampler.h"

namespace tandem::testing {

// [row][token].
using Logits = std::vector<std::vector<float>>;

struct Answers {
  std::vector<RowAnswer> rows;
  int64_t num_searches = 0;
};

// What all ranks answer; they must agree.
inline Answers AnswerAtTp(int tp_size, const Logits& logits,
                          const std::vector<RowQuestion>& questions, int num_threads = 1) {
  const auto rows = static_cast<int64_t>(logits.size());
  const auto vocab = static_cast<int64_t>(logits[0].size());
  std::vector<Answers> all(static_cast<size_t>(tp_size));
  const absl::Status status = RunRanksOrAbort(tp_size, [&](World& world) -> absl::Status {
    SetComputeFloatMode();
    std::vector<int> ranks;
    for (int rank = 0; rank < tp_size; ++rank) ranks.push_back(rank);
    auto tp = world.MakeGroup(ranks);
    if (!tp.ok()) return tp.status();
    const LeafShard shard = ShardOf(FeatureCut(vocab), {tp_size, world.rank()});
    LinearWeight weight = MakeLinearWeight(ComputeType::kFloat32, {0, rows}, {{shard.size()}});
    Floats table;
    for (int64_t id = shard.begin(); id < shard.begin() + shard.size(); ++id) {
      for (const std::vector<float>& row : logits) table.push_back(row[static_cast<size_t>(id)]);
    }
    if (shard.size() > 0) {
      PackRows({.data = reinterpret_cast<const std::byte*>(table.data()),
                .dtype = DType::kF32,
                .row_stride_bytes = rows * 4},
               0, 0, shard.size(), weight);
    }
    Backend backend(SupportedIsas().back(), ComputeType::kFloat32, num_threads);
    const auto scan = [&](ConstMatrix states, absl::Span<const HeadRequest> requests,
                          absl::Span<HeadResult> results) {
      backend.ops->HeadScan(states, weight, shard, 0.0f, requests, results);
    };
    Floats states(static_cast<size_t>(rows * rows), 0.0f);
    for (int64_t i = 0; i < rows; ++i) states[static_cast<size_t>(i * rows + i)] = 1.0f;
    Sampler sampler(scan, shard, **tp);
    auto answers = sampler.Answer(View(states, rows), questions);
    if (!answers.ok()) return answers.status();
    all[static_cast<size_t>(world.rank())] = {*std::move(answers), sampler.num_searches()};
    return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
  for (const Answers& answers : all) {
    for (size_t i = 0; i < questions.size(); ++i) {
      EXPECT_EQ(answers.rows.at(i).token, all[0].rows.at(i).token);
    }
  }
  return all[0];
}

}  // namespace tandem::testing

#endif  // TANDEM_TESTS_UNIT_WORKER_STAGE_SAMPLER_FIXTURE_H_
