/// @file
/// From a verb and a path to an RPC. Paths are taken as they are: nothing is normalised, "." and ".." are names like
/// others (and no valid ones), an encoded slash stays within its name.
#pragma once

#include "runtime/api/method.hpp"

#include <map>
#include <memory>
#include <string_view>
#include <vector>

namespace hive::api::http {

struct route {
  std::size_t number = 0;                ///< Position in the table: its row in the metrics.
  const method* to = nullptr;
  std::vector<std::string> values;       ///< Decoded, in the order of `method::path_fields`.
};

/// Immutable once made: any thread.
class router {
public:
  explicit router(const method_table& table);

  /// @param path without the query. @returns `not_found` for a path that is none of ours, `unimplemented` for a verb that
  /// the path does not take (405; the message lists those it does), `invalid_argument` for a broken escape.
  result<route> find(std::string_view verb, std::string_view path) const;

private:
  struct node {
    std::map<std::string, std::unique_ptr<node>, std::less<>> literal;
    std::unique_ptr<node> name;
    /// By what follows the last name ("" or ":ask"), then by verb.
    std::map<std::string, std::map<std::string, std::size_t, std::less<>>, std::less<>> ends;
  };
  static const node* walk(const node& from, std::string_view path, std::vector<std::string_view>& names, std::string_view& suffix);

  const method_table& table_;
  node root_;
};

/// "%41" to "A". @returns false for a broken escape.
bool percent_decode(std::string_view text, std::string& out, bool plus_is_space = false);

} // namespace hive::api::http
