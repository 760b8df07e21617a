// A queue between a readout and the reduction: the same bits as without, whatever its policy does.

#include <fcntl.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "check.hpp"
#include "skipstream/skipstream.h"
#include "skipstream/skipstream.hpp"

using namespace skipstream;

namespace {

constexpr std::int64_t n_rows = 60;
constexpr std::int64_t n_cols = 40;
constexpr std::int64_t n_skips = 8;
constexpr std::size_t row_bytes = 2 * n_cols * n_skips;

const char* const config_text = R"(
[input]
overscan_cols = 8
[[stage]]
kind = "compress_skips"
statistics = ["mean", "std"]
[[stage]]
kind = "subtract_pedestal"
[[stage]]
kind = "find_clusters"
noise = 2.0
)";

std::vector<std::uint16_t> readout() {
  std::vector<std::uint16_t> samples(n_rows * n_cols * n_skips);
  std::uint32_t state = 3;
  for (auto& sample : samples) {
    state = state * 1664525U + 1013904223U;
    sample = static_cast<std::uint16_t>(1000 + (state >> 28));
  }
  return samples;
}

struct Result {
  std::vector<double> values;
  std::vector<std::uint32_t> mask;
  std::int64_t n_lost_pixels = 0;
};

/// One image through a queue or without one.
struct Reduction {
  Result result;
  LoadedConfig config = load_config(config_text);
  Pipeline pipeline{config.chain(), {}};
  ImageInfo image = config.image;

  Reduction() {
    image.n_rows = n_rows;
    image.n_cols = n_cols;
    image.n_skips = n_skips;
    image.format.is_unsigned = true;
    pipeline.begin(image);
    pipeline.add_tap(2, [this](const PixelChunk& rows) {
      const std::int64_t n = rows.n_rows * rows.n_cols;
      result.values.insert(result.values.end(), rows.planes[0], rows.planes[0] + n);
      result.mask.insert(result.mask.end(), rows.mask, rows.mask + n);
      for (std::int64_t i = 0; i < n; ++i) {
        result.n_lost_pixels += (rows.mask[i] & mask_bit::no_data) != 0 ? 1 : 0;
      }
    });
  }
};

void check_same(const Result& found, const Result& expected) {
  check::equal(found.values.size(), expected.values.size());
  check::that(std::memcmp(found.values.data(), expected.values.data(),
                          expected.values.size() * sizeof(double)) == 0,
              "values");
  check::that(found.mask == expected.mask, "mask");
}

std::span<const std::byte> bytes_of(const std::vector<std::uint16_t>& samples) {
  return std::as_bytes(std::span(samples));
}

Result reduced_at_once(const std::vector<std::uint16_t>& samples, std::int64_t begin_lost,
                       std::int64_t end_lost) {
  Reduction reduction;
  reduction.pipeline.push(bytes_of(samples).first(static_cast<std::size_t>(2 * begin_lost)));
  reduction.pipeline.push_lost(end_lost - begin_lost);
  reduction.pipeline.push(bytes_of(samples).subspan(static_cast<std::size_t>(2 * end_lost)));
  reduction.pipeline.finish();
  return reduction.result;
}

/// Lets the queue's thread wait where it takes something, until it is opened.
class Gate {
 public:
  void wait() const {
    while (!is_open_) std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  void open() { is_open_ = true; }
  void close() { is_open_ = false; }

 private:
  std::atomic<bool> is_open_ = false;
};

QueueSink held_sink(Pipeline& pipeline, const Gate& gate) {
  return {[&](std::span<const std::byte> samples) {
            gate.wait();
            pipeline.push(samples);
          },
          [&](std::int64_t n_samples) {
            gate.wait();
            pipeline.push_lost(n_samples);
          },
          [&] { pipeline.finish(); }};
}

void rows_through_a_queue_are_the_same() {
  const auto samples = readout();
  const Result expected = reduced_at_once(samples, 5000, 5300);
  for (const auto policy : {QueuePolicy::block, QueuePolicy::spill}) {
    for (const std::int64_t max_bytes : {2, 66, 1000, 1 << 20}) {
      for (const std::size_t piece : {2U, 34U, 640U, 5000U, 1U << 20}) {
        if (piece == 2 && max_bytes != 66) continue;  // slow
        Reduction reduction;
        RowQueue queue(reduction.pipeline, reduction.image,
                       {.policy = policy, .max_bytes = max_bytes});
        const auto push = [&](std::span<const std::byte> left) {
          while (!left.empty()) {
            const std::size_t n = std::min(piece, left.size());
            queue.push(left.first(n));
            left = left.subspan(n);
          }
        };
        push(bytes_of(samples).first(10000));
        queue.push_lost(100);
        queue.push_lost(200);
        push(bytes_of(samples).subspan(10600));
        queue.finish();
        check_same(reduction.result, expected);
        check::equal(queue.state().dropped_samples, 0);
        check::equal(queue.state().waiting_bytes, 0);
        if (policy == QueuePolicy::block) {
          check::that(queue.state().max_waiting_bytes <= max_bytes, "bounded");
        }
      }
    }
  }
}

void a_queue_may_have_room_for_one_byte() {
  const auto samples = readout();
  const auto bytes = bytes_of(samples).first(300);
  std::vector<std::byte> found;
  const QueueSink sink{
      [&](std::span<const std::byte> part) { found.insert(found.end(), part.begin(), part.end()); },
      [](std::int64_t) {}, [] {}};
  RowQueue queue(sink, 1, {.max_bytes = 1});
  queue.push(bytes);
  queue.finish();
  check::that(std::equal(found.begin(), found.end(), bytes.begin(), bytes.end()));
  check::equal(queue.state().max_waiting_bytes, 1);
}

void a_queue_that_blocks_waits_for_room() {
  const auto samples = readout();
  Reduction reduction;
  Gate gate;
  RowQueue queue(held_sink(reduction.pipeline, gate), 2, {.max_bytes = 4 * row_bytes});
  std::atomic<bool> is_through = false;
  std::thread readout_thread([&] {
    queue.push(bytes_of(samples));
    is_through = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  check::that(!is_through, "the readout waits");
  check::equal(queue.state().waiting_bytes, static_cast<std::int64_t>(4 * row_bytes));
  gate.open();
  readout_thread.join();
  queue.finish();
  check_same(reduction.result, reduced_at_once(samples, 0, 0));
}

void what_is_dropped_is_counted_and_flagged() {
  const auto samples = readout();
  Reduction reduction;
  Gate gate;
  RowQueue queue(held_sink(reduction.pipeline, gate), 2,
                 {.policy = QueuePolicy::drop, .max_bytes = 10 * row_bytes});
  for (std::size_t row = 0; row < 25; ++row) {  // 15 of them find no room
    queue.push(bytes_of(samples).subspan(row * row_bytes, row_bytes));
  }
  check::equal(queue.state().dropped_samples, 15 * n_cols * n_skips);
  gate.open();
  while (queue.state().waiting_bytes > 0) std::this_thread::yield();
  for (std::size_t row = 25; row < n_rows; ++row) {
    queue.push(bytes_of(samples).subspan(row * row_bytes, row_bytes));
    while (queue.state().waiting_bytes > 0) std::this_thread::yield();
  }
  queue.finish();
  check::equal(reduction.result.n_lost_pixels, 15 * n_cols);
  check_same(reduction.result,
             reduced_at_once(samples, 10 * n_cols * n_skips, 25 * n_cols * n_skips));
}

void losses_without_end_are_dropped_in_their_places() {
  const auto samples = readout();
  Reduction reduction;
  Gate gate;
  RowQueue queue(held_sink(reduction.pipeline, gate), 2,
                 {.policy = QueuePolicy::drop, .max_bytes = 1 << 20});
  for (std::size_t i = 0; i < 3000; ++i) {  // more gaps than can be noted
    queue.push(bytes_of(samples).subspan(4 * i, 2));
    queue.push_lost(1);
  }
  check::that(queue.state().dropped_samples > 1000);
  gate.open();
  while (queue.state().waiting_bytes > 0) std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  queue.push(bytes_of(samples).subspan(12000));
  queue.finish();
  const Result whole = reduced_at_once(samples, 0, 0);
  for (std::size_t i = 800; i < whole.values.size(); ++i) {  // nothing behind the gaps moved
    if (reduction.result.values[i] == whole.values[i]) continue;
    check::that(false, "pixel " + std::to_string(i));
    break;
  }
}

void losses_without_end_make_a_queue_wait_that_blocks() {
  const auto samples = readout();
  const auto gaps = [&](const auto& push, const auto& push_lost) {
    for (std::size_t i = 0; i < 3000; ++i) {
      push(bytes_of(samples).subspan(4 * i, 2));
      push_lost(1);
    }
    push(bytes_of(samples).subspan(12000));
    push_lost(0);
  };
  Reduction expected;
  gaps([&](auto part) { expected.pipeline.push(part); },
       [&](auto n) { expected.pipeline.push_lost(n); });
  expected.pipeline.finish();
  Reduction reduction;
  Gate gate;
  RowQueue queue(held_sink(reduction.pipeline, gate), 2, {.max_bytes = 1 << 20});
  std::thread readout_thread(
      [&] { gaps([&](auto part) { queue.push(part); }, [&](auto n) { queue.push_lost(n); }); });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  gate.open();
  readout_thread.join();
  queue.finish();
  check_same(reduction.result, expected.result);
}

/// While it lives, files of this process may not grow beyond so many bytes.
class FileLimit {
 public:
  explicit FileLimit(std::size_t n_bytes) {
    getrlimit(RLIMIT_FSIZE, &before_);
    struct rlimit small = before_;
    small.rlim_cur = n_bytes;
    std::signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
  }
  ~FileLimit() { setrlimit(RLIMIT_FSIZE, &before_); }
  FileLimit(const FileLimit&) = delete;
  FileLimit& operator=(const FileLimit&) = delete;

 private:
  struct rlimit before_ {};
};

void what_finds_no_room_in_the_file_is_dropped() {
  const auto samples = readout();
  for (const std::size_t rest : {0, 100}) {  // of a row, that the file has room for
    Reduction reduction;
    Gate gate;
    RowQueue queue(held_sink(reduction.pipeline, gate), 2,
                   {.policy = QueuePolicy::spill, .max_bytes = 5 * row_bytes});
    {
      const FileLimit limit(3 * row_bytes + rest);
      for (std::size_t row = 0; row < 10; ++row) {  // 5 in memory, 3 in the file
        queue.push(bytes_of(samples).subspan(row * row_bytes, row_bytes));
      }
    }
    check::equal(queue.state().dropped_samples, 2 * n_cols * n_skips);
    gate.open();
    queue.push(bytes_of(samples).subspan(10 * row_bytes));
    queue.finish();
    check_same(reduction.result,
               reduced_at_once(samples, 8 * n_cols * n_skips, 10 * n_cols * n_skips));
  }
}

void what_was_read_back_makes_room_in_the_file() {
  const auto samples = readout();
  Reduction reduction;
  Gate gate;
  RowQueue queue(held_sink(reduction.pipeline, gate), 2,
                 {.policy = QueuePolicy::spill, .max_bytes = 5 * row_bytes});
  const FileLimit limit(3 * row_bytes);
  for (std::size_t row = 0; row < n_rows; ++row) {
    if (row % 8 == 0) gate.close();
    queue.push(bytes_of(samples).subspan(row * row_bytes, row_bytes));
    if (row % 8 < 7) continue;
    gate.open();
    while (queue.state().waiting_bytes > 0) std::this_thread::yield();
  }
  gate.open();
  queue.finish();
  check::equal(queue.state().dropped_samples, 0);
  check_same(reduction.result, reduced_at_once(samples, 0, 0));
}

void the_file_has_no_name_and_is_not_inherited() {
  Reduction reduction;
  RowQueue queue(reduction.pipeline, reduction.image, {.policy = QueuePolicy::spill});
  int n_files = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code closed;  // the descriptor of this very list
    const std::string target = std::filesystem::read_symlink(entry, closed).string();
    if (target.find("/skipstream-queue-") == std::string::npos) continue;
    ++n_files;
    check::that(target.ends_with(" (deleted)"), target);
    const int number = std::stoi(entry.path().filename().string());
    check::equal(fcntl(number, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  }
  check::equal(n_files, 1);
}

void a_loss_that_nothing_follows_is_told_at_once() {
  std::promise<std::int64_t> told;
  const QueueSink sink{[](std::span<const std::byte>) {},
                       [&](std::int64_t n_samples) { told.set_value(n_samples); }, [] {}};
  RowQueue queue(sink, 2, {.policy = QueuePolicy::drop, .max_bytes = 100});
  queue.push_lost(7);
  check::equal(told.get_future().get(), 7);
}

void a_queue_that_is_left_ends_without_the_image() {
  const auto samples = readout();
  bool is_finished = false;
  {
    const QueueSink sink{[](std::span<const std::byte>) {}, [](std::int64_t) {},
                         [&] { is_finished = true; }};
    RowQueue queue(sink, 2, {.max_bytes = 10 * row_bytes});
    queue.push(bytes_of(samples));
  }
  check::that(!is_finished);
}

void what_spills_comes_in_its_order() {
  const auto samples = readout();
  Reduction reduction;
  Gate gate;
  RowQueue queue(held_sink(reduction.pipeline, gate), 2,
                 {.policy = QueuePolicy::spill, .max_bytes = 5 * row_bytes});
  for (std::size_t row = 0; row < 40; ++row) {
    queue.push(bytes_of(samples).subspan(row * row_bytes, row_bytes));
  }
  check::equal(queue.state().spilled_bytes, static_cast<std::int64_t>(35 * row_bytes));
  gate.open();
  while (queue.state().waiting_bytes > 0) std::this_thread::yield();
  for (std::size_t row = 40; row < n_rows; ++row) {
    queue.push(bytes_of(samples).subspan(row * row_bytes, row_bytes));
  }
  queue.finish();
  check::equal(queue.state().dropped_samples, 0);
  check_same(reduction.result, reduced_at_once(samples, 0, 0));
}

void what_ends_the_worker_is_told_to_the_readout() {
  const auto samples = readout();
  for (const auto policy : {QueuePolicy::block, QueuePolicy::drop}) {
    const QueueSink sink{[](std::span<const std::byte>) { throw std::runtime_error("no disk"); },
                         [](std::int64_t) {}, [] {}};
    RowQueue queue(sink, 2, {.policy = policy, .max_bytes = row_bytes});
    check::throws<std::runtime_error>(
        [&] {
          while (true) queue.push(bytes_of(samples).first(row_bytes));
        },
        "no disk");
    check::throws<std::runtime_error>([&] { queue.finish(); }, "no disk");
  }
}

void what_cannot_be_meant_is_refused() {
  const auto samples = readout();
  Reduction reduction;
  check::throws<ConfigError>(
      [&] { RowQueue queue(reduction.pipeline, reduction.image, {.max_bytes = 1}); },
      "queue.max_bytes: must have room for a sample of 2 bytes; got 1");
  check::throws<IoError>(
      [&] {
        RowQueue queue(reduction.pipeline, reduction.image,
                       {.policy = QueuePolicy::spill, .spill_folder = "/no/such"});
      },
      "/no/such/");
  RowQueue queue(reduction.pipeline, reduction.image,
                 {.policy = QueuePolicy::drop, .max_bytes = row_bytes});
  check::throws<ConfigError>([&] { queue.push(bytes_of(samples).first(3)); }, "whole samples");
  check::throws<ConfigError>([&] { queue.push(bytes_of(samples)); }, "never fit max_bytes");
  check::throws<ConfigError>([&] { queue.push_lost(-1); }, "push_lost: got -1");
  queue.abort();
  check::throws<Error>([&] { queue.push(bytes_of(samples).first(2)); }, "after its end");
  check::equal(reduction.result.values.size(), std::size_t{0});
}

void the_queue_of_c_does_the_same() {
  const auto samples = readout();
  Result expected = reduced_at_once(samples, 0, 0);
  skipstream_config* config = nullptr;
  skipstream_config_create(config_text, nullptr, &config);
  skipstream_image_info info{};
  info.struct_size = sizeof info;
  skipstream_image_info_init(&info, config);
  info.n_rows = n_rows;
  info.n_cols = n_cols;
  info.n_skips = n_skips;
  skipstream_options options{};
  options.struct_size = sizeof options;
  skipstream_options_init(&options);
  Result found;
  options.user = &found;
  options.on_rows = [](void* user, const skipstream_rows* rows) {
    auto& known = *static_cast<Result*>(user);
    const std::int64_t n = rows->n_rows * rows->n_cols;
    known.values.insert(known.values.end(), rows->planes[0], rows->planes[0] + n);
    known.mask.insert(known.mask.end(), rows->mask, rows->mask + n);
  };
  skipstream_queue_options wanted{};
  wanted.struct_size = sizeof wanted;
  skipstream_queue_options_init(&wanted);
  wanted.max_bytes = 3000;
  for (const int policy : {SKIPSTREAM_BLOCK, SKIPSTREAM_SPILL}) {
    found = {};
    wanted.policy = policy;
    skipstream_image* image = nullptr;
    skipstream_queue* queue = nullptr;
    check::equal(skipstream_image_begin(config, &info, &options, &image), SKIPSTREAM_OK);
    check::equal(skipstream_queue_begin(image, &wanted, &queue), SKIPSTREAM_OK,
                 skipstream_queue_error(queue));
    check::equal(skipstream_queue_push(queue, samples.data(), 3), SKIPSTREAM_USAGE_ERROR);
    int status = 0;
    for (std::size_t row = 0; row < n_rows; ++row) {
      status |= skipstream_queue_push(queue, samples.data() + row * row_bytes / 2, row_bytes);
    }
    status |= skipstream_queue_push(queue, nullptr, 0);
    check::equal(skipstream_queue_push(queue, nullptr, 1), SKIPSTREAM_USAGE_ERROR);
    check::equal(skipstream_queue_push_lost(queue, -1), SKIPSTREAM_USAGE_ERROR);
    check::equal(status, SKIPSTREAM_OK);
    check::equal(skipstream_queue_finish(queue), SKIPSTREAM_OK, skipstream_queue_error(queue));
    check::equal(skipstream_queue_state_now(queue).dropped_samples, 0);
    check_same(found, expected);
    check::that(skipstream_image_table(image, "clusters") != nullptr);
    skipstream_queue_destroy(queue);
    skipstream_image_destroy(image);
  }

  options.on_rows = [](void*, const skipstream_rows*) { throw std::runtime_error("no disk"); };
  skipstream_image* image = nullptr;
  skipstream_queue* queue = nullptr;
  skipstream_image_begin(config, &info, &options, &image);
  skipstream_queue_begin(image, &wanted, &queue);
  skipstream_queue_push(queue, samples.data(), row_bytes);
  check::equal(skipstream_queue_finish(queue), SKIPSTREAM_INTERNAL_ERROR);
  check::that(std::string(skipstream_queue_error(queue)) == "no disk");
  skipstream_queue_destroy(queue);
  check::equal(skipstream_queue_begin(image, &wanted, &queue), SKIPSTREAM_USAGE_ERROR);
  skipstream_queue_destroy(queue);
  skipstream_image_destroy(image);

  options.on_rows = nullptr;
  std::vector<skipstream_status> ends;
  options.user = &ends;
  options.on_end = [](void* user, skipstream_status status) {
    static_cast<std::vector<skipstream_status>*>(user)->push_back(status);
  };
  skipstream_image_begin(config, &info, &options, &image);
  wanted.policy = 3;
  check::equal(skipstream_queue_begin(image, &wanted, &queue), SKIPSTREAM_CONFIG_ERROR);
  check::that(std::string(skipstream_queue_error(queue)).starts_with("policy: must be"));
  skipstream_queue_destroy(queue);
  skipstream_image_destroy(image);
  skipstream_image_begin(config, &info, &options, &image);
  wanted.policy = -1;
  check::equal(skipstream_queue_begin(image, &wanted, &queue), SKIPSTREAM_CONFIG_ERROR);
  check::equal(skipstream_queue_push(queue, samples.data(), row_bytes), SKIPSTREAM_USAGE_ERROR);
  check::equal(skipstream_queue_state_now(queue).waiting_bytes, 0);
  skipstream_queue_destroy(queue);
  wanted.policy = SKIPSTREAM_BLOCK;
  wanted.spill_folder = nullptr;
  check::equal(skipstream_queue_begin(image, &wanted, &queue), SKIPSTREAM_OK);
  skipstream_queue_push(queue, samples.data(), row_bytes);
  check::equal(skipstream_queue_push_lost(queue, 7), SKIPSTREAM_OK);
  skipstream_queue_destroy(queue);  // without finish
  check::that(ends.back() == SKIPSTREAM_ABORTED, "destroy aborts");
  skipstream_image_destroy(image);
  options.on_end = nullptr;
  skipstream_image_begin(config, &info, &options, &image);
  check::equal(skipstream_queue_begin(image, nullptr, nullptr), SKIPSTREAM_USAGE_ERROR);
  check::equal(skipstream_queue_begin(image, nullptr, &queue), SKIPSTREAM_OK);
  check::equal(skipstream_queue_push_lost(queue, 700), SKIPSTREAM_OK);
  check::equal(skipstream_queue_finish(queue), SKIPSTREAM_OK);
  check::equal(skipstream_image_rows_pushed(image), n_rows);
  skipstream_queue_destroy(queue);
  skipstream_image_destroy(image);
  check::equal(skipstream_queue_push(nullptr, nullptr, 0), SKIPSTREAM_USAGE_ERROR);
  check::equal(skipstream_queue_abort(nullptr), SKIPSTREAM_USAGE_ERROR);
  check::equal(skipstream_queue_begin(nullptr, nullptr, &queue), SKIPSTREAM_USAGE_ERROR);
  check::equal(skipstream_queue_state_now(nullptr).waiting_bytes, 0);
  check::that(std::string(skipstream_queue_error(nullptr)) == "no queue");
  skipstream_queue_options_init(nullptr);
  wanted.struct_size = 1;
  skipstream_queue_options_init(&wanted);
  check::equal(wanted.struct_size, std::size_t{1}, "left alone");
  skipstream_queue_destroy(nullptr);
  skipstream_config_destroy(config);
}

}  // namespace

int main() {
  rows_through_a_queue_are_the_same();
  a_queue_may_have_room_for_one_byte();
  a_queue_that_blocks_waits_for_room();
  what_is_dropped_is_counted_and_flagged();
  losses_without_end_are_dropped_in_their_places();
  losses_without_end_make_a_queue_wait_that_blocks();
  what_finds_no_room_in_the_file_is_dropped();
  what_was_read_back_makes_room_in_the_file();
  the_file_has_no_name_and_is_not_inherited();
  a_loss_that_nothing_follows_is_told_at_once();
  a_queue_that_is_left_ends_without_the_image();
  what_spills_comes_in_its_order();
  what_ends_the_worker_is_told_to_the_readout();
  what_cannot_be_meant_is_refused();
  the_queue_of_c_does_the_same();
  return check::failures();
}
