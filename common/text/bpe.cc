#include "common/text/bpe.h"

#include <algorithm>
#include <queue>

#include "absl/hash/hash.h"
#include "absl/strings/match.h"
#include "common/text/utf8.h"

namespace tandem {
namespace {

constexpr int32_t kUnknown = -1;

// A symbol of the text at work: a node of a doubly linked list over an array.
struct Symbol {
  int32_t id = kUnknown;
  uint32_t begin = 0;
  uint32_t length = 0;  // 0: merged into its left neighbour.
  int32_t previous = -1;
  int32_t next = -1;
};

struct Candidate {
  int32_t rank;
  int32_t left;  // Index of the symbol.
  int32_t left_id, right_id;
  int32_t merged;
  // For a queue whose top is the lowest rank, then the leftmost.
  bool operator<(const Candidate& other) const {
    return rank != other.rank ? rank > other.rank : left > other.left;
  }
};

}  // namespace

Bpe::Bpe(BpeModel model, absl::Span<const std::string> pieces, absl::string_view word_mark)
    : model_(std::move(model)),
      word_mark_(word_mark),
      remembered_(std::make_unique<std::array<Shard, kShards>>()) {
  targets_.reserve(model_.merges.size());
  for (const Merge& merge : model_.merges) {
    // The first of equal pairs has the lowest rank: it counts.
    targets_.try_emplace(Key(merge.left, merge.right), Target{merge.rank, merge.merged});
  }
  // A piece made by merges with a mark behind something else would join two words.
  for (const Merge& merge : model_.merges) {
    if (merge.merged >= static_cast<int32_t>(pieces.size())) continue;
    absl::string_view piece = pieces[static_cast<size_t>(merge.merged)];
    while (absl::StartsWith(piece, word_mark_)) piece.remove_prefix(word_mark_.size());
    if (absl::StrContains(piece, word_mark_)) words_apart_ = false;
  }
  model_.merges = {};
}

void Bpe::Encode(absl::string_view text, std::vector<int32_t>* ids) const {
  if (!words_apart_) {
    EncodeWord(text, ids);
    return;
  }
  while (!text.empty()) {
    // A word: marks, then everything up to the next mark.
    size_t end = 0;
    while (absl::StartsWith(text.substr(end), word_mark_)) end += word_mark_.size();
    const size_t next = text.find(word_mark_, end);
    end = next == absl::string_view::npos ? text.size() : next;
    const absl::string_view word = text.substr(0, end);
    if (word.size() <= kLongestRemembered) {
      EncodeRemembered(word, ids);
    } else {
      EncodeWord(word, ids);
    }
    text.remove_prefix(end);
  }
}

void Bpe::EncodeRemembered(absl::string_view word, std::vector<int32_t>* ids) const {
  Shard& shard = (*remembered_)[absl::HashOf(word) % kShards];
  {
    const std::lock_guard<std::mutex> lock(shard.mutex);
    const auto found = shard.words.find(word);
    if (found != shard.words.end()) {
      ids->insert(ids->end(), found->second.begin(), found->second.end());
      return;
    }
  }
  const size_t begin = ids->size();
  EncodeWord(word, ids);
  const std::lock_guard<std::mutex> lock(shard.mutex);
  if (shard.words.size() < kWordsPerShard) {
    shard.words.try_emplace(
        std::string(word),
        std::vector<int32_t>(ids->begin() + static_cast<std::ptrdiff_t>(begin), ids->end()));
  }
}

void Bpe::EncodeWord(absl::string_view word, std::vector<int32_t>* ids) const {
  std::vector<Symbol> symbols;
  symbols.reserve(word.size());
  for (size_t at = 0; at < word.size();) {
    const size_t length = std::max<size_t>(Utf8Length(word.substr(at)), 1);
    const auto found = model_.characters.find(word.substr(at, length));
    Symbol symbol;
    symbol.id = found == model_.characters.end() ? kUnknown : found->second;
    symbol.begin = static_cast<uint32_t>(at);
    symbol.length = static_cast<uint32_t>(length);
    symbol.previous = static_cast<int32_t>(symbols.size()) - 1;
    symbol.next = static_cast<int32_t>(symbols.size()) + 1;
    symbols.push_back(symbol);
    at += length;
  }
  if (symbols.empty()) return;
  symbols.back().next = -1;

  std::priority_queue<Candidate> queue;
  const auto consider = [&](int32_t left) {
    if (left < 0) return;
    const Symbol& a = symbols[static_cast<size_t>(left)];
    if (a.next < 0) return;
    const Symbol& b = symbols[static_cast<size_t>(a.next)];
    if (a.id == kUnknown || b.id == kUnknown) return;
    const auto target = targets_.find(Key(a.id, b.id));
    if (target == targets_.end()) return;
    queue.push({target->second.rank, left, a.id, b.id, target->second.merged});
  };
  for (int32_t i = 0; i < static_cast<int32_t>(symbols.size()); ++i) consider(i);
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    Symbol& left = symbols[static_cast<size_t>(top.left)];
    // Out of date: one of the two has been merged meanwhile.
    if (left.length == 0 || left.id != top.left_id || left.next < 0) continue;
    Symbol& right = symbols[static_cast<size_t>(left.next)];
    if (right.id != top.right_id) continue;
    left.id = top.merged;
    left.length += right.length;
    right.length = 0;
    left.next = right.next;
    if (left.next >= 0) symbols[static_cast<size_t>(left.next)].previous = top.left;
    consider(left.previous);
    consider(top.left);
  }
  for (int32_t i = 0; i >= 0; i = symbols[static_cast<size_t>(i)].next) {
    const Symbol& symbol = symbols[static_cast<size_t>(i)];
    AppendSymbol(symbol.id, word.substr(symbol.begin, symbol.length), ids);
  }
}

void Bpe::AppendSymbol(int32_t symbol, absl::string_view text, std::vector<int32_t>* ids) const {
  if (symbol >= 0 && symbol < model_.vocab_size) {
    ids->push_back(symbol);
    return;
  }
  const bool bytes = std::all_of(text.begin(), text.end(), [this](char c) {
    return model_.byte_ids[static_cast<uint8_t>(c)] >= 0;
  });
  if (bytes) {
    for (const char c : text) ids->push_back(model_.byte_ids[static_cast<uint8_t>(c)]);
    return;
  }
  if (model_.unk_id < 0) return;
  if (model_.fuse_unk && !ids->empty() && ids->back() == model_.unk_id) return;
  ids->push_back(model_.unk_id);
}

}  // namespace tandem
