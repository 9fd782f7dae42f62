#include "vector/search.hpp"

namespace hive::vector {

std::string_view to_string(search_mode m) noexcept {
  switch (m) {
  case search_mode::dense: return "dense";
  case search_mode::lexical: return "lexical";
  case search_mode::hybrid: return "hybrid";
  }
  return "?";
}

result<search_mode> search_mode_from(std::string_view word) {
  for (const search_mode m : {search_mode::dense, search_mode::lexical, search_mode::hybrid})
    if (word == to_string(m)) return m;
  return invalid("mode", "mode is \"" + std::string{word} + "\"; allowed: dense, lexical, hybrid");
}

std::string_view to_string(completeness c) noexcept {
  switch (c) {
  case completeness::exact: return "exact";
  case completeness::approximate: return "approximate";
  case completeness::partial: return "partial";
  }
  return "?";
}

} // namespace hive::vector
