/// @file
/// How far a survey is: the coordinator's small state, written by every turn and therefore kept small. What does not
/// change during a run is in its row "run", what is known of each file in the rows "f/...".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hive::actors::survey {

/// The numbers are stored; never renumber.
enum class phase : std::uint8_t {
  idle = 0,
  preparing = 1, ///< The report's folder is made: better to fail now than at the end.
  walking = 2,   ///< Files are listed, a page a turn.
  reading = 3,   ///< Readers are at work.
  links = 4,     ///< What is no plain file is summed up ...
  folders = 5,   ///< ... and then the files, folder by folder.
  write_head = 6,
  write_folders = 7,
  write_others = 8,
  write_files = 9,
  write_end = 10,
  erasing = 11 ///< After preparing: the rows of an older run go.
};
std::string_view to_string(phase p) noexcept;

/// A file that a reader has and has not answered for.
struct under_way {
  std::uint64_t file = 0;
  std::uint32_t reader = 0;
};

struct progress {
  std::uint64_t run = 0; ///< Rises by one a run: what an older run still sends is ignored.
  phase at = phase::idle;
  std::string token;       ///< Of the task that waits for the end; empty when nobody does.
  std::uint32_t root = 0;  ///< Index of the root that is walked.
  std::string cursor;      ///< Where the next page begins.
  std::uint64_t files = 0; ///< Found so far; while reading: all.
  std::uint64_t folders = 0;
  std::uint64_t others = 0; ///< Rows of what is no plain file.
  std::uint64_t next = 0;   ///< First file that no reader has got yet.
  std::uint64_t finished = 0;
  std::uint64_t bytes = 0;
  std::uint64_t lines = 0;
  std::uint64_t written = 0;       ///< Bytes of report.json so far.
  bool first_item = true;          ///< Of the list being written.
  std::uint32_t failures = 0;      ///< Of one step in a row.
  std::uint64_t seen_finished = 0; ///< At the last tick.
  std::uint32_t quiet_ticks = 0;   ///< In a row without a file finished.
  std::vector<under_way> out;

  static progress begin(std::uint64_t run, phase at);
  std::string encode() const;
  static progress decode(std::string_view bytes);

  /// Removes a file that was answered for. @returns false when it was not under way: a repeat.
  bool settle(std::uint64_t file) noexcept;
  /// The reader with the least to do. @pre readers > 0
  std::uint32_t least_loaded(std::uint32_t readers) const;
};

/// "f/0000000042": rows in the order of the walk.
std::string row_key(std::string_view prefix, std::uint64_t number);

/// One file's row. `result` is JSON as "file.survey" gave it; empty while it is awaited.
struct file_row {
  std::uint32_t root = 0;
  std::string path;
  std::string result;
  std::string encode() const;
  static file_row decode(std::string_view bytes);
};

} // namespace hive::actors::survey
