// tandem forward
#include <cstring>
#include <filesystem>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/safetensors.h"
#include "coordinator/cli/verbs.h"
#include "coordinator/forward_job.h"

namespace tandem {
namespace {

using Tensors = std::map<std::string, HostTensor>;

// The tensor under FORMS' name or Hugging Face's.
absl::StatusOr<const HostTensor*> FindTensor(const Tensors& tensors, const std::string& name,
                                             const std::string& other_name) {
  auto found = tensors.find(name);
  if (found == tensors.end()) found = tensors.find(other_name);
  if (found == tensors.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("no tensor \"", name, "\" (or \"", other_name, "\")"));
  }
  if (found->second.shape.size() != 2) {
    return absl::InvalidArgumentError(absl::StrCat("tensor \"", found->first, "\" has shape [",
                                                   absl::StrJoin(found->second.shape, ", "),
                                                   "]; two dimensions are wanted"));
  }
  return &found->second;
}

absl::StatusOr<std::vector<int64_t>> Integers(const HostTensor& tensor, const std::string& name) {
  std::vector<int64_t> out;
  switch (tensor.dtype) {
    case DType::kI64:
      for (const int64_t value : tensor.As<int64_t>()) out.push_back(value);
      return out;
    case DType::kI32:
      for (const int32_t value : tensor.As<int32_t>()) out.push_back(value);
      return out;
    case DType::kBool:
    case DType::kU8:
      for (const uint8_t value : tensor.As<uint8_t>()) out.push_back(value);
      return out;
    default:
      return absl::InvalidArgumentError(absl::StrCat(
          "tensor \"", name, "\" has dtype ", NameOf(tensor.dtype), "; I32 or I64 is wanted"));
  }
}

// Token ids and their mask (none: all valid) from the input file.
absl::StatusOr<PaddedTokens> ReadTokens(const Tensors& tensors, const std::string& side,
                                        const std::string& hf_ids, const std::string& hf_mask,
                                        int64_t vocab_size) {
  const std::string ids_name = side + "_token_ids";
  const std::string mask_name = side + "_padding_mask";
  TANDEM_ASSIGN_OR_RETURN(const HostTensor* ids, FindTensor(tensors, ids_name, hf_ids));
  TANDEM_ASSIGN_OR_RETURN(const HostTensor* mask, FindTensor(tensors, mask_name, hf_mask));
  if (ids->shape != mask->shape) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", ids_name, "\" has shape [", absl::StrJoin(ids->shape, ", "), "], \"",
                     mask_name, "\" [", absl::StrJoin(mask->shape, ", "), "]; they must be equal"));
  }
  TANDEM_ASSIGN_OR_RETURN(const std::vector<int64_t> id_values, Integers(*ids, ids_name));
  TANDEM_ASSIGN_OR_RETURN(const std::vector<int64_t> mask_values, Integers(*mask, mask_name));
  PaddedTokens out;
  out.rows = ids->shape[0];
  out.columns = ids->shape[1];
  for (size_t i = 0; i < id_values.size(); ++i) {
    const bool valid = mask_values[i] != 0;
    if (valid && (id_values[i] < 0 || id_values[i] >= vocab_size)) {
      return absl::InvalidArgumentError(absl::StrCat("\"", ids_name, "\" holds ", id_values[i],
                                                     "; ids of this model are 0 to ",
                                                     vocab_size - 1));
    }
    out.ids.push_back(valid ? static_cast<int32_t>(id_values[i]) : 0);
    out.valid.push_back(valid ? 1 : 0);
  }
  return out;
}

absl::Status ReadInput(const std::string& path, const ModelConfig& model, ForwardJobOptions* out) {
  TANDEM_ASSIGN_OR_RETURN(const Tensors tensors, ReadSafetensors(path));
  if (tensors.contains("pixel_values") || tensors.contains("images")) {
    return absl::InvalidArgumentError("it has images, which this version cannot process");
  }
  TANDEM_ASSIGN_OR_RETURN(out->encoder, ReadTokens(tensors, "encoder", "input_ids",
                                                   "attention_mask", model.encoder.vocab_size));
  TANDEM_ASSIGN_OR_RETURN(
      out->decoder, ReadTokens(tensors, "decoder", "decoder_input_ids", "decoder_attention_mask",
                               model.decoder.vocab_size));
  if (out->encoder.rows != out->decoder.rows) {
    return absl::InvalidArgumentError(absl::StrCat("the encoder has ", out->encoder.rows,
                                                   " rows, the decoder ", out->decoder.rows));
  }
  return absl::OkStatus();
}

absl::Status WriteOutput(const std::string& path,
                         const std::map<std::string, PaddedStates>& tensors) {
  Tensors out;
  for (const auto& [name, states] : tensors) {
    HostTensor tensor;
    tensor.dtype = DType::kF32;
    tensor.shape = {states.rows, states.columns, states.features};
    tensor.bytes.resize(states.data.size() * sizeof(float));
    if (!states.data.empty()) {
      std::memcpy(tensor.bytes.data(), states.data.data(), tensor.bytes.size());
    }
    out[name] = std::move(tensor);
  }
  return WriteSafetensors(path, out);
}

}  // namespace

ExitCode RunForward(World& world, const Options& options) {
  const SessionSettings settings = MakeSessionSettings(options);
  const std::string& input = options.Text("input");
  const std::string& output = options.Text("output");
  const bool coordinates = world.rank() == kCoordinatorRank;
  if (options.Flag("print-layout")) {
    const absl::StatusOr<std::unique_ptr<Session>> session =
        Session::Open(world, settings, absl::OkStatus());
    if (session.ok() && coordinates) absl::PrintF("%s", LayoutToYaml((*session)->layout()));
    return Conclude(world, {.status = session.status(), .agreed = true});
  }
  absl::Status ready;
  if (coordinates && !options.Flag("overwrite") && std::filesystem::exists(output)) {
    ready = WithExitCode(
        absl::AlreadyExistsError(absl::StrCat(output, " exists; use --overwrite to replace it")),
        ExitCode::kFile);
  }
  const JobOutcome outcome =
      RunJob(world, settings, ready, [&](Session& session, CoordinatorPort& port) -> absl::Status {
        LogSession(session);
        ForwardJobOptions job;
        job.taps = options.Flag("taps");
        job.vocab_size = session.model().decoder.vocab_size;
        const absl::Status read = ReadInput(input, session.model(), &job);
        if (!read.ok()) return WithExitCode(Annotate(read, input), ExitCode::kFile);
        absl::StatusOr<std::map<std::string, PaddedStates>> tensors =
            RunForwardJob(job, session.groups(), port);
        TANDEM_RETURN_IF_ERROR(tensors.status());
        return WithExitCode(WriteOutput(output, *tensors), ExitCode::kFile);
      });
  return Conclude(world, outcome);
}

}  // namespace tandem
