#include "worker/stage/memory_store.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/tensor/dtype.h"

namespace tandem {
namespace {

void UnpackStates(const EncoderOutput& states, AlignedBuffer<float>& out) {
  const auto count = static_cast<int64_t>(states.rows * states.hidden_dim);
  out.Reserve(count);
  if (states.bf16 == 0) {
    if (count > 0) std::memcpy(out.data(), states.data.data(), static_cast<size_t>(count) * 4);
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    uint16_t bits;
    std::memcpy(&bits, states.data.data() + i * 2, 2);
    out[i] = Bf16ToFloat(bits);
  }
}

}  // namespace

absl::Status MemoryStore::Arrive(EncoderOutput output) {
  Memory memory;
  memory.rows = static_cast<int64_t>(output.rows);
  const uint64_t element = output.bf16 != 0 ? 2 : 4;
  const bool ascending = std::is_sorted(output.positions.begin(), output.positions.end()) &&
                         (output.positions.empty() || output.positions.front() >= 0);
  if (static_cast<int64_t>(output.hidden_dim) != hidden_dim_ ||
      output.data.size() != output.rows * output.hidden_dim * element || !ascending ||
      (!output.positions.empty() && output.positions.size() != output.rows)) {
    return absl::DataLossError(
        absl::StrCat("encoder output ", output.key, " has sizes that contradict each other"));
  }
  memory.positions = std::move(output.positions);
  if (memory.positions.empty()) {
    for (int32_t i = 0; i < memory.rows; ++i) memory.positions.push_back(i);
  }
  memory.length = memory.positions.empty() ? 0 : memory.positions.back() + int64_t{1};
  if (memory.length != memory.rows) {
    memory.valid.assign(static_cast<size_t>(memory.length), 0);
    for (const int32_t position : memory.positions) {
      memory.valid[static_cast<size_t>(position)] = 1;
    }
  }
  const MemoryKey key = output.key;
  memory.states = std::move(output);
  memories_[key] = std::move(memory);
  return absl::OkStatus();
}

int64_t MemoryStore::PagesNeeded(MemoryKey key) const {
  const Memory& memory = At(key);
  return memory.stored ? 0 : PagesFor(memory.length);
}

absl::Status MemoryStore::Store(MemoryKey key) {
  Memory& memory = At(key);
  TANDEM_CHECK(!memory.stored);
  TANDEM_CHECK(pool_.Allocate(PagesFor(memory.length), memory.pages));
  AlignedBuffer<float> states;
  UnpackStates(memory.states, states);
  memory.states = EncoderOutput();
  memory.stored = true;
  return decoder_.StoreMemory(ConstMatrix(states.data(), memory.rows, hidden_dim_),
                              SlotsOf(memory.pages, memory.positions));
}

void MemoryStore::Drop(MemoryKey key) {
  const auto found = memories_.find(key);
  TANDEM_CHECK(found != memories_.end() && found->second.num_live == 0);
  pool_.Free(found->second.pages);
  memories_.erase(found);
}

std::vector<MemoryKey> MemoryStore::Idle(MemoryKey keep) const {
  std::vector<MemoryKey> keys;
  for (const auto& [key, memory] : memories_) {
    if (memory.stored && memory.num_live == 0 && key != keep) keys.push_back(key);
  }
  std::sort(keys.begin(), keys.end());
  return keys;
}

}  // namespace tandem
