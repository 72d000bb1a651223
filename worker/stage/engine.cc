#include "worker/stage/engine.h"

#include <algorithm>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/stage/decoder_stage.h"
#include "worker/stage/encoder_stage.h"

namespace tandem {
namespace {

// What the kernel says could be used without swapping; 0 where it does not say.
int64_t AvailableBytes() {
  std::ifstream meminfo("/proc/meminfo");
  std::string key;
  int64_t kib = 0;
  std::string unit;
  while (meminfo >> key >> kib >> unit) {
    if (key == "MemAvailable:") return kib * 1024;
  }
  return 0;
}

}  // namespace

Engine::Engine(World& world, const Layout& layout, const ModelConfig& model,
               const EngineConfig& config, CoordinatorPort* port)
    : world_(world),
      model_(model),
      config_(config),
      groups_(AllGroups(layout)),
      pool_(config.num_threads),
      ops_(MakeCpuOps(config.isa, config.type, pool_)),
      worker_(world, layout, port) {}

absl::StatusOr<std::unique_ptr<Engine>> Engine::Load(World& world, const Layout& layout,
                                                     const ModelConfig& model,
                                                     const EngineConfig& config,
                                                     Checkpoint& checkpoint,
                                                     CoordinatorPort* port) {
  std::unique_ptr<Engine> engine(new Engine(world, layout, model, config, port));
  // All groups before any weights: making a group is collective over its ranks, and weights may
  // fail on one.
  for (const LayoutGroup& group : engine->groups_) {
    if (!group.Has(world.rank()) || group.stage == StageKind::kVision) continue;
    auto member = std::make_unique<Member>();
    member->group = &group;
    TANDEM_ASSIGN_OR_RETURN(member->tp, world.MakeGroup(group.ranks));
    member->runtime.ops = engine->ops_.get();
    member->runtime.tp = member->tp.get();
    member->runtime.progress = [engine = engine.get()] { return engine->worker_.Pump(); };
    engine->members_.push_back(std::move(member));
  }
  for (const auto& member : engine->members_) {
    TANDEM_RETURN_IF_ERROR(engine->LoadGroup(*member, checkpoint));
  }
  return engine;
}

absl::StatusOr<std::shared_ptr<TokenTable>> Engine::LoadTable(const std::string& tensor,
                                                              const std::string& eoi_tensor,
                                                              TpRank rank, Checkpoint& checkpoint) {
  std::shared_ptr<TokenTable>& table = tables_[{tensor, {rank.tp_size, rank.tp_rank}}];
  if (table == nullptr) {
    TANDEM_ASSIGN_OR_RETURN(TokenTable loaded, LoadTokenTable(tensor, eoi_tensor, model_.decoder,
                                                              config_.type, rank, checkpoint));
    table = std::make_shared<TokenTable>(std::move(loaded));
  }
  return table;
}

absl::Status Engine::LoadGroup(Member& member, Checkpoint& checkpoint) {
  const TpRank rank = member.runtime.tp_rank();
  const bool encoder = member.group->stage == StageKind::kEncoder;
  TANDEM_ASSIGN_OR_RETURN(
      member.weights,
      LoadStackWeights(encoder ? "encoder" : "decoder", encoder ? model_.encoder : model_.decoder,
                       config_.type, rank, checkpoint));
  const bool own_table = !encoder && !model_.tie_word_embeddings;
  const std::string side = own_table ? "decoder" : "encoder";
  TANDEM_ASSIGN_OR_RETURN(
      member.table, LoadTable(absl::StrCat(side, ".embed_tokens.weight"),
                              absl::StrCat(side, ".embed_tokens.eoi_embedding"), rank, checkpoint));
  if (encoder) return absl::OkStatus();
  member.head = member.table;
  if (own_table) {
    TANDEM_ASSIGN_OR_RETURN(member.head,
                            LoadTable("lm_head.out_proj.weight", "", rank, checkpoint));
  }
  return absl::OkStatus();
}

KvLayout Engine::DecoderKvLayout(const Member& member) const {
  return {.type = config_.type,
          .num_kv_heads = member.weights.heads.num_kv_heads,
          .head_dim = model_.decoder.head_dim};
}

std::vector<int64_t> Engine::AffordablePages() const {
  std::vector<int64_t> pages(groups_.size(), 0);
  int64_t num_pools = 0;
  for (const auto& member : members_) num_pools += member->head != nullptr ? 1 : 0;
  for (const auto& member : members_) {
    if (member->head == nullptr) continue;
    const int64_t page_bytes =
        KvPool::PageBytes(DecoderKvLayout(*member), model_.decoder.num_layers);
    int64_t bytes = config_.kv_cache_bytes;
    if (bytes == 0) {
      // Half of what is free for this rank, and no more than the largest batch could use. Pages
      // that nobody uses cost no memory.
      const int64_t most =
          int64_t{2} * config_.max_num_seqs * PagesFor(config_.max_model_len) * page_bytes;
      bytes = std::min(
          AvailableBytes() / 2 / config_.ranks_on_host / std::max<int64_t>(num_pools, 1), most);
    }
    pages[static_cast<size_t>(member->group->id)] = bytes / page_bytes;
  }
  return pages;
}

int64_t Engine::WeightBytes(int group_id) const {
  for (const auto& member : members_) {
    if (member->group->id != group_id) continue;
    size_t bytes = member->weights.bytes() + member->table->rows.bytes();
    if (member->head != nullptr && member->head != member->table) {
      bytes += member->head->rows.bytes();
    }
    return static_cast<int64_t>(bytes);
  }
  return 0;
}

int64_t Engine::TotalWeightBytes() const {
  size_t bytes = 0;
  for (const auto& member : members_) bytes += member->weights.bytes();
  for (const auto& [place, table] : tables_) bytes += table->rows.bytes();
  return static_cast<int64_t>(bytes);
}

void Engine::Start(const std::vector<int64_t>& pages) {
  const SendFunction send = [this](int destination, MessageKind kind,
                                   std::vector<std::byte> payload) {
    return worker_.Send(destination, kind, std::move(payload));
  };
  for (const auto& member : members_) {
    const int id = member->group->id;
    if (member->group->stage == StageKind::kEncoder) {
      member->encoder =
          std::make_unique<Encoder>(model_, member->weights, *member->table, member->runtime);
      worker_.SetStage(id, std::make_unique<EncoderStage>(groups_, *member->group, world_.rank(),
                                                          *member->encoder, *member->tp, send));
      continue;
    }
    member->pool = std::make_unique<KvPool>(DecoderKvLayout(*member), model_.decoder.num_layers,
                                            pages[static_cast<size_t>(id)]);
    member->decoder = std::make_unique<Decoder>(model_, member->weights, *member->table,
                                                *member->head, *member->pool, member->runtime);
    worker_.SetStage(id,
                     std::make_unique<DecoderStage>(model_, config_.max_num_seqs, *member->decoder,
                                                    *member->pool, member->runtime, send));
  }
}

}  // namespace tandem
