// One rank's share of the job: its groups, weights and stages, ready to run.
#ifndef TANDEM_WORKER_STAGE_ENGINE_H_
#define TANDEM_WORKER_STAGE_ENGINE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/thread_pool.h"
#include "common/checkpoint/checkpoint.h"
#include "common/config/model_config.h"
#include "common/kernels/cpu_ops.h"
#include "common/parallel/layout_groups.h"
#include "common/parallel/world.h"
#include "worker/model/decoder.h"
#include "worker/model/encoder.h"
#include "worker/stage/worker.h"

namespace tandem {

struct EngineConfig {
  ComputeType type = ComputeType::kFloat32;
  Isa isa = Isa::kPortable;
  int num_threads = 1;
  int max_num_seqs = 32;
  int64_t max_model_len = 0;   // Longest prompt; bounds the automatic size of the K/V memory.
  int64_t kv_cache_bytes = 0;  // Of a decoder rank; 0: automatic.
  int ranks_on_host = 1;
};

class Engine {
 public:
  // Collective over all ranks. Borrows everything but the layout. A rank's failure is its own
  // status: callers must agree on the outcome before they go on (AgreeOn).
  static absl::StatusOr<std::unique_ptr<Engine>> Load(World& world, const Layout& layout,
                                                      const ModelConfig& model,
                                                      const EngineConfig& config,
                                                      Checkpoint& checkpoint,
                                                      CoordinatorPort* port);

  // Makes the K/V memory and the stages. pages[g]: of decoder group g, the same on all its ranks.
  void Start(const std::vector<int64_t>& pages);
  absl::Status Run() { return worker_.Run(); }

  // K/V pages that this rank has room for, by group id; 0 where it is no member.
  std::vector<int64_t> AffordablePages() const;
  // Bytes of packed weights that this rank holds for a group.
  int64_t WeightBytes(int group_id) const;
  int64_t TotalWeightBytes() const;

 private:
  // One group that this rank is in.
  struct Member {
    const LayoutGroup* group = nullptr;
    std::unique_ptr<Communicator> tp;
    Runtime runtime;
    StackWeights weights;
    std::shared_ptr<TokenTable> table;
    std::shared_ptr<TokenTable> head;  // Decoder only; the table where tied.
    std::unique_ptr<KvPool> pool;
    std::unique_ptr<Encoder> encoder;
    std::unique_ptr<Decoder> decoder;
  };

  Engine(World& world, const Layout& layout, const ModelConfig& model, const EngineConfig& config,
         CoordinatorPort* port);
  absl::Status LoadGroup(Member& member, Checkpoint& checkpoint);
  absl::StatusOr<std::shared_ptr<TokenTable>> LoadTable(const std::string& tensor,
                                                        const std::string& eoi_tensor, TpRank rank,
                                                        Checkpoint& checkpoint);
  KvLayout DecoderKvLayout(const Member& member) const;

  World& world_;
  const ModelConfig& model_;
  const EngineConfig config_;
  const std::vector<LayoutGroup> groups_;
  ThreadPool pool_;
  std::unique_ptr<Ops> ops_;
  // Tables that two stages of this rank share: by tensor name and TP place.
  std::map<std::pair<std::string, std::pair<int, int>>, std::shared_ptr<TokenTable>> tables_;
  std::vector<std::unique_ptr<Member>> members_;
  Worker worker_;
};

}  // namespace tandem

#endif  // TANDEM_WORKER_STAGE_ENGINE_H_
