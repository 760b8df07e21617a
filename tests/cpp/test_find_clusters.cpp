#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "check.hpp"
#include "skipstream/base/error.hpp"
#include "skipstream/base/mask.hpp"
#include "skipstream/stages/find_clusters.hpp"

using namespace skipstream;

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

FindClusters::Config absolute(double threshold, std::int64_t connectivity = 8) {
  FindClusters::Config config;
  config.threshold.source = threshold;
  config.seed.source = threshold;
  config.threshold_unit = ThresholdUnit::absolute;
  config.noise = Quantity{1.0};
  config.connectivity = connectivity;
  return config;
}

struct Image {
  std::int64_t n_rows;
  std::int64_t n_cols;
  std::vector<double> values;
  std::vector<std::uint32_t> mask;
  ImageInfo info;

  Image(std::int64_t rows, std::int64_t cols)
      : n_rows(rows),
        n_cols(cols),
        values(static_cast<std::size_t>(rows * cols)),
        mask(static_cast<std::size_t>(rows * cols)) {
    info.n_rows = rows;
    info.n_cols = cols;
  }
  [[nodiscard]] std::size_t at(std::int64_t y, std::int64_t x) const {
    return static_cast<std::size_t>(y * n_cols + x);
  }
  double& operator()(std::int64_t y, std::int64_t x) { return values[at(y, x)]; }
};

/// `#` is 1, a digit its value, anything else 0.
Image drawn(const std::vector<std::string>& rows) {
  Image image(static_cast<std::int64_t>(rows.size()), static_cast<std::int64_t>(rows[0].size()));
  std::size_t i = 0;
  for (const auto& row : rows) {
    for (const char c : row) image.values[i++] = c == '#' ? 1 : c >= '0' && c <= '9' ? c - '0' : 0;
  }
  return image;
}

class Sink : public StageOutput {
 public:
  void push(PixelChunk& chunk) override {
    for (std::size_t p = 0; p < chunk.planes.size(); ++p) {
      planes.resize(chunk.planes.size());
      planes[p].insert(planes[p].end(), chunk.planes[p],
                       chunk.planes[p] + chunk.n_rows * chunk.n_cols);
    }
    first_rows_agree = first_rows_agree && chunk.first_row == n_rows;
    n_rows += chunk.n_rows;
  }
  void append(std::size_t table, std::span<const Cell> rows) override {
    tables.at(table).insert(tables[table].end(), rows.begin(), rows.end());
  }
  std::array<std::vector<Cell>, 2> tables;
  std::vector<std::vector<double>> planes;
  std::int64_t n_rows = 0;
  bool first_rows_agree = true;
};

/// One row of a table by column names.
struct Row {
  const std::vector<ColumnInfo>* columns;
  const Cell* cells;
  double operator[](const std::string& name) const {
    for (std::size_t c = 0; c < columns->size(); ++c) {
      if ((*columns)[c].name != name) continue;
      return (*columns)[c].type == CellType::integer ? static_cast<double>(cells[c].integer)
                                                     : cells[c].floating;
    }
    check::that(false, "no column " + name);
    return nan;
  }
};

struct Result {
  StagePlan plan;
  std::array<std::vector<Cell>, 2> tables;
  std::array<std::vector<Cell>, 2> appended;
  std::vector<std::vector<double>> planes;
  std::vector<Finding> findings;
  std::size_t n_before_finish = 0;

  [[nodiscard]] std::size_t size(std::size_t table = 0) const {
    return tables[table].size() / plan.tables[table].columns.size();
  }
  [[nodiscard]] Row row(std::size_t i, std::size_t table = 0) const {
    const auto& columns = plan.tables[table].columns;
    return {&columns, tables[table].data() + i * columns.size()};
  }
};

/// Sizes of the chunks in turn, again and again.
using Chunking = std::vector<std::int64_t>;

Result find(const Image& image, const FindClusters::Config& config,
            const Chunking& chunking = {1000}, const std::string& unit = "electron") {
  FindClusters stage(config);
  Result result;
  result.plan = stage.begin(image.info, {{"mean", unit, PlaneKind::location}});
  Image copy = image;
  Sink sink;
  const auto each_chunk = [&](auto&& visit) {
    std::size_t k = 0;
    for (std::int64_t row = 0; row < image.n_rows;) {
      const std::int64_t n = std::min(chunking[k++ % chunking.size()], image.n_rows - row);
      double* plane = copy.values.data() + row * image.n_cols;
      PixelChunk chunk{{&plane, 1}, copy.mask.data() + row * image.n_cols, row, n, image.n_cols};
      visit(chunk);
      row += n;
    }
  };
  if (result.plan.barrier) {
    each_chunk([&](const PixelChunk& chunk) { stage.observe(chunk); });
    stage.settle();
  }
  each_chunk([&](PixelChunk& chunk) { stage.push(chunk, sink); });
  const std::size_t n_columns = result.plan.tables[0].columns.size();
  result.n_before_finish = sink.tables[0].size() / n_columns;
  stage.finish(sink);
  check::that(sink.first_rows_agree && sink.n_rows == image.n_rows, "all rows leave, in order");
  if (image.n_rows > 0) {
    check::that(std::memcmp(sink.planes[0].data(), image.values.data(),
                            image.values.size() * sizeof(double)) == 0,
                "the pixels leave unchanged");
  }
  result.appended = result.tables = sink.tables;
  for (std::size_t t = 0; t < result.plan.tables.size(); ++t) {
    stage.complete_table(t, result.tables[t]);
  }
  result.planes = std::move(sink.planes);
  result.findings = stage.findings();
  return result;
}

bool same_bits(const std::vector<Cell>& a, const std::vector<Cell>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(Cell)) == 0);
}

bool nearly(double a, double b, double tolerance) {
  return std::isnan(b) ? std::isnan(a) : std::fabs(a - b) <= tolerance * (1 + std::fabs(b));
}

/// Labels 1, 2, ... in raster order of the first pixel, by flood fill; 0 outside.
std::vector<int> flood_fill(const std::vector<char>& above, std::int64_t n_rows,
                            std::int64_t n_cols, const FindClusters::Config& config,
                            int& n_labels) {
  const double reach = config.link_distance.value_or(config.connectivity == 4 ? 1 : std::sqrt(2));
  const auto steps = static_cast<std::int64_t>(reach);
  std::vector<int> labels(above.size());
  std::vector<std::pair<std::int64_t, std::int64_t>> todo;
  n_labels = 0;
  for (std::size_t start = 0; start < above.size(); ++start) {
    if (!above[start] || labels[start] != 0) continue;
    labels[start] = ++n_labels;
    todo.emplace_back(static_cast<std::int64_t>(start) / n_cols,
                      static_cast<std::int64_t>(start) % n_cols);
    while (!todo.empty()) {
      const auto [y, x] = todo.back();
      todo.pop_back();
      for (std::int64_t dy = -steps; dy <= steps; ++dy) {
        for (std::int64_t dx = -steps; dx <= steps; ++dx) {
          if (std::sqrt(static_cast<double>(dx * dx + dy * dy)) > reach) continue;
          if (y + dy < 0 || y + dy >= n_rows || x + dx < 0 || x + dx >= n_cols) continue;
          const auto there = static_cast<std::size_t>((y + dy) * n_cols + x + dx);
          if (!above[there] || labels[there] != 0) continue;
          labels[there] = n_labels;
          todo.emplace_back(y + dy, x + dx);
        }
      }
    }
  }
  return labels;
}

/// Compares every column with its definition, computed from the label image.
void agrees_with_definitions(const Image& image, const FindClusters::Config& config,
                             const Result& result, const std::string& what) {
  const std::int64_t begin = image.info.begin_active_col();
  const std::int64_t end = image.info.end_active_col();
  const double noise = std::get<double>(config.noise.source);
  const double scale = config.threshold_unit == ThresholdUnit::sigma ? noise : 1.0;
  std::vector<char> above(image.values.size());
  for (std::int64_t y = 0; y < image.n_rows; ++y) {
    for (std::int64_t x = begin; x < end; ++x) {
      const std::size_t i = image.at(y, x);
      above[i] = image.values[i] >= std::get<double>(config.threshold.source) * scale &&
                 (image.mask[i] & unusable_bits) == 0;
    }
  }
  int n_labels = 0;
  const auto labels = flood_fill(above, image.n_rows, image.n_cols, config, n_labels);
  struct Pixel {
    std::int64_t x, y;
    double value;
    std::uint32_t mask;
  };
  std::vector<std::vector<Pixel>> clusters(static_cast<std::size_t>(n_labels));
  for (std::int64_t y = 0; y < image.n_rows; ++y) {
    for (std::int64_t x = 0; x < image.n_cols; ++x) {
      const std::size_t i = image.at(y, x);
      if (labels[i] == 0) continue;
      clusters[static_cast<std::size_t>(labels[i] - 1)].push_back(
          {x, y, image.values[i], image.mask[i]});
    }
  }
  std::vector<std::map<std::string, double>> expected;
  for (const auto& pixels : clusters) {
    std::map<std::string, double> c;
    const auto n = static_cast<double>(pixels.size());
    double charge = 0, wx = 0, wy = 0, sx = 0, sy = 0;
    const Pixel* peak = &pixels[0];
    c["x_min"] = c["y_min"] = 1e9;
    c["x_max"] = c["y_max"] = -1;
    c["n_sigma_min"] = 1e300;
    for (const auto& p : pixels) {
      const auto x = static_cast<double>(p.x);
      const auto y = static_cast<double>(p.y);
      charge += p.value;
      wx += p.value * x;
      wy += p.value * y;
      sx += x;
      sy += y;
      if (p.value > peak->value) peak = &p;
      c["x_min"] = std::min(c["x_min"], x);
      c["x_max"] = std::max(c["x_max"], x);
      c["y_min"] = std::min(c["y_min"], y);
      c["y_max"] = std::max(c["y_max"], y);
      c["n_sigma_min"] = std::min(c["n_sigma_min"], p.value / noise);
      if ((p.mask & mask_bit::saturated) != 0) c["flags"] = 1;
    }
    for (const auto& p : pixels) {
      if ((p.mask & mask_bit::missing_skips) != 0) c["flags"] += 2;
      if ((p.mask & mask_bit::missing_skips) != 0) break;
    }
    c["flags"] += 0;
    double vx = 0, vy = 0, vxy = 0, ux = 0, uy = 0;
    for (const auto& p : pixels) {
      const double dx = static_cast<double>(p.x) - wx / charge;
      const double dy = static_cast<double>(p.y) - wy / charge;
      vx += p.value * dx * dx / charge;
      vy += p.value * dy * dy / charge;
      vxy += p.value * dx * dy / charge;
      ux += (static_cast<double>(p.x) - sx / n) * (static_cast<double>(p.x) - sx / n) / n;
      uy += (static_cast<double>(p.y) - sy / n) * (static_cast<double>(p.y) - sy / n) / n;
    }
    c["cluster_id"] = static_cast<double>(1 + pixels[0].y * image.n_cols + pixels[0].x);
    c["n_pixels"] = n;
    c["charge"] = charge;
    c["energy_kev"] = charge * config.energy_per_electron / 1000;
    c["peak_charge"] = peak->value;
    c["peak_x"] = static_cast<double>(peak->x);
    c["peak_y"] = static_cast<double>(peak->y);
    c["x"] = charge > 0 ? wx / charge : nan;
    c["y"] = charge > 0 ? wy / charge : nan;
    c["mean_x"] = sx / n;
    c["mean_y"] = sy / n;
    c["width_x"] = c["x_max"] - c["x_min"] + 1;
    c["width_y"] = c["y_max"] - c["y_min"] + 1;
    c["std_x"] = charge > 0 ? std::sqrt(vx) : nan;
    c["std_y"] = charge > 0 ? std::sqrt(vy) : nan;
    c["std_xy"] = charge > 0 ? std::sqrt((vx + vy) / 2) : nan;
    c["spread_x"] = std::sqrt(ux);
    c["spread_y"] = std::sqrt(uy);
    c["cov_xy"] = charge > 0 ? vxy : nan;
    c["has_seed"] = peak->value >= std::get<double>(config.seed.source) * scale ? 1 : 0;
    c["n_sigma_max"] = peak->value / noise;
    c["touches_edge"] = c["x_min"] == static_cast<double>(begin) ||
                                c["x_max"] == static_cast<double>(end - 1) || c["y_min"] == 0 ||
                                c["y_max"] == static_cast<double>(image.n_rows - 1)
                            ? 1
                            : 0;
    if (config.require_seed && c["has_seed"] == 0) continue;
    if (n < static_cast<double>(config.min_pixels)) continue;
    if (config.min_charge && charge < *config.min_charge) continue;
    expected.push_back(c);
  }
  for (auto& c : expected) {
    double best = nan;
    for (auto& other : expected) {
      const double d = std::hypot(other["x"] - c["x"], other["y"] - c["y"]);
      if (&other != &c && !(best <= d) && !std::isnan(d)) best = d;
    }
    c["nearest_distance"] = best;
  }
  check::equal(result.size(), expected.size(), what + ": number of clusters");
  if (result.size() != expected.size()) return;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    for (const auto& column : result.plan.tables[0].columns) {
      const double got = result.row(i)[column.name];
      check::that(expected[i].contains(column.name), column.name);
      const double want = expected[i][column.name];
      // The definitions subtract in another order: a few roundings of coordinates below 100,
      // under the root of a spread that may be 0.
      const bool good = column.type == CellType::integer ? got == want : nearly(got, want, 3e-7);
      check::that(good, what + ": " + column.name + " of cluster " + std::to_string(i) + ": " +
                            std::to_string(got) + " != " + std::to_string(want));
    }
  }
}

Image random_image(std::mt19937& generator, std::int64_t n_rows, std::int64_t n_cols,
                   double fraction) {
  Image image(n_rows, n_cols);
  std::uniform_real_distribution<double> uniform;
  for (auto& value : image.values)
    value = uniform(generator) < fraction ? 1 + uniform(generator) : 0;
  return image;
}

/// 2^20 images of 4 x 5 pixels below one another with an empty row between them. Pixel i of an
/// image has the value 2^i, so that the charge of a cluster tells all its pixels.
void all_small_images_have_the_components_of_a_flood_fill() {
  constexpr std::int64_t n_rows = 4;
  constexpr std::int64_t n_cols = 5;
  constexpr std::uint32_t n_images = 1U << (n_rows * n_cols);
  for (const std::int64_t connectivity : {4, 8}) {
    // The cluster at each pixel, by spreading a set of pixels within the image until it rests.
    std::array<std::uint32_t, n_rows * n_cols> neighbours{};
    for (int a = 0; a < n_rows * n_cols; ++a) {
      for (int b = 0; b < n_rows * n_cols; ++b) {
        const int dx = std::abs(a % 5 - b % 5);
        const int dy = std::abs(a / 5 - b / 5);
        if (dx <= 1 && dy <= 1 && (connectivity == 8 || dx + dy <= 1)) {
          neighbours[static_cast<std::size_t>(a)] |= 1U << b;
        }
      }
    }
    std::size_t n_components = 0;
    constexpr std::uint32_t n_together = 1U << 15;
    for (std::uint32_t first_image = 0; first_image < n_images; first_image += n_together) {
      std::vector<std::uint32_t> expected;  // image by image, in raster order of the first pixel
      std::vector<std::int64_t> expected_ids;
      for (std::uint32_t k = 0; k < n_together; ++k) {
        const std::uint32_t bits = first_image + k;
        for (std::uint32_t left = bits; left != 0;) {
          std::uint32_t cluster = left & (~left + 1);
          const int first = std::countr_zero(cluster);
          for (std::uint32_t before = 0; before != cluster;) {
            before = cluster;
            for (std::uint32_t todo = before; todo != 0; todo &= todo - 1) {
              cluster |= neighbours[static_cast<std::size_t>(std::countr_zero(todo))] & bits;
            }
          }
          left &= ~cluster;
          expected.push_back(cluster);
          expected_ids.push_back(1 + std::int64_t{k} * (n_rows + 1) * n_cols + first);
        }
      }
      n_components += expected.size();

      for (const std::int64_t chunk_rows : {1, 2, 3, 5, 4096}) {
        FindClusters stage(absolute(1, connectivity));
        ImageInfo info;
        info.n_cols = n_cols;  // the number of rows is not known
        const auto n_columns =
            stage.begin(info, {{"mean", "electron", PlaneKind::location}}).tables[0].columns.size();
        Sink sink;
        sink.tables[0].reserve(expected.size() * n_columns);
        std::vector<double> values(static_cast<std::size_t>(chunk_rows * n_cols));
        std::vector<std::uint32_t> mask(values.size());
        constexpr std::int64_t all_rows = std::int64_t{n_together} * (n_rows + 1);
        for (std::int64_t row = 0; row < all_rows; row += chunk_rows) {
          const std::int64_t n = std::min(chunk_rows, all_rows - row);
          for (std::int64_t r = 0; r < n; ++r) {
            const auto bits = first_image + static_cast<std::uint32_t>((row + r) / (n_rows + 1));
            const std::int64_t y = (row + r) % (n_rows + 1);
            for (std::int64_t x = 0; x < n_cols; ++x) {
              const std::uint32_t bit = y < n_rows ? bits & (1U << (y * n_cols + x)) : 0U;
              values[static_cast<std::size_t>(r * n_cols + x)] = bit;
            }
          }
          double* plane = values.data();
          PixelChunk chunk{{&plane, 1}, mask.data(), row, n, n_cols};
          sink.planes.clear();
          stage.push(chunk, sink);
        }
        stage.finish(sink);
        auto& cells = sink.tables[0];
        stage.complete_table(0, cells);
        std::size_t n_different = cells.size() / n_columns == expected.size() ? 0 : 1;
        for (std::size_t i = 0; i < expected.size() && n_different == 0; ++i) {
          const Cell* cluster = cells.data() + i * n_columns;
          const bool good = cluster[0].integer == expected_ids[i] &&
                            cluster[1].integer == std::popcount(expected[i]) &&
                            cluster[2].floating == static_cast<double>(expected[i]);
          n_different += good ? 0 : 1;
        }
        check::equal(n_different, std::size_t{0}, "chunks of " + std::to_string(chunk_rows));
      }
    }
    check::equal(n_components, std::size_t{connectivity == 4 ? 3'160'507U : 1'809'744U});
  }
}

void every_column_agrees_with_its_definition() {
  std::mt19937 generator(1);
  for (int k = 0; k < 60; ++k) {
    Image image = random_image(generator, 1 + generator() % 40, 1 + generator() % 150,
                               std::array{0.02, 0.3, 0.5, 0.7}[k % 4]);
    for (std::size_t i = 0; i < image.mask.size(); ++i) {
      if (generator() % 50 == 0) image.mask[i] = mask_bit::saturated;
      if (generator() % 50 == 0) image.mask[i] |= mask_bit::missing_skips;
      if (generator() % 50 == 0) image.mask[i] |= mask_bit::bad_column;
      if (generator() % 50 == 0) image.values[i] = nan;
    }
    if (image.n_cols > 12) image.info.prescan_cols = 3 + generator() % 3;
    if (image.n_cols > 12) image.info.overscan_cols = generator() % 5;
    auto config = absolute(1, k % 2 == 0 ? 4 : 8);
    config.noise = Quantity{0.3};
    if (k % 3 == 0) {
      config.threshold_unit = ThresholdUnit::sigma;
      config.threshold.source = 3.5;
      config.seed.source = 6.0;
    }
    if (k % 5 == 0) config.min_pixels = 3;
    if (k % 7 == 0) config.min_charge = 2.5;
    if (k % 4 == 0) config.require_seed = false;
    const auto result = find(image, config, {1 + static_cast<std::int64_t>(generator() % 7)});
    agrees_with_definitions(image, config, result, "image " + std::to_string(k));
  }
}

void chunks_do_not_matter() {
  std::mt19937 generator(2);
  for (int k = 0; k < 30; ++k) {
    const Image image = random_image(generator, 40, 1 + generator() % 200, 0.1 + 0.02 * k);
    auto config = absolute(1.2, k % 2 == 0 ? 4 : 8);
    config.keep_pixels = true;
    config.label_image = k % 3 == 0;
    config.max_pixels = k % 5 == 0 ? 40 : 100'000;
    const auto whole = find(image, config);
    for (int split = 0; split < 4; ++split) {
      Chunking chunking;
      for (int i = 0; i < 5; ++i) chunking.push_back(1 + generator() % 9);
      const auto other = find(image, config, chunking);
      for (std::size_t t = 0; t < 2; ++t) {
        check::that(same_bits(other.appended[t], whole.appended[t]), "rows as they closed");
        check::that(same_bits(other.tables[t], whole.tables[t]), "rows at the end");
      }
      check::that(other.planes == whole.planes, "planes");
    }
  }
}

void pixels_within_the_link_distance_are_one_cluster() {
  std::mt19937 generator(4);
  for (int k = 0; k < 80; ++k) {
    Image image = random_image(generator, 1 + generator() % 40, 1 + generator() % 90,
                               std::array{0.01, 0.03, 0.1, 0.3}[k % 4]);
    for (auto& mask : image.mask) mask = generator() % 40 == 0 ? mask_bit::bad_column : 0;
    auto config = absolute(1, 8);
    config.keep_pixels = true;
    for (const double distance : {1.0, 1.4, 1.5, 2.0, 2.3, 3.0, 4.5, 7.0}) {
      config.link_distance = distance;
      const std::string what = "image " + std::to_string(k) + " at " + std::to_string(distance);
      const auto whole = find(image, config);
      agrees_with_definitions(image, config, whole, what);
      const auto parts = find(image, config, {1 + static_cast<std::int64_t>(generator() % 5)});
      for (std::size_t t = 0; t < 2; ++t) {
        check::that(same_bits(parts.tables[t], whole.tables[t]), what + " in parts");
      }
    }
  }
}

void shapes_that_meet_late_are_one_cluster() {
  std::vector<std::vector<std::string>> shapes{
      {"#...#", "#...#", "#...#", "#####"},          // U
      {"#.#.#.#", "#.#.#.#", "#.#.#.#", "#######"},  // comb
      {"#######", "#.#.#.#", "#.#.#.#", "#.#.#.#"},  // comb, upside down
      {"#######", "......#", "#####.#", "#...#.#", "#.###.#", "#.....#", "#######"},  // spiral
      {"..#..", ".#.#.", "#...#", ".#.#.", "..#.."},                                  // diamond
      {"#.#.#", ".#.#.", "#.#.#"},  // checkerboard
  };
  // And a wide one: as many runs of a row as can be, each of which joins two.
  auto& wide = shapes.emplace_back(3);
  for (std::size_t i = 0; i < 3 * 301; ++i) wide[i / 301] += i % 2 == 0 ? '#' : '.';
  for (std::size_t s = 0; s < shapes.size(); ++s) {
    Image image = drawn(shapes[s]);
    double n = 0;
    for (const double value : image.values) n += value;
    const bool by_corners = s >= 4;
    for (const std::int64_t chunk_rows : {1, 2, 100}) {
      const auto eight = find(image, absolute(1, 8), {chunk_rows});
      check::equal(eight.size(), std::size_t{1}, "8-connected");
      check::equal(eight.row(0)["n_pixels"], n);
      const auto four = find(image, absolute(1, 4), {chunk_rows});
      check::equal(four.size(), by_corners ? static_cast<std::size_t>(n) : 1, "4-connected");
      agrees_with_definitions(image, absolute(1, 8), eight, "shape");
      agrees_with_definitions(image, absolute(1, 4), four, "shape");
    }
  }
}

void a_large_spiral_is_one_cluster() {
  constexpr std::int64_t n = 201;
  Image image(n, n);
  std::int64_t x = 0, y = 0, dx = 1, dy = 0;
  double length = 0;
  const auto is_free = [&](std::int64_t at_y, std::int64_t at_x) {
    return at_x >= 0 && at_x < n && at_y >= 0 && at_y < n && image(at_y, at_x) == 0;
  };
  const auto may_go = [&] {
    const std::int64_t beyond_y = y + 2 * dy, beyond_x = x + 2 * dx;
    const bool outside = beyond_x < 0 || beyond_x >= n || beyond_y < 0 || beyond_y >= n;
    return is_free(y + dy, x + dx) && (outside || image(beyond_y, beyond_x) == 0);
  };
  image(0, 0) = 1;
  length = 1;
  while (true) {
    if (!may_go()) {
      std::swap(dx, dy);
      dx = -dx;  // turns right: (1, 0), (0, 1), (-1, 0), (0, -1)
      if (!may_go()) break;
    }
    x += dx;
    y += dy;
    image(y, x) = 1;
    ++length;
  }
  check::that(length > 15'000);
  for (const std::int64_t connectivity : {4, 8}) {
    const auto result = find(image, absolute(1, connectivity), {7});
    check::equal(result.size(), std::size_t{1});
    check::equal(result.row(0)["n_pixels"], length);
    check::equal(result.row(0)["cluster_id"], 1.0);
    agrees_with_definitions(image, absolute(1, connectivity), result, "spiral");
  }
}

void more_clusters_than_columns_are_found_with_the_same_memory() {
  std::int64_t bytes = 0;
  for (const std::int64_t n_rows : {10, 10'000}) {
    Image image(n_rows, 8);
    for (std::int64_t y = 0; y < n_rows; y += 2) {
      for (std::int64_t x = 0; x < 8; x += 2) image(y, x) = 1;
    }
    const auto result = find(image, absolute(1), {64});
    check::equal(result.size(), static_cast<std::size_t>(n_rows / 2 * 4));
    if (bytes == 0) bytes = result.plan.state_bytes;
    check::equal(result.plan.state_bytes, bytes);
    check::equal(result.row(0)["nearest_distance"], 2.0);
  }
}

void a_hot_column_stays_open_for_many_rows() {
  constexpr std::int64_t n_rows = 100'000;
  Image image(n_rows, 9);
  for (std::int64_t y = 0; y < n_rows; ++y) {
    image(y, 4) = 2;
    if (y % 2 == 1) image(y, 0) = 3;  // as many small clusters come and go
  }
  const auto result = find(image, absolute(1, 4), {333});
  check::equal(result.size(), static_cast<std::size_t>(n_rows / 2 + 1));
  const Row hot = result.row(0);
  check::equal(hot["cluster_id"], 5.0);
  check::equal(hot["n_pixels"], double{n_rows});
  check::equal(hot["charge"], 2.0 * n_rows);
  check::equal(hot["y"], (n_rows - 1) / 2.0);
  check::equal(hot["std_x"], 0.0);
  const double n = n_rows;
  // Sums of squares reach 1e15, where doubles are integers still; two divisions and a root follow.
  check::that(nearly(hot["std_y"], std::sqrt((n * n - 1) / 12), 1e-14));
  check::that(nearly(hot["spread_y"], std::sqrt((n * n - 1) / 12), 1e-14));
  check::equal(result.row(1)["cluster_id"], 10.0);
}

void a_small_cluster_far_from_the_origin_is_measured_as_well() {
  Image image(3, 30'000);
  image(1, 29'990) = 5;
  image(1, 29'991) = 5;
  image(2, 29'990) = 5;
  image(2, 29'991) = 5;
  const auto result = find(image, absolute(1));
  check::equal(result.size(), std::size_t{1});
  check::equal(result.row(0)["std_x"], 0.5);
  check::equal(result.row(0)["spread_y"], 0.5);
  check::equal(result.row(0)["x"], 29'990.5);
  check::equal(result.row(0)["cov_xy"], 0.0);
}

void a_cluster_at_each_edge_is_told() {
  struct Case {
    std::int64_t y, x;
    double edge;
  };
  // Active are columns 2 to 7 and rows 0 to 4.
  for (const auto& c :
       {Case{2, 2, 1}, Case{2, 7, 1}, Case{0, 4, 1}, Case{4, 4, 1}, Case{1, 3, 0}, Case{3, 6, 0}}) {
    for (const bool rows_known : {true, false}) {
      Image image(5, 10);
      image.info.prescan_cols = 2;
      image.info.overscan_cols = 2;
      if (!rows_known) image.info.n_rows = -1;
      image(c.y, c.x) = 1;
      image(c.y, 1) = image(c.y, 8) = 1;  // not active
      for (const std::int64_t chunk_rows : {1, 5}) {
        const auto result = find(image, absolute(1), {chunk_rows});
        check::equal(result.size(), std::size_t{1});
        check::equal(result.row(0)["touches_edge"], c.edge);
        check::equal(result.row(0)["n_pixels"], 1.0);
        check::that(std::isnan(result.row(0)["nearest_distance"]), "a lone cluster");
      }
    }
  }
}

void rows_of_prescan_and_overscan_take_no_part() {
  Image image = drawn({"#..#", "#..#", "....", "#.##", "#.##"});
  image.info.prescan_rows = 1;
  image.info.overscan_rows = 1;
  const auto result = find(image, absolute(1), {2});
  check::equal(result.size(), std::size_t{4});
  for (std::size_t i = 0; i < 4; ++i) check::equal(result.row(i)["touches_edge"], 1.0);
  check::equal(result.row(3)["n_pixels"], 2.0);
}

void a_cluster_in_the_last_row_before_the_overscan_touches_the_edge() {
  Image image = drawn({".....", "..#..", ".....", "..#..", "....."});
  image.info.overscan_rows = 1;
  const auto result = find(image, absolute(1), {1});
  check::equal(result.size(), std::size_t{2});
  check::equal(result.row(0)["touches_edge"], 0.0);
  check::equal(result.row(1)["touches_edge"], 1.0);
}

void a_cluster_leaves_as_soon_as_a_row_does_not_reach_it() {
  const Image image = drawn({"#..", "...", "..#", "..."});
  check::equal(find(image, absolute(1), {1}).n_before_finish, std::size_t{2});
  const Image open = drawn({"#..", "...", "..#"});
  check::equal(find(open, absolute(1), {1}).n_before_finish, std::size_t{1});
  check::equal(find(open, absolute(1), {1}).size(), std::size_t{2});
}

void the_smallest_images_are_right() {
  check::equal(find(Image(0, 5), absolute(1)).size(), std::size_t{0});
  check::equal(find(Image(5, 5), absolute(1)).size(), std::size_t{0});
  check::equal(find(drawn({"#.##.#"}), absolute(1)).size(), std::size_t{3});
  check::equal(find(drawn({"#", ".", "#", "#"}), absolute(1)).size(), std::size_t{2});
  const auto one = find(drawn({"#"}), absolute(1));
  check::equal(one.size(), std::size_t{1});
  check::equal(one.row(0)["cluster_id"], 1.0);
  Image all_overscan = drawn({"####"});
  all_overscan.info.overscan_cols = 4;
  check::equal(find(all_overscan, absolute(1)).size(), std::size_t{0});
  Image all_missing(4, 70);
  for (auto& value : all_missing.values) value = nan;
  check::equal(find(all_missing, absolute(-1)).size(), std::size_t{0});
  for (const std::int64_t n_cols : {63, 64, 65, 127, 128, 129}) {
    Image full(3, n_cols);
    for (auto& value : full.values) value = 1;
    const auto result = find(full, absolute(1));
    check::equal(result.size(), std::size_t{1});
    check::equal(result.row(0)["n_pixels"], 3.0 * static_cast<double>(n_cols));
  }
}

void masked_and_missing_pixels_part_clusters_and_saturated_ones_do_not() {
  Image image = drawn({"#####"});
  image.mask[2] = mask_bit::saturated;
  const auto whole = find(image, absolute(1));
  check::equal(whole.size(), std::size_t{1});
  check::equal(whole.row(0)["flags"], static_cast<double>(cluster_flag::saturated));
  for (const auto bit :
       {mask_bit::no_data, mask_bit::bad_column, mask_bit::bad_row, mask_bit::no_pedestal}) {
    image.mask[2] = bit;
    check::equal(find(image, absolute(1)).size(), std::size_t{2});
  }
  image.mask[2] = 0;
  image.values[2] = nan;
  const auto parted = find(image, absolute(1));
  check::equal(parted.size(), std::size_t{2});
  check::equal(parted.row(0)["flags"], 0.0);
}

void the_first_of_equal_peaks_counts() {
  // The right arm begins first; the left one has the first of the largest pixels.
  const Image image = drawn({"....2", "5...2", "2...5", "22222"});
  const auto result = find(image, absolute(1, 4), {1});
  check::equal(result.size(), std::size_t{1});
  check::equal(result.row(0)["peak_x"], 0.0);
  check::equal(result.row(0)["peak_y"], 1.0);
  check::equal(result.row(0)["cluster_id"], 5.0);
}

void thresholds_include_their_value() {
  const Image image = drawn({"4.9.8"});
  FindClusters::Config config;
  config.threshold.source = 2.0;
  config.seed.source = 4.5;
  config.noise = Quantity{2.0};
  check::equal(find(image, config).size(), std::size_t{1});
  config.require_seed = false;
  const auto result = find(image, config);
  check::equal(result.size(), std::size_t{3});
  check::equal(result.row(1)["has_seed"], 1.0);
  check::equal(result.row(2)["has_seed"], 0.0);
  check::equal(result.row(2)["n_sigma_max"], 4.0);
}

void energy_needs_electrons() {
  const Image image = drawn({"8"});
  check::equal(find(image, absolute(1)).row(0)["energy_kev"], 8 * (3.74 / 1000));
  check::that(std::isnan(find(image, absolute(1), {1}, "adu").row(0)["energy_kev"]));
}

void without_positive_charge_nothing_is_weighted() {
  Image image(2, 3);
  for (auto& value : image.values) value = -2;
  const auto result = find(image, absolute(-3));
  check::equal(result.size(), std::size_t{1});
  check::equal(result.row(0)["charge"], -12.0);
  for (const auto* name : {"x", "y", "std_x", "std_y", "std_xy", "cov_xy", "nearest_distance"}) {
    check::that(std::isnan(result.row(0)[name]), name);
  }
  check::equal(result.row(0)["mean_x"], 1.0);
}

void a_cluster_without_a_centre_is_nobodys_neighbour() {
  // No positive charge, or one that times a row is beyond a double.
  for (const double last : {-1.0, 1e308}) {
    Image image(3, 7);
    image.mask.assign(image.mask.size(), mask_bit::bad_column);
    image(0, 0) = image(2, 6) = 1;
    image(0, 3) = image(1, 3) = -1;
    image(2, 3) = last;
    for (std::size_t i = 0; i < image.values.size(); ++i) {
      if (image.values[i] != 0) image.mask[i] = 0;
    }
    const auto result = find(image, absolute(-1));
    check::equal(result.size(), std::size_t{3});
    check::equal(result.row(1)["n_pixels"], 3.0);
    check::that(!std::isfinite(result.row(1)["y"]));
    check::equal(std::isfinite(result.row(1)["x"]), last > 0);
    check::that(std::isnan(result.row(1)["nearest_distance"]));
    check::equal(result.row(0)["nearest_distance"], std::sqrt(40.0));
    check::equal(result.row(2)["nearest_distance"], std::sqrt(40.0));
  }
}

double row_sigma(std::vector<double> values) {
  const auto median = [&values] {
    std::sort(values.begin(), values.end());
    const std::size_t n = values.size();
    return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
  };
  const double middle = median();
  for (auto& value : values) value = std::fabs(value - middle);
  return 1.482602218505602 * median();
}

void noise_is_measured_in_the_overscan() {
  std::mt19937 generator(3);
  std::normal_distribution<double> gauss(0, 0.5);
  for (const std::int64_t overscan : {0, 2, 3, 20}) {
    Image image(31, 64);
    image.info.prescan_cols = 4;
    image.info.overscan_cols = overscan;
    for (auto& value : image.values) value = gauss(generator);
    image(7, 10) = 50;
    image(7, 61) = nan;
    image.mask[image.at(8, 62)] = mask_bit::bad_column;
    const std::int64_t begin = overscan >= 3 ? 64 - overscan : 4;
    const std::int64_t end = overscan >= 3 ? 64 : 64 - overscan;
    double sum = 0;
    for (std::int64_t y = 0; y < image.n_rows; ++y) {
      std::vector<double> values;
      for (std::int64_t x = begin; x < end; ++x) {
        const bool left_out = (y == 7 && x == 61) || (y == 8 && x == 62);
        if (!left_out) values.push_back(image(y, x));
      }
      sum += row_sigma(values);
    }
    const FindClusters::Config config;
    Image framed = image;
    framed.info.prescan_rows = 2;
    framed.info.overscan_rows = 1;
    for (const std::int64_t y : {0, 1, 30}) {
      for (std::int64_t x = 0; x < 64; ++x) framed(y, x) = static_cast<double>(x * x);
    }
    Image active(28, 64);
    active.info = image.info;
    active.info.n_rows = 28;
    std::copy_n(image.values.begin() + 2 * 64, 28 * 64, active.values.begin());
    std::copy_n(image.mask.begin() + 2 * 64, 28 * 64, active.mask.begin());
    check::equal(find(framed, config, {4}).findings.at(0).value,
                 find(active, config, {4}).findings.at(0).value, "of active rows alone");
    const auto result = find(image, config, {4});
    check::that(result.plan.barrier);
    check::equal(result.findings.at(0).name, std::string("noise"));
    check::equal(result.findings[0].value, sum / 31);
    check::equal(result.size(), std::size_t{1});
    check::equal(result.row(0)["n_sigma_max"], 50 / (sum / 31));
    auto given = config;
    given.noise = Quantity{sum / 31};
    const auto streamed = find(image, given);
    check::that(!streamed.plan.barrier);
    check::that(same_bits(streamed.tables[0], result.tables[0]), "as with that number");
  }
}

void without_a_noise_nothing_is_found() {
  Image image(3, 10);
  for (auto& value : image.values) value = 100;
  const FindClusters::Config config;
  const auto flat = find(image, config);
  check::equal(flat.size(), std::size_t{0});
  check::equal(flat.findings.at(0).value, 0.0);
  for (auto& value : image.values) value = nan;
  check::that(std::isnan(find(image, config).findings.at(0).value));
}

void absolute_thresholds_need_no_noise() {
  auto config = absolute(1);
  config.noise = Quantity{std::string("measured")};
  const auto result = find(drawn({"#"}), config);
  check::that(!result.plan.barrier);
  check::that(std::isnan(result.row(0)["n_sigma_min"]));
  check::that(result.findings.empty());
}

void kept_pixels_are_those_of_the_clusters() {
  std::mt19937 generator(4);
  for (int k = 0; k < 12; ++k) {
    Image image = random_image(generator, 30, 80, 0.1 + 0.05 * k);
    auto config = absolute(1, k % 2 == 0 ? 4 : 8);
    config.seed.source = 1.5;
    config.keep_pixels = true;
    config.label_image = true;
    const auto result = find(image, config, {3});
    check::equal(result.planes.size(), std::size_t{2});
    std::size_t i = 0;
    std::vector<std::pair<std::int64_t, std::size_t>> expected;  // cluster_id, pixel
    for (std::size_t p = 0; p < image.values.size(); ++p) {
      if (result.planes[1][p] != 0) {
        expected.emplace_back(static_cast<std::int64_t>(result.planes[1][p]), p);
      }
    }
    std::sort(expected.begin(), expected.end());
    check::equal(result.size(1), expected.size());
    std::map<double, double> charges;
    for (const auto& [id, p] : expected) {
      const Row row = result.row(i++, 1);
      check::equal(row["cluster_id"], static_cast<double>(id));
      check::equal(static_cast<std::size_t>(row["y"]) * 80 + static_cast<std::size_t>(row["x"]), p);
      check::equal(row["charge"], image.values[p]);
      ++charges[row["cluster_id"]];
    }
    check::equal(charges.size(), result.size());
    for (std::size_t c = 0; c < result.size(); ++c) {
      check::equal(charges[result.row(c)["cluster_id"]], result.row(c)["n_pixels"]);
      check::equal(result.row(c)["flags"], 0.0);
    }
  }
}

void labels_are_those_of_a_flood_fill() {
  std::mt19937 generator(5);
  for (int k = 0; k < 24; ++k) {
    const Image image = random_image(generator, 1 + generator() % 40, 90, 0.05 + 0.03 * k);
    const auto config = absolute(1, k % 2 == 0 ? 4 : 8);
    std::vector<char> above;
    for (const double value : image.values) above.push_back(value >= 1);
    int n_labels = 0;
    const auto labels = flood_fill(above, image.n_rows, image.n_cols, config, n_labels);
    std::vector<double> ids(static_cast<std::size_t>(n_labels) + 1);
    for (std::size_t p = labels.size(); p-- > 0;) {
      ids[static_cast<std::size_t>(labels[p])] = labels[p] == 0 ? 0 : static_cast<double>(p + 1);
    }
    auto labelled = config;
    labelled.label_image = true;
    const auto result = find(image, labelled, {1 + static_cast<std::int64_t>(generator() % 40)});
    check::that(result.plan.barrier);
    check::equal(result.plan.planes.back().name, std::string("label"));
    std::size_t n_different = 0;
    for (std::size_t p = 0; p < labels.size(); ++p) {
      n_different += result.planes[1][p] != ids[static_cast<std::size_t>(labels[p])];
    }
    check::equal(n_different, std::size_t{0});
    check::that(same_bits(result.tables[0], find(image, config).tables[0]), "the same table");
  }
}

void lost_pixels_are_flagged_and_counted() {
  Image image = drawn({"#....", "#....", "#....", "#.###", "....."});
  auto config = absolute(1);
  config.keep_pixels = true;
  config.max_pixels = 4;
  const auto result = find(image, config, {1});
  check::equal(result.size(), std::size_t{2});
  check::equal(result.row(0)["flags"], 0.0);
  check::equal(result.row(1)["flags"], static_cast<double>(cluster_flag::pixels_lost));
  check::equal(result.row(1)["n_pixels"], 3.0);
  check::equal(result.size(1), std::size_t{4});
  check::equal(result.findings.back().name, std::string("pixels_lost"));
  check::equal(result.findings.back().value, 3.0);
  config.max_pixels = 7;
  check::equal(find(image, config).findings.back().value, 0.0);
}

void pixels_of_a_part_are_kept_by_the_cluster_that_had_none() {
  // The only place is taken first at the top left, then in the part that joins the cluster later.
  const Image image = drawn({"#...#", "....#", ".#..#", ".####", "....."});
  auto config = absolute(1);
  config.keep_pixels = true;
  config.max_pixels = 1;
  const auto result = find(image, config, {1});
  check::equal(result.size(), std::size_t{2});
  check::equal(result.row(1)["n_pixels"], 8.0);
  check::equal(result.row(1)["flags"], static_cast<double>(cluster_flag::pixels_lost));
  check::equal(result.size(1), std::size_t{2});
  const Row kept = result.row(1, 1);
  check::equal(kept["cluster_id"], 5.0);
  check::equal(kept["x"], 1.0);
  check::equal(kept["y"], 2.0);
  check::equal(result.findings.back().value, 7.0);
}

void the_nearest_cluster_is_found_wherever_it_is() {
  std::mt19937 generator(6);
  for (int k = 0; k < 30; ++k) {
    // Crowds in corners, lines, and a few loners.
    Image image(k % 3 == 0 ? 2 : 200, k % 3 == 1 ? 2 : 300);
    const auto put = [&](std::int64_t y, std::int64_t x) {
      image(y % image.n_rows, x % image.n_cols) = static_cast<double>(1 + generator() % 5);
    };
    for (int i = 0; i < 5 * k; ++i) put(generator() % 20, generator() % 30);
    for (int i = 0; i < k % 5; ++i) put(generator() % 200, generator() % 300);
    agrees_with_definitions(image, absolute(1), find(image, absolute(1)), "crowd");
  }
  Image rings(81, 81);
  for (std::int64_t y = 0; y < 81; ++y) {
    for (std::int64_t x = 0; x < 81; ++x) {
      rings(y, x) = std::max(std::abs(x - 40), std::abs(y - 40)) % 2 == 0 ? 1 : 0;
    }
  }
  const auto result = find(rings, absolute(1));
  check::equal(result.size(), std::size_t{21});
  for (std::size_t i = 0; i < 21; ++i) check::equal(result.row(i)["nearest_distance"], 0.0);
}

void a_bad_configuration_is_refused() {
  ImageInfo info;
  info.n_cols = 4;
  const std::vector<PlaneInfo> planes{{"mean", "adu", PlaneKind::location}};
  const auto begin = [&](const FindClusters::Config& config) {
    FindClusters stage(config);
    (void)stage.begin(info, planes);
  };
  check::throws<ConfigError>([&] { begin(absolute(1, 6)); }, "must be 4 or 8; got 6");
  auto config = absolute(1);
  config.noise = Quantity{0.0};
  check::throws<ConfigError>([&] { begin(config); }, "find_clusters.noise: must be above 0 adu");
  config.noise = Quantity{std::string("RDNOISE")};
  check::throws<ConfigError>([&] { begin(config); }, "RDNOISE");
  FindClusters::Config labels;
  labels.label_image = true;
  check::throws<ConfigError>([&] { begin(labels); }, "find_clusters.label_image");
  check::that(FindClusters(absolute(1)).findings().empty(), "nothing before begin");
  const TableInfo table = FindClusters(absolute(1)).begin(info, planes).tables.at(0);
  check::equal(table.columns.at(table.column("peak_y")).name, std::string("peak_y"));
  check::equal(table.column("no such"), table.columns.size());
}

std::vector<std::vector<double>> blocks_of(const std::string& path, std::size_t n) {
  std::ifstream file(path);
  std::vector<std::vector<double>> blocks;
  std::vector<double> block;
  for (double value = 0; file >> value;) {
    block.push_back(value);
    if (block.size() == n) {
      blocks.push_back(block);
      block.clear();
    }
  }
  return blocks;
}

/// Of the vectors' structuring elements, the full one and the cross are ours.
void scipy_label_vectors_agree() {
  const auto checkout = std::filesystem::absolute(__FILE__).parent_path() / "../..";
  const std::string path = (checkout / "../shared/data/scipy_label").string();
  if (!std::filesystem::exists(path)) return;
  const auto inputs = blocks_of(path + "/label_inputs.txt", 49);
  const auto elements = blocks_of(path + "/label_strels.txt", 9);
  const auto results = blocks_of(path + "/label_results.txt", 49);
  check::equal(results.size(), inputs.size() * elements.size(), "vectors");
  const std::vector<double> cross{0, 1, 0, 1, 1, 1, 0, 1, 0};
  const std::vector<double> full(9, 1.0);
  std::size_t n_compared = 0;
  std::size_t r = 0;
  for (const auto& input : inputs) {
    for (const auto& element : elements) {
      const auto& expected = results.at(r++);
      if (element != cross && element != full) continue;
      ++n_compared;
      Image image(7, 7);
      image.values = input;
      auto config = absolute(1, element == full ? 8 : 4);
      config.label_image = true;
      const auto result = find(image, config, {2});
      for (std::size_t p = 0; p < 49; ++p) {
        // scipy numbers from 1 in raster order.
        double number = 0;
        for (std::size_t c = 0; c < result.size(); ++c) {
          if (result.row(c)["cluster_id"] == result.planes[1][p]) {
            number = static_cast<double>(c + 1);
          }
        }
        check::equal(number, expected[p]);
      }
    }
  }
  check::that(n_compared > 0, "no vector has a structuring element of ours");
}

}  // namespace

/// With any argument, without the longest of the tests.
int main(int argc, char** /*argv*/) {
  every_column_agrees_with_its_definition();
  chunks_do_not_matter();
  pixels_within_the_link_distance_are_one_cluster();
  shapes_that_meet_late_are_one_cluster();
  a_large_spiral_is_one_cluster();
  more_clusters_than_columns_are_found_with_the_same_memory();
  a_hot_column_stays_open_for_many_rows();
  a_small_cluster_far_from_the_origin_is_measured_as_well();
  a_cluster_at_each_edge_is_told();
  rows_of_prescan_and_overscan_take_no_part();
  a_cluster_in_the_last_row_before_the_overscan_touches_the_edge();
  a_cluster_leaves_as_soon_as_a_row_does_not_reach_it();
  the_smallest_images_are_right();
  masked_and_missing_pixels_part_clusters_and_saturated_ones_do_not();
  the_first_of_equal_peaks_counts();
  thresholds_include_their_value();
  energy_needs_electrons();
  without_positive_charge_nothing_is_weighted();
  a_cluster_without_a_centre_is_nobodys_neighbour();
  noise_is_measured_in_the_overscan();
  without_a_noise_nothing_is_found();
  absolute_thresholds_need_no_noise();
  kept_pixels_are_those_of_the_clusters();
  labels_are_those_of_a_flood_fill();
  lost_pixels_are_flagged_and_counted();
  pixels_of_a_part_are_kept_by_the_cluster_that_had_none();
  the_nearest_cluster_is_found_wherever_it_is();
  a_bad_configuration_is_refused();
  scipy_label_vectors_agree();
  if (argc == 1) all_small_images_have_the_components_of_a_flood_fill();
  return check::failures();
}
