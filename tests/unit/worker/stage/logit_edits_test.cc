#include "worker/stage/logit_edits.h"

#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tandem {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<int32_t> Forbidden(const SequenceSpec& spec, const std::vector<int32_t>& tokens,
                               size_t num_prompt = 1) {
  const LogitEdits edits = CollectEdits(spec, tokens, num_prompt);
  std::vector<int32_t> ids;
  for (size_t i = 0; i < edits.ids.size(); ++i) {
    if (edits.edits[i].forbidden) ids.push_back(edits.ids[i]);
  }
  return ids;
}

TEST(LogitEditsTest, NothingAskedNothingTouched) {
  EXPECT_THAT(CollectEdits(SequenceSpec(), {{2, 5, 5, 7}}, 1).ids, IsEmpty());
}

TEST(LogitEditsTest, PenaltiesCountTheAnswerAlone) {
  SequenceSpec spec;
  spec.choice.frequency_penalty = 0.5f;
  spec.choice.presence_penalty = 0.25f;
  const LogitEdits edits = CollectEdits(spec, {{2, 9, 5, 7, 5}}, 2);
  ASSERT_THAT(edits.ids, ElementsAre(5, 7));
  EXPECT_EQ(Apply(edits.edits[0], spec.choice, 3.0f), 3.0f - 0.25f - 2 * 0.5f);
  EXPECT_EQ(Apply(edits.edits[1], spec.choice, 3.0f), 3.0f - 0.25f - 0.5f);
}

TEST(LogitEditsTest, RepetitionPenaltyPushesDownOnBothSidesOfZero) {
  ChoiceSpec choice;
  choice.repetition_penalty = 2.0f;
  EXPECT_EQ(Apply({.count = 3}, choice, 5.0f), 2.5f);
  EXPECT_EQ(Apply({.count = 1}, choice, -5.0f), -10.0f);
  EXPECT_EQ(Apply({.bias = 1.0f}, choice, 5.0f), 6.0f);  // Not in the answer.
  // The bias comes first, the other penalties after.
  choice.presence_penalty = 1.0f;
  EXPECT_EQ(Apply({.bias = -6.0f, .count = 1}, choice, 5.0f), -3.0f);
}

TEST(LogitEditsTest, RepeatedNgrams) {
  SequenceSpec spec;
  spec.choice.no_repeat_ngram_size = 1;  // Every token, those of the prompt too.
  EXPECT_THAT(Forbidden(spec, {2, 5, 7, 5}), ElementsAre(2, 5, 7));
  spec.choice.no_repeat_ngram_size = 2;
  EXPECT_THAT(Forbidden(spec, {2, 5, 7, 5, 8, 5}), ElementsAre(7, 8));
  EXPECT_THAT(Forbidden(spec, {2}), IsEmpty());
  spec.choice.no_repeat_ngram_size = 3;
  EXPECT_THAT(Forbidden(spec, {2, 5, 7, 9, 5, 7}), ElementsAre(9));
  EXPECT_THAT(Forbidden(spec, {5, 7}), IsEmpty());
}

TEST(LogitEditsTest, BadWords) {
  SequenceSpec spec;
  spec.stop_token_ids = {1};
  spec.choice.bad_words = {{{40}}, {{1}}, {{5, 41}}, {{5, 6, 42}}, {{9, 43}}};
  // 1 is a stop token; of the others those whose beginning is there.
  EXPECT_THAT(Forbidden(spec, {2, 5}), ElementsAre(40, 41));
  EXPECT_THAT(Forbidden(spec, {2, 5, 6}), ElementsAre(40, 42));
  EXPECT_THAT(Forbidden(spec, {5, 6}), ElementsAre(40, 42));
}

TEST(LogitEditsTest, StopTokensOfAShortAnswer) {
  SequenceSpec spec;
  spec.stop_token_ids = {1, 106};
  spec.min_tokens = 2;
  EXPECT_THAT(Forbidden(spec, {2, 5}), ElementsAre(1, 106));
  EXPECT_THAT(Forbidden(spec, {2, 5, 5}), IsEmpty());
  spec.choice.logit_bias = {{.id = 106, .bias = 100.0f}};
  const LogitEdits edits = CollectEdits(spec, {{2, 5}}, 1);
  EXPECT_EQ(Apply(edits.edits[1], spec.choice, 1.0f), -std::numeric_limits<float>::infinity());
}

}  // namespace
}  // namespace tandem
