#include "actors/behaviours/survey/progress.hpp"

#include "config/base/bytes.hpp"

#include <algorithm>
#include <stdexcept>

namespace hive::actors::survey {

std::string_view to_string(phase p) noexcept {
  switch (p) {
  case phase::idle:
    return "idle";
  case phase::preparing:
  case phase::erasing:
    return "preparing";
  case phase::walking:
    return "listing";
  case phase::reading:
    return "reading";
  case phase::links:
  case phase::folders:
    return "summarising";
  case phase::write_head:
  case phase::write_folders:
  case phase::write_others:
  case phase::write_files:
  case phase::write_end:
    return "writing";
  }
  return "idle";
}

progress progress::begin(std::uint64_t run, phase at) {
  progress p;
  p.run = run;
  p.at = at;
  return p;
}

std::string progress::encode() const {
  byte_writer w;
  w.varint(1).varint(run).varint(static_cast<std::uint64_t>(at)).text(token).varint(root).text(cursor);
  w.varint(files).varint(folders).varint(others).varint(next).varint(finished).varint(bytes).varint(lines);
  w.varint(written)
      .varint(first_item ? 1 : 0)
      .varint(failures)
      .varint(seen_finished)
      .varint(quiet_ticks)
      .varint(out.size());
  for (const auto& o : out) w.varint(o.file).varint(o.reader);
  return w.take();
}

progress progress::decode(std::string_view bytes) {
  byte_reader r(bytes);
  const bool known = r.varint() == 1;
  progress p;
  p.run = r.varint();
  p.at = static_cast<phase>(r.varint());
  p.token = r.text();
  p.root = static_cast<std::uint32_t>(r.varint());
  p.cursor = r.text();
  for (auto* n : {&p.files, &p.folders, &p.others, &p.next, &p.finished, &p.bytes, &p.lines, &p.written})
    *n = r.varint();
  p.first_item = r.varint() != 0;
  p.failures = static_cast<std::uint32_t>(r.varint());
  p.seen_finished = r.varint();
  p.quiet_ticks = static_cast<std::uint32_t>(r.varint());
  for (auto n = r.varint(); n > 0 && r.ok(); --n) {
    const auto file = r.varint();
    p.out.push_back({file, static_cast<std::uint32_t>(r.varint())});
  }
  if (!known || !r.ok()) throw std::runtime_error("the survey's state cannot be read");
  return p;
}

bool progress::settle(std::uint64_t file) noexcept {
  const auto found = std::find_if(out.begin(), out.end(), [&](const under_way& o) { return o.file == file; });
  if (found == out.end()) return false;
  out.erase(found);
  return true;
}

std::uint32_t progress::least_loaded(std::uint32_t readers) const {
  std::vector<std::uint32_t> load(readers, 0);
  for (const auto& o : out)
    if (o.reader < readers) load[o.reader] += 1;
  return static_cast<std::uint32_t>(std::min_element(load.begin(), load.end()) - load.begin());
}

std::string row_key(std::string_view prefix, std::uint64_t number) {
  const std::string digits = std::to_string(number);
  return std::string(prefix) + std::string(digits.size() < 10 ? 10 - digits.size() : 0, '0') + digits;
}

std::string file_row::encode() const { return byte_writer{}.varint(root).text(path).text(result).take(); }

file_row file_row::decode(std::string_view bytes) {
  byte_reader r(bytes);
  file_row row;
  row.root = static_cast<std::uint32_t>(r.varint());
  row.path = r.text();
  row.result = r.text();
  if (!r.ok()) throw std::runtime_error("a survey's row cannot be read");
  return row;
}

} // namespace hive::actors::survey
