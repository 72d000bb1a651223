#include "common/text/bpe_model.h"

#include <algorithm>
#include <functional>

#include "common/base/check.h"
#include "common/text/utf8.h"
#include "common/text/word_cache.h"

namespace tandem {
namespace {

constexpr uint32_t kNoRank = UINT32_MAX;
constexpr int32_t kNone = -1;
// Below this many symbols a scan for the least rank beats a heap.
constexpr size_t kFewSymbols = 48;
// Scratch that a very long text has grown beyond this is not kept for the next one.
constexpr size_t kMaxKeptSymbols = size_t{1} << 20;
constexpr char32_t kSpaceCharacter = 0x2581;

uint64_t PairKey(uint32_t left, uint32_t right) { return uint64_t{left} << 32 | right; }

// Row or column of the table of frequent characters; kNumFastCharacters for the others.
size_t FastIndex(char32_t c) { return c < 128 ? c : c == kSpaceCharacter ? 128 : 129; }

}  // namespace

struct BpeModel::Scratch {
  WordCache cache;
  std::vector<int32_t> symbols;
  // Of the pair that begins at each symbol.
  std::vector<uint32_t> ranks;
  std::vector<int32_t> results;
  // For long words: neighbours, and a heap of rank << 32 | position.
  std::vector<int32_t> previous;
  std::vector<int32_t> next;
  std::vector<uint64_t> heap;
  bool last_was_unk = false;

  size_t LargestCapacity() const { return std::max(symbols.capacity(), heap.capacity()); }
};

// Borrows a scratch from the model's free list for one call; there come to be as many as there are
// calls at a time.
class BpeModel::ScratchLease {
 public:
  explicit ScratchLease(const BpeModel& model) : model_(model) {
    const std::lock_guard<std::mutex> lock(model.mutex_);
    if (!model.free_scratch_.empty()) {
      scratch_ = std::move(model.free_scratch_.back());
      model.free_scratch_.pop_back();
    } else {
      scratch_ = std::make_unique<Scratch>();
    }
  }
  ~ScratchLease() {
    if (scratch_->LargestCapacity() > kMaxKeptSymbols) return;
    const std::lock_guard<std::mutex> lock(model_.mutex_);
    model_.free_scratch_.push_back(std::move(scratch_));
  }
  ScratchLease(const ScratchLease&) = delete;
  ScratchLease& operator=(const ScratchLease&) = delete;

  Scratch* get() { return scratch_.get(); }

 private:
  const BpeModel& model_;
  std::unique_ptr<Scratch> scratch_;
};

BpeModel::BpeModel(const BpeSpec& spec)
    : num_pieces_(spec.num_pieces),
      byte_fallback_(spec.byte_fallback),
      byte_pieces_(spec.byte_pieces),
      unk_id_(spec.unk_id),
      fuse_unk_(spec.fuse_unk),
      basic_plane_symbols_(0x10000, kNone) {
  TANDEM_CHECK(byte_fallback_ || unk_id_ >= 0);
  for (const auto& [character, symbol] : spec.characters) {
    if (character < basic_plane_symbols_.size()) {
      basic_plane_symbols_[character] = symbol;
    } else {
      other_symbols_[character] = symbol;
    }
    if (symbol >= num_pieces_) {
      const auto index = static_cast<size_t>(symbol - num_pieces_);
      if (index >= characters_without_piece_.size()) characters_without_piece_.resize(index + 1);
      characters_without_piece_[index] = character;
    }
  }
  merges_.reserve(spec.merges.size());
  for (const BpeMerge& merge : spec.merges) {
    merges_[PairKey(static_cast<uint32_t>(merge.left), static_cast<uint32_t>(merge.right))] = {
        merge.rank, merge.result};
    const size_t left = FastIndex(merge.left_last);
    const size_t right = FastIndex(merge.right_first);
    if (left < kNumFastCharacters && right < kNumFastCharacters) {
      fast_joins_[left * kNumFastCharacters + right] = true;
    } else {
      joins_.insert(PairKey(merge.left_last, merge.right_first));
    }
  }
}

BpeModel::~BpeModel() = default;

inline BpeModel::Merge BpeModel::FindMerge(int32_t left, int32_t right) const {
  const auto it = merges_.find(PairKey(static_cast<uint32_t>(left), static_cast<uint32_t>(right)));
  return it == merges_.end() ? Merge{kNoRank, kNone} : it->second;
}

inline int32_t BpeModel::SymbolOf(char32_t character) const {
  if (character < basic_plane_symbols_.size()) return basic_plane_symbols_[character];
  const auto it = other_symbols_.find(character);
  return it == other_symbols_.end() ? kNone : it->second;
}

inline bool BpeModel::MayJoin(char32_t left, char32_t right) const {
  const size_t l = FastIndex(left);
  const size_t r = FastIndex(right);
  if (l < kNumFastCharacters && r < kNumFastCharacters) {
    return fast_joins_[l * kNumFastCharacters + r];
  }
  return joins_.contains(PairKey(left, right));
}

void BpeModel::Encode(absl::string_view text, std::vector<int32_t>* ids) const {
  if (text.empty()) return;
  ScratchLease lease(*this);
  Scratch* const scratch = lease.get();
  scratch->last_was_unk = false;
  size_t word_begin = 0;
  const Utf8Character first = DecodeValidUtf8(text, 0);
  char32_t previous = first.code_point;
  for (size_t i = first.num_bytes; i < text.size();) {
    const Utf8Character c = DecodeValidUtf8(text, i);
    if (!MayJoin(previous, c.code_point)) {
      EncodeWord(text.substr(word_begin, i - word_begin), scratch, ids);
      word_begin = i;
    }
    previous = c.code_point;
    i += c.num_bytes;
  }
  EncodeWord(text.substr(word_begin), scratch, ids);
}

void BpeModel::EncodeWord(absl::string_view word, Scratch* scratch,
                          std::vector<int32_t>* ids) const {
  if (scratch->cache.Find(word, ids)) {
    scratch->last_was_unk = false;
    return;
  }
  std::vector<int32_t>& symbols = scratch->symbols;
  StartSymbols(word, &symbols);
  if (symbols.size() > kFewSymbols) {
    MergeMany(scratch);
  } else {
    MergeFew(scratch);
  }
  // What an unknown character becomes depends on what stands before it, so a word that has one is
  // not kept.
  bool has_unk = false;
  if (!byte_fallback_) {
    for (const int32_t symbol : symbols) has_unk |= symbol == unk_id_ || symbol >= num_pieces_;
  }
  const size_t first = ids->size();
  EmitSymbols(symbols, &scratch->last_was_unk, ids);
  if (!has_unk) scratch->cache.Insert(word, absl::MakeConstSpan(*ids).subspan(first));
}

void BpeModel::StartSymbols(absl::string_view word, std::vector<int32_t>* symbols) const {
  symbols->clear();
  for (size_t i = 0; i < word.size();) {
    const Utf8Character c = DecodeValidUtf8(word, i);
    const int32_t symbol = SymbolOf(c.code_point);
    if (symbol != kNone) {
      symbols->push_back(symbol);
    } else if (byte_fallback_) {
      for (uint32_t b = 0; b < c.num_bytes; ++b) {
        symbols->push_back(byte_pieces_[static_cast<uint8_t>(word[i + b])]);
      }
    } else {
      symbols->push_back(unk_id_);
    }
    i += c.num_bytes;
  }
}

// Quadratic in the number of symbols, which is small.
void BpeModel::MergeFew(Scratch* scratch) const {
  std::vector<int32_t>& symbols = scratch->symbols;
  size_t n = symbols.size();
  uint32_t ranks[kFewSymbols];
  int32_t results[kFewSymbols];
  const auto look_up = [&](size_t i) {
    const Merge merge = FindMerge(symbols[i], symbols[i + 1]);
    ranks[i] = merge.rank;
    results[i] = merge.result;
  };
  for (size_t i = 0; i + 1 < n; ++i) look_up(i);
  while (n > 1) {
    const auto best = static_cast<size_t>(std::min_element(ranks, ranks + n - 1) - ranks);
    if (ranks[best] == kNoRank) break;
    symbols[best] = results[best];
    for (size_t i = best + 1; i + 1 < n; ++i) {
      symbols[i] = symbols[i + 1];
      ranks[i - 1] = ranks[i];
      results[i - 1] = results[i];
    }
    --n;
    if (best > 0) look_up(best - 1);
    if (best + 1 < n) look_up(best);
  }
  symbols.resize(n);
}

// O(n log n): a linked list of symbols and a heap of pairs. An entry is stale when the pair that
// begins at its position has another rank by now.
void BpeModel::MergeMany(Scratch* scratch) const {
  std::vector<int32_t>& symbols = scratch->symbols;
  const size_t n = symbols.size();
  TANDEM_CHECK(n < size_t{INT32_MAX});
  std::vector<uint32_t>& ranks = scratch->ranks;
  std::vector<int32_t>& results = scratch->results;
  std::vector<int32_t>& previous = scratch->previous;
  std::vector<int32_t>& next = scratch->next;
  std::vector<uint64_t>& heap = scratch->heap;
  ranks.assign(n, kNoRank);
  results.resize(n);
  previous.resize(n);
  next.resize(n);
  heap.clear();
  const auto at = [](int32_t i) { return static_cast<size_t>(i); };
  // Looks the pair up that begins at i; true where it can merge.
  const auto look_up = [&](size_t i) {
    const Merge merge =
        next[i] == kNone ? Merge{kNoRank, kNone} : FindMerge(symbols[i], symbols[at(next[i])]);
    ranks[i] = merge.rank;
    results[i] = merge.result;
    return merge.rank != kNoRank;
  };
  for (size_t i = 0; i < n; ++i) {
    previous[i] = static_cast<int32_t>(i) - 1;
    next[i] = i + 1 < n ? static_cast<int32_t>(i + 1) : kNone;
    if (look_up(i)) heap.push_back(PairKey(ranks[i], static_cast<uint32_t>(i)));
  }
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  const auto push = [&](size_t i) {
    heap.push_back(PairKey(ranks[i], static_cast<uint32_t>(i)));
    std::push_heap(heap.begin(), heap.end(), std::greater<>());
  };
  while (!heap.empty()) {
    const uint64_t top = heap.front();
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    heap.pop_back();
    const auto i = static_cast<size_t>(top & UINT32_MAX);
    if (ranks[i] != top >> 32) continue;
    const size_t gone = at(next[i]);
    symbols[i] = results[i];
    next[i] = next[gone];
    if (next[i] != kNone) previous[at(next[i])] = static_cast<int32_t>(i);
    ranks[gone] = kNoRank;
    if (look_up(i)) push(i);
    if (previous[i] != kNone && look_up(at(previous[i]))) push(at(previous[i]));
  }
  size_t kept = 0;  // The first symbol is never merged away, and a list only points forward.
  for (int32_t i = 0; i != kNone; i = next[at(i)]) symbols[kept++] = symbols[at(i)];
  symbols.resize(kept);
}

void BpeModel::EmitSymbols(const std::vector<int32_t>& symbols, bool* last_was_unk,
                           std::vector<int32_t>* ids) const {
  for (const int32_t symbol : symbols) {
    if (symbol < num_pieces_ && (byte_fallback_ || symbol != unk_id_)) {
      ids->push_back(symbol);
      *last_was_unk = false;
    } else if (byte_fallback_) {
      std::string bytes;
      AppendUtf8(characters_without_piece_[static_cast<size_t>(symbol - num_pieces_)], &bytes);
      for (const char b : bytes) ids->push_back(byte_pieces_[static_cast<uint8_t>(b)]);
    } else {
      if (!fuse_unk_ || !*last_was_unk) ids->push_back(unk_id_);
      *last_was_unk = true;
    }
  }
}

}  // namespace tandem
