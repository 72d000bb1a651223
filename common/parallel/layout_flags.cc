// MakeLayout: the short flags and the default rules.
#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "common/parallel/layout.h"
#include "common/parallel/layout_rules.h"

namespace tandem {
namespace {

// The groups of one stage: so many of one degree.
struct StageSize {
  int64_t tp = 1;
  int64_t num_groups = 1;

  int64_t num_ranks() const { return tp * num_groups; }
};

std::string Describe(const StageSize& size) {
  return absl::StrCat(Count(size.num_groups, "group"), " of TP ", size.tp);
}

class LayoutMaker {
 public:
  LayoutMaker(const LayoutFlags& flags, const ModelConfig& config, int world_size)
      : flags_(flags),
        config_(config),
        world_size_(world_size),
        own_coordinator_(flags.own_coordinator.value_or(false)),
        first_rank_(own_coordinator_ ? 1 : 0),
        num_ranks_(world_size - first_rank_),
        replicas_(flags.replicas.value_or(1)) {}

  absl::StatusOr<Layout> Make(std::vector<std::string>* warnings) {
    TANDEM_RETURN_IF_ERROR(CheckFlags());
    const bool colocate = flags_.colocate || !flags_.decodes || num_ranks_ == 1 ||
                          (num_ranks_ == 2 && !FlagsSetTwoStagesApart());
    StageSize encoder;
    StageSize decoder;
    if (colocate) {
      TANDEM_ASSIGN_OR_RETURN(encoder, ChooseColocated(StageKind::kEncoder));
      if (flags_.decodes) {
        TANDEM_ASSIGN_OR_RETURN(decoder, ChooseColocated(StageKind::kDecoder));
      }
    } else {
      TANDEM_RETURN_IF_ERROR(ChooseApart(&encoder, &decoder));
    }

    Layout layout;
    layout.world_size = world_size_;
    layout.own_coordinator = own_coordinator_;
    const int64_t first_decoder_rank = first_rank_ + (colocate ? 0 : encoder.num_ranks());
    GroupsOf(layout, StageKind::kEncoder) = Place(first_rank_, encoder);
    if (flags_.decodes) {
      GroupsOf(layout, StageKind::kDecoder) = Place(first_decoder_rank, decoder);
    }
    TANDEM_RETURN_IF_ERROR(AddVision(encoder, &layout, warnings));
    TANDEM_RETURN_IF_ERROR(ValidateLayout(layout, config_, flags_.decodes));
    if (warnings != nullptr) WarnOfIdleRanks(layout, encoder, decoder, warnings);
    return layout;
  }

 private:
  static std::vector<StageGroup>& GroupsOf(Layout& layout, StageKind stage) {
    return layout.stages[static_cast<int>(stage)];
  }
  const std::optional<int>& tp_flag(StageKind stage) const {
    return flags_.tp[static_cast<int>(stage)];
  }
  const std::optional<int>& groups_flag(StageKind stage) const {
    return flags_.groups[static_cast<int>(stage)];
  }

  absl::Status CheckFlags() const {
    const auto check = [this](const std::string& flag, std::optional<int> value) {
      if (!value.has_value() || (*value >= 1 && *value <= world_size_)) return absl::OkStatus();
      return LayoutError(absl::StrCat(flag, " ", *value, ": the job has ",
                                      Count(world_size_, "rank"), "; 1 to ", world_size_, " fit"));
    };
    TANDEM_RETURN_IF_ERROR(check("--replicas", flags_.replicas));
    for (StageKind stage : kStages) {
      if (stage == StageKind::kVision && !config_.vision.has_value()) continue;
      if (tp_flag(stage).has_value()) {
        TANDEM_RETURN_IF_ERROR(ValidateTp(stage, *tp_flag(stage), config_));
      }
      TANDEM_RETURN_IF_ERROR(check(absl::StrCat("--", NameOf(stage), "-tp"), tp_flag(stage)));
      TANDEM_RETURN_IF_ERROR(
          check(absl::StrCat("--", NameOf(stage), "-groups"), groups_flag(stage)));
    }
    if (num_ranks_ < 1) {
      return LayoutError(
          "--coordinator own takes rank 0 for itself, and the job has no other rank to compute; "
          "start 2 ranks or more, or use --coordinator shared");
    }
    return absl::OkStatus();
  }

  bool FlagsSetTwoStagesApart() const {
    return tp_flag(StageKind::kEncoder) == 1 && tp_flag(StageKind::kDecoder) == 1 &&
           groups_flag(StageKind::kEncoder).value_or(1) * replicas_ == 1 &&
           groups_flag(StageKind::kDecoder).value_or(1) * replicas_ == 1;
  }

  // The fewest groups of a stage that the flags allow.
  int64_t MinGroups(StageKind stage) const { return groups_flag(stage).value_or(1) * replicas_; }

  // The largest degree that the heads allow, at most `limit` (at least 1).
  int64_t LargestTp(StageKind stage, int64_t limit) const {
    int64_t tp = MaxTp(stage, config_);
    while (tp > 1 && tp > limit) tp /= 2;
    return tp;
  }

  // As many groups of this degree as `num_ranks` hold, in multiples of --replicas, unless flags
  // say.
  int64_t ChooseGroups(StageKind stage, int64_t tp, int64_t num_ranks) const {
    if (groups_flag(stage).has_value()) return MinGroups(stage);
    return replicas_ * std::max<int64_t>(1, num_ranks / (tp * replicas_));
  }

  // A stage that has all ranks.
  absl::StatusOr<StageSize> ChooseColocated(StageKind stage) const {
    StageSize size;
    size.tp = tp_flag(stage).has_value() ? *tp_flag(stage)
                                         : LargestTp(stage, num_ranks_ / MinGroups(stage));
    size.num_groups = ChooseGroups(stage, size.tp, num_ranks_);
    if (size.num_ranks() <= num_ranks_) return size;
    const std::string need = absl::StrCat(
        NameOf(stage), ": ", Describe(size), " need ", Count(size.num_ranks(), "rank"),
        ", but there are ", num_ranks_, own_coordinator_ ? " beside the coordinator" : "");
    if (size.num_groups > num_ranks_) {
      return LayoutError(absl::StrCat(need, "; at most ", Count(num_ranks_, "group"), " fit"));
    }
    return LayoutError(absl::StrCat(need, "; --", NameOf(stage), "-tp ",
                                    LargestTp(stage, num_ranks_ / size.num_groups), " fits"));
  }

  // Encoder and decoder on ranks of their own.
  absl::Status ChooseApart(StageSize* encoder, StageSize* decoder) const {
    const int64_t min_decoder_ranks =
        tp_flag(StageKind::kDecoder).value_or(1) * MinGroups(StageKind::kDecoder);
    encoder->num_groups = MinGroups(StageKind::kEncoder);
    encoder->tp =
        tp_flag(StageKind::kEncoder).has_value()
            ? *tp_flag(StageKind::kEncoder)
            : LargestTp(StageKind::kEncoder,
                        std::min<int64_t>(num_ranks_ / 3, num_ranks_ - min_decoder_ranks) /
                            encoder->num_groups);
    const int64_t rest = num_ranks_ - encoder->num_ranks();
    const int64_t largest_decoder_tp =
        LargestTp(StageKind::kDecoder, rest / MinGroups(StageKind::kDecoder));
    decoder->tp = tp_flag(StageKind::kDecoder).value_or(static_cast<int>(largest_decoder_tp));
    decoder->num_groups = ChooseGroups(StageKind::kDecoder, decoder->tp, rest);
    if (decoder->num_ranks() <= rest) return absl::OkStatus();

    std::string message = absl::StrCat(
        "encoder (", Describe(*encoder), ") and decoder (", Describe(*decoder), ") need ",
        Count(encoder->num_ranks() + decoder->num_ranks(), "rank"), ", but there are ", num_ranks_,
        own_coordinator_ ? " beside the coordinator" : "", "; ");
    if (largest_decoder_tp * MinGroups(StageKind::kDecoder) <= rest) {
      absl::StrAppend(&message, "--decoder-tp ", largest_decoder_tp, " fits, and ");
    }
    return LayoutError(absl::StrCat(message, "--colocate lets the stages share ranks"));
  }

  static std::vector<StageGroup> Place(int64_t first_rank, const StageSize& size) {
    std::vector<StageGroup> groups(static_cast<size_t>(size.num_groups));
    int rank = static_cast<int>(first_rank);
    for (StageGroup& group : groups) {
      for (int64_t i = 0; i < size.tp; ++i) group.ranks.push_back(rank++);
    }
    return groups;
  }

  // Vision shares the encoder's ranks: one group in each encoder group, unless flags say otherwise.
  absl::Status AddVision(const StageSize& encoder, Layout* layout,
                         std::vector<std::string>* warnings) const {
    constexpr StageKind kVision = StageKind::kVision;
    if (!config_.vision.has_value()) {
      if ((tp_flag(kVision).has_value() || groups_flag(kVision).has_value()) &&
          warnings != nullptr) {
        warnings->push_back(
            "--vision-tp and --vision-groups do nothing: this model has no vision stage");
      }
      return absl::OkStatus();
    }
    StageSize vision;
    vision.num_groups = groups_flag(kVision).has_value() ? MinGroups(kVision)
                        : tp_flag(kVision).value_or(1) <= encoder.tp
                            ? encoder.num_groups
                            : ChooseGroups(kVision, *tp_flag(kVision), encoder.num_ranks());
    const int64_t largest_tp = LargestTp(kVision, encoder.num_ranks() / vision.num_groups);
    vision.tp = tp_flag(kVision).value_or(static_cast<int>(largest_tp));
    if (vision.num_ranks() > encoder.num_ranks()) {
      return LayoutError(
          absl::StrCat("vision: ", Describe(vision), " need ", Count(vision.num_ranks(), "rank"),
                       ", but vision shares the encoder's ", encoder.num_ranks(), "; ",
                       largest_tp * vision.num_groups <= encoder.num_ranks()
                           ? absl::StrCat("--vision-tp ", largest_tp, " fits")
                           : absl::StrCat("at most ", Count(encoder.num_ranks(), "group"), " fit"),
                       ", or a layout file (--layout) gives vision ranks of its own"));
    }
    std::vector<StageGroup>& groups = GroupsOf(*layout, kVision);
    groups = Place(first_rank_, vision);
    if (vision.num_groups == encoder.num_groups) {  // Each inside its own encoder group.
      groups = layout->groups(StageKind::kEncoder);
      for (StageGroup& group : groups) group.ranks.resize(static_cast<size_t>(vision.tp));
    }
    return absl::OkStatus();
  }

  void WarnOfIdleRanks(const Layout& layout, const StageSize& encoder, const StageSize& decoder,
                       std::vector<std::string>* warnings) const {
    const std::vector<int> schedulers = IslandSchedulers(layout);
    std::vector<int> idle;
    for (int rank = first_rank_; rank < world_size_; ++rank) {
      if (schedulers[static_cast<size_t>(rank)] < 0) idle.push_back(rank);
    }
    if (idle.empty()) return;
    warnings->push_back(absl::StrCat(
        idle.size() == 1 ? "rank " : "ranks ", absl::StrJoin(idle, ", "),
        idle.size() == 1 ? " is" : " are", " idle: the encoder has ", Describe(encoder),
        flags_.decodes
            ? absl::StrCat(", the decoder ", Describe(decoder), "; other degrees, --colocate")
            : "; other degrees",
        " or a layout file may use all"));
  }

  const LayoutFlags& flags_;
  const ModelConfig& config_;
  const int world_size_;
  const bool own_coordinator_;
  const int first_rank_;  // Of those that compute.
  const int64_t num_ranks_;
  const int64_t replicas_;
};

}  // namespace

absl::StatusOr<Layout> MakeLayout(const LayoutFlags& flags, const ModelConfig& config,
                                  int world_size, std::vector<std::string>* warnings) {
  if (world_size < 1) return LayoutError("a job has at least one rank");
  return LayoutMaker(flags, config, world_size).Make(warnings);
}

}  // namespace tandem
