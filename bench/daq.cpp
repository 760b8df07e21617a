// A readout in real time, in a process of its own, and what the library makes of it:
//
//   c++ -std=c++20 -O2 bench/daq.cpp $(pkg-config --cflags --libs skipstream) -o daq
//   ./daq [modules=64] [amplifiers=4] [samples_per_s=1.087e6] [seconds=60] [cols=1000] [skips=500]
//         [packet=2048] [threads=2] [in_step=0] [queue=none|block|drop|spill] [queue_kib=8192]
//         [stall=0] [kill=0]
//   ./daq day [modules=64] [amplifiers=4] [cols=1000] [skips=500] [threads=2]
//   ./daq overhead [cols=1000] [skips=500]
//
// samples_per_s are those of a module, all amplifiers together. Latency is from when the board gave
// the last sample of a row to when its pixels are there; a packet takes its own time to fill, which
// is in it. With in_step = 1 the rows of all modules end at the same moment, else of each module at
// its own. With a queue, each amplifier has one, and all that their threads do stands still for
// `stall` seconds in the middle. After `kill` seconds the process that reduces is killed, and
// another one goes on in mid-image. Every row that comes is compared with that of an image whose
// samples all came. `day` pushes the images that so many modules read out in 24 hours at 108.7
// ksample/s, one of 20 minutes after the other, as fast as it goes.

#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <new>
#include <span>
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
  std::int64_t first = 0;  // of its samples in the image
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

/// Whole or not at all: a reader that is killed leaves no half packet.
void send(int to, const Packet& packet, const std::uint16_t* samples) {
  const auto n_bytes = static_cast<std::size_t>(2 * packet.n_samples);
  const iovec parts[]{{const_cast<Packet*>(&packet), sizeof packet},
                      {const_cast<std::uint16_t*>(samples), n_bytes}};
  if (writev(to, parts, 2) != static_cast<ssize_t>(sizeof packet + n_bytes)) std::exit(3);
}

bool receive(int from, Packet& packet, std::span<std::byte> samples) {
  const iovec parts[]{{&packet, sizeof packet}, {samples.data(), samples.size()}};
  return readv(from, parts, 2) > 0;
}

constexpr std::int64_t n_noise = 1 << 22;

std::vector<std::uint16_t> noise(std::int64_t n) {
  std::vector<std::uint16_t> samples(static_cast<std::size_t>(n));
  std::uint32_t state = 1;
  for (auto& sample : samples) {
    state = state * 1664525U + 1013904223U;
    sample = static_cast<std::uint16_t>(1000 + (state >> 28) + (state >> 20 & 15));
  }
  return samples;
}

/// What every amplifier reads out, from sample `first` on.
const std::uint16_t* read_from(const std::vector<std::uint16_t>& samples, std::int64_t first) {
  return samples.data() + first * 7919 % static_cast<std::int64_t>(samples.size() / 2);
}

/// The board: gives each packet when its last sample has been read out.
void read_out(const Setup& setup, const std::vector<int>& links, int go) {
  const auto samples = noise(n_noise);
  const std::int64_t n_image = setup.rows * setup.cols * setup.skips;
  const std::int64_t per_module = setup.amplifiers / setup.modules;
  struct Next {
    double due;
    std::int64_t amplifier;
    std::int64_t done;
    bool operator<(const Next& other) const { return due > other.due; }  // the earliest on top
  };
  char word = 0;
  if (read(go, &word, 1) != 1) std::exit(3);  // the readout begins when all images have
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
    send(links[static_cast<std::size_t>(one.amplifier) % links.size()],
         {one.amplifier, one.done, n, one.due}, read_from(samples, one.done));
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
};

std::int64_t memory_kib(const char* name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name)) return std::atoll(line.c_str() + std::strlen(name) + 1);
  }
  return 0;
}

std::uint64_t hash_of(std::span<const double> pixels) {
  std::uint64_t hash = 14695981039346656037U;
  for (const double pixel : pixels) {
    hash = (hash ^ std::bit_cast<std::uint64_t>(pixel)) * 1099511628211U;
  }
  return hash;
}

struct Row {
  std::uint64_t hash;
  double latency;  // s; 0: it did not come
};

/// What outlives a process that is killed.
struct Totals {
  std::atomic<std::int64_t> received, lost, dropped, spilled;  // samples, and bytes on disk
  std::atomic<std::int64_t> early_kib, end_kib, most_kib;
};

void* shared(std::size_t n_bytes) {
  void* at = mmap(nullptr, n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) std::exit(3);
  return at;
}

constexpr std::size_t calibrated = 3;  // the stage after which pixels are looked at

/// The process that reduces what the links bring.
void reduce(const Setup& setup, const Words& words, const std::vector<int>& links, int go,
            double& middle, Totals& totals, std::span<Row> rows) {
  const auto config = load_config(config_text);
  const auto image = image_of(config, setup.rows, setup.cols, setup.skips);
  const double stall = number(words, "stall");
  std::vector<Amplifier> amplifiers(static_cast<std::size_t>(setup.amplifiers));
  for (std::size_t a = 0; a < amplifiers.size(); ++a) {
    auto& one = amplifiers[a];
    PipelineOptions options;
    options.alarms = config.alarms;
    options.max_table_rows = 10'000;
    one.pipeline = std::make_unique<Pipeline>(config.chain(), options);
    one.pipeline->begin(image);
    one.row_given.resize(static_cast<std::size_t>(setup.rows));
    const auto own_rows = rows.subspan(a * static_cast<std::size_t>(setup.rows));
    one.pipeline->add_tap(calibrated, [&one, own_rows, stall, &middle](const PixelChunk& chunk) {
      const double time = now();
      if (stall > 0 && time > middle && time < middle + stall) {
        std::this_thread::sleep_for(std::chrono::duration<double>(middle + stall - time));
      }
      for (std::int64_t r = 0; r < chunk.n_rows; ++r) {
        const auto mask = chunk.mask_row(r);
        const bool is_whole = std::none_of(mask.begin(), mask.end(), [](auto bits) {
          return (bits & (mask_bit::no_data | mask_bit::missing_skips)) != 0;
        });
        const auto row = static_cast<std::size_t>(chunk.first_row + r);
        if (is_whole) own_rows[row] = {hash_of(chunk.row(0, r)), now() - one.row_given[row]};
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
  if (middle == 0) middle = now() + number(words, "seconds") / 2;
  if (write(go, "g", 1) != 1) _exit(3);

  const auto push_all = [&](int link) {
    std::vector<std::byte> samples(static_cast<std::size_t>(2 * setup.packet));
    const std::int64_t row_samples = setup.cols * setup.skips;
    for (Packet packet; receive(link, packet, samples);) {
      auto& one = amplifiers[static_cast<std::size_t>(packet.amplifier)];
      if (const auto n_lost = packet.first - one.n_samples; n_lost > 0) {
        one.queue ? one.queue->push_lost(n_lost) : one.pipeline->push_lost(n_lost);
        one.n_samples = packet.first;
      }
      const std::int64_t first_row = one.n_samples / row_samples;
      one.n_samples += packet.n_samples;
      for (std::int64_t row = first_row; row < one.n_samples / row_samples; ++row) {
        const std::int64_t after = one.n_samples - (row + 1) * row_samples;
        one.row_given[static_cast<std::size_t>(row)] =
            packet.sent - static_cast<double>(after) / setup.rate;
      }
      const auto part = std::span(samples).first(static_cast<std::size_t>(2 * packet.n_samples));
      one.queue ? one.queue->push(part) : one.pipeline->push(part);
      totals.received += packet.n_samples;
      if (totals.early_kib == 0 && one.n_samples > 2 * row_samples) {
        totals.early_kib = memory_kib("VmRSS:");
      }
    }
  };
  std::vector<std::thread> threads;
  for (const int link : links) threads.emplace_back(push_all, link);
  for (auto& thread : threads) thread.join();
  for (auto& one : amplifiers) {
    if (one.queue) {
      one.queue->finish();
      totals.dropped += one.queue->state().dropped_samples;
      totals.spilled += one.queue->state().spilled_bytes;
    } else {
      one.pipeline->finish();
    }
  }
  totals.end_kib = memory_kib("VmRSS:");
  totals.most_kib = memory_kib("VmHWM:");
}

/// The rows of an image whose samples all come.
std::vector<std::uint64_t> undisturbed(const Setup& setup) {
  const auto samples = noise(n_noise);
  const auto config = load_config(config_text);
  Pipeline pipeline(config.chain(), {});
  pipeline.begin(image_of(config, setup.rows, setup.cols, setup.skips));
  std::vector<std::uint64_t> hashes;
  pipeline.add_tap(calibrated, [&](const PixelChunk& chunk) {
    for (std::int64_t r = 0; r < chunk.n_rows; ++r) hashes.push_back(hash_of(chunk.row(0, r)));
  });
  const std::int64_t n_image = setup.rows * setup.cols * setup.skips;
  for (std::int64_t first = 0; first < n_image; first += setup.packet) {
    const auto n = static_cast<std::size_t>(std::min(setup.packet, n_image - first));
    pipeline.push(std::as_bytes(std::span(read_from(samples, first), n)));
  }
  pipeline.finish();
  return hashes;
}

int run(const Words& words) {
  const Setup setup(words);
  std::vector<int> board_links, links;
  const auto connect = [](int type) {
    std::array<int, 2> pair;
    if (socketpair(AF_UNIX, type, 0, pair.data()) != 0) std::exit(3);
    return pair;
  };
  for (std::int64_t t = 0; t < setup.threads; ++t) {
    const auto pair = connect(SOCK_SEQPACKET);
    board_links.push_back(pair[0]);
    links.push_back(pair[1]);
  }
  const auto go = connect(SOCK_STREAM);
  const pid_t board = fork();
  if (board == 0) {
    for (const int link : links) close(link);
    read_out(setup, board_links, go[0]);
    _exit(0);
  }
  for (const int link : board_links) close(link);

  const auto n_rows = static_cast<std::size_t>(setup.amplifiers * setup.rows);
  auto& totals = *new (shared(sizeof(Totals))) Totals();
  auto& middle = *new (shared(sizeof(double))) double(0);
  const std::span rows(static_cast<Row*>(shared(n_rows * sizeof(Row))), n_rows);
  const auto fork_worker = [&] {
    const pid_t worker = fork();
    if (worker != 0) return worker;
    reduce(setup, words, links, go[1], middle, totals, rows);
    _exit(0);
  };
  pid_t worker = fork_worker();
  if (const double seconds = number(words, "kill"); seconds > 0) {
    while (middle == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    kill(worker, SIGKILL);
    waitpid(worker, nullptr, 0);
    totals.early_kib = 0;
    worker = fork_worker();
  }
  int status = 0;
  waitpid(worker, &status, 0);
  if (status != 0) return 3;
  waitpid(board, nullptr, 0);

  const auto expected = undisturbed(setup);
  std::vector<double> latencies;
  std::int64_t n_wrong = 0;
  for (std::size_t i = 0; i < n_rows; ++i) {
    if (rows[i].latency == 0) continue;
    latencies.push_back(rows[i].latency);
    n_wrong += rows[i].hash != expected[i % expected.size()];
  }
  std::sort(latencies.begin(), latencies.end());
  const auto quantile = [&](double q) {
    const double last = static_cast<double>(latencies.size() - 1);
    return latencies.empty() ? 0 : 1e3 * latencies[static_cast<std::size_t>(q * last)];
  };
  const auto whole = [](std::int64_t n) { return static_cast<long long>(n); };
  std::printf("samples: %lld of %lld received, %.1f MB/s; %lld dropped, %.1f MB spilled\n",
              whole(totals.received),
              whole(setup.amplifiers * setup.rows * setup.cols * setup.skips),
              2e-6 * setup.rate * static_cast<double>(setup.amplifiers), whole(totals.dropped),
              1e-6 * static_cast<double>(totals.spilled));
  std::printf(
      "rows: %zu of %zu whole, %lld of them wrong; latency p50 %.2f, p99 %.2f, max %.2f ms\n",
      latencies.size(), n_rows, whole(n_wrong), quantile(0.5), quantile(0.99), quantile(1));
  std::printf("memory: %lld MiB after two rows, %lld MiB at the end, at most %lld MiB\n",
              whole(totals.early_kib / 1024), whole(totals.end_kib / 1024),
              whole(totals.most_kib / 1024));
  const bool is_all = latencies.size() == n_rows && totals.dropped == 0;
  return is_all && n_wrong == 0 ? 0 : 1;
}

/// A day's images of all amplifiers, one after the other, as fast as they can be pushed.
int day(const Words& words) {
  constexpr double module_rate = 108.7e3, image_seconds = 1200, day_seconds = 86400;
  const auto cols = static_cast<std::int64_t>(number(words, "cols"));
  const auto skips = static_cast<std::int64_t>(number(words, "skips"));
  const double n_amplifiers = number(words, "modules") * number(words, "amplifiers");
  const double samples_per_image = image_seconds * module_rate / number(words, "amplifiers");
  const auto rows =
      std::max<std::int64_t>(2, static_cast<std::int64_t>(samples_per_image) / (cols * skips));
  const auto n_images = static_cast<std::int64_t>(n_amplifiers * day_seconds / image_seconds);
  const auto samples = noise(8 * cols * skips);
  const auto bytes = std::as_bytes(std::span(samples));
  const auto config = load_config(config_text);
  std::atomic<std::int64_t> next = 0, n_rows = 0, early_kib = 0;
  const auto push_images = [&] {
    for (std::int64_t image = next++; image < n_images; image = next++) {
      PipelineOptions options;
      options.alarms = config.alarms;
      Pipeline pipeline(config.chain(), options);
      pipeline.begin(image_of(config, rows, cols, skips));
      pipeline.add_tap(calibrated, [&](const PixelChunk& chunk) { n_rows += chunk.n_rows; });
      const std::size_t row_bytes = bytes.size() / 8;
      for (std::int64_t row = 0; row < rows; ++row) {
        pipeline.push(
            bytes.subspan(static_cast<std::size_t>((image + row) % 8) * row_bytes, row_bytes));
      }
      pipeline.finish();
      if (image == n_images / 100) early_kib = memory_kib("VmRSS:");
    }
  };
  const double begin = now();
  std::vector<std::thread> threads;
  for (int t = 0; t < static_cast<int>(number(words, "threads")); ++t)
    threads.emplace_back(push_images);
  for (auto& thread : threads) thread.join();
  const double taken = now() - begin;
  std::printf(
      "%lld images of %lld rows in %.0f s, %.0f times faster than the detector; %.1f GB/s\n",
      static_cast<long long>(n_images), static_cast<long long>(rows), taken, day_seconds / taken,
      2e-9 * static_cast<double>(n_images * rows * cols * skips) / taken);
  std::printf("rows: %lld of %lld\n", static_cast<long long>(n_rows),
              static_cast<long long>(n_images * rows));
  std::printf("memory: %lld KiB after 1 %% of the images, %lld KiB at the end, at most %lld KiB\n",
              static_cast<long long>(early_kib), static_cast<long long>(memory_kib("VmRSS:")),
              static_cast<long long>(memory_kib("VmHWM:")));
  return n_rows == n_images * rows ? 0 : 1;
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
              {"in_step", "0"},  {"queue", "none"},   {"stall", "0"},
              {"kill", "0"}};
  std::string mode = "run";
  for (int i = 1; i < n_arguments; ++i) {
    const std::string word = arguments[i];
    const auto equals = word.find('=');
    if (i == 1 && (word == "overhead" || word == "day")) {
      mode = word;
    } else if (equals == std::string::npos || !words.contains(word.substr(0, equals))) {
      std::fprintf(stderr, "daq: %s is not known; see the head of bench/daq.cpp\n", word.c_str());
      return 2;
    } else {
      words[word.substr(0, equals)] = word.substr(equals + 1);
    }
  }
  return mode == "run" ? run(words) : mode == "day" ? day(words) : overhead(words);
}
