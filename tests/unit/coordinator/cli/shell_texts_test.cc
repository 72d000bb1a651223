// The man page and the completion have every row of the tables. tests/e2e/test_completion.py has
// bash and roff read them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "coordinator/cli/help.h"
#include "coordinator/io/request_fields.h"

namespace tandem {
namespace {

using ::testing::HasSubstr;

// The part of the page between a heading and the next one of its kind.
std::string Section(absl::string_view page, absl::string_view macro, absl::string_view name) {
  const std::string heading = absl::StrCat("\n", macro, " ", name, "\n");
  const size_t begin = page.find(heading);
  if (begin == absl::string_view::npos) return "";
  const absl::string_view rest = page.substr(begin + heading.size());
  return std::string(rest.substr(0, std::min(rest.find("\n.SS "), rest.find("\n.SH "))));
}

std::string Hyphens(absl::string_view text) { return absl::StrReplaceAll(text, {{"-", "\\-"}}); }

TEST(ManPageTest, EachVerbHasItsFlagsAndThoseOfAll) {
  const std::string page = ManPage("1.2.3");
  EXPECT_THAT(page, HasSubstr("\n.TH TANDEM 1 \"\" \"tandem 1.2.3\" \"User Commands\"\n"));
  const std::string common = Section(page, ".SS", "\"Of every verb\"");
  EXPECT_THAT(common, HasSubstr("\\fB\\-\\-config\\fR \\fIFILE\\fR\n"));
  for (int v = 0; v < kNumVerbs; ++v) {
    const auto verb = static_cast<Verb>(v);
    const std::string own = Section(page, ".SS", absl::StrCat("\"tandem ", NameOf(verb), "\""));
    ASSERT_NE(own, "") << NameOf(verb);
    for (const OptionInfo& option : OptionTable()) {
      const std::string tag = absl::StrCat(".TP\n\\fB\\-\\-", Hyphens(option.name));
      const auto has = [&](absl::string_view text) {
        return absl::StrContains(text, absl::StrCat(tag, "\\fR")) ||
               absl::StrContains(text, absl::StrCat(tag, "=false\\fR"));
      };
      // Another verb may have a flag of this name.
      EXPECT_EQ(has(own) || has(common), FindOption(verb, option.name) >= 0)
          << NameOf(verb) << " --" << option.name;
      EXPECT_FALSE(has(own) && has(common)) << "twice: --" << option.name;
    }
  }
}

TEST(ManPageTest, FieldsAndExitCodesAreThere) {
  const std::string page = ManPage("1.2.3");
  const std::string fields = Section(page, ".SH", "REQUEST FIELDS");
  for (const FieldInfo& field : FieldTable()) {
    EXPECT_THAT(fields, HasSubstr(absl::StrCat(".TP\n\\fB", field.name, "\\fR\n")));
  }
  const std::string codes = Section(page, ".SH", "EXIT STATUS");
  for (const ExitCodeInfo& exit : ExitCodeTable()) {
    EXPECT_THAT(codes + "\n", HasSubstr(absl::StrCat(".TP\n\\fB", exit.code, "\\fR\n")));
  }
}

TEST(BashCompletionTest, EachVerbHasItsFlags) {
  const std::string script = BashCompletion();
  for (int v = 0; v < kNumVerbs; ++v) {
    const auto verb = static_cast<Verb>(v);
    const std::string start = absl::StrCat("\n    ", NameOf(verb), ") echo '");
    const size_t begin = script.find(start);
    ASSERT_NE(begin, std::string::npos) << NameOf(verb);
    const size_t from = begin + start.size();
    std::vector<std::string> flags =
        absl::StrSplit(script.substr(from, script.find('\'', from) - from), ' ');
    std::vector<std::string> expected = {"--help"};
    for (const OptionInfo& option : OptionTable()) {
      if (!option.BelongsTo(verb)) continue;
      const bool on = option.type == OptionType::kFlag && option.default_value == "true";
      expected.push_back(absl::StrCat("--", option.name, on ? "=false" : ""));
    }
    EXPECT_THAT(flags, ::testing::UnorderedElementsAreArray(expected));
  }
}

// Words of the table stand between single quotes, split at spaces.
TEST(BashCompletionTest, NoWordNeedsQuotes) {
  for (const OptionInfo& option : OptionTable()) {
    for (const absl::string_view text : {option.name, option.choices}) {
      EXPECT_EQ(text.find_first_of("' \\\n*"), absl::string_view::npos) << text;
    }
  }
}

}  // namespace
}  // namespace tandem
