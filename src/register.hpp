#pragma once

#include <pybind11/pybind11.h>

#include <string>
#include <vector>

#include "skipstream/base/sample.hpp"
#include "skipstream/config/parse.hpp"
#include "skipstream/io/sample_reader.hpp"
#include "skipstream/stages/compress_skips.hpp"

namespace skipstream::python {

void register_files(pybind11::module_& m);
void register_pipeline(pybind11::module_& m);

/// The samples of a plain image HDU, with the file that they come from.
class FileSamples {
 public:
  FileSamples(const std::string& path, const FitsHdu& hdu, std::int64_t n_cols,
              std::int64_t n_skips, const std::string& skips);
  [[nodiscard]] const SampleReader& reader() const { return reader_; }
  [[nodiscard]] const FileSource& file() const { return file_; }

 private:
  FileSource file_;
  SampleReader reader_;
};

/// NumPy's name of a sample type: ">i2", "<u2", "<f4", ...
std::string dtype_name(const SampleFormat& format);
/// The format for a NumPy dtype name. Throws ConfigError for any other type.
SampleFormat format_of(const std::string& dtype);

/// Foreign statistics that are known by name only: enough to check a configuration.
ForeignStatistics named_only(const std::vector<std::string>& names);
std::string joined(const Problems& problems);

}  // namespace skipstream::python
