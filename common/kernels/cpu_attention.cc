#include "common/kernels/cpu_attention.h"

#include <algorithm>
#include <atomic>
#include <limits>

#include "common/base/check.h"

namespace tandem {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

// Splitting tiles into blocks costs a state for each block: at most 16 MiB of them.
constexpr int64_t kMaxPartFloats = int64_t{4} << 20;

// A state's memory: (max, sum), then the outputs.
SoftmaxState StateAt(float* memory) {
  return {.max = memory, .sum = memory + kMaxTileRows, .out = memory + 2 * kMaxTileRows};
}
int64_t StateFloats(int64_t num_rows, int64_t out_dim) {
  return 2 * kMaxTileRows + num_rows * out_dim;
}

void Clear(const SoftmaxState& state, int num_rows, int64_t out_dim) {
  std::fill_n(state.max, num_rows, kMinusInfinity);
  std::fill_n(state.sum, num_rows, 0.0f);
  std::fill_n(state.out, num_rows * out_dim, 0.0f);
}

}  // namespace

struct CpuAttention::Call {
  const AttentionParams& params;
  ConstMatrix q;
  const KvView& self;
  const KvView& cross;
  absl::Span<const AttentionSequence> sequences;
  Matrix out;
  AttentionShape shape;

  int64_t out_dim() const { return shape.value_panels * kPanel; }

  // The self keys that the query of this row sees, masked ones aside.
  Range Seen(const AttentionSequence& sequence, int64_t row) const {
    const int64_t position = sequence.positions[row];
    return {std::max<int64_t>(0, position - params.window_back),
            std::min(sequence.self_len, position + params.window_ahead + 1)};
  }
};

struct CpuAttention::Workspace {
  SoftmaxState state;
  uint32_t* q = nullptr;
  float* scratch = nullptr;
  int32_t* low = nullptr;
  int32_t* high = nullptr;
  int32_t* valid = nullptr;

  static int64_t Floats(const AttentionShape& shape) {
    const int64_t floats = AttentionScratchFloats(kMaxTileRows) + kMaxTileRows * shape.key_words +
                           kAttentionBlock + 2 * kMaxTileRows +
                           StateFloats(kMaxTileRows, shape.value_panels * kPanel);
    return (floats + 1023) / 1024 * 1024;  // Threads share no page.
  }
};

CpuAttention::CpuAttention(const CpuKernels& kernels, ThreadPool& pool)
    : kernels_(kernels), pool_(pool) {}

CpuAttention::Workspace CpuAttention::WorkspaceOf(const Call& call, int thread) const {
  float* at = workspaces_.data() + thread * Workspace::Floats(call.shape);
  const auto take = [&at](int64_t floats) {
    float* taken = at;
    at += floats;
    return taken;
  };
  Workspace ws;
  ws.scratch = take(AttentionScratchFloats(kMaxTileRows));
  ws.q = reinterpret_cast<uint32_t*>(take(kMaxTileRows * call.shape.key_words));
  ws.valid = reinterpret_cast<int32_t*>(take(kAttentionBlock));
  ws.low = reinterpret_cast<int32_t*>(take(kMaxTileRows));
  ws.high = reinterpret_cast<int32_t*>(take(kMaxTileRows));
  ws.state = StateAt(at);
  return ws;
}

CpuAttention::Range CpuAttention::BlocksOf(Range keys) {
  if (keys.begin >= keys.end) return {};
  return {keys.begin / kAttentionBlock, (keys.end + kAttentionBlock - 1) / kAttentionBlock};
}

void CpuAttention::MakeTiles(const Call& call) {
  tiles_.clear();
  int64_t num_blocks = 0;
  const std::vector<int32_t>& kv_heads = call.params.kv_head_of_head;
  for (const AttentionSequence& sequence : call.sequences) {
    const Range cross_blocks = BlocksOf({0, sequence.cross_len});
    for (size_t head = 0; head < kv_heads.size();) {
      size_t end = head + 1;
      while (end < kv_heads.size() && kv_heads[end] == kv_heads[head]) ++end;
      Tile tile;
      tile.sequence = &sequence;
      tile.kv_head = kv_heads[head];
      tile.first_head = static_cast<int64_t>(head);
      tile.group = static_cast<int64_t>(end - head);
      const int64_t rows = sequence.num_rows * tile.group;
      for (tile.first = 0; tile.first < rows; tile.first += kMaxTileRows) {
        tile.num_rows = static_cast<int>(std::min<int64_t>(kMaxTileRows, rows - tile.first));
        // Positions ascend: the first row sees the first key, the last row the last.
        const Range first = call.Seen(sequence, tile.Row(0));
        const Range last = call.Seen(sequence, tile.Row(tile.num_rows - 1));
        tile.self_blocks = BlocksOf({first.begin, last.end});
        tile.num_blocks = tile.self_blocks.end - tile.self_blocks.begin + cross_blocks.end;
        tile.first_block = num_blocks;
        num_blocks += tile.num_blocks;
        tiles_.push_back(tile);
      }
      head = end;
    }
  }
}

void CpuAttention::LoadTile(const Call& call, const Tile& tile, const Workspace& ws) const {
  const int64_t head_dim = call.params.head_dim;
  for (int i = 0; i < tile.num_rows; ++i) {
    const float* q = call.q.row(tile.sequence->first_row + tile.Row(i)) + tile.Head(i) * head_dim;
    kernels_.pack(call.self.layout.type, q, head_dim, ws.q + i * call.shape.key_words);
  }
}

CpuAttention::Place CpuAttention::PlaceOf(const Call& call, const Tile& tile, int64_t index) {
  const AttentionSequence& sequence = *tile.sequence;
  const int64_t self_blocks = tile.self_blocks.end - tile.self_blocks.begin;
  Place place;
  place.is_self = index < self_blocks;
  if (place.is_self) {
    place.begin = (tile.self_blocks.begin + index) * kAttentionBlock;
    place.length = sequence.self_len;
    place.cache = &call.self;
    place.pages = sequence.self_pages;
  } else {
    place.begin = (index - self_blocks) * kAttentionBlock;
    place.length = sequence.cross_len;
    place.cache = &call.cross;
    place.pages = sequence.cross_pages;
  }
  return place;
}

void CpuAttention::AttendBlock(const Call& call, const Tile& tile, int64_t index,
                               const Workspace& ws, const SoftmaxState& state) const {
  const AttentionSequence& sequence = *tile.sequence;
  const Place place = PlaceOf(call, tile, index);
  int64_t lowest = kAttentionBlock, highest = 0;
  for (int i = 0; i < tile.num_rows; ++i) {
    const Range keys = place.is_self ? call.Seen(sequence, tile.Row(i)) : Range{0, place.length};
    const int64_t low = std::clamp<int64_t>(keys.begin - place.begin, 0, kAttentionBlock);
    const int64_t high = std::clamp<int64_t>(keys.end - place.begin, 0, kAttentionBlock);
    ws.low[i] = static_cast<int32_t>(low);
    ws.high[i] = static_cast<int32_t>(high);
    if (low >= high) continue;
    lowest = std::min(lowest, low);
    highest = std::max(highest, high);
  }
  if (lowest >= highest) return;

  AttentionBlock block;
  block.first_page = static_cast<int>(lowest / kPageTokens);
  block.end_page = static_cast<int>((highest + kPageTokens - 1) / kPageTokens);
  const Place next = PlaceOf(call, tile, std::min(index + 1, tile.num_blocks - 1));
  for (int p = block.first_page; p < block.end_page; ++p) {
    block.keys[p] = place.cache->key_part(place.Page(p), tile.kv_head);
    block.values[p] = place.cache->value_part(place.Page(p), tile.kv_head);
    const bool exists = next.begin + p * kPageTokens < next.length;
    block.next_keys[p] = exists ? next.cache->key_part(next.Page(p), tile.kv_head) : block.keys[p];
  }
  const uint8_t* valid = place.is_self ? sequence.self_valid : sequence.cross_valid;
  if (valid != nullptr) {
    for (int64_t k = 0; k < kAttentionBlock; ++k) {
      ws.valid[k] = place.begin + k < place.length && valid[place.begin + k] != 0;
    }
    block.valid = ws.valid;
  }
  block.num_rows = tile.num_rows;
  block.q = ws.q;
  block.low = ws.low;
  block.high = ws.high;
  block.scratch = ws.scratch;
  kernels_.attend(place.cache->layout.type, call.shape, block, state);
}

void CpuAttention::Finish(const Call& call, const Tile& tile, const SoftmaxState& state) const {
  const int64_t head_dim = call.params.head_dim;
  for (int i = 0; i < tile.num_rows; ++i) {
    float* out = call.out.row(tile.sequence->first_row + tile.Row(i)) + tile.Head(i) * head_dim;
    kernels_.finish(state.out + i * call.out_dim(), state.sum[i], head_dim, out);
  }
}

void CpuAttention::RunTile(const Call& call, const Tile& tile, const Workspace& ws) const {
  LoadTile(call, tile, ws);
  Clear(ws.state, tile.num_rows, call.out_dim());
  for (int64_t i = 0; i < tile.num_blocks; ++i) AttendBlock(call, tile, i, ws, ws.state);
  Finish(call, tile, ws.state);
}

void CpuAttention::RunTiles(const Call& call) {
  std::atomic<size_t> next = 0;
  const auto work = [&](int thread) {
    const Workspace ws = WorkspaceOf(call, thread);
    for (size_t i = next++; i < tiles_.size(); i = next++) RunTile(call, tiles_[i], ws);
  };
  if (tiles_.size() == 1) {
    work(0);
  } else {
    pool_.Run(work);
  }
}

// A block's part is the same whether it joins its tile's state at once or later.
void CpuAttention::RunBlocks(const Call& call, int64_t part_floats) {
  const Tile& last = tiles_.back();
  const int64_t num_blocks = last.first_block + last.num_blocks;
  // Blocks cost about the same: runs of them, so that a thread can fetch its next one ahead.
  pool_.ParallelFor(num_blocks, 1, [&](int64_t begin, int64_t end, int thread) {
    const Workspace ws = WorkspaceOf(call, thread);
    const Tile* loaded = nullptr;
    for (int64_t i = begin; i < end; ++i) {
      const auto after =
          std::upper_bound(tiles_.begin(), tiles_.end(), i,
                           [](int64_t block, const Tile& t) { return block < t.first_block; });
      const Tile& tile = *(after - 1);  // Tiles without blocks share first_block with the next one.
      if (loaded != &tile) LoadTile(call, tile, ws);
      loaded = &tile;
      const SoftmaxState part = StateAt(parts_.data() + i * part_floats);
      Clear(part, tile.num_rows, call.out_dim());
      AttendBlock(call, tile, i - tile.first_block, ws, part);
    }
  });
  const auto num_tiles = static_cast<int64_t>(tiles_.size());
  pool_.ParallelFor(num_tiles, 1, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t t = begin; t < end; ++t) {
      const Tile& tile = tiles_[static_cast<size_t>(t)];
      const SoftmaxState state = WorkspaceOf(call, thread).state;
      Clear(state, tile.num_rows, call.out_dim());
      for (int64_t i = 0; i < tile.num_blocks; ++i) {
        const SoftmaxState part = StateAt(parts_.data() + (tile.first_block + i) * part_floats);
        kernels_.merge(call.shape, tile.num_rows, part, state);
      }
      Finish(call, tile, state);
    }
  });
}

void CpuAttention::Run(const AttentionParams& params, ConstMatrix q, const KvView& self,
                       const KvView& cross, absl::Span<const AttentionSequence> sequences,
                       Matrix out) {
  const KvLayout& layout = self.layout;
  const auto num_heads = static_cast<int64_t>(params.kv_head_of_head.size());
  TANDEM_CHECK(params.head_dim == layout.head_dim && params.head_dim % 2 == 0);
  TANDEM_CHECK(q.cols == num_heads * params.head_dim && out.cols == q.cols && out.rows == q.rows);
  TANDEM_CHECK(std::is_sorted(params.kv_head_of_head.begin(), params.kv_head_of_head.end()));
  for (const AttentionSequence& sequence : sequences) {
    const auto slots = [](absl::Span<const int32_t> pages) {
      return static_cast<int64_t>(pages.size()) * kPageTokens;
    };
    TANDEM_CHECK(sequence.first_row >= 0 && sequence.first_row + sequence.num_rows <= q.rows);
    TANDEM_CHECK(sequence.self_len <= slots(sequence.self_pages));
    TANDEM_CHECK(sequence.cross_len <= slots(sequence.cross_pages));
    TANDEM_CHECK(sequence.cross_len == 0 ||
                 (cross.layout.type == layout.type && cross.layout.head_dim == layout.head_dim));
  }
  const Call call{params,
                  q,
                  self,
                  cross,
                  sequences,
                  out,
                  {.key_words = layout.key_words(),
                   .value_panels = layout.value_panels(),
                   .scale = params.scale,
                   .soft_cap = params.soft_cap}};
  MakeTiles(call);
  if (tiles_.empty()) return;
  workspaces_.Reserve(pool_.num_threads() * Workspace::Floats(call.shape));

  const auto num_tiles = static_cast<int64_t>(tiles_.size());
  const int64_t num_blocks = tiles_.back().first_block + tiles_.back().num_blocks;
  int num_rows = 0;
  for (const Tile& tile : tiles_) num_rows = std::max(num_rows, tile.num_rows);
  const int64_t part_floats = StateFloats(num_rows, call.out_dim());
  const bool few_tiles = num_tiles < 4 * pool_.num_threads() && num_blocks > num_tiles;
  if (pool_.num_threads() > 1 && few_tiles && num_blocks * part_floats <= kMaxPartFloats) {
    parts_.Reserve(num_blocks * part_floats);
    RunBlocks(call, part_floats);
  } else {
    RunTiles(call);
  }
}

}  // namespace tandem
