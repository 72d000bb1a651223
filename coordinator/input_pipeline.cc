#include "coordinator/input_pipeline.h"

#include <utility>

#include "common/base/status_macros.h"

namespace tandem {
namespace {

constexpr size_t kChunkLines = 64;
constexpr int64_t kChunkBytes = 256 << 10;

}  // namespace

InputPipeline::InputPipeline(std::unique_ptr<LineReader> reader, InputPipelineOptions options)
    : reader_(std::move(reader)),
      options_(std::move(options)),
      total_bytes_(reader_->total_bytes()),
      max_chunks_(static_cast<size_t>(2 * options_.num_threads + 2)) {
  threads_.emplace_back([this] { Read(); });
  for (int i = 0; i < options_.num_threads; ++i) threads_.emplace_back([this] { Prepare(); });
}

InputPipeline::~InputPipeline() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

absl::StatusOr<std::shared_ptr<InputPipeline::Chunk>> InputPipeline::ReadChunk() {
  auto chunk = std::make_shared<Chunk>();
  while (chunk->lines.size() < kChunkLines && chunk->bytes < kChunkBytes) {
    TANDEM_ASSIGN_OR_RETURN(const std::optional<InputLine> line, reader_->Next());
    if (!line.has_value()) break;
    chunk->lines.emplace_back(line->text);
    chunk->numbers.push_back(line->number);
    chunk->too_long_bytes.push_back(line->too_long ? line->bytes : 0);
    chunk->bytes += line->bytes;
  }
  return chunk;
}

void InputPipeline::Read() {
  while (true) {
    absl::StatusOr<std::shared_ptr<Chunk>> chunk = ReadChunk();
    std::unique_lock<std::mutex> lock(mutex_);
    if (!chunk.ok() || (*chunk)->lines.empty()) {
      read_status_ = chunk.status();
      read_all_ = true;
    } else {
      changed_.wait(lock, [this] { return stopping_ || chunks_.size() < max_chunks_; });
      chunks_.push_back(*chunk);
      unprepared_.push_back(*std::move(chunk));
    }
    const bool done = stopping_ || read_all_;
    lock.unlock();
    changed_.notify_all();
    if (done) break;
  }
  if (options_.on_ready) options_.on_ready();
}

void InputPipeline::Prepare() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || read_all_ || !unprepared_.empty(); });
    if (stopping_ || (read_all_ && unprepared_.empty())) return;
    const std::shared_ptr<Chunk> chunk = std::move(unprepared_.front());
    unprepared_.pop_front();
    lock.unlock();
    PrepareChunk(*chunk);
    lock.lock();
    chunk->prepared = true;
    lock.unlock();
    changed_.notify_all();
    if (options_.on_ready) options_.on_ready();
    lock.lock();
  }
}

void InputPipeline::PrepareChunk(Chunk& chunk) const {
  for (size_t i = 0; i < chunk.lines.size(); ++i) {
    if (chunk.too_long_bytes[i] > 0) {
      chunk.items.emplace_back(
          RejectTooLongLine(chunk.numbers[i], chunk.too_long_bytes[i], options_.max_line_bytes));
      continue;
    }
    std::variant<Request, RejectedLine> parsed =
        ParseRequest(chunk.lines[i], chunk.numbers[i], options_.defaults, options_.parse);
    if (std::holds_alternative<RejectedLine>(parsed)) {
      chunk.items.emplace_back(std::get<RejectedLine>(std::move(parsed)));
    } else {
      chunk.items.push_back(PrepareRequest(std::get<Request>(std::move(parsed)), options_.prepare));
    }
  }
  chunk.lines = {};
}

absl::StatusOr<std::optional<InputPipeline::Item>> InputPipeline::NextLocked() {
  if (chunks_.empty()) {
    if (read_all_ && !read_status_.ok()) return read_status_;
    return std::nullopt;
  }
  Chunk& chunk = *chunks_.front();
  if (!chunk.prepared) return std::nullopt;
  std::optional<Item> item = std::move(chunk.items.front());
  chunk.items.pop_front();
  if (chunk.items.empty()) {
    bytes_taken_ += chunk.bytes;
    chunks_.pop_front();
    changed_.notify_all();
  }
  return item;
}

absl::StatusOr<std::optional<InputPipeline::Item>> InputPipeline::Next() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return NextLocked();
}

absl::StatusOr<std::optional<InputPipeline::Item>> InputPipeline::WaitNext() {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this] { return chunks_.empty() ? read_all_ : chunks_.front()->prepared; });
  return NextLocked();
}

bool InputPipeline::AtEnd() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return read_all_ && read_status_.ok() && chunks_.empty();
}

int64_t InputPipeline::bytes_taken() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return bytes_taken_;
}

}  // namespace tandem
