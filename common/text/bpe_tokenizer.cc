#include "common/text/bpe_tokenizer.h"

#include <utility>

namespace tandem {

BpeTokenizer::BpeTokenizer(TokenizerParts parts)
    : parts_(std::move(parts)),
      raw_matcher_(parts_.raw_tokens),
      normalized_matcher_(parts_.normalized_tokens) {}

void BpeTokenizer::SplitAtTokens(absl::string_view text,
                                 absl::FunctionRef<void(absl::string_view normalized)> on_text,
                                 absl::FunctionRef<void(const AddedToken& token)> on_token) const {
  std::string repaired;
  if (!IsValidUtf8(text)) {
    repaired = RepairUtf8(text, parts_.repair);
    text = repaired;
  }
  raw_matcher_.Split(
      text,
      [&](absl::string_view part) {
        const std::string normalized = Normalize(parts_.normalizer, part);
        normalized_matcher_.Split(normalized, on_text, on_token);
      },
      on_token);
}

void BpeTokenizer::EncodeTo(absl::string_view text, std::vector<int32_t>* ids) const {
  SplitAtTokens(
      text,
      [&](absl::string_view normalized) {
        if (parts_.splits.empty()) {
          EncodePart(normalized, ids);
          return;
        }
        for (const absl::string_view part : Split(parts_.splits, normalized)) {
          EncodePart(part, ids);
        }
      },
      [&](const AddedToken& token) { ids->push_back(token.id); });
}

void BpeTokenizer::EncodePart(absl::string_view part, std::vector<int32_t>* ids) const {
  if (parts_.whole_pieces_first) {
    const int32_t id = parts_.vocabulary.Find(part);
    if (id >= 0) {
      ids->push_back(id);
      return;
    }
  }
  parts_.model->Encode(part, ids);
}

std::vector<int32_t> BpeTokenizer::Encode(absl::string_view text) const {
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 4);
  EncodeTo(text, &ids);
  return ids;
}

std::vector<int32_t> BpeTokenizer::EncodeWithSpecial(absl::string_view text, AddBos add_bos) const {
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 4 + parts_.prefix.size() + parts_.suffix.size() + 1);
  if (add_bos == AddBos::kAlways && !adds_bos() && parts_.bos_id >= 0) {
    ids.push_back(parts_.bos_id);
  }
  const bool drop_bos = add_bos == AddBos::kNever && adds_bos();
  ids.insert(ids.end(), parts_.prefix.begin() + (drop_bos ? 1 : 0), parts_.prefix.end());
  EncodeTo(text, &ids);
  ids.insert(ids.end(), parts_.suffix.begin(), parts_.suffix.end());
  return ids;
}

bool BpeTokenizer::HasSpecialToken(absl::string_view text, std::string* which) const {
  bool found = false;
  SplitAtTokens(
      text, [](absl::string_view) {},
      [&](const AddedToken& token) {
        if (found || !IsSpecial(token.id)) return;
        found = true;
        if (which != nullptr) *which = std::string(parts_.vocabulary.Text(token.id));
      });
  return found;
}

std::string BpeTokenizer::Decode(absl::Span<const int32_t> ids, bool skip_special) const {
  std::string text;
  DecodeState state;
  for (const int32_t id : ids) DecodeNext(id, skip_special, &state, &text);
  DecodeEnd(skip_special, &state, &text);
  return text;
}

void BpeTokenizer::DecodeNext(int32_t id, bool skip_special, DecodeState* state,
                              std::string* out) const {
  if (skip_special && parts_.drops_special && IsSpecial(id)) return;
  parts_.decoder.Next(id, state, out);
}

void BpeTokenizer::DecodeEnd(bool /*skip_special*/, DecodeState* state, std::string* out) const {
  parts_.decoder.End(state, out);
}

std::string BpeTokenizer::TokenText(int32_t id) const {
  const int32_t byte = parts_.decoder.ByteOf(id);
  if (byte >= 0x80) return std::string(kReplacementUtf8);
  if (byte >= 0) return std::string(1, static_cast<char>(byte));
  return ReplaceLiteral(parts_.vocabulary.Text(id), kSpaceSymbol, " ");
}

bool BpeTokenizer::IsSpecial(int32_t id) const {
  return id >= 0 && static_cast<size_t>(id) < parts_.is_special.size() &&
         parts_.is_special[static_cast<size_t>(id)];
}

bool BpeTokenizer::adds_bos() const {
  return parts_.bos_id >= 0 && !parts_.prefix.empty() && parts_.prefix.front() == parts_.bos_id;
}

}  // namespace tandem
