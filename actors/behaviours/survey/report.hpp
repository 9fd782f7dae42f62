/// @file
/// The survey's report, as text. A function of what was found and of nothing else: no times, no names of runs.
#pragma once

#include "actors/behaviours/survey/order.hpp"
#include "actors/behaviours/survey/progress.hpp"
#include "actors/behaviours/survey/summary.hpp"

namespace hive::actors::survey {

/// report.md, whole.
std::string report_markdown(const order& o, const progress& p, const summary& s);

/// report.json up to the list of folders; the lists follow, one item a line.
std::string report_json_head(const order& o, const progress& p, const summary& s);
/// Ends the list before it, unless it is the first, and begins the list `name`.
std::string report_json_list(std::string_view name, bool first);
/// One file's item.
std::string report_json_file(const order& o, const file_row& row);
std::string report_json_end();

} // namespace hive::actors::survey
