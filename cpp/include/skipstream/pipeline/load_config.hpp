#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "skipstream/base/image.hpp"
#include "skipstream/config/toml.hpp"
#include "skipstream/pipeline/alarms.hpp"
#include "skipstream/pipeline/chain.hpp"

namespace skipstream {

/// What a config file says to a program that pushes its rows.
///
/// [[stage]] and [[alarm]] are what a run makes of them, but that no command is started. Of [input]
/// the numbers are taken that say which pixels and skips are which; how files are read (layout,
/// keywords, amplifiers) says nothing here. What would change the pixels and cannot be had without
/// a file is refused: a part of the image, a mask file, a calibration file. [[output]], [[measure]]
/// and [dqm] are left to the program that has files.
struct LoadedConfig {
  TomlText toml;
  Value stages;                       ///< tables, each with a "kind"; they make a chain
  std::vector<Alarm::Config> alarms;  ///< for PipelineOptions
  ImageInfo image;  ///< n_rows, n_cols, prescan_cols, ..., begin_skip, unit where [input] says so

  /// A chain for one image. Throws ConfigError where a stage is none of `kinds`.
  [[nodiscard]] Chain chain(const std::vector<StageKind>& kinds = all_kinds()) const;
  /// The text of an error of `Pipeline::begin` with the place of the key that is wrong.
  [[nodiscard]] std::string placed(const std::string& problem) const {
    return problem.starts_with("stage[") || problem.starts_with("alarm[")
               ? toml.place_of(problem) + problem
               : problem;
  }
};

/// Reads and checks the text of a config. Throws ConfigError with all mistakes, one per line, each
/// with `name`, line, key and what would be right.
LoadedConfig load_config(std::string_view text, std::string name = "config",
                         const std::vector<StageKind>& kinds = all_kinds());

}  // namespace skipstream
