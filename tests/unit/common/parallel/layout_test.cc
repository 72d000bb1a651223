#include "common/parallel/layout.h"

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/exit_code.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tandem {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr StageKind kAllStages[] = {StageKind::kVision, StageKind::kEncoder, StageKind::kDecoder};

ModelConfig ModelWith(int64_t encoder_heads, int64_t decoder_heads, int64_t vision_heads = 16) {
  ModelConfig config;
  config.encoder.num_heads = encoder_heads;
  config.decoder.num_heads = decoder_heads;
  if (vision_heads > 0) {
    config.vision.emplace();
    config.vision->num_heads = vision_heads;
  }
  return config;
}

// "vision [0] encoder [0] decoder [1, 2]", the ranks of each group in brackets.
std::string Summary(const Layout& layout) {
  std::string out = layout.own_coordinator ? "own " : "";
  for (StageKind stage : kAllStages) {
    if (layout.groups(stage).empty()) continue;
    out += std::string(NameOf(stage));
    for (const StageGroup& group : layout.groups(stage)) {
      absl::StrAppend(&out, " [", absl::StrJoin(group.ranks, ","), "]");
    }
    out += " ";
  }
  if (!out.empty()) out.pop_back();
  return out;
}

struct Made {
  std::string summary;  // Or the error.
  std::vector<std::string> warnings;
};

Made Make(const LayoutFlags& flags, const ModelConfig& config, int world_size) {
  Made made;
  const absl::StatusOr<Layout> layout = MakeLayout(flags, config, world_size, &made.warnings);
  if (layout.ok()) {
    made.summary = Summary(*layout);
  } else {
    EXPECT_EQ(layout.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(ExitCodeOf(layout.status()), ExitCode::kUsage);
    made.summary = std::string(layout.status().message());
  }
  return made;
}

LayoutFlags Tp(std::optional<int> encoder, std::optional<int> decoder,
               std::optional<int> vision = std::nullopt) {
  LayoutFlags flags;
  flags.tp[static_cast<int>(StageKind::kEncoder)] = encoder;
  flags.tp[static_cast<int>(StageKind::kDecoder)] = decoder;
  flags.tp[static_cast<int>(StageKind::kVision)] = vision;
  return flags;
}

// --- Degrees ---

TEST(MaxTpTest, PowersOfTwoThatDivideHeadsAndLeaves) {
  const int64_t heads[] = {1, 2, 3, 4, 6, 8, 12, 16, 32};
  const int text[] = {1, 2, 1, 4, 2, 8, 4, 8, 8};
  const int vision[] = {1, 2, 1, 4, 2, 8, 4, 16, 16};
  for (size_t i = 0; i < std::size(heads); ++i) {
    EXPECT_EQ(MaxTextTp(ModelWith(heads[i], 1).encoder), text[i]) << heads[i];
    EXPECT_EQ(MaxTp(StageKind::kVision, ModelWith(1, 1, heads[i])), vision[i]) << heads[i];
  }
}

TEST(MakeLayoutTest, RefusesDegreesThatTheHeadsDoNotAllow) {
  const ModelConfig four = ModelWith(4, 4);
  EXPECT_EQ(Make(Tp(1, 3), four, 8).summary,
            "decoder TP 3 is no power of two; 1, 2 or 4 fit this model's 4 query heads");
  EXPECT_EQ(Make(Tp(1, 8), four, 16).summary,
            "decoder TP 8 does not divide this model's 4 query heads; 1, 2 or 4 fit");
  EXPECT_EQ(Make(Tp(16, 1), ModelWith(16, 16), 32).summary,
            "encoder TP 16 is more than the 8 parts that sums are cut into; 1, 2, 4 or 8 fit this "
            "model's 16 query heads");
  EXPECT_EQ(Make(Tp(2, 1), ModelWith(3, 4), 8).summary,
            "encoder TP 2 does not divide this model's 3 query heads; 1 fits");
  EXPECT_EQ(Make(Tp(4, 4, 4), ModelWith(4, 4, 6), 8).summary,
            "vision TP 4 does not divide this model's 6 vision heads; 1 or 2 fit");
  EXPECT_EQ(Make(Tp(0, 1), four, 8).summary,
            "encoder TP 0 is no power of two; 1, 2 or 4 fit this model's 4 query heads");
}

// --- Default rules ---

TEST(MakeLayoutTest, DefaultsForEveryNumberOfRanks) {
  const ModelConfig four = ModelWith(4, 4);
  EXPECT_EQ(Make({}, four, 1).summary, "vision [0] encoder [0] decoder [0]");
  EXPECT_EQ(Make({}, four, 2).summary, "vision [0,1] encoder [0,1] decoder [0,1]");
  EXPECT_EQ(Make({}, four, 3).summary, "vision [0] encoder [0] decoder [1,2]");
  EXPECT_EQ(Make({}, four, 4).summary, "vision [0] encoder [0] decoder [1,2]");
  EXPECT_EQ(Make({}, four, 5).summary, "vision [0] encoder [0] decoder [1,2,3,4]");
  EXPECT_EQ(Make({}, four, 6).summary, "vision [0,1] encoder [0,1] decoder [2,3,4,5]");
  EXPECT_EQ(Make({}, four, 8).summary, "vision [0,1] encoder [0,1] decoder [2,3,4,5]");
  EXPECT_EQ(Make({}, four, 12).summary,
            "vision [0,1,2,3] encoder [0,1,2,3] decoder [4,5,6,7] [8,9,10,11]");
  const ModelConfig eight = ModelWith(8, 8);
  EXPECT_EQ(Make({}, eight, 12).summary,
            "vision [0,1,2,3] encoder [0,1,2,3] decoder [4,5,6,7,8,9,10,11]");
}

TEST(MakeLayoutTest, WarnsOfIdleRanks) {
  const Made made = Make({}, ModelWith(4, 4), 8);
  ASSERT_EQ(made.warnings.size(), 1u);
  EXPECT_THAT(made.warnings[0], HasSubstr("ranks 6, 7 are idle: the encoder has 1 group of TP 2, "
                                          "the decoder 1 group of TP 4"));
  EXPECT_THAT(Make({}, ModelWith(4, 4), 4).warnings, ElementsAre(HasSubstr("rank 3 is idle")));
  EXPECT_THAT(Make({}, ModelWith(4, 4), 3).warnings, IsEmpty());
}

TEST(MakeLayoutTest, HeadsBoundTheDefaults) {
  // Two ranks, but heads that cannot be split: two groups instead.
  EXPECT_EQ(Make({}, ModelWith(3, 3, 0), 2).summary, "encoder [0] [1] decoder [0] [1]");
  EXPECT_EQ(Make({}, ModelWith(4, 3, 0), 2).summary, "encoder [0,1] decoder [0] [1]");
  EXPECT_EQ(Make({}, ModelWith(6, 6, 0), 7).summary, "encoder [0,1] decoder [2,3] [4,5]");
  // Vision heads allow less than the encoder's: a part of its ranks.
  EXPECT_EQ(Make({}, ModelWith(4, 4, 6), 12).summary,
            "vision [0,1] encoder [0,1,2,3] decoder [4,5,6,7] [8,9,10,11]");
}

TEST(MakeLayoutTest, OwnCoordinatorLeavesTheOtherRanks) {
  LayoutFlags flags;
  flags.own_coordinator = true;
  const ModelConfig four = ModelWith(4, 4, 0);
  EXPECT_EQ(Make(flags, four, 1).summary,
            "--coordinator own takes rank 0 for itself, and the job has no other rank to compute; "
            "start 2 ranks or more, or use --coordinator shared");
  EXPECT_EQ(Make(flags, four, 2).summary, "own encoder [1] decoder [1]");
  EXPECT_EQ(Make(flags, four, 3).summary, "own encoder [1,2] decoder [1,2]");
  EXPECT_EQ(Make(flags, four, 4).summary, "own encoder [1] decoder [2,3]");
  EXPECT_THAT(Make(flags, four, 4).warnings, IsEmpty());
  flags.own_coordinator = false;
  EXPECT_EQ(Make(flags, four, 3).summary, "encoder [0] decoder [1,2]");
}

// --- Short flags ---

TEST(MakeLayoutTest, TheExampleOfTheForms) {
  LayoutFlags flags = Tp(2, 4, 1);
  flags.groups[static_cast<int>(StageKind::kDecoder)] = 2;
  flags.own_coordinator = true;
  EXPECT_EQ(Make(flags, ModelWith(4, 4), 11).summary,
            "own vision [1] encoder [1,2] decoder [3,4,5,6] [7,8,9,10]");
}

TEST(MakeLayoutTest, FlagsFixWhatTheyNameAndTheRestIsChosen) {
  const ModelConfig four = ModelWith(4, 4, 0);
  EXPECT_EQ(Make(Tp(1, 1), four, 2).summary, "encoder [0] decoder [1]");
  EXPECT_EQ(Make(Tp(2, {}), four, 4).summary, "encoder [0,1] decoder [2,3]");
  EXPECT_EQ(Make(Tp({}, 4), four, 5).summary, "encoder [0] decoder [1,2,3,4]");
  EXPECT_EQ(Make(Tp({}, 1), four, 4).summary, "encoder [0] decoder [1] [2] [3]");
  EXPECT_EQ(Make(Tp(1, {}), four, 2).summary, "encoder [0] [1] decoder [0,1]");
  // The encoder gives way to what the decoder's flags need.
  LayoutFlags flags = Tp({}, 2);
  flags.groups[static_cast<int>(StageKind::kDecoder)] = 3;
  EXPECT_EQ(Make(flags, four, 7).summary, "encoder [0] decoder [1,2] [3,4] [5,6]");
  flags = {};
  flags.groups[static_cast<int>(StageKind::kEncoder)] = 2;
  EXPECT_EQ(Make(flags, four, 6).summary, "encoder [0] [1] decoder [2,3,4,5]");
}

TEST(MakeLayoutTest, ReplicasMultiplyEveryStage) {
  LayoutFlags flags;
  flags.replicas = 2;
  EXPECT_EQ(Make(flags, ModelWith(4, 4), 6).summary,
            "vision [0] [1] encoder [0] [1] decoder [2,3] [4,5]");
  EXPECT_EQ(Make(flags, ModelWith(4, 4), 2).summary,
            "vision [0] [1] encoder [0] [1] decoder [0] [1]");
  flags.colocate = true;
  EXPECT_EQ(Make(flags, ModelWith(4, 4), 8).summary,
            "vision [0,1,2,3] [4,5,6,7] encoder [0,1,2,3] [4,5,6,7] decoder [0,1,2,3] [4,5,6,7]");
  flags = Tp(1, 1);
  flags.replicas = 2;
  flags.groups[static_cast<int>(StageKind::kDecoder)] = 2;
  EXPECT_EQ(Make(flags, ModelWith(4, 4, 0), 6).summary, "encoder [0] [1] decoder [2] [3] [4] [5]");
}

TEST(MakeLayoutTest, ColocateSharesAllRanks) {
  LayoutFlags flags;
  flags.colocate = true;
  EXPECT_EQ(Make(flags, ModelWith(4, 4), 4).summary,
            "vision [0,1,2,3] encoder [0,1,2,3] decoder [0,1,2,3]");
  EXPECT_EQ(Make(flags, ModelWith(4, 4, 0), 8).summary,
            "encoder [0,1,2,3] [4,5,6,7] decoder [0,1,2,3] [4,5,6,7]");
  const Made three = Make(flags, ModelWith(4, 4, 0), 3);
  EXPECT_EQ(three.summary, "encoder [0,1] decoder [0,1]");
  EXPECT_THAT(three.warnings, ElementsAre(HasSubstr("rank 2 is idle")));
  LayoutFlags uneven = Tp(2, 4);
  uneven.colocate = true;
  EXPECT_EQ(Make(uneven, ModelWith(4, 4), 4).summary,
            "vision [0,1] [2,3] encoder [0,1] [2,3] decoder [0,1,2,3]");
}

TEST(MakeLayoutTest, WithoutADecoderTheEncoderHasAllRanks) {
  LayoutFlags flags;
  flags.decodes = false;
  const Made four = Make(flags, ModelWith(4, 4, 0), 4);
  EXPECT_EQ(four.summary, "encoder [0,1,2,3]");
  EXPECT_TRUE(four.warnings.empty());
  LayoutFlags one = Tp(1, std::nullopt);
  one.decodes = false;
  EXPECT_EQ(Make(one, ModelWith(4, 4, 0), 3).summary, "encoder [0] [1] [2]");
  LayoutFlags two = Tp(2, std::nullopt);
  two.decodes = false;
  EXPECT_THAT(Make(two, ModelWith(4, 4, 0), 3).warnings,
              ElementsAre("rank 2 is idle: the encoder has 1 group of TP 2; other degrees or a "
                          "layout file may use all"));
}

TEST(MakeLayoutTest, SaysWhatDoesNotFitAndWhatWould) {
  const ModelConfig four = ModelWith(4, 4);
  EXPECT_EQ(
      Make(Tp({}, 4), four, 4).summary,
      "encoder (1 group of TP 1) and decoder (1 group of TP 4) need 5 ranks, but there are 4; "
      "--decoder-tp 2 fits, and --colocate lets the stages share ranks");
  EXPECT_EQ(
      Make(Tp(4, {}), four, 4).summary,
      "encoder (1 group of TP 4) and decoder (1 group of TP 1) need 5 ranks, but there are 4; "
      "--colocate lets the stages share ranks");
  LayoutFlags flags = Tp({}, 4);
  flags.colocate = true;
  flags.own_coordinator = true;
  EXPECT_EQ(Make(flags, four, 4).summary,
            "decoder: 1 group of TP 4 need 4 ranks, but there are 3 beside the coordinator; "
            "--decoder-tp 2 fits");
  flags = {};
  flags.colocate = true;
  flags.groups[static_cast<int>(StageKind::kEncoder)] = 2;
  flags.replicas = 3;
  EXPECT_EQ(Make(flags, four, 4).summary,
            "encoder: 6 groups of TP 1 need 6 ranks, but there are 4; at most 4 groups fit");
  EXPECT_EQ(
      Make(Tp(1, 2, 4), four, 4).summary,
      "vision: 1 group of TP 4 need 4 ranks, but vision shares the encoder's 1; --vision-tp 1 "
      "fits, or a layout file (--layout) gives vision ranks of its own");
  EXPECT_EQ(Make(Tp(2, 1), four, 1).summary, "--encoder-tp 2: the job has 1 rank; 1 to 1 fit");
  flags = {};
  flags.replicas = 0;
  EXPECT_EQ(Make(flags, four, 4).summary, "--replicas 0: the job has 4 ranks; 1 to 4 fit");
}

TEST(MakeLayoutTest, VisionFlagsOfATextModelAreWarnedOf) {
  const Made made = Make(Tp(1, 2, 1), ModelWith(4, 4, 0), 3);
  EXPECT_EQ(made.summary, "encoder [0] decoder [1,2]");
  EXPECT_THAT(made.warnings, ElementsAre(HasSubstr("this model has no vision stage")));
}

// Whatever the flags: what is made is valid, reads back from its file, and gives every rank one
// role.
TEST(MakeLayoutTest, EveryLayoutIsValidAndRoundTrips) {
  int made = 0;
  for (int64_t encoder_heads : {3, 4, 8}) {
    for (int64_t decoder_heads : {1, 4, 8}) {
      const ModelConfig config =
          ModelWith(encoder_heads, decoder_heads, encoder_heads == 8 ? 0 : 16);
      for (int world_size = 1; world_size <= 20; ++world_size) {
        for (int bits = 0; bits < 64; ++bits) {
          LayoutFlags flags = Tp(bits & 1 ? std::optional<int>(2) : std::nullopt,
                                 bits & 2 ? std::optional<int>(4) : std::nullopt);
          if (bits & 4) flags.groups[static_cast<int>(StageKind::kDecoder)] = 2;
          if (bits & 8) flags.replicas = 2;
          flags.colocate = (bits & 16) != 0;
          flags.own_coordinator = (bits & 32) != 0;
          const absl::StatusOr<Layout> layout = MakeLayout(flags, config, world_size, nullptr);
          if (!layout.ok()) continue;
          ++made;
          ASSERT_TRUE(ValidateLayout(*layout, config).ok());
          const absl::StatusOr<Layout> read = ParseLayout(LayoutToYaml(*layout), world_size);
          ASSERT_TRUE(read.ok()) << read.status() << "\n" << LayoutToYaml(*layout);
          ASSERT_EQ(Summary(*read), Summary(*layout));

          const std::vector<int> schedulers = IslandSchedulers(*layout);
          ASSERT_EQ(static_cast<int>(schedulers.size()), world_size);
          if (layout->own_coordinator) {
            ASSERT_EQ(schedulers[0], -1);
          }
          for (StageKind stage : kAllStages) {
            for (const StageGroup& group : layout->groups(stage)) {
              for (int rank : group.ranks) {
                const int scheduler = schedulers[static_cast<size_t>(rank)];
                ASSERT_GE(scheduler, 0);
                ASSERT_LE(scheduler, rank);
                ASSERT_EQ(scheduler, schedulers[static_cast<size_t>(group.ranks[0])]);
                ASSERT_EQ(schedulers[static_cast<size_t>(scheduler)], scheduler);
              }
            }
          }
        }
      }
    }
  }
  EXPECT_GT(made, 3000);
}

// --- Islands ---

TEST(IslandSchedulersTest, SharedRanksJoinGroups) {
  Layout layout;
  layout.world_size = 9;
  layout.own_coordinator = true;
  layout.stages[static_cast<int>(StageKind::kVision)] = {{{1}}};
  layout.stages[static_cast<int>(StageKind::kEncoder)] = {{{1, 2}}, {{5, 6}}};
  layout.stages[static_cast<int>(StageKind::kDecoder)] = {{{3, 5}}, {{4}}};
  // 3 - 5 - 6 hang together through two groups; 7 and 8 are idle.
  EXPECT_THAT(IslandSchedulers(layout), ElementsAre(-1, 1, 1, 3, 4, 3, 3, -1, -1));

  // Groups that join by a rank which is the lowest of neither.
  layout.own_coordinator = false;
  layout.stages[static_cast<int>(StageKind::kVision)].clear();
  layout.stages[static_cast<int>(StageKind::kEncoder)] = {{{2, 6}}, {{3, 8}}};
  layout.stages[static_cast<int>(StageKind::kDecoder)] = {{{1, 6}}, {{0, 8}}};
  EXPECT_THAT(IslandSchedulers(layout), ElementsAre(0, 1, 1, 0, -1, -1, 1, -1, 0));
}

// --- Files ---

std::string ParseError(absl::string_view yaml, int world_size = 8) {
  const absl::StatusOr<Layout> layout = ParseLayout(yaml, world_size);
  EXPECT_FALSE(layout.ok()) << yaml;
  if (layout.ok()) return "";
  EXPECT_EQ(layout.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ExitCodeOf(layout.status()), ExitCode::kUsage);
  return std::string(layout.status().message());
}

TEST(ParseLayoutTest, ReadsEveryForm) {
  const absl::StatusOr<Layout> layout = ParseLayout(
      "coordinator: own\n"
      "vision:  [{ranks: [1]}]\n"
      "encoder: [{ranks: [2, 1]}]\n"
      "decoder:\n"
      "  - ranks: 3-6\n"
      "  - {ranks: [7, 8-9, 10]}\n"
      "  - ranks: 11\n",
      12);
  ASSERT_TRUE(layout.ok()) << layout.status();
  EXPECT_EQ(Summary(*layout), "own vision [1] encoder [1,2] decoder [3,4,5,6] [7,8,9,10] [11]");
  EXPECT_EQ(layout->world_size, 12);
}

TEST(ParseLayoutTest, ErrorsNameLineAndKey) {
  EXPECT_EQ(ParseError("encoder: [{ranks: [0]}]\ndecodre: [{ranks: [1]}]\n"),
            "layout, line 2: unknown key 'decodre'; did you mean 'decoder'?");
  EXPECT_EQ(ParseError("parallelism: 3\n"),
            "layout, line 1: unknown key 'parallelism'; known are coordinator, vision, encoder, "
            "decoder");
  EXPECT_EQ(ParseError("encoder:\n  - rank: [0]\n"),
            "layout, line 2: unknown key 'rank'; did you mean 'ranks'?");
  EXPECT_EQ(ParseError("encoder: [{ranks: [0]}]\ndecoder:\n  - ranks: 0-3\n  - ranks: 4-11\n"),
            "layout, line 4: decoder group 2 names rank 11, but the job has 8 ranks, numbered from "
            "0; start 12 or more");
  EXPECT_EQ(ParseError("encoder: [{ranks: 0-2}]\ndecoder: [{ranks: [3]}]\n"),
            "layout, line 1: encoder group 1 has 3 ranks; its TP degree, their number, must be a "
            "power of two");
  EXPECT_EQ(ParseError("encoder: [{ranks: [0]}]\ndecoder: [{ranks: [1, 2]}, {ranks: [2, 3]}]\n"),
            "layout, line 2: rank 2 is in decoder groups 1 and 2; a rank serves one group of a "
            "stage");
  EXPECT_EQ(ParseError("encoder: [{ranks: [1, 1]}]\n"),
            "layout, line 1: encoder group 1 names rank 1 twice");
  EXPECT_EQ(ParseError("coordinator: own\nencoder: [{ranks: [0]}]\n"),
            "layout, line 2: encoder group 1 names rank 0, which coordinates alone; use "
            "'coordinator: shared' for a rank 0 that also computes");
  EXPECT_EQ(ParseError("encoder: [{ranks: [0]}]\n"), "layout: the key 'decoder' is missing");
  EXPECT_TRUE(ParseLayout("encoder: [{ranks: [0]}]\n", 1, /*decodes=*/false).ok());
  EXPECT_EQ(ParseError("coordinator: mine\n"), "layout, line 1: coordinator is 'own' or 'shared'");
  EXPECT_EQ(ParseError("encoder: {ranks: [0]}\n"),
            "layout, line 1: encoder takes a list of groups: [{ranks: [1, 2]}]");
  EXPECT_EQ(ParseError("encoder: [{ranks: [one]}]\n"),
            "layout, line 1: encoder group 1: ranks are numbers or ranges, as [1, 2] or 3-6, not "
            "'one'");
  EXPECT_EQ(ParseError("encoder: [{ranks: 4-2}]\n"),
            "layout, line 1: encoder group 1: ranks are numbers or ranges, as [1, 2] or 3-6, not "
            "'4-2'");
  EXPECT_EQ(ParseError("encoder: [{ranks: []}]\n"), "layout, line 1: encoder group 1 has no ranks");
  EXPECT_EQ(ParseError("encoder: [3]\n"),
            "layout, line 1: encoder group 1: a group is written {ranks: [1, 2]} or {ranks: 3-6}");
  EXPECT_EQ(ParseError("encoder: [{ranks: [0]}]\nencoder: [{ranks: [0]}]\n"),
            "layout, line 2: key 'encoder' comes twice");
}

TEST(ParseLayoutTest, RefusesHostileText) {
  EXPECT_THAT(ParseError(""), HasSubstr("expected the keys"));
  EXPECT_THAT(ParseError("- 1\n- 2\n"), HasSubstr("expected the keys"));
  EXPECT_THAT(ParseError("encoder: [{ranks: [0]\n"), HasSubstr("layout, line"));
  EXPECT_THAT(ParseError("encoder: [{ranks: 0-99999999999}]\n"),
              HasSubstr("names rank 99999999999"));
  EXPECT_THAT(ParseError("encoder: [{ranks: -3}]\n"), HasSubstr("encoder group 1"));
  EXPECT_THAT(ParseError("encoder: [{ranks: [[[0]]]}]\n"), HasSubstr("numbers or ranges"));
  EXPECT_THAT(ParseError("? [a, b]\n: 1\n"), HasSubstr("unknown key"));
  EXPECT_THAT(ParseError("encoder: " + std::string(20000, '[')), HasSubstr("layout"));
  EXPECT_THAT(ParseError(std::string(2 << 20, '#')), HasSubstr("1048576 are the limit"));
}

TEST(ValidateLayoutTest, ChecksAgainstTheModel) {
  const absl::StatusOr<Layout> layout =
      ParseLayout("encoder: [{ranks: 0-3}]\ndecoder: [{ranks: 4-7}]\n", 8);
  ASSERT_TRUE(layout.ok());
  EXPECT_TRUE(ValidateLayout(*layout, ModelWith(4, 4)).ok());
  EXPECT_EQ(ValidateLayout(*layout, ModelWith(4, 6)).message(),
            "decoder TP 4 does not divide this model's 6 query heads; 1 or 2 fit");
  Layout without_decoder = *layout;
  without_decoder.stages[static_cast<int>(StageKind::kDecoder)].clear();
  EXPECT_EQ(ValidateLayout(without_decoder, ModelWith(4, 4)).message(),
            "the layout has no decoder group");
  EXPECT_TRUE(ValidateLayout(without_decoder, ModelWith(4, 4), /*decodes=*/false).ok());
  Layout descending = *layout;
  descending.stages[static_cast<int>(StageKind::kEncoder)][0].ranks = {1, 0};
  EXPECT_EQ(ValidateLayout(descending, ModelWith(4, 4)).message(),
            "encoder group 1: ranks must ascend");
}

// --- The layouts that come with tandem ---

struct File {
  const char* name;
  int world_size;
  const char* summary;
};

TEST(LayoutFilesTest, EachLoadsAndIsWhatItsNameSays) {
  const File files[] = {
      {"one_rank", 1, "vision [0] encoder [0] decoder [0]"},
      {"two_colocated", 2, "vision [0,1] encoder [0,1] decoder [0,1]"},
      {"three_disaggregated", 3, "vision [0] encoder [0] decoder [1,2]"},
      {"four_disaggregated", 4, "vision [0,1] encoder [0,1] decoder [2,3]"},
      {"eight_disaggregated", 8, "vision [0,1,2,3] encoder [0,1,2,3] decoder [4,5,6,7]"},
      {"two_decoder_groups", 5, "vision [0] encoder [0] decoder [1,2] [3,4]"},
      {"own_coordinator", 4, "own vision [1] encoder [1] decoder [2,3]"},
  };
  for (const File& file : files) {
    std::ifstream in(std::string(TANDEM_SOURCE_DIR) + "/configs/layouts/" + file.name + ".yaml");
    ASSERT_TRUE(in.good()) << file.name;
    std::stringstream text;
    text << in.rdbuf();
    const absl::StatusOr<Layout> layout = ParseLayout(text.str(), file.world_size);
    ASSERT_TRUE(layout.ok()) << file.name << ": " << layout.status();
    EXPECT_EQ(Summary(*layout), file.summary) << file.name;
    EXPECT_TRUE(ValidateLayout(*layout, ModelWith(4, 4)).ok()) << file.name;
    const std::vector<int> schedulers = IslandSchedulers(*layout);
    for (int rank = layout->own_coordinator ? 1 : 0; rank < file.world_size; ++rank) {
      EXPECT_GE(schedulers[static_cast<size_t>(rank)], 0) << file.name << " leaves a rank idle";
    }
    EXPECT_FALSE(ParseLayout(text.str(), file.world_size - 1).ok()) << file.name;
  }
}

}  // namespace
}  // namespace tandem
