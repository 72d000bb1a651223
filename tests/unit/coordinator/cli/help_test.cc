#include "coordinator/cli/help.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "coordinator/cli/options.h"
#include "coordinator/io/request_error.h"
#include "coordinator/io/request_fields.h"

namespace tandem {
namespace {

using ::testing::HasSubstr;

TEST(HelpTest, EachVerbShowsItsOwnFlagsInItsOwnWidth) {
  for (int v = 0; v < kNumVerbs; ++v) {
    const auto verb = static_cast<Verb>(v);
    const std::string help = VerbHelp(verb);
    EXPECT_THAT(help, HasSubstr(absl::StrCat("tandem ", InfoOf(verb).usage)));
    for (const OptionInfo& option : OptionTable()) {
      const std::string flag = absl::StrCat("\n  --", option.name);
      if (!option.BelongsTo(verb)) continue;
      EXPECT_THAT(help, HasSubstr(flag)) << NameOf(verb);
    }
    for (const absl::string_view line : absl::StrSplit(help, '\n')) {
      EXPECT_LE(line.size(), 90u) << line;
      EXPECT_TRUE(line.empty() || line.back() != ' ') << line;
    }
  }
  EXPECT_EQ(VerbHelp(Verb::kEnv).find("--max-tokens N"), std::string::npos);
  EXPECT_THAT(VerbHelp(Verb::kGenerate),
              HasSubstr("  --max-num-seqs N          sequences in a decoder step (default: 32)\n"));
  EXPECT_THAT(ProgramHelp(), HasSubstr("generate    answers requests"));
}

// A default of the requests takes what the request's own field takes.
TEST(HelpTest, FlagsAndFieldsAgree) {
  int fields = 0;
  for (const OptionInfo& option : OptionTable()) {
    if (option.group != OptionGroup::kRequest) continue;
    Field field;
    const FieldInfo* info =
        FindField(LineForm::kGenerate, absl::StrReplaceAll(option.name, {{"-", "_"}}), &field);
    ASSERT_NE(info, nullptr) << option.name;
    ++fields;
    if (option.type != OptionType::kInteger || field == Field::kSeed) continue;
    EXPECT_EQ(static_cast<double>(option.minimum), info->minimum) << option.name;
    EXPECT_EQ(static_cast<double>(option.maximum), info->maximum) << option.name;
  }
  // All but id, the prompts, images and metadata.
  EXPECT_EQ(fields, 26);
}

TEST(HelpTest, TheTableIsSound) {
  for (int v = 0; v < kNumVerbs; ++v) {
    const auto verb = static_cast<Verb>(v);
    EXPECT_EQ(*FindVerb(NameOf(verb)), verb);
    std::set<std::string> names;
    for (size_t i = 0; i < OptionTable().size(); ++i) {
      const OptionInfo& option = OptionTable()[i];
      if (!option.BelongsTo(verb)) continue;
      EXPECT_TRUE(names.insert(std::string(option.name)).second) << option.name << " twice";
      EXPECT_EQ(FindOption(verb, option.name), static_cast<int>(i));
      EXPECT_EQ(option.name.find('_'), absl::string_view::npos);
      EXPECT_FALSE(option.help.empty());
      EXPECT_EQ(option.type == OptionType::kChoice, !option.choices.empty()) << option.name;
      EXPECT_EQ(option.type == OptionType::kInteger, option.maximum > option.minimum)
          << option.name;
      // Each default is a value that the option takes.
      if (option.default_value.empty()) continue;
      Options options(verb);
      EXPECT_TRUE(options
                      .Set(static_cast<int>(i), std::string(option.default_value), Origin::kFlag,
                           option.name)
                      .ok())
          << option.name;
    }
  }
}

// docs/reference.md is committed, so that it can be read without a build. To write it anew:
//   TANDEM_WRITE_REFERENCE=1 coordinator_cli_options_test --gtest_filter='*Reference*'
TEST(HelpTest, TheCommittedReferencePageIsNotStale) {
  const std::string path = TANDEM_SOURCE_DIR "/docs/reference.md";
  if (std::getenv("TANDEM_WRITE_REFERENCE") != nullptr) std::ofstream(path) << ReferencePage();
  std::stringstream committed;
  committed << std::ifstream(path).rdbuf();
  EXPECT_TRUE(committed.str() == ReferencePage())
      << path << " is stale; write it anew with TANDEM_WRITE_REFERENCE=1";
}

TEST(HelpTest, TheReferencePageHasEveryRow) {
  const std::string page = ReferencePage();
  for (const OptionInfo& option : OptionTable()) {
    EXPECT_THAT(page, HasSubstr(absl::StrCat("| `--", option.name)));
  }
  for (const FieldInfo& field : FieldTable()) {
    EXPECT_THAT(page, HasSubstr(absl::StrCat("| `", field.name, "` |")));
  }
  for (const RequestErrorInfo& error : RequestErrorTable()) {
    EXPECT_THAT(page, HasSubstr(absl::StrCat("| `", error.name, "` |")));
  }
  for (const VerbInfo& verb : VerbTable()) {
    EXPECT_THAT(page, HasSubstr(absl::StrCat("### tandem ", verb.name, "\n")));
  }
}

}  // namespace
}  // namespace tandem
