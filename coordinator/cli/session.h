// What every rank does before a job computes: find the layout and the model, agree with the other
// ranks, load its shard. Used by the verbs that compute.
#ifndef TANDEM_COORDINATOR_CLI_SESSION_H_
#define TANDEM_COORDINATOR_CLI_SESSION_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/checkpoint/checkpoint.h"
#include "common/config/model_config.h"
#include "common/kernels/cpu_ops.h"
#include "common/parallel/layout_groups.h"
#include "common/parallel/world.h"
#include "common/protocol/coordinator_port.h"
#include "worker/stage/engine.h"

namespace tandem {

// The settings that decide what ranks hold and how they compute.
struct SessionSettings {
  std::string model;
  std::string layout_file;  // Empty: from the flags.
  LayoutFlags layout_flags;
  int threads = 0;  // 0: the rank's cores.
  int max_num_seqs = 32;
  int64_t kv_cache_mb = 0;    // 0: automatic.
  int64_t max_model_len = 0;  // 0: the model's.
  bool decodes = true;        // False: the layout's decoder groups are left out.
  LoadMode load = LoadMode::kAuto;
  bool load_weights = true;
  uint64_t weights_seed = 0;
  std::string dtype = "auto";
  std::string isa = "auto";
};

// What a rank tells the others before the job.
struct RankFacts {
  std::string host;
  std::string cpus;  // "0-3": where the rank may run.
  int num_cpus = 1;
  int64_t available_bytes = 0;  // Memory; 0: its host does not tell.
  uint64_t model_hash = 0;
  // Instruction sets it can run, best first, and the hash of a probe through each.
  std::vector<std::string> isas;
  std::vector<uint64_t> probes;
};

class Session {
 public:
  // Collective. Every rank returns the same outcome: OK, or the first failing rank's error, with
  // its rank and host in front (exit codes as DESIGN's table has them).
  static absl::StatusOr<std::unique_ptr<Session>> Open(World& world,
                                                       const SessionSettings& settings,
                                                       const absl::Status& rank_status);

  // Collective: loads weights and makes the K/V memory. `port` on rank 0.
  absl::Status LoadWeights(CoordinatorPort* port);
  // Until the coordinator says Shutdown.
  absl::Status Run() { return engine_->Run(); }

  const ModelConfig& model() const { return model_; }
  const std::string& model_directory() const { return model_directory_; }
  const Layout& layout() const { return layout_; }
  const std::vector<LayoutGroup>& groups() const { return groups_; }
  const std::vector<int64_t>& pages() const { return pages_; }
  int64_t max_model_len() const { return max_model_len_; }
  ComputeType compute_type() const { return engine_config_.type; }
  absl::string_view isa() const { return NameOf(engine_config_.isa); }
  uint64_t model_hash() const { return facts_[0].model_hash; }
  uint64_t numerics_class() const { return numerics_class_; }
  const std::vector<RankFacts>& facts() const { return facts_; }
  const std::vector<std::string>& warnings() const { return warnings_; }
  // K/V pages that every decoder group has; before LoadWeights what --kv-cache-mb makes, 0 where it
  // is automatic.
  int64_t SmallestPool() const;
  // As rank_lines with the K/V memory, for a job that loads nothing. FAILED_PRECONDITION: a host
  // has too little memory for it.
  absl::StatusOr<std::vector<std::string>> PlannedLines() const;
  // Bytes of weight slices this rank read from the checkpoint.
  int64_t bytes_read() const { return checkpoint_->bytes_read(); }
  // One line a rank: host, cores, shards and bytes. After LoadWeights, on rank 0.
  const std::vector<std::string>& rank_lines() const { return rank_lines_; }

 private:
  explicit Session(World& world) : world_(world) {}
  absl::Status OpenModel(const SessionSettings& settings);
  absl::Status CompareFacts();
  absl::Status ChooseClass(const std::string& isa);
  void ChooseThreads(int threads);
  absl::Status ExchangePages();

  World& world_;
  ModelConfig model_;
  std::string model_directory_;
  Layout layout_;
  std::vector<LayoutGroup> groups_;
  EngineConfig engine_config_;
  int64_t max_model_len_ = 0;
  std::unique_ptr<Checkpoint> checkpoint_;
  std::vector<RankFacts> facts_;
  uint64_t numerics_class_ = 0;
  std::vector<std::string> warnings_;
  std::unique_ptr<Engine> engine_;
  std::vector<int64_t> pages_;
  std::vector<std::string> rank_lines_;
};

// Collective: OK where every rank's status is OK, else the lowest failing rank's, with rank and
// host in front.
absl::Status AgreeOn(World& world, const absl::Status& mine);

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_CLI_SESSION_H_
