// tandem generate, score and embed: a file of requests in, a file of results out.
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/config/presets.h"
#include "common/text/tokenizer.h"
#include "coordinator/answers.h"
#include "coordinator/cli/command_line.h"
#include "coordinator/cli/generation_config.h"
#include "coordinator/cli/verbs.h"
#include "coordinator/decode_work.h"
#include "coordinator/embed_work.h"
#include "coordinator/io/progress.h"
#include "coordinator/io/run_record.h"
#include "coordinator/io/states_file.h"
#include "coordinator/request_job.h"

namespace tandem {
namespace {

AddBos AddBosOf(const std::string& name) {
  if (name == "always") return AddBos::kAlways;
  if (name == "never") return AddBos::kNever;
  return AddBos::kAuto;
}

LineForm FormOf(Verb verb) {
  if (verb == Verb::kScore) return LineForm::kScore;
  return verb == Verb::kEmbed ? LineForm::kEmbed : LineForm::kGenerate;
}

Pooling PoolingOf(const std::string& name) {
  if (name == "last") return Pooling::kLast;
  return name == "none" ? Pooling::kNone : Pooling::kMean;
}

std::string ComputeTypeName(const Session& session) {
  return session.compute_type() == ComputeType::kBFloat16 ? "bfloat16" : "float32";
}

// What only rank 0 needs: input, tokenizer, output.
class Frontend {
 public:
  Frontend(Options& options, const std::vector<std::string>& command)
      : options_(options), command_(command) {}

  absl::Status Open() {
    if (generates()) {
      TANDEM_RETURN_IF_ERROR(ApplyModelsGenerationConfig(SystemSources(), &options_, &model_says_));
      TANDEM_RETURN_IF_ERROR(CheckDefaults());
    }
    TANDEM_RETURN_IF_ERROR(OpenTokenizer());
    TANDEM_RETURN_IF_ERROR(OpenInput());
    return options_.Flag("dry-run") ? ResultWriter::Check(OutputOptions()) : OpenOutput();
  }

  // On the coordinator's thread.
  absl::Status Coordinate(Session& session, CoordinatorPort& port);
  // Every line is parsed and tokenized; nothing is computed.
  absl::Status DryRun(const Session& session);

  const JobCounts& counts() const { return counts_; }

 private:
  bool generates() const { return options_.verb() == Verb::kGenerate; }
  bool embeds() const { return options_.verb() == Verb::kEmbed; }
  // Results that are no JSON lines: what fails is told on standard error.
  bool text_format() const { return generates() && options_.Text("format") == "text"; }
  bool writes_states() const {
    return embeds() && PoolingOf(options_.Text("pooling")) == Pooling::kNone;
  }

  absl::Status CheckDefaults() const;
  absl::Status OpenTokenizer();
  absl::Status OpenInput();
  ResultWriterOptions OutputOptions() const;
  absl::Status OpenOutput();
  InputPipelineOptions PipelineOptions(const Session& session, CoordinatorPort* port) const;
  std::unique_ptr<RequestWork> MakeWork(const Session& session);
  std::unique_ptr<RequestWork> MakeEmbedWork(const Session& session);
  absl::Status WriteRecord(const Session& session, absl::Time start) const;
  // "line 7: " for messages; a single prompt is no line.
  std::string LineName(const RejectedLine& rejected) const {
    return options_.Text("input").empty() ? "" : absl::StrCat("line ", rejected.line, ": ");
  }

  void LogModelDefaults() const;

  Options& options_;
  const std::vector<std::string>& command_;
  GenerationConfigReport model_says_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<LineReader> reader_;
  std::unique_ptr<StatesFile> states_;  // With writes_states().
  std::unique_ptr<ResultWriter> writer_;
  std::string output_path_;
  const absl::Time launch_ = absl::Now();
  JobCounts counts_;
  DispatchCounts dispatch_;
};

absl::Status Frontend::CheckDefaults() const {
  // What is wrong with the model itself, the session tells for all ranks.
  const absl::StatusOr<ModelSource> source = ResolveModel(options_.Text("model"));
  if (!source.ok()) return absl::OkStatus();
  const absl::StatusOr<ModelConfig> model = ParseModelSource(*source);
  if (!model.ok()) return absl::OkStatus();
  return CheckVocabulary(MakeRequestDefaults(options_), model->decoder.vocab_size);
}

absl::Status Frontend::OpenTokenizer() {
  const std::string& model = options_.Text("model");
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::LoadFromModelDir(model);
  if (tokenizer.ok()) {
    tokenizer_ = *std::move(tokenizer);
    return absl::OkStatus();
  }
  // A folder without one serves token ids.
  if (absl::IsNotFound(tokenizer.status())) return absl::OkStatus();
  return WithExitCode(tokenizer.status(), ExitCode::kModel);
}

void Frontend::LogModelDefaults() const {
  for (const std::string& warning : model_says_.warnings) LogWarn(warning);
  if (!model_says_.set.empty()) {
    LogInfo(absl::StrCat("generation_config.json sets ", model_says_.set));
  }
}

absl::Status Frontend::OpenInput() {
  const int64_t max_line_bytes = *options_.Integer("max-line-bytes");
  const std::optional<std::string> line =
      generates() ? RequestLineOf(options_) : std::optional<std::string>();
  if (line.has_value()) {
    int ends[2];
    if (pipe(ends) != 0) return absl::InternalError("no pipe for --prompt");
    const std::string text = absl::StrCat(*line, "\n");
    // A thread fills it: a long prompt does not fit a pipe's buffer.
    std::thread([text, fd = ends[1]] {
      for (size_t at = 0; at < text.size();) {
        const ssize_t wrote = write(fd, text.data() + at, text.size() - at);
        if (wrote <= 0) break;
        at += static_cast<size_t>(wrote);
      }
      close(fd);
    }).detach();
    reader_ = std::make_unique<LineReader>(ends[0], /*owned=*/true, "--prompt", max_line_bytes);
    return absl::OkStatus();
  }
  TANDEM_ASSIGN_OR_RETURN(reader_, LineReader::Open(options_.Text("input"), max_line_bytes));
  return absl::OkStatus();
}

ResultWriterOptions Frontend::OutputOptions() const {
  ResultWriterOptions options;
  options.path = options_.Text("output").empty() ? "-" : options_.Text("output");
  options.input = options_.Text("input");
  options.overwrite = options_.Flag("overwrite");
  options.ordered = !options_.Flag("unordered");
  options.reorder_window = *options_.Integer("reorder-window");
  return options;
}

absl::Status Frontend::OpenOutput() {
  ResultWriterOptions options = OutputOptions();
  output_path_ = options.path;
  if (writes_states()) {
    TANDEM_RETURN_IF_ERROR(ResultWriter::Check(options));
    TANDEM_ASSIGN_OR_RETURN(states_, StatesFile::Open(output_path_));
    options.sink = states_.get();
  }
  TANDEM_ASSIGN_OR_RETURN(writer_, ResultWriter::Open(options));
  return absl::OkStatus();
}

InputPipelineOptions Frontend::PipelineOptions(const Session& session,
                                               CoordinatorPort* port) const {
  const ModelConfig& model = session.model();
  InputPipelineOptions out;
  out.num_threads = std::clamp(session.facts()[0].num_cpus, 1, 8);
  out.max_line_bytes = *options_.Integer("max-line-bytes");
  if (generates()) out.defaults = MakeRequestDefaults(options_);
  out.parse.form = out.prepare.form = FormOf(options_.verb());
  out.parse.embedding_dim = model.encoder.hidden_dim;
  out.parse.ignore_unknown_fields = options_.Flag("ignore-unknown-fields");
  out.parse.encoder_vocab_size = model.encoder.vocab_size;
  out.parse.decoder_vocab_size = model.decoder.vocab_size;
  out.prepare.tokenizer = tokenizer_.get();
  out.prepare.add_bos = AddBosOf(options_.Text("add-bos"));
  out.prepare.no_special_in_prompt = options_.Flag("no-special-in-prompt");
  out.prepare.truncate = options_.Flag("truncate");
  out.prepare.max_model_len = session.max_model_len();
  out.prepare.max_decoder_len =
      std::max(session.max_model_len(), model.decoder.max_position_embeddings);
  out.prepare.decoder_start_token_id = model.decoder_start_token_id;
  out.prepare.eos_token_ids = model.eos_token_ids;
  out.prepare.one_tensor = writes_states();
  out.prepare.kv_pages = session.SmallestPool();
  if (port != nullptr) out.on_ready = [port] { port->Wake(); };
  return out;
}

std::unique_ptr<RequestWork> Frontend::MakeWork(const Session& session) {
  if (embeds()) return MakeEmbedWork(session);
  DispatcherConfig dispatch;
  dispatch.groups = session.groups();
  dispatch.max_num_seqs = static_cast<int>(*options_.Integer("max-num-seqs"));
  dispatch.max_batch_tokens = *options_.Integer("max-batch-tokens");
  DecodeWork::Format format = ScoreResultOf;
  if (generates()) {
    format = [this](const DecodedRequest& decoded) {
      return GenerateResult(decoded, tokenizer_.get(), text_format());
    };
  }
  return std::make_unique<DecodeWork>(std::move(dispatch), tokenizer_.get(), std::move(format));
}

std::unique_ptr<RequestWork> Frontend::MakeEmbedWork(const Session& session) {
  const bool normalize = options_.Flag("normalize");
  EmbedWork::Format format = [normalize](const EmbeddedRequest& embedded) {
    return EmbedResultOf(embedded, normalize);
  };
  if (writes_states()) format = StatesResultOf;
  return std::make_unique<EmbedWork>(session.groups(), *options_.Integer("max-batch-tokens"),
                                     PoolingOf(options_.Text("pooling")), std::move(format));
}

absl::Status Frontend::Coordinate(Session& session, CoordinatorPort& port) {
  const absl::Time start = absl::Now();
  LogSession(session);
  LogModelDefaults();
  InputPipeline input(std::move(reader_), PipelineOptions(session, &port));
  const std::unique_ptr<RequestWork> work = MakeWork(session);
  Progress progress(ProgressForStderr(options_.Flag("quiet")));
  ProgressState state;
  RequestJobOptions job_options;
  if (text_format() || writes_states()) {
    job_options.on_failed = [this](const RejectedLine& rejected) {
      LogError(absl::StrCat(LineName(rejected), rejected.error.message));
    };
  }
  job_options.on_progress = [&](const JobCounts& counts, double share) {
    state.failed = 0;
    for (const int64_t errors : counts.errors) state.failed += errors;
    state.finished = counts.answered + state.failed;
    state.tokens = counts.completion_tokens;
    state.total_is_estimate = share < 1.0;
    state.total =
        share > 0.0 ? static_cast<int64_t>(static_cast<double>(counts.requests) / share) : 0;
    progress.Update(state);
  };
  RequestJob job(std::move(job_options), *work, input, *writer_, port);
  const absl::Status status = job.Run();
  counts_ = job.counts();
  dispatch_ = work->counts();
  TANDEM_RETURN_IF_ERROR(status);
  state.total = state.finished;
  state.total_is_estimate = false;
  progress.Finish(state);
  LogDebug(absl::StrFormat(
      "%d prompts encoded in %d batches, %d shared an encoding; K/V of %d encodings computed, %d "
      "pages copied for beams, %d sequences put back",
      dispatch_.prompts_encoded, dispatch_.encoder_batches, dispatch_.prompts_shared,
      dispatch_.memories_stored, dispatch_.pages_copied, dispatch_.evictions));
  if (output_path_ == "-") return absl::OkStatus();
  return WriteRecord(session, start);
}

absl::Status Frontend::WriteRecord(const Session& session, absl::Time start) const {
  RunRecord record;
  record.version = VersionText();
  record.commit = CommitText();
  record.command = command_;
  std::error_code error;  // Where it cannot be told it stays empty.
  record.working_directory = std::filesystem::current_path(error).string();
  record.settings = options_.Settings();
  record.model_path = session.model_directory();
  record.model_identity = absl::StrFormat("%016x", session.model_hash());
  if (tokenizer_ != nullptr) {
    record.tokenizer = absl::StrFormat("%016x", tokenizer_->identity_hash());
  }
  record.compute_type = ComputeTypeName(session);
  record.numerics_class = absl::StrFormat("%016x", session.numerics_class());
  record.isa = std::string(session.isa());
  record.layout_yaml = LayoutToYaml(session.layout());
  record.ranks = session.rank_lines();
  for (const RankFacts& facts : session.facts()) record.hosts.push_back(facts.host);
  record.launch = launch_;
  record.start = start;
  record.end = absl::Now();
  record.requests = counts_.requests;
  record.answered = counts_.answered;
  record.prompt_tokens = counts_.prompt_tokens;
  record.completion_tokens = counts_.completion_tokens;
  std::copy(std::begin(counts_.errors), std::end(counts_.errors), std::begin(record.errors));
  return WriteRunRecord(record, output_path_);
}

absl::Status Frontend::DryRun(const Session& session) {
  LogModelDefaults();
  TANDEM_ASSIGN_OR_RETURN(const std::vector<std::string> plan, session.PlannedLines());
  InputPipeline input(std::move(reader_), PipelineOptions(session, nullptr));
  IdSet ids;
  while (true) {
    TANDEM_ASSIGN_OR_RETURN(std::optional<InputPipeline::Item> item, input.WaitNext());
    if (!item.has_value()) break;
    ++counts_.requests;
    std::optional<RejectedLine> rejected;
    if (std::holds_alternative<RejectedLine>(*item)) {
      rejected = std::get<RejectedLine>(std::move(*item));
      if (rejected->id_given) ids.Insert(rejected->id.key);
    } else {
      const PreparedRequest& prepared = std::get<PreparedRequest>(*item);
      if (ids.Insert(prepared.request.id.key)) {
        ++counts_.answered;
        counts_.prompt_tokens += prepared.prompt_tokens();
      } else {
        rejected = Reject(prepared.request, DuplicateIdError(prepared.request.id.json));
      }
    }
    if (!rejected.has_value()) continue;
    ++counts_.errors[static_cast<int>(rejected->error.code)];
    LogWarn(absl::StrCat(LineName(*rejected), rejected->error.message));
  }
  absl::PrintF("model %s, %s\n", options_.Text("model"), ComputeTypeName(session));
  for (const std::string& line : plan) absl::PrintF("%s\n", line);
  absl::PrintF("%d requests: %d would be answered (%d prompt tokens), %d would fail\n",
               counts_.requests, counts_.answered, counts_.prompt_tokens, counts_.failed());
  for (int code = 0; code < kNumRequestErrorCodes; ++code) {
    if (counts_.errors[code] == 0) continue;
    absl::PrintF("  %s: %d\n", NameOf(static_cast<RequestErrorCode>(code)), counts_.errors[code]);
  }
  return absl::OkStatus();
}

}  // namespace

ExitCode RunRequests(World& world, Options options, const std::vector<std::string>& command) {
  const bool coordinates = world.rank() == kCoordinatorRank;
  SessionSettings settings = MakeSessionSettings(options);
  Frontend frontend(options, command);
  const bool print_layout = options.Flag("print-layout");
  absl::Status ready;
  if (coordinates && !print_layout) ready = frontend.Open();
  if (print_layout || options.Flag("dry-run")) {
    absl::StatusOr<std::unique_ptr<Session>> session = Session::Open(world, settings, ready);
    absl::Status status = session.status();
    if (status.ok() && coordinates) {
      for (const std::string& warning : (*session)->warnings()) LogWarn(warning);
      if (print_layout) {
        absl::PrintF("%s", LayoutToYaml((*session)->layout()));
      } else {
        status = frontend.DryRun(**session);
      }
    }
    if (!status.ok()) return Conclude(world, {.status = status, .agreed = true});
    return frontend.counts().failed() > 0 ? ExitCode::kFailedRequests : ExitCode::kOk;
  }
  std::optional<StatusLine> loading;
  if (coordinates) {
    loading.emplace(absl::StrCat("loading ", settings.model),
                    ProgressForStderr(options.Flag("quiet")));
  }
  const JobOutcome outcome =
      RunJob(world, settings, ready, [&](Session& session, CoordinatorPort& port) {
        loading.reset();
        return frontend.Coordinate(session, port);
      });
  loading.reset();
  if (!outcome.status.ok()) return Conclude(world, outcome);
  return frontend.counts().failed() > 0 ? ExitCode::kFailedRequests : ExitCode::kOk;
}

}  // namespace tandem
