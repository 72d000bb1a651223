// The world of a job of one rank: no transport, no peers.
#ifndef TANDEM_COMMON_PARALLEL_SOLO_WORLD_H_
#define TANDEM_COMMON_PARALLEL_SOLO_WORLD_H_

#include <memory>

#include "common/parallel/world.h"

namespace tandem {

// Messages to itself arrive; groups have one member; Abort ends the process.
std::unique_ptr<World> MakeSoloWorld();

}  // namespace tandem

#endif  // TANDEM_COMMON_PARALLEL_SOLO_WORLD_H_
