#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "skipstream/base/arena.hpp"
#include "skipstream/pipeline/pipeline.hpp"

namespace skipstream {

/// What happens to samples for which a queue has no room.
enum class QueuePolicy : std::uint8_t {
  block,  ///< push waits
  drop,   ///< all samples of that push are lost: counted, and flagged in the image
  spill,  ///< they wait in a temporary file; lost where that cannot be written
};

struct QueueOptions {
  QueuePolicy policy = QueuePolicy::block;
  std::int64_t max_bytes = 64 << 20;  ///< of samples that wait in memory, taken at once
  std::string spill_folder = "/tmp";
};

struct QueueState {
  std::int64_t waiting_bytes = 0;      ///< in memory and in the file, now
  std::int64_t max_waiting_bytes = 0;  ///< so far
  std::int64_t spilled_bytes = 0;      ///< that went through the file so far
  std::int64_t dropped_samples = 0;    ///< so far
};

/// Where the samples of a queue go; all of it is called by the queue's thread.
struct QueueSink {
  std::function<void(std::span<const std::byte> samples)> push;
  std::function<void(std::int64_t n_samples)> push_lost;
  std::function<void()> finish;
};

/// A front for readouts that must not wait for the reduction: one thread pushes, a thread of the
/// queue's own reduces. Only copies and short locks are between them. The image gets the same
/// samples in the same order, and so the same bits; taps are called by the queue's thread.
class RowQueue {
 public:
  /// Takes the memory and starts the thread. Throws ConfigError where there is no room for a
  /// sample, and IoError where the file of `spill` cannot be made.
  RowQueue(QueueSink sink, std::int64_t sample_bytes, const QueueOptions& options);
  /// For a pipeline that was begun, which belongs to the queue until `finish` or `abort`.
  RowQueue(Pipeline& pipeline, const ImageInfo& image, const QueueOptions& options);
  ~RowQueue();
  RowQueue(const RowQueue&) = delete;
  RowQueue& operator=(const RowQueue&) = delete;

  /// The next samples, whole ones; they are copied. Throws what ended the queue's thread.
  void push(std::span<const std::byte> samples);
  /// The next samples did not arrive.
  void push_lost(std::int64_t n_samples);
  /// Waits until all samples are reduced, and ends the image. Throws what went wrong.
  void finish();
  /// Ends the queue; samples that wait are forgotten. The image is not ended.
  void abort();
  [[nodiscard]] QueueState state() const;

 private:
  /// Samples that are lost at a place of the stream of bytes.
  struct Loss {
    std::int64_t at = 0;
    std::int64_t n_samples = 0;
  };
  static constexpr std::size_t max_losses = 1024;

  void work();
  void serve();
  void require_alive() const;
  void lose(std::int64_t n_samples);
  bool settle_pending_loss();
  bool spill(std::span<const std::byte> samples);
  void add_bytes(std::span<const std::byte> samples);
  void end(bool forget);
  [[nodiscard]] std::int64_t room() const {
    return static_cast<std::int64_t>(ring_.size()) - (end_ring_ - taken_);
  }

  QueueSink sink_;
  std::int64_t sample_bytes_;
  QueuePolicy policy_;
  Array<std::byte> ring_;
  Array<std::byte> read_back_;  ///< from the file
  std::array<Loss, max_losses> losses_{};
  int file_ = -1;

  mutable std::mutex mutex_;
  std::condition_variable came_;
  std::condition_variable left_;
  // Places in the stream of all bytes that were taken in: [taken_, end_ring_) is in the ring, what
  // follows it, up to end_, in the file.
  std::int64_t taken_ = 0;
  std::int64_t end_ring_ = 0;
  std::int64_t end_ = 0;
  std::int64_t file_bytes_ = 0;  ///< written since the file was empty
  std::size_t first_loss_ = 0;   ///< counted without end; modulo max_losses in the array
  std::size_t end_loss_ = 0;
  std::int64_t pending_loss_ = 0;  ///< samples whose loss found no room in the array
  bool is_ending_ = false;
  bool is_forgetting_ = false;
  std::exception_ptr failure_;
  QueueState state_;
  std::thread thread_;
};

}  // namespace skipstream
