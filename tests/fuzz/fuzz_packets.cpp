// libFuzzer target: any bytes as packets of an LTA; however they are split, the rows are the same.
//
//   .ci/run fuzz [seconds]        # needs clang

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "skipstream/base/error.hpp"
#include "skipstream/io/lta_packets.hpp"

using namespace skipstream;

namespace {

void demand(bool holds) {
  if (!holds) std::abort();
}

struct Readout {
  std::array<std::vector<std::int32_t>, LtaPackets::n_channels> rows;
  PacketCounts counts;
  bool refused = false;
};

Readout read(std::span<const std::byte> bytes, std::size_t step, const std::vector<int>& channels,
             const LtaPackets::Shape& shape) {
  Readout found;
  LtaPackets packets(channels, shape);
  const LtaPackets::Sink sink = [&](std::size_t channel, std::span<const std::int32_t> rows) {
    demand(!rows.empty() &&
           static_cast<std::int64_t>(rows.size()) % (shape.n_cols * shape.n_skips) == 0);
    auto& all = found.rows[channel];
    all.insert(all.end(), rows.begin(), rows.end());
  };
  try {
    for (std::size_t at = 0; at < bytes.size(); at += step) {
      packets.push(bytes.subspan(at, std::min(step, bytes.size() - at)), sink);
      if (step % 3 == 0) packets.flush(sink);
    }
  } catch (const PacketError&) {
    found.refused = true;
  }
  packets.finish(sink);
  found.counts = packets.counts();
  const auto& counts = found.counts;
  std::int64_t n_blank = 0;
  std::int64_t n_handed_out = 0;
  for (std::size_t channel = 0; channel < found.rows.size(); ++channel) {
    const auto& rows = found.rows[channel];
    const auto n = static_cast<std::int64_t>(rows.size());
    demand(n <= shape.n_rows * shape.n_cols * shape.n_skips);
    demand(packets.rows_done(channel) * shape.n_cols * shape.n_skips == n);
    n_handed_out += n;
    n_blank += std::count(rows.begin(), rows.end(), LtaPackets::blank);
  }
  demand(n_handed_out == counts.n_samples - counts.n_excess_samples + counts.n_lost_samples);
  demand(n_blank >= counts.n_lost_samples);
  demand(counts.n_late_packets <= counts.n_packets);
  return found;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 4) return 0;
  const LtaPackets::Shape shape{
      .n_rows = 1 + data[0], .n_cols = 1 + data[1] % 16, .n_skips = 1 + data[1] / 16};
  const std::size_t step = 1 + data[2];
  const auto bytes = std::as_bytes(std::span(data + 3, size - 3));
  std::vector<int> channels;
  try {
    channels = LtaPackets::channels_in(bytes);
  } catch (const PacketError&) {
  }
  if (channels.size() != LtaPackets::n_channels) channels = {12, 13, 14, 15};
  const auto whole = read(bytes, size, channels, shape);
  const auto split = read(bytes, step, channels, shape);
  demand(whole.refused == split.refused);
  demand(whole.rows == split.rows);
  demand(whole.counts.n_lost_samples == split.counts.n_lost_samples);
  demand(whole.counts.n_cut_packets == split.counts.n_cut_packets);
  return 0;
}
