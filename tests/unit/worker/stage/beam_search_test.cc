#include "worker/stage/beam_search.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tandem {
namespace {

using ::testing::ElementsAre;

SequenceSpec Spec(int num_beams, int max_tokens, EarlyStop early_stopping,
                  float length_penalty = 1.0f) {
  SequenceSpec spec;
  spec.max_tokens = max_tokens;
  spec.stop_token_ids = {1};
  spec.beams = {.num_beams = num_beams,
                .num_outputs = num_beams,
                .length_penalty = length_penalty,
                .early_stopping = early_stopping};
  return spec;
}

RowAnswer Row(std::vector<Extension> extensions) {
  RowAnswer answer;
  answer.extensions = std::move(extensions);
  return answer;
}

TEST(BeamSearchTest, BestContinuationsOfAllBeamsGoOn) {
  const SequenceSpec spec = Spec(2, 10, EarlyStop::kFalse);
  BeamSearch search(spec);
  EXPECT_EQ(search.num_extensions(), 4);
  search.Advance({{Row({{5, -1.0f}, {6, -1.5f}, {7, -2.0f}, {8, -3.0f}})}});
  ASSERT_EQ(search.running().size(), 2u);
  EXPECT_EQ(search.running()[0].token, 5);
  EXPECT_EQ(search.running()[1].token, 6);
  // Both of the best come from the second beam.
  search.Advance({{Row({{5, -4.0f}, {6, -5.0f}}), Row({{9, -0.1f}, {4, -0.2f}})}});
  ASSERT_EQ(search.running().size(), 2u);
  EXPECT_EQ(search.running()[0].parent, 1u);
  EXPECT_EQ(search.running()[0].token, 9);
  EXPECT_EQ(search.running()[1].parent, 1u);
  EXPECT_EQ(search.running()[1].token, 4);
}

TEST(BeamSearchTest, AnEndCountsOnlyAmongTheFirstBeams) {
  const SequenceSpec spec = Spec(2, 10, EarlyStop::kTrue);
  BeamSearch search(spec);
  // The stop token is third: no answer ends, and two beams go on.
  search.Advance({{Row({{5, -1.0f}, {6, -1.5f}, {1, -1.6f}, {8, -3.0f}})}});
  EXPECT_FALSE(search.finished());
  // Now it is the best for one beam, and both ends stand among the first two.
  search.Advance({{Row({{1, -0.1f}, {5, -4.0f}, {6, -4.1f}}), Row({{1, -0.2f}, {5, -5.0f}})}});
  EXPECT_TRUE(search.finished());
  EXPECT_TRUE(search.running().empty());
  const std::vector<SequenceOutput> outputs = search.TakeOutputs();
  ASSERT_EQ(outputs.size(), 2u);
  EXPECT_THAT(outputs[0].token_ids, ElementsAre(5));
  EXPECT_EQ(outputs[0].reason, SequenceEnd::kStop);
  EXPECT_EQ(outputs[0].stop_token, 1);
  EXPECT_FLOAT_EQ(outputs[0].score, -1.1f / 2);
  EXPECT_THAT(outputs[1].token_ids, ElementsAre(6));
}

TEST(BeamSearchTest, LengthEndsAllAndThePenaltyOrdersThem) {
  for (const float penalty : {0.0f, 1.0f, 2.0f}) {
    const SequenceSpec spec = Spec(2, 2, EarlyStop::kNever, penalty);
    BeamSearch search(spec);
    search.Advance({{Row({{1, -1.0f}, {6, -1.2f}, {7, -1.3f}, {8, -3.0f}})}});
    ASSERT_FALSE(search.finished());
    search.Advance({{Row({{5, -0.1f}, {6, -0.2f}}), Row({{5, -0.5f}, {6, -0.6f}})}});
    ASSERT_TRUE(search.finished());
    const std::vector<SequenceOutput> outputs = search.TakeOutputs();
    ASSERT_EQ(outputs.size(), 2u);
    const float longer = -1.3f / (penalty == 0.0f ? 1.0f : penalty == 1.0f ? 2.0f : 4.0f);
    const bool short_first = -1.0f > longer;
    EXPECT_EQ(outputs[0].reason, short_first ? SequenceEnd::kStop : SequenceEnd::kLength);
    EXPECT_FLOAT_EQ(outputs[0].score, short_first ? -1.0f : longer);
  }
}

}  // namespace
}  // namespace tandem
