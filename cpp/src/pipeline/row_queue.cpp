#include "skipstream/pipeline/row_queue.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "skipstream/base/error.hpp"

namespace skipstream {

namespace {

/// That the worker takes at once: a multiple of every sample.
constexpr std::int64_t piece_bytes = 1 << 20;

/// A file without a name, which vanishes with the process.
int unnamed_file(const std::string& folder) {
  std::string name = folder + "/skipstream-queue-XXXXXX";
  const int file = mkstemp(name.data());
  if (file < 0) throw IoError(name + ": cannot make: " + std::strerror(errno));
  unlink(name.c_str());
  fcntl(file, F_SETFD, FD_CLOEXEC);
  return file;
}

QueueSink sink_of(Pipeline& pipeline) {
  return {[&pipeline](std::span<const std::byte> samples) { pipeline.push(samples); },
          [&pipeline](std::int64_t n_samples) { pipeline.push_lost(n_samples); },
          [&pipeline] { pipeline.finish(); }};
}

}  // namespace

RowQueue::RowQueue(QueueSink sink, std::int64_t sample_bytes, const QueueOptions& options)
    : sink_(std::move(sink)), sample_bytes_(sample_bytes), policy_(options.policy) {
  if (options.max_bytes < sample_bytes) {
    throw ConfigError("queue.max_bytes: must have room for a sample of " +
                      std::to_string(sample_bytes) + " bytes; got " +
                      std::to_string(options.max_bytes));
  }
  // Whole samples, so that none lies across the end of the ring.
  ring_.resize(static_cast<std::size_t>(options.max_bytes / sample_bytes * sample_bytes));
  if (policy_ == QueuePolicy::spill) {
    read_back_.resize(static_cast<std::size_t>(piece_bytes));
    file_ = unnamed_file(options.spill_folder);
  }
  try {
    thread_ = std::thread([this] { work(); });
  } catch (...) {
    if (file_ >= 0) close(file_);
    throw;
  }
}

RowQueue::RowQueue(Pipeline& pipeline, const ImageInfo& image, const QueueOptions& options)
    : RowQueue(sink_of(pipeline), image.format.n_bytes, options) {}

RowQueue::~RowQueue() {
  end(true);
  if (file_ >= 0) close(file_);
}

void RowQueue::require_alive() const {
  if (failure_) std::rethrow_exception(failure_);
  if (is_ending_) throw Error("queue: push after its end; make a new one for a new image");
}

/// Notes what is lost behind all that came so far. Where there is no room for a note, samples are
/// lost until there is.
void RowQueue::lose(std::int64_t n_samples) {
  pending_loss_ += n_samples;
  settle_pending_loss();
  came_.notify_one();
}

bool RowQueue::settle_pending_loss() {
  if (pending_loss_ == 0) return true;
  if (end_loss_ > first_loss_ && losses_[(end_loss_ - 1) % max_losses].at == end_) {
    losses_[(end_loss_ - 1) % max_losses].n_samples += std::exchange(pending_loss_, 0);
  } else if (end_loss_ - first_loss_ < max_losses) {
    losses_[end_loss_++ % max_losses] = {end_, std::exchange(pending_loss_, 0)};
  }
  return pending_loss_ == 0;
}

/// Copies behind the last byte of the ring, which has the room.
void RowQueue::add_bytes(std::span<const std::byte> samples) {
  const std::size_t at = static_cast<std::size_t>(end_ring_) % ring_.size();
  const std::size_t first = std::min(samples.size(), ring_.size() - at);
  std::memcpy(ring_.data() + at, samples.data(), first);
  std::memcpy(ring_.data(), samples.data() + first, samples.size() - first);
}

/// Writes behind the last byte of the file; false where that is not possible.
bool RowQueue::spill(std::span<const std::byte> samples) {
  std::size_t done = 0;
  while (done < samples.size()) {
    const ssize_t n = pwrite(file_, samples.data() + done, samples.size() - done,
                             file_bytes_ + static_cast<std::int64_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    done += static_cast<std::size_t>(n);
  }
  file_bytes_ += static_cast<std::int64_t>(samples.size());
  end_ += static_cast<std::int64_t>(samples.size());
  state_.spilled_bytes += static_cast<std::int64_t>(samples.size());
  return true;
}

void RowQueue::push(std::span<const std::byte> samples) {
  const auto n_bytes = static_cast<std::int64_t>(samples.size());
  if (n_bytes % sample_bytes_ != 0) {
    throw ConfigError("queue.push: " + std::to_string(n_bytes) +
                      " bytes are not whole samples of " + std::to_string(sample_bytes_) +
                      " bytes");
  }
  if (policy_ == QueuePolicy::drop && samples.size() > ring_.size()) {
    throw ConfigError("queue.push: " + std::to_string(n_bytes) + " bytes never fit max_bytes = " +
                      std::to_string(ring_.size()) + "; push less at once");
  }
  std::unique_lock lock(mutex_);
  require_alive();
  const auto note_waiting = [this] {
    state_.max_waiting_bytes = std::max(state_.max_waiting_bytes, end_ - taken_);
    came_.notify_one();
  };
  while (!samples.empty()) {
    const bool can_note = settle_pending_loss();
    const bool in_file = end_ > end_ring_;  // what follows must wait behind it
    std::int64_t n = static_cast<std::int64_t>(samples.size());
    if (policy_ == QueuePolicy::block) {
      if (room() == 0 || !can_note) {
        left_.wait(lock, [this] { return (room() > 0 && settle_pending_loss()) || failure_; });
        require_alive();
        continue;
      }
      n = std::min(n, room());
    } else if (!can_note || (policy_ == QueuePolicy::drop && n > room())) {
      state_.dropped_samples += n / sample_bytes_;
      lose(n / sample_bytes_);
      return;
    } else if (policy_ == QueuePolicy::spill && (in_file || n > room())) {
      if (!spill(samples)) {
        state_.dropped_samples += n / sample_bytes_;
        lose(n / sample_bytes_);
      }
      note_waiting();
      return;
    }
    // Only this thread moves the end of the ring, and the worker does not touch what is behind it.
    lock.unlock();
    add_bytes(samples.first(static_cast<std::size_t>(n)));
    lock.lock();
    end_ring_ += n;
    end_ += n;
    samples = samples.subspan(static_cast<std::size_t>(n));
    note_waiting();
  }
}

void RowQueue::push_lost(std::int64_t n_samples) {
  if (n_samples < 0) {
    throw ConfigError("queue.push_lost: got " + std::to_string(n_samples) + " samples");
  }
  std::unique_lock lock(mutex_);
  require_alive();
  if (n_samples > 0) lose(n_samples);
}

void RowQueue::work() {
  try {
    serve();
  } catch (...) {
    const std::scoped_lock lock(mutex_);
    failure_ = std::current_exception();
  }
  left_.notify_all();
}

void RowQueue::serve() {
  std::unique_lock lock(mutex_);
  for (;;) {
    came_.wait(lock, [this] {
      return end_ > taken_ || end_loss_ > first_loss_ || pending_loss_ > 0 || is_ending_;
    });
    if (is_forgetting_) return;
    if (end_loss_ > first_loss_ && losses_[first_loss_ % max_losses].at == taken_) {
      const std::int64_t n = losses_[first_loss_ % max_losses].n_samples;
      ++first_loss_;
      lock.unlock();
      sink_.push_lost(n);
      lock.lock();
      left_.notify_one();
      continue;
    }
    if (end_ == taken_) {
      settle_pending_loss();
      if (end_loss_ > first_loss_) continue;
      break;
    }
    // To the next loss, the end of the ring's memory, or that of what is in it.
    std::int64_t n = std::min(end_ - taken_, piece_bytes);
    if (end_loss_ > first_loss_) n = std::min(n, losses_[first_loss_ % max_losses].at - taken_);
    std::span<const std::byte> samples;
    if (end_ring_ > taken_) {
      const std::size_t at = static_cast<std::size_t>(taken_) % ring_.size();
      n = std::min({n, end_ring_ - taken_, static_cast<std::int64_t>(ring_.size() - at)});
      samples = std::span(ring_).subspan(at, static_cast<std::size_t>(n));
    } else {
      const std::int64_t from = file_bytes_ - (end_ - taken_);
      std::int64_t done = 0;
      while (done < n) {
        const ssize_t got =
            pread(file_, read_back_.data() + done, static_cast<std::size_t>(n - done), from + done);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) throw IoError("queue: the temporary file cannot be read back");
        done += got;
      }
      samples = std::span(read_back_).first(static_cast<std::size_t>(n));
    }
    lock.unlock();
    sink_.push(samples);
    lock.lock();
    if (taken_ >= end_ring_) end_ring_ = taken_ + n;  // from the file: the ring stays empty
    taken_ += n;
    if (taken_ == end_ && file_bytes_ > 0) {
      file_bytes_ = 0;
      if (ftruncate(file_, 0) != 0) throw IoError("queue: the temporary file cannot be emptied");
    }
    left_.notify_one();
  }
  lock.unlock();
  sink_.finish();
}

/// Lets the worker come to its end, or stops it.
void RowQueue::end(bool forget) {
  {
    const std::scoped_lock lock(mutex_);
    is_ending_ = true;
    is_forgetting_ = is_forgetting_ || forget;
  }
  came_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void RowQueue::finish() {
  end(false);
  if (failure_) std::rethrow_exception(failure_);
}

void RowQueue::abort() { end(true); }

QueueState RowQueue::state() const {
  const std::scoped_lock lock(mutex_);
  QueueState state = state_;
  state.waiting_bytes = end_ - taken_;
  return state;
}

}  // namespace skipstream
