/// @file
/// What a survey was asked for: checked once, then kept as the coordinator's row "run".
#pragma once

#include "actors/behaviour.hpp"

namespace hive::actors::survey {

struct order {
  std::vector<std::string> roots;      ///< As they were asked for, in normal form.
  std::vector<std::string> real_roots; ///< As the walk found them, without links.
  std::string report_dir;
  std::vector<std::string> include;
  std::vector<std::string> exclude;
  std::uint64_t bytes_max = 0; ///< Larger files are not examined.

  /// Reads `survey.run`. Throws `bad_message` naming the field.
  static order from_message(const message& m, const json& config);

  std::string encode() const;
  static order decode(const std::string& text);

  /// `exclude`, and the report's own files where they lie below this root: a second survey is of the same files.
  std::vector<std::string> excluded_below(std::size_t root) const;
  std::string report(std::string_view extension) const { return report_dir + "/report." + std::string(extension); }
};

/// The coordinator's config.
struct pool {
  std::vector<std::string> readers;
  std::uint32_t window = 0;   ///< Files that one reader has at a time.
  std::string clock;          ///< Agent that wakes the coordinator; empty: nobody watches the readers.
  std::uint64_t stall_ms = 0; ///< Between two looks.

  /// @returns `invalid_argument` with the member at fault.
  static result<pool> from_config(const json& config);
};

} // namespace hive::actors::survey
