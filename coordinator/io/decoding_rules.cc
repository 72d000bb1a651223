#include "coordinator/io/decoding_rules.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace tandem {
namespace {

RequestError Contradiction(std::string message, Field param) {
  return {RequestErrorCode::kInvalidValue, std::move(message), std::string(InfoOf(param).name)};
}

class Settler {
 public:
  Settler(StrengthOf strength, DecodingOptions* options, std::vector<Field>* reset)
      : strength_(strength), options_(*options), reset_(reset) {}

  std::optional<RequestError> Run() {
    DecodingOptions& o = options_;
    std::optional<RequestError> error;
    if (Beams() && o.temperature > 0) {
      error = GiveWay(Field::kNumBeams, Field::kTemperature,
                      absl::StrCat("num_beams is ", o.num_beams, " and temperature ", o.temperature,
                                   ": beams are not sampled; give one of them"));
    }
    if (!error.has_value() && Beams() && !o.stop.empty()) {
      error = GiveWay(Field::kNumBeams, Field::kStop,
                      absl::StrCat("num_beams is ", o.num_beams,
                                   " and stop is given: beams end at stop_token_ids, not at "
                                   "strings; give one of them"));
    }
    if (!error.has_value() && Beams() && o.best_of.has_value() && *o.best_of != o.n) {
      error =
          GiveWay(Field::kNumBeams, Field::kBestOf,
                  absl::StrCat("num_beams is ", o.num_beams, " and best_of ", *o.best_of,
                               ", which with beams can only be n, ", o.n, "; give one of them"));
    }
    // best_of speaks of an n: one that was set for another n says nothing of this one.
    if (!error.has_value() && o.best_of.has_value() && o.n > *o.best_of) {
      if (strength_(Field::kN) < strength_(Field::kBestOf)) {
        Reset(Field::kBestOf);
      } else {
        error = Contradiction(absl::StrCat("n is ", o.n, ", more than best_of, ", *o.best_of),
                              Field::kN);
      }
    }
    if (!error.has_value() && Beams() && o.n > o.num_beams) {
      error = Contradiction(absl::StrCat("n is ", o.n, ", more than num_beams, ", o.num_beams),
                            Field::kN);
    }
    if (!error.has_value() && o.min_tokens > o.max_tokens) {
      error = Contradiction(
          absl::StrCat("min_tokens is ", o.min_tokens, ", more than max_tokens, ", o.max_tokens),
          Field::kMinTokens);
    }
    return error;
  }

 private:
  bool Beams() const { return options_.num_beams > 1; }

  // The weaker of the two goes; the message is for two of one strength.
  std::optional<RequestError> GiveWay(Field a, Field b, std::string message) {
    if (strength_(a) == strength_(b)) return Contradiction(std::move(message), a);
    Reset(strength_(a) > strength_(b) ? a : b);
    return std::nullopt;
  }

  void Reset(Field field) {
    const DecodingOptions neutral;
    if (field == Field::kNumBeams) options_.num_beams = neutral.num_beams;
    if (field == Field::kTemperature) options_.temperature = neutral.temperature;
    if (field == Field::kStop) options_.stop = neutral.stop;
    if (field == Field::kBestOf) options_.best_of = neutral.best_of;
    if (reset_ != nullptr) reset_->push_back(field);
  }

  StrengthOf strength_;
  DecodingOptions& options_;
  std::vector<Field>* reset_;
};

}  // namespace

std::optional<RequestError> SettleContradictions(StrengthOf strength, DecodingOptions* options,
                                                 std::vector<Field>* reset) {
  return Settler(strength, options, reset).Run();
}

}  // namespace tandem
