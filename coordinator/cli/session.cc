#include "coordinator/cli/session.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/base/exit_code.h"
#include "common/base/status_macros.h"
#include "common/config/presets.h"
#include "common/protocol/codec.h"
#include "common/transport/host_info.h"
#include "coordinator/cli/host_report.h"
#include "coordinator/cli/memory_plan.h"

namespace tandem {
namespace {

std::vector<int> AllowedCpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return {0};
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}

// {0, 1, 2, 5} as "0-2,5".
std::string RangesOf(const std::vector<int>& numbers) {
  std::vector<std::string> parts;
  for (size_t i = 0; i < numbers.size();) {
    size_t last = i;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    parts.push_back(last == i ? absl::StrCat(numbers[i])
                              : absl::StrCat(numbers[i], "-", numbers[last]));
    i = last + 1;
  }
  return absl::StrJoin(parts, ",");
}

std::vector<std::byte> EncodeFacts(const RankFacts& facts) {
  ByteWriter writer;
  writer.PutString(facts.host);
  writer.PutString(facts.cpus);
  writer.Put(facts.num_cpus);
  writer.Put(facts.available_bytes);
  writer.Put(facts.model_hash);
  writer.PutString(absl::StrJoin(facts.isas, ","));
  writer.PutVector(facts.probes);
  return writer.Take();
}

absl::StatusOr<RankFacts> DecodeFacts(absl::Span<const std::byte> bytes) {
  ByteReader reader(bytes);
  RankFacts facts;
  facts.host = reader.GetString();
  facts.cpus = reader.GetString();
  facts.num_cpus = reader.Get<int>();
  facts.available_bytes = reader.Get<int64_t>();
  facts.model_hash = reader.Get<uint64_t>();
  facts.isas = absl::StrSplit(reader.GetString(), ',');
  facts.probes = reader.GetVector<uint64_t>();
  TANDEM_RETURN_IF_ERROR(reader.Finish());
  return facts;
}

absl::StatusOr<ComputeType> ComputeTypeOf(const std::string& dtype, DType stored) {
  if (dtype == "auto") {
    return stored == DType::kBF16 ? ComputeType::kBFloat16 : ComputeType::kFloat32;
  }
  if (dtype == "bfloat16" || dtype == "mixed_bfloat16") return ComputeType::kBFloat16;
  if (dtype == "float32" || dtype == "float16") return ComputeType::kFloat32;
  return absl::InvalidArgumentError(absl::StrCat(
      "--dtype ", dtype, " is not known; use auto, float32, bfloat16, float16 or mixed_bfloat16"));
}

absl::StatusOr<std::string> ReadTextFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return absl::NotFoundError(absl::StrCat("cannot read ", path));
  return std::string(std::istreambuf_iterator<char>(in), {});
}

// The configuration that --model stands for, and where its weights would be (empty: a preset).
absl::StatusOr<ModelConfig> LoadModelOf(const std::string& model, std::string* directory) {
  absl::StatusOr<ModelSource> source = ResolveModel(model);
  if (!source.ok()) return WithExitCode(source.status(), ExitCode::kModel);
  *directory = source->directory;
  absl::StatusOr<ModelConfig> config = ParseModelSource(*source);
  if (!config.ok()) return WithExitCode(config.status(), ExitCode::kModel);
  return config;
}

std::string MegaBytes(int64_t bytes) {
  return absl::StrFormat("%.1f MB", static_cast<double>(bytes) / 1e6);
}

}  // namespace

absl::Status AgreeOn(World& world, const absl::Status& mine) {
  ByteWriter writer;
  writer.Put(static_cast<int>(mine.code()));
  writer.Put(static_cast<int>(ExitCodeOf(mine)));
  writer.PutString(std::string(mine.message()));
  writer.PutString(HostName());
  const std::vector<std::byte> bytes = writer.Take();
  TANDEM_ASSIGN_OR_RETURN(const std::vector<std::vector<std::byte>> all, world.Gather(bytes));
  absl::Status first;
  std::string where;
  size_t alike = 0;  // Ranks that fail as the first does.
  for (size_t rank = 0; rank < all.size(); ++rank) {
    ByteReader reader(all[rank]);
    const auto code = static_cast<absl::StatusCode>(reader.Get<int>());
    const auto exit_code = static_cast<ExitCode>(reader.Get<int>());
    const std::string message = reader.GetString();
    const std::string host = reader.GetString();
    TANDEM_RETURN_IF_ERROR(reader.Finish());
    if (code == absl::StatusCode::kOk) continue;
    if (first.ok()) {
      first = WithExitCode(absl::Status(code, message), exit_code);
      where = absl::StrCat("rank ", rank, " on ", host);
    }
    alike += first.message() == message ? 1 : 0;
  }
  return alike == all.size() ? first : Annotate(first, where);
}

absl::StatusOr<std::unique_ptr<Session>> Session::Open(World& world,
                                                       const SessionSettings& settings,
                                                       const absl::Status& rank_status) {
  std::unique_ptr<Session> session(new Session(world));
  absl::Status opened = rank_status;
  if (opened.ok()) opened = session->OpenModel(settings);
  TANDEM_RETURN_IF_ERROR(AgreeOn(world, opened));
  TANDEM_RETURN_IF_ERROR(session->CompareFacts());
  TANDEM_RETURN_IF_ERROR(session->ChooseClass(settings.isa));
  session->ChooseThreads(settings.threads);
  return session;
}

absl::Status Session::OpenModel(const SessionSettings& settings) {
  TANDEM_ASSIGN_OR_RETURN(model_, LoadModelOf(settings.model, &model_directory_));
  absl::StatusOr<ComputeType> type = ComputeTypeOf(settings.dtype, model_.stored_dtype);
  if (!type.ok()) return WithExitCode(type.status(), ExitCode::kUsage);
  engine_config_.type = *type;
  engine_config_.max_num_seqs = settings.max_num_seqs;
  engine_config_.kv_cache_bytes = settings.kv_cache_mb << 20;
  max_model_len_ =
      settings.max_model_len > 0 ? settings.max_model_len : model_.encoder.max_position_embeddings;
  if (max_model_len_ > model_.encoder.max_position_embeddings) {
    warnings_.push_back(absl::StrCat(
        "--max-model-len ", max_model_len_, " is beyond the model's max_position_embeddings, ",
        model_.encoder.max_position_embeddings, ": answers may be poor there"));
  }
  engine_config_.max_model_len = max_model_len_;

  absl::StatusOr<Layout> layout = absl::InvalidArgumentError("");
  if (settings.layout_file.empty()) {
    LayoutFlags flags = settings.layout_flags;
    flags.decodes = settings.decodes;
    layout = MakeLayout(flags, model_, world_.size(), &warnings_);
  } else {
    absl::StatusOr<std::string> text = ReadTextFile(settings.layout_file);
    if (!text.ok()) return WithExitCode(text.status(), ExitCode::kUsage);
    layout = ParseLayout(*text, world_.size(), settings.decodes);
    if (!layout.ok()) layout = Annotate(layout.status(), settings.layout_file);
  }
  if (!layout.ok()) return WithExitCode(layout.status(), ExitCode::kUsage);
  layout_ = *std::move(layout);
  if (!settings.decodes) layout_.stages[static_cast<int>(StageKind::kDecoder)].clear();
  TANDEM_RETURN_IF_ERROR(
      WithExitCode(ValidateLayout(layout_, model_, settings.decodes), ExitCode::kUsage));
  groups_ = AllGroups(layout_);

  if (settings.load_weights) {
    if (model_directory_.empty()) {
      return WithExitCode(
          absl::InvalidArgumentError(absl::StrCat(
              "--model ", settings.model,
              " is a configuration without weights; name a checkpoint's folder, or run on random "
              "weights with --load-weights=false")),
          ExitCode::kModel);
    }
    absl::StatusOr<std::unique_ptr<Checkpoint>> checkpoint =
        Checkpoint::Open(model_directory_, model_, settings.load);
    if (!checkpoint.ok()) return WithExitCode(checkpoint.status(), ExitCode::kModel);
    checkpoint_ = *std::move(checkpoint);
  } else {
    checkpoint_ = Checkpoint::Random(model_, settings.weights_seed);
    warnings_.push_back(absl::StrCat("random weights (--load-weights=false, seed ",
                                     settings.weights_seed, "): the answers mean nothing"));
  }
  return absl::OkStatus();
}

absl::Status Session::CompareFacts() {
  RankFacts mine;
  mine.host = HostName();
  const std::vector<int> cpus = AllowedCpus();
  mine.cpus = RangesOf(cpus);
  mine.num_cpus = static_cast<int>(cpus.size());
  mine.available_bytes = AvailableMemory();
  mine.model_hash = checkpoint_->identity_hash();
  ThreadPool pool(1);
  std::vector<Isa> isas = SupportedIsas();
  std::reverse(isas.begin(), isas.end());
  for (const Isa isa : isas) {
    const std::unique_ptr<Ops> ops = MakeCpuOps(isa, engine_config_.type, pool);
    mine.isas.push_back(std::string(NameOf(isa)));
    mine.probes.push_back(NumericsProbe(*ops));
  }
  TANDEM_ASSIGN_OR_RETURN(const std::vector<std::vector<std::byte>> all,
                          world_.Gather(EncodeFacts(mine)));
  for (const std::vector<std::byte>& bytes : all) {
    TANDEM_ASSIGN_OR_RETURN(RankFacts facts, DecodeFacts(bytes));
    facts_.push_back(std::move(facts));
  }
  for (size_t rank = 1; rank < facts_.size(); ++rank) {
    if (facts_[rank].model_hash == facts_[0].model_hash) continue;
    return WithExitCode(
        absl::FailedPreconditionError(absl::StrCat(
            "the model of rank ", rank, " on ", facts_[rank].host, " differs from rank 0's on ",
            facts_[0].host, " (configuration, index or tensor headers): copy the same files to ",
            "both hosts")),
        ExitCode::kModel);
  }
  engine_config_.ranks_on_host =
      static_cast<int>(std::count_if(facts_.begin(), facts_.end(), [&mine](const RankFacts& facts) {
        return facts.host == mine.host;
      }));
  return absl::OkStatus();
}

// Ranks must compute the same bits: each takes its best instruction set among those whose probe
// every rank can match.
absl::Status Session::ChooseClass(const std::string& isa) {
  const RankFacts& mine = facts_[static_cast<size_t>(world_.rank())];
  if (isa != "auto") {
    absl::StatusOr<Isa> chosen = ChooseIsa(isa);
    TANDEM_RETURN_IF_ERROR(AgreeOn(world_, WithExitCode(chosen.status(), ExitCode::kUsage)));
    engine_config_.isa = *chosen;
  }
  const auto runs = [&](const RankFacts& facts, uint64_t probe) {
    for (size_t i = 0; i < facts.probes.size(); ++i) {
      if (facts.probes[i] == probe && (isa == "auto" || facts.isas[i] == isa)) return true;
    }
    return false;
  };
  for (const uint64_t probe : facts_[0].probes) {
    if (!std::all_of(facts_.begin(), facts_.end(),
                     [&](const RankFacts& facts) { return runs(facts, probe); })) {
      continue;
    }
    numerics_class_ = probe;
    for (size_t i = 0; i < mine.probes.size() && isa == "auto"; ++i) {
      if (mine.probes[i] != probe) continue;
      TANDEM_ASSIGN_OR_RETURN(engine_config_.isa, ChooseIsa(mine.isas[i]));
      break;
    }
    return absl::OkStatus();
  }
  std::vector<std::string> hosts;
  for (const RankFacts& facts : facts_) {
    hosts.push_back(absl::StrCat(facts.host, " (", absl::StrJoin(facts.isas, ", "), ")"));
  }
  std::sort(hosts.begin(), hosts.end());
  hosts.erase(std::unique(hosts.begin(), hosts.end()), hosts.end());
  return WithExitCode(
      absl::FailedPreconditionError(
          absl::StrCat("these hosts have no instruction set in common that computes equal bits: ",
                       absl::StrJoin(hosts, "; "), "; run the job on hosts of one kind")),
      ExitCode::kUsage);
}

void Session::ChooseThreads(int threads) {
  const RankFacts& mine = facts_[static_cast<size_t>(world_.rank())];
  // Ranks of one host that were not bound apart share their cores.
  int sharing = 0;
  for (size_t rank = 0; rank < facts_.size(); ++rank) {
    const bool computes = !(layout_.own_coordinator && rank == 0);
    sharing += computes && facts_[rank].host == mine.host && facts_[rank].cpus == mine.cpus;
  }
  const int cores = std::max(1, mine.num_cpus / std::max(1, sharing));
  engine_config_.num_threads = threads > 0 ? threads : cores;
  if (threads > cores) {
    warnings_.push_back(absl::StrCat("rank ", world_.rank(), " on ", mine.host, ": ", threads,
                                     " threads on ", cores, " cores"));
  }
}

absl::Status Session::ExchangePages() {
  ByteWriter writer;
  writer.PutVector(engine_->AffordablePages());
  std::vector<std::string> holds;
  for (const LayoutGroup& group : groups_) {
    const int tp_rank = group.TpRankOf(world_.rank());
    if (tp_rank < 0) continue;
    holds.push_back(absl::StrCat(NameOf(group.stage), " ", group.index, " shard ", tp_rank + 1, "/",
                                 group.tp_size(), " (", MegaBytes(engine_->WeightBytes(group.id)),
                                 ")"));
  }
  const RankFacts& mine = facts_[static_cast<size_t>(world_.rank())];
  if (holds.empty()) {
    holds.emplace_back(layout_.own_coordinator && world_.rank() == 0 ? "coordinator" : "idle");
  }
  writer.PutString(absl::StrFormat(
      "rank %d on %s, cores %s, %d thread%s, %s: %s", world_.rank(), mine.host, mine.cpus,
      engine_config_.num_threads, engine_config_.num_threads == 1 ? "" : "s",
      std::string(NameOf(engine_config_.isa)), absl::StrJoin(holds, ", ")));
  const std::vector<std::byte> bytes = writer.Take();
  TANDEM_ASSIGN_OR_RETURN(const std::vector<std::vector<std::byte>> all, world_.Gather(bytes));
  pages_.assign(groups_.size(), 0);
  for (size_t rank = 0; rank < all.size(); ++rank) {
    ByteReader reader(all[rank]);
    const auto affordable = reader.GetVector<int64_t>();
    rank_lines_.push_back(reader.GetString());
    TANDEM_RETURN_IF_ERROR(reader.Finish());
    for (const LayoutGroup& group : groups_) {
      if (group.stage != StageKind::kDecoder || !group.Has(static_cast<int>(rank))) continue;
      int64_t& pages = pages_[static_cast<size_t>(group.id)];
      const int64_t offered = affordable[static_cast<size_t>(group.id)];
      pages = rank == static_cast<size_t>(group.leader()) ? offered : std::min(pages, offered);
    }
  }
  for (const LayoutGroup& group : groups_) {
    if (group.stage != StageKind::kDecoder || pages_[static_cast<size_t>(group.id)] >= 2) continue;
    return WithExitCode(absl::InvalidArgumentError(
                            absl::StrCat("the K/V memory of decoder group ", group.index,
                                         " is too small for one sequence: raise --kv-cache-mb")),
                        ExitCode::kUsage);
  }
  return absl::OkStatus();
}

int64_t Session::SmallestPool() const {
  int64_t smallest = 0;
  for (const LayoutGroup& group : groups_) {
    if (group.stage != StageKind::kDecoder) continue;
    int64_t pages = 0;
    if (!pages_.empty()) {
      pages = pages_[static_cast<size_t>(group.id)];
    } else {
      for (int tp_rank = 0; tp_rank < group.tp_size() && engine_config_.kv_cache_bytes > 0;
           ++tp_rank) {
        const AttentionShard heads = ShardAttention(
            {.num_heads = model_.decoder.num_heads, .num_kv_heads = model_.decoder.num_kv_heads},
            {.tp_size = group.tp_size(), .tp_rank = tp_rank});
        const KvLayout layout = {.type = engine_config_.type,
                                 .num_kv_heads = heads.num_kv_heads,
                                 .head_dim = model_.decoder.head_dim};
        const int64_t affordable =
            engine_config_.kv_cache_bytes / KvPool::PageBytes(layout, model_.decoder.num_layers);
        pages = tp_rank == 0 ? affordable : std::min(pages, affordable);
      }
    }
    smallest = smallest == 0 ? pages : std::min(smallest, pages);
  }
  return smallest;
}

absl::StatusOr<std::vector<std::string>> Session::PlannedLines() const {
  std::vector<HostMemory> hosts;
  for (const RankFacts& facts : facts_) hosts.push_back({facts.host, facts.available_bytes});
  const MemoryPlanOptions options = {.type = engine_config_.type,
                                     .kv_cache_bytes = engine_config_.kv_cache_bytes,
                                     .max_num_seqs = engine_config_.max_num_seqs,
                                     .max_model_len = max_model_len_};
  const MemoryPlan plan = PlanMemory(model_, groups_, hosts, options);
  TANDEM_RETURN_IF_ERROR(CheckMemory(plan, groups_, hosts, options));
  std::vector<std::string> lines;
  for (int rank = 0; rank < world_.size(); ++rank) {
    const RankPlan& mine = plan.ranks[static_cast<size_t>(rank)];
    std::vector<std::string> holds;
    for (const LayoutGroup& group : groups_) {
      const int tp_rank = group.TpRankOf(rank);
      if (tp_rank < 0) continue;
      holds.push_back(absl::StrCat(
          NameOf(group.stage), " ", group.index, " shard ", tp_rank + 1, "/", group.tp_size(), " (",
          MegaBytes(mine.shard_bytes[static_cast<size_t>(group.id)]), ")"));
    }
    if (holds.empty()) {
      holds.emplace_back(layout_.own_coordinator && rank == 0 ? "coordinator" : "idle");
    }
    const RankFacts& facts = facts_[static_cast<size_t>(rank)];
    lines.push_back(absl::StrCat("rank ", rank, " on ", facts.host, ", cores ", facts.cpus, ": ",
                                 absl::StrJoin(holds, ", ")));
  }
  for (const LayoutGroup& group : groups_) {
    if (group.stage != StageKind::kDecoder) continue;
    lines.push_back(absl::StrCat("decoder ", group.index, ": K/V memory for ",
                                 options.kv_cache_bytes > 0 ? "" : "about ",
                                 plan.kv_tokens[static_cast<size_t>(group.id)], " tokens"));
  }
  return lines;
}

absl::Status Session::LoadWeights(CoordinatorPort* port) {
  absl::StatusOr<std::unique_ptr<Engine>> engine =
      Engine::Load(world_, layout_, model_, engine_config_, *checkpoint_, port);
  TANDEM_RETURN_IF_ERROR(AgreeOn(world_, WithExitCode(engine.status(), ExitCode::kModel)));
  engine_ = *std::move(engine);
  TANDEM_RETURN_IF_ERROR(ExchangePages());
  engine_->Start(pages_);
  return absl::OkStatus();
}

}  // namespace tandem
