#include "common/transport/mpi_messenger.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/parallel/waiting.h"

namespace tandem {
namespace {

constexpr uint32_t kMagic = 0x54354d47;  // "T5MG"
constexpr int kHeadTag = 1;
constexpr int kPartTag = 2;

// Each test of a message that is not done lets MPI work; a few a turn are enough.
constexpr size_t kMaxPendingPerPoll = 4;

// Calls visit(begin, bytes) for the parts in which a payload travels; equal on both sides.
template <class Visit>
absl::Status ForEachPart(size_t payload_bytes, size_t max_part_bytes, const Visit& visit) {
  for (size_t begin = 0; begin < payload_bytes; begin += max_part_bytes) {
    TANDEM_RETURN_IF_ERROR(visit(begin, std::min(max_part_bytes, payload_bytes - begin)));
  }
  return absl::OkStatus();
}

}  // namespace

MpiMessenger::MpiMessenger(MPI_Comm comm, int rank, int size, const MpiMessageLimits& limits)
    : comm_(comm), rank_(rank), limits_(limits), peers_(static_cast<size_t>(size)) {
  static_assert(sizeof(Header) == 24);
  TANDEM_CHECK(limits.max_part_bytes > 0 &&
               limits.max_part_bytes <= std::numeric_limits<int>::max());
}

MpiMessenger::~MpiMessenger() {
  // Only a job that failed gets here with messages under way; MPI may still read or write them.
  if (!outgoing_.empty()) new std::list<Outgoing>(std::move(outgoing_));
  if (num_queued_ > 0) new std::vector<Peer>(std::move(peers_));
}

absl::Status MpiMessenger::Send(int destination, uint16_t kind, std::vector<std::byte> payload) {
  ++num_calls_;
  if (destination < 0 || destination >= static_cast<int>(peers_.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat("Send to rank ", destination, ": the job has ", peers_.size(), " ranks"));
  }
  Peer& peer = peers_[static_cast<size_t>(destination)];
  if (destination == rank_) {
    Incoming in;
    in.stage = Stage::kComplete;
    in.envelope = {.source = rank_, .kind = kind, .payload = std::move(payload)};
    peer.incoming.push_back(std::move(in));
    ++num_queued_;
    return absl::OkStatus();
  }
  const Header header{
      .magic = kMagic, .kind = kind, .sequence = peer.num_sent++, .payload_bytes = payload.size()};
  const bool is_inline = payload.size() <= limits_.max_inline_bytes;
  outgoing_.emplace_back();
  Outgoing& out = outgoing_.back();
  out.destination = destination;
  out.head.resize(sizeof(header) + (is_inline ? payload.size() : 0));
  std::memcpy(out.head.data(), &header, sizeof(header));
  if (is_inline) {
    std::copy(payload.begin(), payload.end(), out.head.begin() + sizeof(header));
  } else {
    out.payload = std::move(payload);
  }
  TANDEM_RETURN_IF_ERROR(PostSends(out));
  return ReapSends(kMaxPendingPerPoll);
}

absl::Status MpiMessenger::PostSends(Outgoing& out) {
  const auto post = [&](const std::byte* data, size_t bytes, int tag) {
    out.requests.push_back(MPI_REQUEST_NULL);
    return MpiStatus(MPI_Isend(data, static_cast<int>(bytes), MPI_BYTE, out.destination, tag, comm_,
                               &out.requests.back()),
                     Site("Send"));
  };
  TANDEM_RETURN_IF_ERROR(post(out.head.data(), out.head.size(), kHeadTag));
  return ForEachPart(out.payload.size(), limits_.max_part_bytes, [&](size_t begin, size_t bytes) {
    return post(out.payload.data() + begin, bytes, kPartTag);
  });
}

absl::StatusOr<bool> MpiMessenger::Test(std::vector<MPI_Request>& requests, const char* operation) {
  int done = 0;
  TANDEM_RETURN_IF_ERROR(MpiStatus(
      MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, MPI_STATUSES_IGNORE),
      Site(operation)));
  return done != 0;
}

absl::Status MpiMessenger::ReapSends(size_t max_pending) {
  size_t pending = 0;
  for (size_t turns = outgoing_.size(); turns > 0 && pending < max_pending; --turns) {
    TANDEM_ASSIGN_OR_RETURN(const bool done, Test(outgoing_.front().requests, "Send"));
    if (done) {
      outgoing_.pop_front();
    } else {  // To the back: one slow receiver does not keep the others' memory.
      outgoing_.splice(outgoing_.end(), outgoing_, outgoing_.begin());
      ++pending;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> MpiMessenger::AcceptHeader() {
  int arrived = 0;
  MPI_Message message = MPI_MESSAGE_NULL;
  MPI_Status status;
  TANDEM_RETURN_IF_ERROR(MpiStatus(
      MPI_Improbe(MPI_ANY_SOURCE, kHeadTag, comm_, &arrived, &message, &status), Site("Poll")));
  if (arrived == 0) return false;
  int bytes = 0;
  TANDEM_RETURN_IF_ERROR(MpiStatus(MPI_Get_count(&status, MPI_BYTE, &bytes), Site("Poll")));
  Peer& peer = peers_[static_cast<size_t>(status.MPI_SOURCE)];
  peer.incoming.emplace_back();
  ++num_queued_;
  Incoming& in = peer.incoming.back();
  in.head.resize(static_cast<size_t>(bytes));
  in.requests.push_back(MPI_REQUEST_NULL);
  // Not MPI_Mrecv, which would wait for a sender that computes where the transport is not eager.
  TANDEM_RETURN_IF_ERROR(MpiStatus(
      MPI_Imrecv(in.head.data(), bytes, MPI_BYTE, &message, &in.requests.back()), Site("Poll")));
  return true;
}

absl::Status MpiMessenger::ReadHeader(int source, Peer& peer, Incoming& in) {
  Header header;
  const bool complete = in.head.size() >= sizeof(header);
  if (complete) std::memcpy(&header, in.head.data(), sizeof(header));
  const bool is_inline = header.payload_bytes <= limits_.max_inline_bytes;
  if (!complete || header.magic != kMagic || header.sequence != peer.num_headers_read ||
      in.head.size() - sizeof(header) != (is_inline ? header.payload_bytes : 0)) {
    return absl::InternalError(absl::StrCat(
        "rank ", rank_, " got a broken header from rank ", source, " as message ",
        peer.num_headers_read, " (", in.head.size(), " bytes, sequence ", header.sequence, ")"));
  }
  ++peer.num_headers_read;
  in.envelope.source = source;
  in.envelope.kind = header.kind;
  in.requests.clear();
  if (is_inline) {
    in.envelope.payload.assign(in.head.begin() + sizeof(header), in.head.end());
    in.stage = Stage::kComplete;
    return absl::OkStatus();
  }
  in.envelope.payload.resize(header.payload_bytes);
  in.stage = Stage::kPayload;
  return ForEachPart(header.payload_bytes, limits_.max_part_bytes, [&](size_t begin, size_t bytes) {
    in.requests.push_back(MPI_REQUEST_NULL);
    return MpiStatus(MPI_Irecv(in.envelope.payload.data() + begin, static_cast<int>(bytes),
                               MPI_BYTE, source, kPartTag, comm_, &in.requests.back()),
                     Site("Poll"));
  });
}

absl::Status MpiMessenger::Advance(int source, Peer& peer) {
  for (Incoming& in : peer.incoming) {
    if (in.stage == Stage::kHead) {
      TANDEM_ASSIGN_OR_RETURN(const bool done, Test(in.requests, "Poll"));
      // Receives of payloads are posted in the order of headers: no later one is read before.
      if (!done) return absl::OkStatus();
      TANDEM_RETURN_IF_ERROR(ReadHeader(source, peer, in));
    }
    if (in.stage == Stage::kPayload) {
      TANDEM_ASSIGN_OR_RETURN(const bool done, Test(in.requests, "Poll"));
      if (done) in.stage = Stage::kComplete;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<Envelope>> MpiMessenger::Poll() {
  ++num_calls_;
  TANDEM_RETURN_IF_ERROR(ReapSends(kMaxPendingPerPoll));
  if (peers_.size() > 1) {
    if (absl::StatusOr<bool> accepted = AcceptHeader(); !accepted.ok()) return accepted.status();
  }
  std::optional<Envelope> message;
  if (num_queued_ == 0) return message;
  for (size_t i = 0; i < peers_.size(); ++i) {
    const size_t source = (next_source_ + i) % peers_.size();
    Peer& peer = peers_[source];
    if (peer.incoming.empty()) continue;
    if (peer.incoming.front().stage != Stage::kComplete) {
      TANDEM_RETURN_IF_ERROR(Advance(static_cast<int>(source), peer));
      if (peer.incoming.front().stage != Stage::kComplete) continue;
    }
    message = std::move(peer.incoming.front().envelope);
    peer.incoming.pop_front();
    --num_queued_;
    next_source_ = (source + 1) % peers_.size();
    return message;
  }
  return message;
}

absl::Status MpiMessenger::Flush() {
  ++num_calls_;
  Backoff backoff;
  while (true) {
    const size_t before = outgoing_.size();
    TANDEM_RETURN_IF_ERROR(ReapSends(outgoing_.size()));
    if (outgoing_.empty()) return absl::OkStatus();
    // A large message leaves only when its receiver takes it, and that rank may be in Flush too,
    // with messages for this one: so take what comes, for Poll to return later.
    bool accepted = true;
    while (accepted) {
      TANDEM_ASSIGN_OR_RETURN(accepted, AcceptHeader());
    }
    for (size_t source = 0; source < peers_.size(); ++source) {
      TANDEM_RETURN_IF_ERROR(Advance(static_cast<int>(source), peers_[source]));
    }
    if (outgoing_.size() < before) {
      backoff.Reset();
    } else {
      backoff.Wait();
    }
  }
}

}  // namespace tandem
