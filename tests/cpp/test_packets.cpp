// Packets of an LTA, made here from the samples of an image: whole, split, lost, late, and wrong.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "check.hpp"
#include "skipstream/base/error.hpp"
#include "skipstream/io/lta_packets.hpp"

using namespace skipstream;

namespace {

using Samples = std::vector<std::int32_t>;
constexpr std::int32_t blank = LtaPackets::blank;

struct Packet {
  int counter = 0;
  std::vector<std::uint64_t> words;
  std::size_t first = 0;  ///< of the words, counted from the begin of the image
};

std::vector<std::byte> bytes_of(const Packet& packet) {
  std::vector<std::byte> bytes{static_cast<std::byte>(packet.words.size()), std::byte{0},
                               static_cast<std::byte>(packet.counter)};
  for (const std::uint64_t word : packet.words) {
    for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<std::byte>(word >> (8 * i)));
  }
  return bytes;
}

std::uint64_t word_of(std::int32_t sample, int channel, std::size_t counter,
                      std::uint64_t between = 0) {
  const auto transmitted = static_cast<std::uint32_t>(-static_cast<std::int64_t>(sample));
  return transmitted | between << 32 | static_cast<std::uint64_t>(channel) << 56 |
         static_cast<std::uint64_t>(counter % 16) << 60;
}

/// An image of four channels, and the packets that bring it.
struct Readout {
  LtaPackets::Shape shape;
  std::vector<int> channels;  ///< in the order of their turns
  Samples turns;              ///< samples in the order in which they come
  std::vector<Packet> packets;

  /// `sizes` of the packets, in turns.
  Readout(LtaPackets::Shape given, const std::vector<std::size_t>& sizes,
          std::vector<int> numbers = {14, 12, 15, 13})
      : shape(given), channels(std::move(numbers)) {
    std::mt19937 random(5);
    const std::int64_t n = 4 * shape.n_rows * shape.n_cols * shape.n_skips;
    for (std::int64_t i = 0; i < n; ++i) {
      auto sample = static_cast<std::int32_t>(random() - (1U << 31));
      if (sample == blank) ++sample;
      turns.push_back(sample);
    }
    int counter = 250;
    for (std::size_t begin = 0; begin < turns.size();) {
      const std::size_t size = sizes[packets.size() % sizes.size()];
      Packet packet{counter++ & 255, {}, begin};
      for (; begin < std::min(packet.first + size, turns.size()); ++begin) {
        packet.words.push_back(word_of(turns[begin], channels[begin % 4], begin));
      }
      packets.push_back(packet);
    }
  }

  /// The samples of these words do not come.
  void lose(std::size_t begin, std::size_t end) { std::fill_n(&turns[begin], end - begin, blank); }
  void lose(const Packet& packet) { lose(packet.first, packet.first + packet.words.size()); }

  /// Samples of the channels, which are in the order of their numbers.
  [[nodiscard]] std::vector<Samples> samples() const {
    auto sorted = channels;
    std::sort(sorted.begin(), sorted.end());
    std::vector<Samples> found;
    for (const int number : sorted) {
      found.emplace_back();
      const auto turn = std::find(channels.begin(), channels.end(), number) - channels.begin();
      for (auto i = static_cast<std::size_t>(turn); i < turns.size(); i += 4) {
        found.back().push_back(turns[i]);
      }
    }
    return found;
  }
};

/// What comes out, and that only whole rows do.
struct Reader {
  LtaPackets packets;
  std::vector<Samples> samples{4};
  std::vector<std::size_t> n_rows;  ///< of each call
  std::size_t row_samples;

  explicit Reader(const Readout& readout)
      : packets(readout.channels, readout.shape),
        row_samples(static_cast<std::size_t>(readout.shape.n_cols * readout.shape.n_skips)) {}

  LtaPackets::Sink sink() {
    return [this](std::size_t channel, std::span<const std::int32_t> rows) {
      check::equal(rows.size() % row_samples, std::size_t{0}, "whole rows");
      n_rows.push_back(rows.size() / row_samples);
      samples[channel].insert(samples[channel].end(), rows.begin(), rows.end());
    };
  }
  void push(const std::vector<std::byte>& bytes) { packets.push(bytes, sink()); }
  void push(const Packet& packet) { push(bytes_of(packet)); }
  void finish() { packets.finish(sink()); }
};

Reader read(const Readout& readout, const std::vector<Packet>& packets) {
  Reader reader(readout);
  for (const auto& packet : packets) reader.push(packet);
  reader.finish();
  return reader;
}

std::int64_t n_blanks(const Readout& readout) {
  return std::count(readout.turns.begin(), readout.turns.end(), blank);
}

void whole_packets_split_anywhere_give_the_samples() {
  for (const auto& shape :
       {LtaPackets::Shape{1, 1, 1}, LtaPackets::Shape{3, 5, 2}, LtaPackets::Shape{7, 30, 9}}) {
    for (const std::vector<std::size_t>& sizes :
         {std::vector<std::size_t>{1}, {4}, {37}, {255}, {3, 0, 250, 16}}) {
      for (const std::vector<int>& channels :
           {std::vector<int>{12, 13, 14, 15}, {15, 14, 13, 12}, {0, 7, 3, 15}}) {
        const Readout readout(shape, sizes, channels);
        std::vector<std::byte> bytes;
        for (const auto& packet : readout.packets) {
          const auto more = bytes_of(packet);
          bytes.insert(bytes.end(), more.begin(), more.end());
        }
        check::that(LtaPackets::channels_in(bytes) == channels, "the order of turns");
        for (const std::size_t part : {std::size_t{1}, std::size_t{2}, std::size_t{3},
                                       std::size_t{9}, std::size_t{700}, bytes.size()}) {
          Reader reader(readout);
          for (std::size_t begin = 0; begin < bytes.size(); begin += part) {
            check::that(!reader.packets.is_complete(), "not yet");
            reader.push({bytes.begin() + static_cast<std::ptrdiff_t>(begin),
                         bytes.begin() +
                             static_cast<std::ptrdiff_t>(std::min(begin + part, bytes.size()))});
          }
          check::that(reader.packets.is_complete(), "all samples came");
          reader.finish();
          check::that(reader.samples == readout.samples(), "the samples");
          const auto& counts = reader.packets.counts();
          check::equal(counts.n_packets, static_cast<std::int64_t>(readout.packets.size()));
          check::equal(counts.n_samples, static_cast<std::int64_t>(readout.turns.size()));
          check::equal(counts.n_lost_packets + counts.n_lost_samples + counts.n_unsure_gaps +
                           counts.n_late_packets + counts.n_excess_samples + counts.n_cut_packets,
                       0);
          for (std::size_t c = 0; c < 4; ++c) {
            check::equal(reader.packets.rows_done(c), shape.n_rows);
          }
        }
      }
    }
  }
}

void lost_packets_are_blank_and_move_nothing() {
  for (const std::size_t size : {16, 22, 61}) {
    for (const std::set<std::size_t>& lost :
         {std::set<std::size_t>{20}, {30}, {25, 26, 27, 29}, {21, 40, 41, 42, 43, 44, 60}}) {
      Readout readout({40, 10, 16}, {size});
      std::vector<Packet> came;
      for (std::size_t p = 0; p < readout.packets.size(); ++p) {
        if (lost.contains(p)) readout.lose(readout.packets[p]);
        if (!lost.contains(p)) came.push_back(readout.packets[p]);
      }
      const Reader reader = read(readout, came);
      check::that(reader.samples == readout.samples(), "what came is in its place");
      const auto& counts = reader.packets.counts();
      check::equal(counts.n_lost_packets, static_cast<std::int64_t>(lost.size()));
      check::equal(counts.n_lost_samples, n_blanks(readout));
      check::equal(counts.n_unsure_gaps, 0);
      check::equal(counts.n_late_packets, 0);
    }
  }
}

void gaps_up_to_127_packets_are_filled_and_longer_ones_cost_two_more() {
  for (const std::size_t n_lost : {100, 126, 127, 128, 129, 200, 252}) {
    Readout readout({60, 20, 16}, {100});
    std::vector<Packet> came(readout.packets.begin(), readout.packets.begin() + 40);
    came.insert(came.end(), readout.packets.begin() + 40 + static_cast<std::ptrdiff_t>(n_lost),
                readout.packets.end());
    // Those that a straggler might be are left out: two, then it is known that none was.
    const std::size_t n_late = n_lost > 127 ? 2 : 0;
    for (std::size_t p = 40; p < 40 + n_lost + n_late; ++p) readout.lose(readout.packets[p]);
    const Reader reader = read(readout, came);
    check::that(reader.samples == readout.samples(), std::to_string(n_lost));
    const auto& counts = reader.packets.counts();
    check::equal(counts.n_lost_packets, static_cast<std::int64_t>(n_lost + n_late));
    check::equal(counts.n_late_packets, static_cast<std::int64_t>(n_late));
    check::equal(counts.n_unsure_gaps, 0);
  }
}

void a_lost_packet_of_another_size_is_seen_by_the_words() {
  // Around 22, the size of the packet before: the nearest length that fits the words' counter.
  for (std::size_t size = 22 - 7; size <= 22 + 8; ++size) {
    std::vector<std::size_t> sizes(60, 22);
    sizes[40] = size;
    Readout readout({20, 5, 12}, sizes);
    auto came = readout.packets;
    came.erase(came.begin() + 40);
    if (size == 16) continue;  // the words go on: as if the packets' counter had slipped
    readout.lose(readout.packets[40]);
    const Reader reader = read(readout, came);
    check::that(reader.samples == readout.samples(), std::to_string(size));
    check::equal(reader.packets.counts().n_lost_packets, 1);
    check::equal(reader.packets.counts().n_unsure_gaps, size == 22 ? 0 : 1);
    check::equal(reader.packets.counts().n_lost_samples, static_cast<std::int64_t>(size));
  }
}

void a_few_words_that_are_missing_are_blank() {
  for (std::size_t n = 1; n < 16; ++n) {
    Readout readout({20, 5, 12}, {50});
    auto came = readout.packets;
    auto& words = came[30].words;
    const auto begin = words.begin() + 7;
    words.erase(begin, begin + static_cast<std::ptrdiff_t>(n));
    readout.lose(came[30].first + 7, came[30].first + 7 + n);
    const Reader reader = read(readout, came);
    check::that(reader.samples == readout.samples(), std::to_string(n));
    check::equal(reader.packets.counts().n_unsure_gaps, 1);
    check::equal(reader.packets.counts().n_lost_samples, static_cast<std::int64_t>(n));
  }
}

void numbers_skipped_without_a_loss_move_nothing() {
  for (std::size_t at = 1; at < 40; ++at) {
    const Readout readout({20, 5, 12}, {50});
    auto came = readout.packets;
    for (std::size_t p = at; p < came.size(); ++p) came[p].counter = (came[p].counter + 3) & 255;
    const Reader reader = read(readout, came);
    check::that(reader.samples == readout.samples(), std::to_string(at));
    // The daemon's first 20 packets may skip numbers.
    check::equal(reader.packets.counts().n_lost_packets, at < 20 ? 0 : 3, std::to_string(at));
    check::equal(reader.packets.counts().n_unsure_gaps, at < 20 ? 0 : 1, std::to_string(at));
    check::equal(reader.packets.counts().n_lost_samples, 0);
  }
  // The counter may even fall back there, while the words go on.
  for (const std::size_t at : {1, 10, 19, 20}) {
    const Readout readout({20, 5, 12}, {50});
    auto came = readout.packets;
    for (std::size_t p = at; p < came.size(); ++p) came[p].counter = (came[p].counter + 250) & 255;
    const Reader reader = read(readout, came);
    check::equal(reader.packets.counts().n_late_packets, at < 20 ? 0 : 2, std::to_string(at));
    check::equal(reader.samples == readout.samples(), at < 20, std::to_string(at));
  }
}

void packets_lost_at_the_start_are_seen_by_their_words() {
  Readout readout({20, 5, 12}, {50});
  auto came = readout.packets;
  readout.lose(came[7]);
  came.erase(came.begin() + 7);
  const Reader reader = read(readout, came);
  check::that(reader.samples == readout.samples());
  check::equal(reader.packets.counts().n_lost_packets, 0);
  check::equal(reader.packets.counts().n_lost_samples, 50);
  check::equal(reader.packets.counts().n_unsure_gaps, 0);
}

void packets_that_come_again_or_late_are_left_out() {
  const Readout readout({20, 5, 12}, {21});
  const auto& packets = readout.packets;
  const std::vector<std::vector<std::size_t>> orders{
      {30, 29},                  // again, later
      {30, 30},                  // twice
      {30, 25, 26},              // two, one after another
      {30, 25, 31, 26, 32, 27},  // three with others between
      {30, 28, 28, 28, 31},      // thrice the same
      {30, 5, 25, 6, 26},        // not one after another
      {6, 5},                    // number 255 behind 0
      {7, 5},
      {10, 10},    // among the first
      {10, 4, 5},  // two of these: 4 and 5 are numbers 254 and 255
      {10, 5, 6},  // 255 and 0
  };
  for (const auto& order : orders) {
    std::vector<Packet> came(packets.begin(),
                             packets.begin() + static_cast<std::ptrdiff_t>(order[0]));
    std::size_t next = order[0];
    std::int64_t n_late = 0;
    for (const std::size_t p : order) {
      came.push_back(packets[p]);
      if (p == next)
        ++next;
      else
        ++n_late;
    }
    came.insert(came.end(), packets.begin() + static_cast<std::ptrdiff_t>(next), packets.end());
    const Reader reader = read(readout, came);
    check::that(reader.samples == readout.samples(), std::to_string(order[0]));
    check::equal(reader.packets.counts().n_late_packets, n_late);
    check::equal(reader.packets.counts().n_lost_samples, 0);
    check::equal(reader.packets.counts().n_samples,
                 static_cast<std::int64_t>(readout.turns.size()));
  }
}

void packets_without_words_do_not_tell_a_size() {
  Readout readout({20, 5, 12}, std::vector<std::size_t>{40, 0, 40});
  std::vector<Packet> came;
  for (std::size_t p = 0; p < readout.packets.size(); ++p) {
    // Packet 31 is empty, and 32 is lost: 40 words, as had the last one with any.
    if (p == 32) readout.lose(readout.packets[p]);
    if (p != 32) came.push_back(readout.packets[p]);
  }
  check::equal(readout.packets[31].words.size(), std::size_t{0});
  const Reader reader = read(readout, came);
  check::that(reader.samples == readout.samples());
  check::equal(reader.packets.counts().n_unsure_gaps, 0);
}

void rows_are_handed_out_together() {
  Readout readout({600, 100, 10}, {250});
  const Reader reader = read(readout, readout.packets);
  check::that(reader.samples == readout.samples());
  // 2^18 samples hold 262 rows of 1,000.
  std::vector<std::size_t> expected;
  for (const std::size_t n : {262, 262, 76}) expected.insert(expected.end(), 4, n);
  check::that(reader.n_rows == expected);
  check::equal(LtaPackets::held_bytes(readout.shape), std::int64_t{4 * 4 * 262 * 1000});
  check::equal(LtaPackets::held_bytes({3, 100, 10}), std::int64_t{4 * 4 * 3 * 1000});
  check::equal(LtaPackets::held_bytes({3, 1 << 20, 1}), std::int64_t{4 * 4 * (1 << 20)});
}

void whole_rows_can_be_had_before_the_end() {
  const Readout readout({9, 10, 8}, {250});
  Reader reader(readout);
  reader.packets.flush(reader.sink());
  check::that(reader.n_rows.empty(), "no row yet");
  // 750 words: 187 or 188 samples of each channel, 2 rows of 80.
  for (int p = 0; p < 3; ++p) reader.push(readout.packets[static_cast<std::size_t>(p)]);
  check::that(reader.n_rows.empty());
  reader.packets.flush(reader.sink());
  check::that(reader.n_rows == std::vector<std::size_t>{2, 2, 2, 2});
  for (std::size_t c = 0; c < 4; ++c) check::equal(reader.packets.rows_done(c), 2);
  for (std::size_t p = 3; p < readout.packets.size(); ++p) reader.push(readout.packets[p]);
  check::that(reader.packets.is_complete());
  check::that(reader.samples == readout.samples());
}

void a_readout_that_ends_early_gives_the_rows_that_have_begun() {
  Readout readout({9, 10, 8}, {250});
  Reader reader(readout);
  for (int p = 0; p < 3; ++p) reader.push(readout.packets[static_cast<std::size_t>(p)]);
  auto cut = bytes_of(readout.packets[3]);
  cut.resize(100);
  reader.push(cut);
  reader.finish();
  readout.lose(750, readout.turns.size());
  auto expected = readout.samples();
  for (auto& samples : expected) samples.resize(240);
  check::that(reader.samples == expected, "three rows");
  check::equal(reader.packets.counts().n_cut_packets, 1);
  check::equal(reader.packets.counts().n_lost_samples, 4 * 240 - 750);
  check::that(!reader.packets.is_complete());
}

void files_end_with_or_without_a_whole_packet() {
  for (const std::size_t n_there : {1, 2, 3, 10, 400}) {
    Readout readout({9, 10, 8}, {50});
    Reader reader(readout);
    for (std::size_t p = 0; p < readout.packets.size(); ++p) {
      auto bytes = bytes_of(readout.packets[p]);
      if (p == 30) bytes.resize(n_there);
      reader.push(bytes);
      if (p == 20 || p == 30) reader.packets.end_file();
    }
    reader.finish();
    readout.lose(readout.packets[30]);
    check::that(reader.samples == readout.samples());
    check::equal(reader.packets.counts().n_cut_packets, 1);
    check::equal(reader.packets.counts().n_lost_packets, 1);
  }
}

void samples_behind_the_last_row_are_left_out() {
  const Readout readout({9, 10, 8}, {50});
  Readout shorter = readout;
  shorter.shape.n_rows = 7;
  Reader reader(shorter);
  for (const auto& packet : readout.packets) reader.push(packet);
  reader.finish();
  auto expected = readout.samples();
  for (auto& samples : expected) samples.resize(560);
  check::that(reader.samples == expected);
  check::equal(reader.packets.counts().n_excess_samples, 4 * 160);
  check::equal(reader.packets.counts().n_samples, 4 * 720);
  check::equal(reader.packets.counts().n_lost_samples, 0);
  // A loss behind the last row is none.
  Reader other(shorter);
  for (std::size_t p = 0; p < readout.packets.size(); ++p) {
    if (p != 50) other.push(readout.packets[p]);
  }
  other.finish();
  check::that(other.samples == expected);
  check::equal(other.packets.counts().n_lost_samples, 0);
}

std::vector<std::byte> packet_of(const std::vector<std::uint64_t>& words) {
  return bytes_of({0, words, 0});
}

void what_are_no_packets_is_refused_with_its_place() {
  const std::vector<std::uint64_t> good{word_of(1, 12, 0), word_of(2, 13, 1), word_of(3, 14, 2),
                                        word_of(4, 15, 3)};
  const Readout readout({9, 10, 8}, {50}, {12, 13, 14, 15});
  const auto refused = [&](const std::vector<std::uint64_t>& words, const std::string& message) {
    const auto bytes = packet_of(words);
    check::throws<PacketError>([&] { Reader(readout).push(bytes); }, message);
    check::throws<PacketError>(
        [&] {
          Reader reader(readout);
          reader.push(packet_of(good));
          reader.packets.end_file();
          reader.push(bytes);
        },
        message);
    return bytes;
  };
  for (int bit = 0; bit < 24; ++bit) {
    auto words = good;
    words[1] = word_of(2, 13, 1, std::uint64_t{1} << bit);
    const std::string message =
        bit < 22 ? "byte 11: no packets of an LTA: bits 32 to 55 of a word must be zero"
                 : "byte 11: a word of a raw readout; only CDS samples make an image";
    const auto bytes = refused(words, message);
    check::throws<PacketError>([&] { LtaPackets::channels_in(bytes); }, message);
  }
  auto words = good;
  words.push_back(word_of(5, 9, 4));
  const auto five = refused(words, "byte 35: channel 9, but the channels are 12, 13, 14, 15");
  check::throws<PacketError>([&] { LtaPackets::channels_in(five); },
                             "channels 12, 13, 14, 15, 9, but a board has 4");
  Reader reader(readout);
  reader.push(packet_of(good));
  check::throws<PacketError>([&] { reader.push(five); }, "byte 70: channel 9");
}

void channels_are_those_of_whole_packets() {
  auto bytes = packet_of({word_of(1, 7, 0), word_of(1, 3, 1), word_of(1, 7, 2)});
  check::that(LtaPackets::channels_in(bytes) == std::vector<int>{7, 3});
  const auto more = packet_of({word_of(1, 15, 3)});
  bytes.insert(bytes.end(), more.begin(), more.end());
  for (std::size_t n = 0; n <= bytes.size(); ++n) {
    std::vector<int> expected;
    if (n >= 27) expected = {7, 3};
    if (n == bytes.size()) expected.push_back(15);
    check::that(LtaPackets::channels_in(std::span(bytes).first(n)) == expected);
  }
}

void impossible_readouts_are_refused() {
  const LtaPackets::Shape shape{2, 2, 2};
  for (const std::vector<int>& channels : {std::vector<int>{},
                                           {0, 1, 2},
                                           {0, 1, 2, 3, 4},
                                           {0, 1, 2, 1},
                                           {-1, 0, 1, 2},
                                           {0, 1, 2, 16}}) {
    std::string listed;
    for (const int number : channels)
      listed += (listed.empty() ? "" : ", ") + std::to_string(number);
    check::throws<ConfigError>([&] { LtaPackets(channels, shape); },
                               "packets: channels must be 4 different numbers from 0 to 15; got " +
                                   (listed.empty() ? "none" : listed));
  }
  LtaPackets({0, 5, 10, 15}, shape);
  constexpr std::int64_t most = std::int64_t{1} << 31;
  for (const LtaPackets::Shape& wrong :
       {LtaPackets::Shape{0, 2, 2}, LtaPackets::Shape{2, 0, 2}, LtaPackets::Shape{2, 2, 0},
        LtaPackets::Shape{-1, 2, 2}, LtaPackets::Shape{1, most + 1, 1},
        LtaPackets::Shape{1, most / 2 + 1, 2}, LtaPackets::Shape{(1 << 17) + 1, most, 1},
        LtaPackets::Shape{(most << 17) + 1, 1, 1}}) {
    const std::string message = "packets: an image of " + std::to_string(wrong.n_rows) + " rows, " +
                                std::to_string(wrong.n_cols) + " columns and " +
                                std::to_string(wrong.n_skips) + " skips";
    check::throws<ConfigError>([&] { static_cast<void>(LtaPackets::held_bytes(wrong)); }, message);
    check::throws<ConfigError>([&] { LtaPackets({0, 1, 2, 3}, wrong); }, message);
  }
  check::equal(LtaPackets::held_bytes({1, most, 1}), 16 * most);
  check::equal(LtaPackets::held_bytes({1 << 17, most / 4, 4}), 16 * most);
  check::equal(LtaPackets::held_bytes({most << 17, 1, 1}), std::int64_t{16} << 18);
}

}  // namespace

int main() {
  whole_packets_split_anywhere_give_the_samples();
  lost_packets_are_blank_and_move_nothing();
  gaps_up_to_127_packets_are_filled_and_longer_ones_cost_two_more();
  a_lost_packet_of_another_size_is_seen_by_the_words();
  a_few_words_that_are_missing_are_blank();
  numbers_skipped_without_a_loss_move_nothing();
  packets_lost_at_the_start_are_seen_by_their_words();
  packets_that_come_again_or_late_are_left_out();
  packets_without_words_do_not_tell_a_size();
  rows_are_handed_out_together();
  whole_rows_can_be_had_before_the_end();
  a_readout_that_ends_early_gives_the_rows_that_have_begun();
  files_end_with_or_without_a_whole_packet();
  samples_behind_the_last_row_are_left_out();
  what_are_no_packets_is_refused_with_its_place();
  channels_are_those_of_whole_packets();
  impossible_readouts_are_refused();
  return check::failures();
}
