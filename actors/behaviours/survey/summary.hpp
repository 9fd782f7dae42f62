/// @file
/// What a survey adds up to. Fed with every file in the order of the walk, a page at a time; kept as one row between
/// the pages, and bounded whatever the tree looks like. The same files give the same summary.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace hive::actors::survey {

using json = nlohmann::json;

struct language_sum {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::uint64_t lines = 0;
  std::uint64_t definitions = 0;
};

/// A word's uses, summed over the most used words of each file.
using term_counts = std::map<std::string, std::uint64_t>;

struct tally {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::uint64_t lines = 0;
  std::uint64_t definitions = 0;
  std::uint64_t headings = 0;
  std::uint64_t markers = 0;
  std::map<std::string, language_sum> languages;
  term_counts terms;

  void add(const tally& other, std::size_t terms_max);
};

/// One folder with everything below it.
struct folder_sum {
  std::uint64_t number = 0; ///< In the order in which folders were entered.
  std::uint32_t depth = 0;  ///< 0: a root.
  std::string path;
  std::uint64_t own_files = 0;
  tally sum;
};

/// A file in a list of the most: largest, longest, most markers.
struct ranked {
  std::string path;
  std::uint64_t value = 0;
};

/// What is named to people: how many, and the first of them.
struct named {
  std::uint64_t count = 0;
  std::vector<std::string> first;
};

struct summary {
  tally all;
  std::uint64_t text_lines = 0;                     ///< Of files that are not binary.
  std::map<std::string, std::uint64_t> definitions; ///< By kind.
  std::map<std::string, std::uint64_t> markers;     ///< Lines, by word.
  std::map<std::string, named> findings;            ///< "binary", "huge", "link loop", "vanished" ...
  std::vector<ranked> largest;
  std::vector<ranked> longest;
  std::vector<ranked> most_markers;
  std::vector<ranked> most_definitions;
  std::vector<folder_sum> table; ///< Folders for the report's table: the least deep, then the largest.
  std::vector<folder_sum> open;  ///< From the root down to the folder of the last file.
  std::uint64_t folders_entered = 0;
  std::uint64_t folders_closed = 0;

  /// @param root as people see it. @param result as "file.survey" gave it. Folders that it leaves go to `closed`.
  void add_file(const std::string& root, const std::string& relative, const json& result,
                std::vector<folder_sum>& closed);
  /// What the walk found that is no plain file. @param what {"kind","state"?,"to"?,"why"?}
  void add_other(const std::string& path, const json& what);
  /// After the last file.
  void close_all(std::vector<folder_sum>& closed);

  std::string encode() const;
  static summary decode(const std::string& text);

private:
  void enter(const std::string& root, const std::string& relative, std::vector<folder_sum>& closed);
  void close_one(std::vector<folder_sum>& closed);
};

/// The most used first.
std::vector<ranked> best_terms(const term_counts& terms, std::size_t limit);
/// The language with the most lines; empty when there is none.
std::string main_language(const tally& sum);

json folder_json(const folder_sum& folder);

} // namespace hive::actors::survey
