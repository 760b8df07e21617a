#include "skipstream/io/lta_packets.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

#include "skipstream/base/error.hpp"

namespace skipstream {

namespace {

constexpr std::int64_t held_samples = 1 << 18;  // of a channel, but at least a row
constexpr std::int64_t max_row_samples = std::int64_t{1} << 31;
constexpr std::int64_t max_image_samples = std::int64_t{1} << 48;
/// While the daemon still waits for the answer to its command, the packets' counter may skip.
constexpr std::int64_t n_startup_packets = 20;
/// Packets that come late, one after another, after which they are no stragglers: so many were lost
/// that the counter has gone around.
constexpr int max_late_packets = 2;

std::uint64_t word_at(const std::byte* at) {
  std::uint64_t word = 0;
  std::memcpy(&word, at, sizeof word);
  if constexpr (std::endian::native == std::endian::big) word = __builtin_bswap64(word);
  return word;
}

void check_word(std::uint64_t word, std::int64_t at) {
  if ((word >> 32 & 0xffffffU) == 0) return;
  const std::string place = "byte " + std::to_string(at) + ": ";
  if ((word >> 32 & 0x3fffffU) == 0) {
    throw PacketError(place + "a word of a raw readout; only CDS samples make an image");
  }
  throw PacketError(place + "no packets of an LTA: bits 32 to 55 of a word must be zero");
}

std::string listed(const std::vector<int>& numbers) {
  std::string text;
  for (const int number : numbers) text += (text.empty() ? "" : ", ") + std::to_string(number);
  return text.empty() ? "none" : text;
}

std::int64_t rows_of(const LtaPackets::Shape& shape) {
  return std::clamp<std::int64_t>(held_samples / (shape.n_cols * shape.n_skips), 1, shape.n_rows);
}

void check_shape(const LtaPackets::Shape& shape) {
  const bool is_possible = shape.n_rows >= 1 && shape.n_cols >= 1 && shape.n_skips >= 1 &&
                           shape.n_cols <= max_row_samples / shape.n_skips &&
                           shape.n_rows <= max_image_samples / (shape.n_cols * shape.n_skips);
  if (is_possible) return;
  throw ConfigError("packets: an image of " + std::to_string(shape.n_rows) + " rows, " +
                    std::to_string(shape.n_cols) + " columns and " + std::to_string(shape.n_skips) +
                    " skips; each must be at least 1, and a row have at most 2^31 samples");
}

}  // namespace

std::vector<int> LtaPackets::channels_in(std::span<const std::byte> bytes) {
  std::vector<int> found;
  std::size_t at = 0;
  while (at + header_bytes <= bytes.size()) {
    const std::size_t end = at + header_bytes + std::to_integer<std::size_t>(bytes[at]) * 8;
    if (end > bytes.size()) break;
    for (std::size_t i = at + header_bytes; i < end; i += 8) {
      const std::uint64_t word = word_at(bytes.data() + i);
      check_word(word, static_cast<std::int64_t>(i));
      const auto number = static_cast<int>(word >> 56 & 15U);
      if (std::find(found.begin(), found.end(), number) == found.end()) found.push_back(number);
    }
    at = end;
  }
  if (found.size() > n_channels) {
    throw PacketError("channels " + listed(found) + ", but a board has 4");
  }
  return found;
}

std::int64_t LtaPackets::held_bytes(const Shape& shape) {
  check_shape(shape);
  return static_cast<std::int64_t>(n_channels * sizeof(std::int32_t)) * rows_of(shape) *
         shape.n_cols * shape.n_skips;
}

LtaPackets::LtaPackets(const std::vector<int>& channels, const Shape& shape) : shape_(shape) {
  check_shape(shape);
  auto sorted = channels;
  std::sort(sorted.begin(), sorted.end());
  const bool is_possible = sorted.size() == n_channels && sorted.front() >= 0 &&
                           sorted.back() <= 15 &&
                           std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end();
  if (!is_possible) {
    throw ConfigError("packets: channels must be 4 different numbers from 0 to 15; got " +
                      listed(channels));
  }
  row_samples_ = shape.n_cols * shape.n_skips;
  rows_together_ = rows_of(shape);
  place_.fill(n_channels);
  for (std::size_t place = 0; place < n_channels; ++place) {
    channels_[place].number = sorted[place];
    channels_[place].rows.resize(static_cast<std::size_t>(rows_together_ * row_samples_));
    place_[static_cast<std::size_t>(sorted[place])] = place;
  }
  for (std::size_t turn = 0; turn < n_channels; ++turn) {
    turns_[turn] = place_[static_cast<std::size_t>(channels[turn])];
    turn_of_[turns_[turn]] = turn;
  }
}

void LtaPackets::push(std::span<const std::byte> bytes, const Sink& sink) {
  while (!bytes.empty()) {
    if (n_begun_ == 0 && bytes.size() >= header_bytes) {
      const std::size_t size = header_bytes + std::to_integer<std::size_t>(bytes[0]) * 8;
      if (bytes.size() >= size) {
        take_packet(bytes.first(size), sink);
        bytes = bytes.subspan(size);
        continue;
      }
    }
    // A packet that is split: its bytes are put together.
    const std::size_t size =
        n_begun_ == 0 ? header_bytes : header_bytes + std::to_integer<std::size_t>(begun_[0]) * 8;
    const std::size_t n = std::min(bytes.size(), size - n_begun_);
    std::copy_n(bytes.begin(), n, begun_.begin() + static_cast<std::ptrdiff_t>(n_begun_));
    n_begun_ += n;
    bytes = bytes.subspan(n);
    const std::size_t whole = header_bytes + std::to_integer<std::size_t>(begun_[0]) * 8;
    if (n_begun_ == whole) {
      n_begun_ = 0;
      take_packet({begun_.data(), whole}, sink);
    }
  }
}

bool LtaPackets::is_late(int counter, bool words_go_on) {
  if (packet_counter_ < 0) return false;
  const int step = (counter - packet_counter_) & 255;
  const bool is_startup = counts_.n_packets <= n_startup_packets;
  if ((step >= 1 && step <= 128) || (is_startup && words_go_on)) {
    n_late_ = 0;
    return false;
  }
  n_late_ = n_late_ > 0 && counter == ((late_counter_ + 1) & 255) ? n_late_ + 1 : 1;
  late_counter_ = counter;
  return n_late_ <= max_late_packets;
}

std::int64_t LtaPackets::lost_words(std::int64_t n_packets, std::int64_t remainder) {
  const bool is_startup = counts_.n_packets <= n_startup_packets;
  if (!is_startup) counts_.n_lost_packets += n_packets;
  const std::int64_t expected = n_packets * packet_words_;
  const bool agree = expected % 16 == remainder;
  if (remainder == 0 && (is_startup || !agree)) {
    if (!is_startup) ++counts_.n_unsure_gaps;  // packets of another kind, as it seems
    return 0;
  }
  if (agree) return expected;
  ++counts_.n_unsure_gaps;
  return std::max(remainder, expected - (expected - remainder + 8 + 16 * 256) % 16 + 8);
}

void LtaPackets::take_packet(std::span<const std::byte> packet, const Sink& sink) {
  const std::int64_t first_byte = n_bytes_;
  n_bytes_ += static_cast<std::int64_t>(packet.size());
  const auto counter = std::to_integer<int>(packet[2]);
  const auto words = packet.subspan(header_bytes);
  for (std::size_t i = 0; i < words.size(); i += 8) {
    const std::uint64_t word = word_at(words.data() + i);
    const auto at = first_byte + static_cast<std::int64_t>(header_bytes + i);
    check_word(word, at);
    if (place_[word >> 56 & 15U] == n_channels) {
      std::vector<int> numbers;
      for (const auto& channel : channels_) numbers.push_back(channel.number);
      throw PacketError("byte " + std::to_string(at) + ": channel " +
                        std::to_string(word >> 56 & 15U) + ", but the channels are " +
                        listed(numbers));
    }
  }
  ++counts_.n_packets;
  const int first_counter = words.empty() ? -1 : static_cast<int>(word_at(words.data()) >> 60);
  if (is_late(counter, first_counter == ((word_counter_ + 1) & 15))) {
    ++counts_.n_late_packets;
    return;
  }
  std::int64_t n_lost_packets = packet_counter_ < 0 ? 0 : (counter - packet_counter_ - 1) & 255;
  packet_counter_ = counter;
  for (std::size_t i = 0; i < words.size(); i += 8) {
    const std::uint64_t word = word_at(words.data() + i);
    const auto word_counter = static_cast<int>(word >> 60);
    if (word_counter_ >= 0) {
      const std::int64_t remainder = (word_counter - word_counter_ - 1) & 15;
      if (n_lost_packets > 0 || remainder > 0) lose(lost_words(n_lost_packets, remainder), sink);
    }
    n_lost_packets = 0;
    word_counter_ = word_counter;
    const std::size_t place = place_[word >> 56 & 15U];
    next_turn_ = (turn_of_[place] + 1) % n_channels;
    ++counts_.n_samples;
    const auto transmitted = static_cast<std::uint32_t>(word);
    if (!add(channels_[place], static_cast<std::int32_t>(0U - transmitted), sink)) {
      ++counts_.n_excess_samples;
    }
  }
  if (!words.empty()) packet_words_ = static_cast<std::int64_t>(words.size() / 8);
}

void LtaPackets::lose(std::int64_t n_words, const Sink& sink) {
  for (std::int64_t i = 0; i < n_words; ++i) {
    if (add(channels_[turns_[next_turn_]], blank, sink)) ++counts_.n_lost_samples;
    next_turn_ = (next_turn_ + 1) % n_channels;
  }
}

bool LtaPackets::add(Channel& channel, std::int32_t sample, const Sink& sink) {
  if (channel.first_row == shape_.n_rows) return false;
  channel.rows[static_cast<std::size_t>(channel.n_held++)] = sample;
  const std::int64_t rows_left = shape_.n_rows - channel.first_row;
  const std::int64_t n_rows = std::min(rows_together_, rows_left);
  if (channel.n_held == n_rows * row_samples_) hand_out(channel, n_rows, sink);
  return true;
}

void LtaPackets::hand_out(Channel& channel, std::int64_t n_rows, const Sink& sink) {
  const std::int64_t n = n_rows * row_samples_;
  if (n == 0) return;
  const auto place = static_cast<std::size_t>(&channel - channels_.data());
  sink(place, {channel.rows.data(), static_cast<std::size_t>(n)});
  std::copy(channel.rows.begin() + n, channel.rows.begin() + channel.n_held, channel.rows.begin());
  channel.n_held -= n;
  channel.first_row += n_rows;
}

void LtaPackets::end_file() {
  if (n_begun_ > 0) ++counts_.n_cut_packets;
  n_begun_ = 0;
  n_bytes_ = 0;
}

void LtaPackets::flush(const Sink& sink) {
  for (auto& channel : channels_) hand_out(channel, channel.n_held / row_samples_, sink);
}

void LtaPackets::finish(const Sink& sink) {
  end_file();
  for (auto& channel : channels_) {
    while (channel.n_held % row_samples_ != 0) {
      add(channel, blank, sink);
      ++counts_.n_lost_samples;
    }
  }
  flush(sink);
}

bool LtaPackets::is_complete() const {
  return std::all_of(channels_.begin(), channels_.end(),
                     [this](const Channel& c) { return c.first_row == shape_.n_rows; });
}

}  // namespace skipstream
