// Byte-pair encoding with byte fallback: the one engine behind both tokenizer formats.
#ifndef TANDEM_COMMON_TEXT_BPE_H_
#define TANDEM_COMMON_TEXT_BPE_H_

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace tandem {

// A pair of neighbouring symbols that may become one.
struct Merge {
  int32_t left = 0;
  int32_t right = 0;
  int32_t merged = 0;
  int32_t rank = 0;  // The lowest first; ties to the leftmost.
};

struct BpeModel {
  // Symbols that a character starts as: usually pieces; ids from vocab_size on name characters that
  // are no pieces themselves but parts of some (they fall back to bytes when they stay alone).
  absl::flat_hash_map<std::string, int32_t> characters;
  std::vector<Merge> merges;
  int32_t vocab_size = 0;
  std::array<int32_t, 256> byte_ids{};  // -1: the vocabulary has no such byte.
  int32_t unk_id = -1;
  bool fuse_unk = false;  // A run of unknown characters is one unk.
};

// Thread-safe; O(n log n) in the length of a text.
class Bpe {
 public:
  // `pieces` by id: to know whether pieces span the gaps between words. `word_mark` begins words
  // (U+2581): if no piece has one behind another character, words are encoded apart and remembered.
  Bpe(BpeModel model, absl::Span<const std::string> pieces, absl::string_view word_mark);

  // Appends the ids of a valid UTF-8 text.
  void Encode(absl::string_view text, std::vector<int32_t>* ids) const;

 private:
  struct Target {
    int32_t rank;
    int32_t merged;
  };
  // Words met before. Sharded, so that threads seldom wait; bounded, words beyond are encoded each
  // time.
  struct Shard {
    std::mutex mutex;
    absl::flat_hash_map<std::string, std::vector<int32_t>> words;
  };

  static uint64_t Key(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  void EncodeWord(absl::string_view word, std::vector<int32_t>* ids) const;
  void EncodeRemembered(absl::string_view word, std::vector<int32_t>* ids) const;
  void AppendSymbol(int32_t symbol, absl::string_view text, std::vector<int32_t>* ids) const;

  BpeModel model_;
  absl::flat_hash_map<uint64_t, Target> targets_;
  const std::string word_mark_;
  bool words_apart_ = true;
  static constexpr size_t kShards = 32;
  static constexpr size_t kWordsPerShard = 4096;
  static constexpr size_t kLongestRemembered = 64;
  std::unique_ptr<std::array<Shard, kShards>> remembered_;
};

}  // namespace tandem

#endif  // TANDEM_COMMON_TEXT_BPE_H_
