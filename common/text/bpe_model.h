// Byte-pair encoding: the characters of a text joined to pieces, the best merge first.
#ifndef TANDEM_COMMON_TEXT_BPE_MODEL_H_
#define TANDEM_COMMON_TEXT_BPE_MODEL_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/string_view.h"

namespace tandem {

// Two neighbours that become one. Symbols are ids of pieces, or characters without a piece.
struct BpeMerge {
  int32_t left = 0;
  int32_t right = 0;
  int32_t result = 0;
  uint32_t rank = 0;         // The least rank in the text merges first; of equal ones the leftmost.
  char32_t left_last = 0;    // Last character of the left symbol's text,
  char32_t right_first = 0;  // and first of the right one's.
};

struct BpeSpec {
  int32_t num_pieces = 0;
  // The symbol that each character starts as. Characters that stand in longer pieces without
  // being one have symbols from num_pieces on: they may merge, and alone they are unknown.
  std::vector<std::pair<char32_t, int32_t>> characters;
  // One for each pair at most. No side is unk_id or a byte piece, no result is unk_id: these stand
  // for characters that are not in the symbol's own text.
  std::vector<BpeMerge> merges;
  // What becomes of unknown characters: their bytes, or one unknown piece for each (for each run of
  // them when fuse_unk is set).
  bool byte_fallback = false;
  std::array<int32_t, 256> byte_pieces = {};
  int32_t unk_id = -1;
  bool fuse_unk = false;
};

// Immutable but for scratch memory that calls borrow; thread-safe.
//
// A text is cut wherever no merge can ever join the two characters on both sides, a property of the
// merge table that holds for every boundary of words in a Gemma vocabulary; so the words are
// encoded apart, and the frequent ones come from a small cache.
class BpeModel {
 public:
  explicit BpeModel(const BpeSpec& spec);
  ~BpeModel();

  // Appends the ids of `text`, which is valid UTF-8.
  void Encode(absl::string_view text, std::vector<int32_t>* ids) const;

 private:
  struct Merge {
    uint32_t rank;
    int32_t result;
  };
  struct Scratch;
  class ScratchLease;

  // The merge of two symbols; rank kNoRank where there is none.
  Merge FindMerge(int32_t left, int32_t right) const;
  int32_t SymbolOf(char32_t character) const;
  bool MayJoin(char32_t left, char32_t right) const;
  void EncodeWord(absl::string_view word, Scratch* scratch, std::vector<int32_t>* ids) const;
  void StartSymbols(absl::string_view word, std::vector<int32_t>* symbols) const;
  void MergeFew(Scratch* scratch) const;
  void MergeMany(Scratch* scratch) const;
  void EmitSymbols(const std::vector<int32_t>& symbols, bool* last_was_unk,
                   std::vector<int32_t>* ids) const;

  // ASCII and U+2581 by table, the rest by hash.
  static constexpr size_t kNumFastCharacters = 129;

  int32_t num_pieces_;
  bool byte_fallback_;
  std::array<int32_t, 256> byte_pieces_;
  int32_t unk_id_;
  bool fuse_unk_;
  absl::flat_hash_map<uint64_t, Merge> merges_;
  std::vector<int32_t> basic_plane_symbols_;  // By code point below 0x10000.
  absl::flat_hash_map<char32_t, int32_t> other_symbols_;
  std::vector<char32_t> characters_without_piece_;  // Of symbols from num_pieces_ on.
  std::array<bool, kNumFastCharacters* kNumFastCharacters> fast_joins_ = {};
  absl::flat_hash_set<uint64_t> joins_;

  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Scratch>> free_scratch_;  // Guarded by mutex_.
};

}  // namespace tandem

#endif  // TANDEM_COMMON_TEXT_BPE_MODEL_H_
