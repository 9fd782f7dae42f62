#include "vector/columns.hpp"

#include "vector/filter_values.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

namespace hive::vector {
namespace {

/// The words of one field while they are collected.
struct occurrence {
  std::string_view word;
  std::uint32_t row;
};

class builder {
public:
  explicit builder(std::uint32_t count) : count_(count) {}

  void add(std::string_view field, std::uint32_t row, const value& v) {
    auto& to = open(field);
    to.made.present.set(row);
    each_value(v, [&](const value_ref& r) { add(to, row, r); });
  }
  void add(std::string_view field, std::uint32_t row, const value_ref& v) {
    auto& to = open(field);
    to.made.present.set(row);
    add(to, row, v);
  }

  std::map<std::string, column, std::less<>> finish(std::size_t& bytes) {
    std::map<std::string, column, std::less<>> out;
    for (auto& [field, under_way] : fields_) {
      if (!under_way.words.empty()) spell(under_way);
      const column& c = under_way.made;
      bytes += sizeof(column) + field.size() + 64 + 4 * (count_ / 8 + 8) + c.ints.capacity() * 8 + c.doubles.capacity() * 8 +
               c.dictionary.capacity() * sizeof(std::string_view) + (c.words.capacity() + c.starts.capacity()) * sizeof(std::uint32_t);
      out.emplace(field, std::move(under_way.made));
    }
    return out;
  }

private:
  struct field_words {
    column made;
    std::vector<occurrence> words;
  };

  field_words& open(std::string_view field) {
    const auto at = fields_.find(field);
    if (at != fields_.end()) return at->second;
    const row_set none(count_);
    return fields_.emplace(field, field_words{{none, none, none, none, {}, none, {}, {}, {}, {}}, {}}).first->second;
  }

  void add(field_words& to, std::uint32_t row, const value_ref& v) {
    column& c = to.made;
    switch (v.what) {
    case value_ref::type::boolean:
      c.is_bool.set(row);
      if (v.boolean) c.is_true.set(row);
      break;
    case value_ref::type::integer:
      if (c.ints.empty()) c.ints.resize(count_);
      c.is_int.set(row);
      c.ints[row] = v.integer;
      break;
    case value_ref::type::real:
      if (c.doubles.empty()) c.doubles.resize(count_);
      c.is_double.set(row);
      c.doubles[row] = v.real;
      break;
    case value_ref::type::text: to.words.push_back({v.text, row}); break;
    }
  }

  /// Words come in order of rows; the dictionary is sorted, each row points into it.
  void spell(field_words& from) {
    column& c = from.made;
    for (const auto& o : from.words) c.dictionary.push_back(o.word);
    std::sort(c.dictionary.begin(), c.dictionary.end());
    c.dictionary.erase(std::unique(c.dictionary.begin(), c.dictionary.end()), c.dictionary.end());
    c.dictionary.shrink_to_fit();
    c.starts.resize(count_ + 1);
    c.words.reserve(from.words.size());
    std::uint32_t row = 0;
    for (const auto& o : from.words) {
      while (row < o.row) c.starts[++row] = static_cast<std::uint32_t>(c.words.size());
      const auto place = std::lower_bound(c.dictionary.begin(), c.dictionary.end(), o.word) - c.dictionary.begin();
      c.words.push_back(static_cast<std::uint32_t>(place));
    }
    while (row < count_) c.starts[++row] = static_cast<std::uint32_t>(c.words.size());
  }

  std::uint32_t count_;
  std::map<std::string, field_words, std::less<>> fields_;
};

/// Every item has another one: a column would be as large as the items.
constexpr std::string_view unlisted = "@id";

} // namespace

column_index::column_index(std::span<const item_ptr> items, std::uint32_t count) {
  builder made(count);
  for (std::uint32_t row = 0; row < count; ++row) {
    const item& i = *items[row];
    for (const auto& [key, v] : i.meta) made.add(key, row, v);
    for (const std::string_view name : attributes()) {
      if (name == unlisted) continue;
      visit_field(i, name, [&](const value_ref& v) { made.add(name, row, v); });
    }
  }
  columns_ = made.finish(bytes_);
}

column_index::~column_index() = default;

const column* column_index::find(std::string_view field) const noexcept {
  const auto at = columns_.find(field);
  return at == columns_.end() ? nullptr : &at->second;
}

struct compiled_filter::node {
  const filter* source = nullptr;
  std::vector<std::unique_ptr<node>> children;
  // in
  std::vector<std::string_view> texts; ///< Sorted; the next two too.
  std::vector<std::int64_t> ints;
  std::vector<double> reals;
  bool wants_true = false, wants_false = false;
  // range over numbers, and the same as whole numbers; `empty_ints`: there is none
  bool numbers = false;
  long double low = -std::numeric_limits<long double>::infinity();
  long double high = std::numeric_limits<long double>::infinity();
  std::int64_t int_low = std::numeric_limits<std::int64_t>::min();
  std::int64_t int_high = std::numeric_limits<std::int64_t>::max();
  bool empty_ints = false;
};

namespace {

template <class T> void sort_unique(std::vector<T>& v) {
  std::sort(v.begin(), v.end());
  v.erase(std::unique(v.begin(), v.end()), v.end());
}

constexpr long double int_max = 9'223'372'036'854'775'807.0L;
constexpr long double int_min = -9'223'372'036'854'775'808.0L;

std::optional<long double> number_of(const std::optional<value>& v) {
  if (!v) return std::nullopt;
  if (const auto* i = std::get_if<std::int64_t>(&*v)) return static_cast<long double>(*i);
  if (const auto* d = std::get_if<double>(&*v)) return static_cast<long double>(*d);
  return std::nullopt;
}

/// Adds the rows for which `passes(row)` holds. Without branches: with half of the rows passing, a branch would be guessed wrong
/// every other time, which costs more than the scan that a filter saves.
template <class F> void mark(std::uint32_t count, F&& passes, row_set& out) {
  const auto bits = out.words();
  for (std::size_t w = 0; w < bits.size(); ++w) {
    std::uint64_t found = 0;
    const auto first = static_cast<std::uint32_t>(w * 64);
    const std::uint32_t end = std::min(first + 64, count);
    for (std::uint32_t row = first; row < end; ++row) found |= std::uint64_t{static_cast<bool>(passes(row))} << (row - first);
    bits[w] |= found;
  }
}

/// Rows that have a word for which `wanted(place in the dictionary)` holds.
template <class F> void mark_words(const column& c, std::uint32_t count, F&& wanted, row_set& out) {
  mark(count,
       [&](std::uint32_t row) {
         bool hit = false;
         for (std::uint32_t at = c.starts[row]; at < c.starts[row + 1]; ++at) hit |= wanted(c.words[at]);
         return hit;
       },
       out);
}

void mark_places(const column& c, std::size_t first, std::size_t end, std::uint32_t count, row_set& out) {
  if (first < end) mark_words(c, count, [=](std::uint32_t place) { return (place >= first) & (place < end); }, out);
}

/// @pre `present` marks the rows with a number in `values`.
template <class T, class F> void mark_numbers(const row_set& present, const std::vector<T>& values, std::uint32_t count, F&& passes, row_set& out) {
  row_set found(count);
  mark(count, [&](std::uint32_t row) { return passes(values[row]); }, found);
  found.intersect(present);
  out.unite(found);
}

} // namespace

compiled_filter::compiled_filter(const filter& f) : source_(f), root_(compile(f)) {}
compiled_filter::~compiled_filter() = default;

std::unique_ptr<compiled_filter::node> compiled_filter::compile(const filter& f) {
  auto n = std::make_unique<node>();
  n->source = &f;
  for (const auto& child : f.children) n->children.push_back(compile(child));
  if (f.what == filter::op::in) {
    for (const auto& v : f.values) {
      if (const auto* b = std::get_if<bool>(&v)) (*b ? n->wants_true : n->wants_false) = true;
      if (const auto* s = std::get_if<std::string>(&v)) n->texts.push_back(*s);
      // 2 and 2.0 are the same number: each is looked for in both columns, where the other type can hold it.
      if (const auto* i = std::get_if<std::int64_t>(&v)) {
        n->ints.push_back(*i);
        if (const auto d = static_cast<double>(*i); static_cast<long double>(d) == static_cast<long double>(*i)) n->reals.push_back(d);
      }
      if (const auto* d = std::get_if<double>(&v)) {
        n->reals.push_back(*d);
        const auto wide = static_cast<long double>(*d);
        if (wide >= int_min && wide <= int_max && std::floor(wide) == wide) n->ints.push_back(static_cast<std::int64_t>(wide));
      }
    }
    sort_unique(n->texts);
    sort_unique(n->ints);
    sort_unique(n->reals);
  }
  if (f.what == filter::op::range) {
    const auto low = number_of(f.low);
    const auto high = number_of(f.high);
    n->numbers = low || high;
    if (low) {
      n->low = *low;
      const long double whole = f.low_inclusive ? std::ceil(*low) : std::floor(*low) + 1;
      if (whole > int_max) n->empty_ints = true;
      if (whole > int_min && whole <= int_max) n->int_low = static_cast<std::int64_t>(whole);
    }
    if (high) {
      n->high = *high;
      const long double whole = f.high_inclusive ? std::floor(*high) : std::ceil(*high) - 1;
      if (whole < int_min) n->empty_ints = true;
      if (whole < int_max && whole >= int_min) n->int_high = static_cast<std::int64_t>(whole);
    }
  }
  return n;
}

row_set compiled_filter::rows(const segment& of, std::uint32_t count, bool sealed) const {
  if (sealed) return run(*root_, of, count);
  row_set out(count);
  const auto items = of.items();
  for (std::uint32_t row = 0; row < count; ++row)
    if (matches(source_, *items[row])) out.set(row);
  return out;
}

row_set compiled_filter::run(const node& n, const segment& of, std::uint32_t count) {
  const filter& f = *n.source;
  switch (f.what) {
  case filter::op::all: {
    row_set out(count, true);
    for (const auto& child : n.children) out.intersect(run(*child, of, count));
    return out;
  }
  case filter::op::any: {
    row_set out(count);
    for (const auto& child : n.children) out.unite(run(*child, of, count));
    return out;
  }
  case filter::op::not_: {
    row_set out = run(*n.children.front(), of, count);
    out.invert();
    return out;
  }
  default: break;
  }
  row_set out(count);
  if (f.field == unlisted) {
    for (std::uint32_t row = 0; row < count; ++row)
      if (matches(f, *of.items()[row])) out.set(row);
    return out;
  }
  const column* c = of.columns(count).find(f.field);
  if (!c) return out;
  if (f.what == filter::op::exists) return c->present;
  const auto& words = c->dictionary;
  if (f.what == filter::op::prefix) {
    const std::string& prefix = std::get<std::string>(f.values[0]);
    const auto first = std::lower_bound(words.begin(), words.end(), prefix);
    const auto end = std::partition_point(first, words.end(), [&](std::string_view w) { return w.starts_with(prefix); });
    mark_places(*c, static_cast<std::size_t>(first - words.begin()), static_cast<std::size_t>(end - words.begin()), count, out);
  } else if (f.what == filter::op::range && n.numbers) {
    if (!c->ints.empty() && !n.empty_ints)
      mark_numbers(c->is_int, c->ints, count, [&](std::int64_t v) { return (v >= n.int_low) & (v <= n.int_high); }, out);
    if (!c->doubles.empty())
      mark_numbers(c->is_double, c->doubles, count,
                   [&](double v) {
                     const auto x = static_cast<long double>(v);
                     return (f.low_inclusive ? x >= n.low : x > n.low) && (f.high_inclusive ? x <= n.high : x < n.high);
                   },
                   out);
  } else if (f.what == filter::op::range) {
    auto first = words.begin();
    auto end = words.end();
    if (f.low) {
      const std::string_view low = std::get<std::string>(*f.low);
      first = f.low_inclusive ? std::lower_bound(words.begin(), words.end(), low) : std::upper_bound(words.begin(), words.end(), low);
    }
    if (f.high) {
      const std::string_view high = std::get<std::string>(*f.high);
      end = f.high_inclusive ? std::upper_bound(words.begin(), words.end(), high) : std::lower_bound(words.begin(), words.end(), high);
    }
    if (first < end) mark_places(*c, static_cast<std::size_t>(first - words.begin()), static_cast<std::size_t>(end - words.begin()), count, out);
  } else {
    if (!n.texts.empty() && !words.empty()) {
      std::vector<char> wanted(words.size());
      bool some = false;
      const auto want = [&](std::string_view w) {
        const auto at = std::lower_bound(words.begin(), words.end(), w);
        if (at != words.end() && *at == w) wanted[static_cast<std::size_t>(at - words.begin())] = 1, some = true;
      };
      // Search in the longer list for the words of the shorter one.
      if (n.texts.size() <= words.size()) {
        for (const auto w : n.texts) want(w);
      } else {
        for (const auto w : words)
          if (std::binary_search(n.texts.begin(), n.texts.end(), w)) want(w);
      }
      if (some) mark_words(*c, count, [&](std::uint32_t place) { return wanted[place] != 0; }, out);
    }
    if (!n.ints.empty() && !c->ints.empty())
      mark_numbers(c->is_int, c->ints, count, [&](std::int64_t v) { return std::binary_search(n.ints.begin(), n.ints.end(), v); }, out);
    if (!n.reals.empty() && !c->doubles.empty())
      mark_numbers(c->is_double, c->doubles, count, [&](double v) { return std::binary_search(n.reals.begin(), n.reals.end(), v); }, out);
    if (n.wants_true) out.unite(c->is_true);
    if (n.wants_false) {
      row_set is_false = c->is_bool;
      is_false.subtract(c->is_true);
      out.unite(is_false);
    }
  }
  return out;
}

} // namespace hive::vector
