#include "common/transport/host_info.h"

#include <unistd.h>

#include <cstddef>
#include <fstream>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "common/base/status_macros.h"

namespace tandem {
namespace {

// Changes with every boot of a machine; empty where the kernel does not tell.
std::string BootId() {
  std::ifstream in("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(in, id);
  return id;
}

}  // namespace

std::string HostName() {
  char name[256] = {};
  if (gethostname(name, sizeof(name) - 1) != 0) return "unknown";
  return name;
}

absl::StatusOr<std::vector<RankPlace>> GatherPlaces(World& world) {
  const std::string mine = absl::StrCat(HostName(), "\n", BootId());
  const auto* bytes = reinterpret_cast<const std::byte*>(mine.data());
  TANDEM_ASSIGN_OR_RETURN(const auto all, world.Gather(absl::MakeConstSpan(bytes, mine.size())));

  std::map<std::string, int> ranks_on_host;
  std::vector<std::string> hosts;
  std::vector<RankPlace> places;
  for (const std::vector<std::byte>& part : all) {
    hosts.emplace_back(reinterpret_cast<const char*>(part.data()), part.size());
    places.push_back({.host = hosts.back().substr(0, hosts.back().find('\n')),
                      .local_rank = ranks_on_host[hosts.back()]++});
  }
  for (size_t i = 0; i < places.size(); ++i) places[i].local_size = ranks_on_host[hosts[i]];
  return places;
}

}  // namespace tandem
