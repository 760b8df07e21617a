// A readout in real time, in a process of its own, and what the library makes of it:
//
//   c++ -std=c++20 -O2 bench/daq.cpp $(pkg-config --cflags --libs skipstream) -o daq
//   ./daq [modules=64] [amplifiers=4] [samples_per_s=1.087e6] [seconds=60] [cols=1000] [skips=500]
//         [packet=2048] [threads=2] [in_step=0] [queue=none|block|drop|spill] [queue_kib=8192]
//         [stall=0]
//   ./daq overhead [cols=1000] [skips=500]
//
// samples_per_s are those of a module, all amplifiers together. Latency is from when the board gave
// the last sample of a row to when its pixels are there; a packet takes its own time to fill, which
// is in it. With in_step = 1 the rows of all modules end at the same moment, else of each module at
// its own. With a queue, each amplifier has one, and all that their threads do stands still for
// `stall` seconds in the middle.

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "skipstream/skipstream.hpp"

using namespace skipstream;

namespace {

using Clock = std::chrono::steady_clock;  // the same in both processes

double now() { return std::chrono::duration<double>(Clock::now().time_since_epoch()).count(); }

using Words = std::map<std::string, std::string>;

double number(const Words& words, const std::string& name) { return std::stod(words.at(name)); }

struct Packet {
  std::int64_t amplifier = 0;
  std::int64_t n_samples = 0;
  double sent = 0;  // by the clock of the readout: when its last sample was there
};

struct Setup {
  std::int64_t modules;
  std::int64_t amplifiers;  // of all modules
  double rate;              // samples/s of an amplifier
  std::int64_t cols, skips, rows, packet, threads;
  bool in_step;

  explicit Setup(const Words& words)
      : modules(static_cast<std::int64_t>(number(words, "modules"))),
        amplifiers(modules * static_cast<std::int64_t>(number(words, "amplifiers"))),
        rate(number(words, "samples_per_s") / number(words, "amplifiers")),
        cols(static_cast<std::int64_t>(number(words, "cols"))),
        skips(static_cast<std::int64_t>(number(words, "skips"))),
        rows(std::max<std::int64_t>(
            2, static_cast<std::int64_t>(number(words, "seconds") * rate) / (cols * skips))),
        packet(static_cast<std::int64_t>(number(words, "packet"))),
        threads(static_cast<std::int64_t>(number(words, "threads"))),
        in_step(number(words, "in_step") != 0) {}
};

void write_all(int to, const void* data, std::size_t n_bytes) {
  const auto* left = static_cast<const char*>(data);
  while (n_bytes > 0) {
    const ssize_t n = write(to, left, n_bytes);
    if (n <= 0) std::exit(3);
    left += n;
    n_bytes -= static_cast<std::size_t>(n);
  }
}

bool read_all(int from, void* data, std::size_t n_bytes) {
  auto* left = static_cast<char*>(data);
  while (n_bytes > 0) {
    const ssize_t n = read(from, left, n_bytes);
    if (n <= 0) return false;
    left += n;
    n_bytes -= static_cast<std::size_t>(n);
  }
  return true;
}

std::vector<std::uint16_t> noise(std::int64_t n) {
  std::vector<std::uint16_t> samples(static_cast<std::size_t>(n));
  std::uint32_t state = 1;
  for (auto& sample : samples) {
    state = state * 1664525U + 1013904223U;
    sample = static_cast<std::uint16_t>(1000 + (state >> 28) + (state >> 20 & 15));
  }
  return samples;
}

/// The board: gives each packet when its last sample has been read out.
void read_out(const Setup& setup, const std::vector<int>& links) {
  const auto samples = noise(1 << 22);
  const std::int64_t n_image = setup.rows * setup.cols * setup.skips;
  const std::int64_t per_module = setup.amplifiers / setup.modules;
  struct Next {
    double due;
    std::int64_t amplifier;
    std::int64_t done;
    bool operator<(const Next& other) const { return due > other.due; }  // the earliest on top
  };
  char go = 0;
  if (!read_all(links[0], &go, 1)) std::exit(3);  // the readout begins when all images have
  const double begin = now();
  const auto due = [&](std::int64_t amplifier, std::int64_t n) {
    const double row_seconds = static_cast<double>(setup.cols * setup.skips) / setup.rate;
    const double phase = setup.in_step ? 0
                                       : row_seconds * static_cast<double>(amplifier / per_module) /
                                             static_cast<double>(setup.modules);
    return begin + phase + static_cast<double>(n) / setup.rate;
  };
  std::vector<Next> next;
  for (std::int64_t a = 0; a < setup.amplifiers; ++a) {
    next.push_back({due(a, std::min(setup.packet, n_image)), a, 0});
  }
  std::make_heap(next.begin(), next.end());
  double latest = 0;
  while (!next.empty()) {
    std::pop_heap(next.begin(), next.end());
    Next& one = next.back();
    while (now() < one.due) {
      const double wait = one.due - now();
      if (wait > 1e-4) std::this_thread::sleep_for(std::chrono::duration<double>(wait));
    }
    const std::int64_t n = std::min(setup.packet, n_image - one.done);
    const Packet packet{one.amplifier, n, one.due};
    const int link = links[static_cast<std::size_t>(one.amplifier) % links.size()];
    write_all(link, &packet, sizeof packet);
    const auto at = static_cast<std::size_t>(one.done * 7919 % (1 << 21));
    write_all(link, samples.data() + at, static_cast<std::size_t>(2 * n));
    latest = std::max(latest, now() - one.due);
    one.done += n;
    if (one.done == n_image) {
      next.pop_back();
    } else {
      one.due = due(one.amplifier, std::min(one.done + setup.packet, n_image));
      std::push_heap(next.begin(), next.end());
    }
  }
  std::printf("board: gave its packets at most %.1f ms late\n", 1e3 * latest);
  std::fflush(stdout);
}

const char* const config_text = R"(
[input]
overscan_cols = 50
[[stage]]
kind = "compress_skips"
statistics = ["mean", "std"]
[[stage]]
kind = "subtract_pedestal"
[[stage]]
kind = "calibrate"
gain = 5.0
[[stage]]
kind = "find_clusters"
noise = 0.2
[[alarm]]
when = "noise_e > 10 for 5 rows"
)";

ImageInfo image_of(const LoadedConfig& config, std::int64_t rows, std::int64_t cols,
                   std::int64_t skips) {
  ImageInfo image = config.image;
  image.n_rows = rows;
  image.n_cols = cols;
  image.n_skips = skips;
  image.format.is_unsigned = true;
  return image;
}

struct Amplifier {
  std::unique_ptr<Pipeline> pipeline;
  std::unique_ptr<RowQueue> queue;
  std::int64_t n_samples = 0;
  std::vector<double> row_given;  // when the last sample of each row was read out
  std::vector<double> latency;    // of each row; NaN: lost
};

std::int64_t memory_kib(const char* name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name)) return std::atoll(line.c_str() + std::strlen(name) + 1);
  }
  return 0;
}

int run(const Words& words) {
  const Setup setup(words);
  std::vector<int> board_links, links;
  for (std::int64_t t = 0; t < setup.threads; ++t) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return 3;
    board_links.push_back(pair[0]);
    links.push_back(pair[1]);
  }
  const pid_t board = fork();
  if (board == 0) {
    for (const int link : links) close(link);
    read_out(setup, board_links);
    _exit(0);
  }
  for (const int link : board_links) close(link);

  const auto config = load_config(config_text);
  const auto image = image_of(config, setup.rows, setup.cols, setup.skips);
  const double stall = number(words, "stall");
  double middle = 0;  // of the readout
  std::vector<Amplifier> amplifiers(static_cast<std::size_t>(setup.amplifiers));
  for (auto& one : amplifiers) {
    PipelineOptions options;
    options.alarms = config.alarms;
    options.max_table_rows = 10'000;
    one.pipeline = std::make_unique<Pipeline>(config.chain(), options);
    one.pipeline->begin(image);
    one.row_given.resize(static_cast<std::size_t>(setup.rows));
    one.latency.reserve(static_cast<std::size_t>(setup.rows));
    one.pipeline->add_tap(3, [&one, stall, &middle](const PixelChunk& rows) {
      const double time = now();
      if (stall > 0 && time > middle && time < middle + stall) {
        std::this_thread::sleep_for(std::chrono::duration<double>(middle + stall - time));
      }
      for (std::int64_t r = 0; r < rows.n_rows; ++r) {
        const bool is_lost = (rows.mask_row(r)[0] & mask_bit::no_data) != 0;
        const double given = one.row_given[static_cast<std::size_t>(rows.first_row + r)];
        if (!is_lost) one.latency.push_back(now() - given);
      }
    });
    if (const auto& policy = words.at("queue"); policy != "none") {
      QueueOptions wanted;
      wanted.max_bytes = static_cast<std::int64_t>(1024 * number(words, "queue_kib"));
      wanted.policy = policy == "block"  ? QueuePolicy::block
                      : policy == "drop" ? QueuePolicy::drop
                                         : QueuePolicy::spill;
      one.queue = std::make_unique<RowQueue>(*one.pipeline, image, wanted);
    }
  }

  middle = now() + number(words, "seconds") / 2;
  write_all(links[0], "g", 1);
  std::atomic<std::int64_t> early_kib = 0;
  const auto receive = [&](int link) {
    std::vector<std::byte> samples(2 * setup.packet);
    const std::int64_t row_samples = setup.cols * setup.skips;
    for (Packet packet; read_all(link, &packet, sizeof packet);) {
      if (!read_all(link, samples.data(), static_cast<std::size_t>(2 * packet.n_samples))) break;
      auto& one = amplifiers[static_cast<std::size_t>(packet.amplifier)];
      const std::int64_t first_row = one.n_samples / row_samples;
      one.n_samples += packet.n_samples;
      for (std::int64_t row = first_row; row < one.n_samples / row_samples; ++row) {
        const std::int64_t after = one.n_samples - (row + 1) * row_samples;
        one.row_given[static_cast<std::size_t>(row)] =
            packet.sent - static_cast<double>(after) / setup.rate;
      }
      const auto part = std::span(samples).first(static_cast<std::size_t>(2 * packet.n_samples));
      if (one.queue) {
        one.queue->push(part);
      } else {
        one.pipeline->push(part);
      }
      if (early_kib == 0 && one.n_samples > 2 * row_samples) early_kib = memory_kib("VmRSS:");
    }
  };
  std::vector<std::thread> threads;
  for (const int link : links) threads.emplace_back(receive, link);
  for (auto& thread : threads) thread.join();
  std::vector<double> latencies;
  std::int64_t n_samples = 0, dropped = 0, spilled = 0;
  for (auto& one : amplifiers) {
    if (one.queue) {
      one.queue->finish();
      dropped += one.queue->state().dropped_samples;
      spilled += one.queue->state().spilled_bytes;
    } else {
      one.pipeline->finish();
    }
    n_samples += one.n_samples;
    latencies.insert(latencies.end(), one.latency.begin(), one.latency.end());
  }
  waitpid(board, nullptr, 0);
  std::sort(latencies.begin(), latencies.end());
  const auto quantile = [&](double q) {
    const double last = static_cast<double>(latencies.size() - 1);
    return latencies.empty() ? 0 : 1e3 * latencies[static_cast<std::size_t>(q * last)];
  };
  const std::int64_t expected = setup.amplifiers * setup.rows;
  std::printf("samples: %lld of %lld received, %.1f MB/s; %lld dropped, %.1f MB spilled\n",
              static_cast<long long>(n_samples),
              static_cast<long long>(expected * setup.cols * setup.skips),
              2e-6 * setup.rate * static_cast<double>(setup.amplifiers),
              static_cast<long long>(dropped), 1e-6 * static_cast<double>(spilled));
  std::printf("rows: %lld of %lld; latency p50 %.2f, p99 %.2f, max %.2f ms\n",
              static_cast<long long>(latencies.size()), static_cast<long long>(expected),
              quantile(0.5), quantile(0.99), quantile(1));
  std::printf("memory: %lld MiB after two rows, %lld MiB at the end, at most %lld MiB\n",
              static_cast<long long>(early_kib / 1024),
              static_cast<long long>(memory_kib("VmRSS:") / 1024),
              static_cast<long long>(memory_kib("VmHWM:") / 1024));
  const bool whole = static_cast<std::int64_t>(latencies.size()) == expected && dropped == 0;
  return whole ? 0 : 1;
}

/// Rows one by one against all of them at once, by turns; the ratio of the fastest times.
int overhead(const Words& words) {
  const auto cols = static_cast<std::int64_t>(number(words, "cols"));
  const auto skips = static_cast<std::int64_t>(number(words, "skips"));
  constexpr std::int64_t rows = 100;
  const auto samples = noise(rows * cols * skips);
  const auto bytes = std::as_bytes(std::span(samples));
  const auto config = load_config(config_text);
  const auto seconds = [&](std::size_t n_pushes) {
    Pipeline pipeline(config.chain(), {});
    pipeline.begin(image_of(config, rows, cols, skips));
    const double begin = now();
    const std::size_t n = bytes.size() / n_pushes;
    for (std::size_t i = 0; i < n_pushes; ++i) pipeline.push(bytes.subspan(i * n, n));
    const double taken = now() - begin;
    pipeline.finish();
    return taken;
  };
  double at_once = 1e9, by_row = 1e9;
  for (int i = 0; i < 15; ++i) {
    at_once = std::min(at_once, seconds(1));
    by_row = std::min(by_row, seconds(rows));
  }
  std::printf("%lld columns x %lld skips: at once %.2f ms a row, row by row %.2f ms; ratio %.3f\n",
              static_cast<long long>(cols), static_cast<long long>(skips), 1e3 * at_once / rows,
              1e3 * by_row / rows, by_row / at_once);
  return 0;
}

}  // namespace

int main(int n_arguments, char** arguments) {
  Words words{{"modules", "64"}, {"amplifiers", "4"}, {"samples_per_s", "1.087e6"},
              {"seconds", "60"}, {"cols", "1000"},    {"skips", "500"},
              {"threads", "2"},  {"packet", "2048"},  {"queue_kib", "8192"},
              {"in_step", "0"},  {"queue", "none"},   {"stall", "0"}};
  bool is_overhead = false;
  for (int i = 1; i < n_arguments; ++i) {
    const std::string word = arguments[i];
    const auto equals = word.find('=');
    if (word == "overhead") {
      is_overhead = true;
    } else if (equals == std::string::npos || !words.contains(word.substr(0, equals))) {
      std::fprintf(stderr, "daq: %s is not known; see the head of bench/daq.cpp\n", word.c_str());
      return 2;
    } else {
      words[word.substr(0, equals)] = word.substr(equals + 1);
    }
  }
  return is_overhead ? overhead(words) : run(words);
}
