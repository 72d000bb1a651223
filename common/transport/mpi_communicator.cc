#include "common/transport/mpi_communicator.h"

#include <algorithm>
#include <cstring>

#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/parallel/tree_sum.h"

namespace tandem {
namespace {

constexpr int kSliceTag = 1;       // A partial of the slice that the receiver sums.
constexpr int kSumTag = 2;         // A finished slice.
constexpr size_t kSliceUnit = 16;  // Floats; a cache line.

}  // namespace

MpiCommunicator::MpiCommunicator(MPI_Comm comm, int rank, int size, int world_rank,
                                 const MpiCollectiveLimits& limits)
    : comm_(comm),
      rank_(rank),
      size_(size),
      world_rank_(world_rank),
      limits_(limits),
      partials_(static_cast<size_t>(size)) {}

MpiCommunicator::~MpiCommunicator() {
  MPI_Comm comm = comm_;
  MPI_Comm_free(&comm);
}

absl::Status MpiCommunicator::AllReduceSum(absl::Span<float> data) {
  const MpiCallSite site = NextCall("AllReduceSum");
  if (size_ == 1) return absl::OkStatus();
  for (size_t begin = 0; begin < data.size(); begin += limits_.max_piece_elements) {
    const absl::Span<float> piece = data.subspan(begin, limits_.max_piece_elements);
    TANDEM_RETURN_IF_ERROR(piece.size() * sizeof(float) <= limits_.max_whole_sum_bytes
                               ? SumWhole(site, piece)
                               : SumInSlices(site, piece));
  }
  return absl::OkStatus();
}

absl::Status MpiCommunicator::SumWhole(const MpiCallSite& site, absl::Span<float> piece) {
  const size_t ranks = partials_.size();
  if (scratch_.size() < ranks * piece.size()) scratch_.resize(ranks * piece.size());
  const int count = static_cast<int>(piece.size());
  TANDEM_RETURN_IF_ERROR(MpiStatus(
      MPI_Allgather(piece.data(), count, MPI_FLOAT, scratch_.data(), count, MPI_FLOAT, comm_),
      site));
  for (size_t r = 0; r < ranks; ++r) partials_[r] = scratch_.data() + r * piece.size();
  TreeSum(partials_, count, piece.data());
  return absl::OkStatus();
}

absl::Status MpiCommunicator::SumInSlices(const MpiCallSite& site, absl::Span<float> piece) {
  const size_t ranks = partials_.size();
  const auto me = static_cast<size_t>(rank_);
  const size_t per_rank = (piece.size() + ranks - 1) / ranks;
  const size_t slice_size = (per_rank + kSliceUnit - 1) / kSliceUnit * kSliceUnit;
  const auto slice_of = [&](size_t r) {  // The last ones may be short or empty.
    return piece.subspan(std::min(r * slice_size, piece.size()), slice_size);
  };
  if (scratch_.size() < ranks * slice_size) scratch_.resize(ranks * slice_size);

  // Everybody's partial of slice r goes to rank r. Sending starts with the next rank, not with rank
  // 0 everywhere.
  const absl::Span<float> mine = slice_of(me);
  requests_.clear();
  const auto post = [&](bool send, float* data, size_t count, size_t peer, int tag) {
    requests_.push_back(MPI_REQUEST_NULL);
    const int n = static_cast<int>(count);
    const int rank = static_cast<int>(peer);
    return MpiStatus(send ? MPI_Isend(data, n, MPI_FLOAT, rank, tag, comm_, &requests_.back())
                          : MPI_Irecv(data, n, MPI_FLOAT, rank, tag, comm_, &requests_.back()),
                     site);
  };
  const auto wait_all = [&] {
    return MpiStatus(
        MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE),
        site);
  };
  for (size_t i = 1; i < ranks; ++i) {
    const size_t peer = (me + i) % ranks;
    float* place = scratch_.data() + peer * slice_size;
    partials_[peer] = place;
    TANDEM_RETURN_IF_ERROR(post(/*send=*/false, place, mine.size(), peer, kSliceTag));
  }
  for (size_t i = 1; i < ranks; ++i) {
    const size_t peer = (me + i) % ranks;
    const absl::Span<float> theirs = slice_of(peer);
    TANDEM_RETURN_IF_ERROR(post(/*send=*/true, theirs.data(), theirs.size(), peer, kSliceTag));
  }
  TANDEM_RETURN_IF_ERROR(wait_all());
  partials_[me] = mine.data();
  TreeSum(partials_, static_cast<int64_t>(mine.size()), mine.data());

  // The finished slices go to everybody.
  requests_.clear();
  for (size_t i = 1; i < ranks; ++i) {
    const size_t peer = (me + i) % ranks;
    const absl::Span<float> theirs = slice_of(peer);
    TANDEM_RETURN_IF_ERROR(post(/*send=*/false, theirs.data(), theirs.size(), peer, kSumTag));
  }
  for (size_t i = 1; i < ranks; ++i) {
    TANDEM_RETURN_IF_ERROR(
        post(/*send=*/true, mine.data(), mine.size(), (me + i) % ranks, kSumTag));
  }
  return wait_all();
}

absl::Status MpiCommunicator::AllGather(absl::Span<const std::byte> mine,
                                        absl::Span<std::byte> all) {
  const MpiCallSite site = NextCall("AllGather");
  TANDEM_CHECK(all.size() == mine.size() * partials_.size());
  if (mine.empty()) return absl::OkStatus();
  const absl::Span<std::byte> place =
      all.subspan(static_cast<size_t>(rank_) * mine.size(), mine.size());
  const bool in_place = mine.data() == place.data();
  if (all.size() <= limits_.max_call_bytes) {
    const int count = static_cast<int>(mine.size());
    return MpiStatus(MPI_Allgather(in_place ? MPI_IN_PLACE : mine.data(), count, MPI_BYTE,
                                   all.data(), count, MPI_BYTE, comm_),
                     site);
  }
  // More than MPI's counts can say: part by part. Rare, and never in a step.
  if (!in_place) std::memcpy(place.data(), mine.data(), mine.size());
  for (int root = 0; root < size_; ++root) {
    TANDEM_RETURN_IF_ERROR(BroadcastBytes(
        site, all.subspan(static_cast<size_t>(root) * mine.size(), mine.size()), root));
  }
  return absl::OkStatus();
}

absl::Status MpiCommunicator::MergeDisjoint(absl::Span<uint32_t> data) {
  const MpiCallSite site = NextCall("MergeDisjoint");
  const size_t max_words = limits_.max_call_bytes / sizeof(uint32_t);
  for (size_t begin = 0; begin < data.size(); begin += max_words) {
    const absl::Span<uint32_t> part = data.subspan(begin, max_words);
    TANDEM_RETURN_IF_ERROR(
        MpiStatus(MPI_Allreduce(MPI_IN_PLACE, part.data(), static_cast<int>(part.size()),
                                MPI_UINT32_T, MPI_BOR, comm_),
                  site));
  }
  return absl::OkStatus();
}

absl::Status MpiCommunicator::Broadcast(absl::Span<std::byte> data, int root) {
  TANDEM_CHECK(root >= 0 && root < size_);
  return BroadcastBytes(NextCall("Broadcast"), data, root);
}

absl::Status MpiCommunicator::BroadcastBytes(const MpiCallSite& site, absl::Span<std::byte> data,
                                             int root) {
  for (size_t begin = 0; begin < data.size(); begin += limits_.max_call_bytes) {
    const absl::Span<std::byte> part = data.subspan(begin, limits_.max_call_bytes);
    TANDEM_RETURN_IF_ERROR(MpiStatus(
        MPI_Bcast(part.data(), static_cast<int>(part.size()), MPI_BYTE, root, comm_), site));
  }
  return absl::OkStatus();
}

absl::Status MpiCommunicator::Barrier() {
  return MpiStatus(MPI_Barrier(comm_), NextCall("Barrier"));
}

}  // namespace tandem
