#pragma once

#include <pybind11/pybind11.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "skipstream/base/sample.hpp"
#include "skipstream/config/parse.hpp"
#include "skipstream/io/sample_reader.hpp"
#include "skipstream/io/tile_reader.hpp"
#include "skipstream/stages/compress_skips.hpp"

namespace skipstream::python {

void register_fits(pybind11::module_& m);
void register_files(pybind11::module_& m);
void register_pipeline(pybind11::module_& m);
void register_packets(pybind11::module_& m);

/// The samples of an image, with the files that they come from.
class FileSamples {
 public:
  FileSamples(const pybind11::list& planes, const SampleShape& shape, const std::string& skips,
              Inflate inflate, const std::filesystem::path& name, bool is_growing);
  [[nodiscard]] const SampleSource& source() const { return *source_; }
  [[nodiscard]] const SampleFormat& format() const { return format_; }
  [[nodiscard]] std::int64_t n_rows() const { return n_rows_; }
  /// None where the file's own bytes are compressed.
  [[nodiscard]] std::optional<std::uint32_t> datasum() const;
  void check_unchanged() const;

 private:
  std::vector<std::unique_ptr<FileSource>> files_;
  std::unique_ptr<SampleReader> rows_;
  std::unique_ptr<PlaneReader> planes_;
  std::unique_ptr<TileReader> tiles_;
  bool is_growing_ = false;
  const SampleSource* source_ = nullptr;
  SampleFormat format_;
  std::int64_t n_rows_ = 0;
};

/// NumPy's name of a sample type: ">i2", "<u2", "<f4", ...
std::string dtype_name(const SampleFormat& format);
/// The format for a NumPy dtype name. Throws ConfigError for any other type.
SampleFormat format_of(const std::string& dtype);

/// Foreign statistics that are known by name only: enough to check a configuration.
ForeignStatistics named_only(const std::vector<std::string>& names);
std::string joined(const Problems& problems);

}  // namespace skipstream::python
