#include "worker/stage/stage.h"

#include <chrono>

#include "common/base/status_macros.h"

namespace tandem {

absl::Status BroadcastBytes(Communicator& group, int root, std::vector<std::byte>& bytes) {
  if (group.size() == 1) return absl::OkStatus();
  uint64_t size = bytes.size();
  TANDEM_RETURN_IF_ERROR(
      group.Broadcast(absl::MakeSpan(reinterpret_cast<std::byte*>(&size), sizeof size), root));
  bytes.resize(size);
  if (size == 0) return absl::OkStatus();
  return group.Broadcast(absl::MakeSpan(bytes), root);
}

double NowSeconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace tandem
