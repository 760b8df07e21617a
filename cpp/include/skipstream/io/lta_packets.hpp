#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <vector>

namespace skipstream {

/// What came and what did not, of the packets of a readout.
struct PacketCounts {
  std::int64_t n_packets = 0;
  std::int64_t n_samples = 0;         ///< that came, of all channels
  std::int64_t n_lost_packets = 0;    ///< that the packets' counter skips
  std::int64_t n_lost_samples = 0;    ///< that the words' counter skips, as far as the rows go
  std::int64_t n_unsure_gaps = 0;     ///< gaps where the two counters do not agree on a length
  std::int64_t n_late_packets = 0;    ///< left out: they came again, or after their successors
  std::int64_t n_excess_samples = 0;  ///< left out: behind the last row
  std::int64_t n_cut_packets = 0;     ///< left out: their file ends inside of them
};

/// Rows of samples from the packets of an LTA board, as its daemon writes them into .dat files.
///
/// A packet is a byte with its number of words, one with its type, one with its counter (mod 256),
/// and its words of 8 bytes, little-endian: bits 0-31 the sample (int32), bits 32-55 zero, bits
/// 56-59 the channel, bits 60-63 the word's counter (mod 16). The channels take turns. A sample of
/// the image is minus the transmitted one, as in the board's own FITS files; `blank` stands for one
/// that did not come. (-2^31 has no opposite, and counts as one that did not come.)
///
/// The counters give the length of a gap but for a multiple of 256 packets. Holds a packet, and up
/// to a MiB of rows of each channel, but at least one row.
class LtaPackets {
 public:
  static constexpr std::int32_t blank = std::numeric_limits<std::int32_t>::min();
  static constexpr std::size_t n_channels = 4;

  struct Shape {
    std::int64_t n_rows = 0;
    std::int64_t n_cols = 0;
    std::int64_t n_skips = 1;
  };

  /// Gets whole rows, `(n_rows, n_cols, n_skips)` in the machine's byte order, of a channel,
  /// counted in ascending order of the channels' numbers.
  using Sink = std::function<void(std::size_t channel, std::span<const std::int32_t> rows)>;

  /// The numbers of the channels in the order in which they first come; all that are in the whole
  /// packets of `bytes`. Throws PacketError as `push`.
  static std::vector<int> channels_in(std::span<const std::byte> bytes);

  /// `channels`: four numbers from 0 to 15, in the order in which they take turns. Throws
  /// ConfigError when those or the shape are impossible.
  LtaPackets(const std::vector<int>& channels, const Shape& shape);

  /// Memory that the rows held of all channels need.
  [[nodiscard]] static std::int64_t held_bytes(const Shape& shape);

  /// The next bytes, split anywhere. Throws PacketError when they are no packets of CDS samples.
  void push(std::span<const std::byte> bytes, const Sink& sink);
  /// No packet goes on in the next file.
  void end_file();
  /// Hands out all whole rows that are there.
  void flush(const Sink& sink);
  /// Hands out the rest, with the missing samples of rows that have begun.
  void finish(const Sink& sink);

  [[nodiscard]] const PacketCounts& counts() const { return counts_; }
  /// Rows of a channel that were handed out.
  [[nodiscard]] std::int64_t rows_done(std::size_t channel) const {
    return channels_[channel].first_row;
  }
  /// Whether all samples of all rows came, or are known to be lost.
  [[nodiscard]] bool is_complete() const;

 private:
  static constexpr std::size_t header_bytes = 3;
  static constexpr std::size_t max_packet_bytes = header_bytes + 255 * 8;

  struct Channel {
    int number = 0;
    std::int64_t first_row = 0;  ///< of the buffer
    std::int64_t n_held = 0;     ///< samples in the buffer
    std::vector<std::int32_t> rows;
  };

  void take_packet(std::span<const std::byte> packet, const Sink& sink);
  [[nodiscard]] bool is_late(int counter, bool words_go_on);
  [[nodiscard]] std::int64_t lost_words(std::int64_t n_packets, std::int64_t remainder);
  void lose(std::int64_t n_words, const Sink& sink);
  bool add(Channel& channel, std::int32_t sample, const Sink& sink);
  void hand_out(Channel& channel, std::int64_t n_rows, const Sink& sink);

  Shape shape_;
  std::int64_t row_samples_ = 0;
  std::int64_t rows_together_ = 1;
  std::array<std::size_t, 16> place_{};  ///< channel's number to its place; n_channels: none
  std::array<std::size_t, n_channels> turns_{};      ///< places in the order of their turns
  std::array<std::size_t, n_channels> turn_of_{};    ///< place to its turn
  std::array<Channel, n_channels> channels_;         ///< by ascending number
  std::array<std::byte, max_packet_bytes> begun_{};  ///< a packet that is not whole yet
  std::size_t n_begun_ = 0;
  std::size_t next_turn_ = 0;
  int packet_counter_ = -1;
  int word_counter_ = -1;
  int late_counter_ = -1;
  int n_late_ = 0;                 ///< late packets that came one after another
  std::int64_t packet_words_ = 0;  ///< of the last packet
  std::int64_t n_bytes_ = 0;       ///< before the packet at hand, for messages
  PacketCounts counts_;
};

}  // namespace skipstream
