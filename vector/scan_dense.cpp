#include "vector/scan.hpp"

#include <algorithm>
#include <cmath>
#include <functional>

namespace hive::vector {
namespace {

/// Rows of one entry within the arrays of a scan.
struct stretch {
  std::size_t first = 0; ///< Place of its first row.
  std::uint32_t entry = 0;
  std::uint32_t count = 0;
  bool every = false; ///< All rows of the entry; otherwise `which` names them.
};

/// Memory of a scan, kept by each thread for the next one.
struct scratch {
  std::vector<stretch> stretches;
  std::vector<std::uint32_t> which; ///< By place; unset where a stretch has every row.
  std::vector<std::int32_t> dots;
  std::vector<float> about;   ///< Estimated score, by place.
  std::vector<float> at_most; ///< Upper bound of the fp32 score.
  std::vector<float> best;
};

scratch& mine() {
  static thread_local scratch s;
  return s;
}

/// fp32 sums of d products differ from the true one by at most (d / 32 + 6) * 2^-24 of |a||b|: below this, up to 4,096 dimensions.
constexpr float rounding = 2e-5F;
/// Covers products so small that they underflow.
constexpr float tiny = 1e-37F;

aligned_vector<float> padded_copy(std::span<const float> v) {
  aligned_vector<float> out(padded(v.size(), kernels::float_block));
  std::copy(v.begin(), v.end(), out.begin());
  return out;
}

/// From dot products of codes to estimates and bounds, for `count` rows; `row(i)` is the i-th one's number.
/// |q.v - estimate| <= |q||v - v'| + |q - q'||v'| for codes q' and v'.
template <class Row>
void bound_rows(metric m, const int8_query_code& query, const int8_rows& codes, std::size_t count, Row row, const std::int32_t* dots, float* about,
                float* at_most) {
  const float* scales = codes.scales();
  const float* errors = codes.errors();
  const float* lengths = codes.lengths();
  const float* squares = codes.squares();
  const float q = query.length();
  const float slack = query.error() + rounding * q;
  const float by_error = q * (1 + rounding);
  if (m == metric::l2) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t r = row(i);
      const float sizes = query.square() + squares[r];
      const float dot = query.scale() * scales[r] * static_cast<float>(dots[i]);
      about[i] = 2 * dot - sizes;
      at_most[i] = about[i] + 2 * (by_error * errors[r] + slack * lengths[r]) + 2 * rounding * sizes + tiny;
    }
    return;
  }
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t r = row(i);
    about[i] = query.scale() * scales[r] * static_cast<float>(dots[i]);
    at_most[i] = about[i] + by_error * errors[r] + slack * lengths[r] + tiny;
  }
}

/// Fills `stretches`, `about` and `at_most`. @returns how many rows there are.
std::size_t estimate(scratch& s, std::span<const view_entry> entries, std::span<const selection> selected, metric m, const int8_query_code& query,
                     const kernels::table& with) {
  std::size_t total = 0;
  s.stretches.clear();
  for (std::size_t e = 0; e < entries.size(); ++e) {
    const std::uint32_t n = selected[e].allowed_count;
    if (n == 0) continue;
    s.stretches.push_back({total, static_cast<std::uint32_t>(e), n, n == entries[e].count});
    total += n;
  }
  if (s.about.size() < total) {
    s.which.resize(total);
    s.dots.resize(total);
    s.about.resize(total);
    s.at_most.resize(total);
  }
  for (const stretch& t : s.stretches) {
    const int8_rows& codes = entries[t.entry].rows->codes();
    std::int32_t* dots = s.dots.data() + t.first;
    float* about = s.about.data() + t.first;
    float* at_most = s.at_most.data() + t.first;
    if (t.every) {
      with.dot_rows(query.view(), codes.data(), codes.sums(), t.count, dots);
      bound_rows(m, query, codes, t.count, [](std::size_t i) { return i; }, dots, about, at_most);
    } else {
      std::uint32_t* which = s.which.data() + t.first;
      std::size_t n = 0;
      selected[t.entry].allowed.for_each([&](std::uint32_t row) { which[n++] = row; });
      with.dot_some(query.view(), codes.data(), codes.sums(), which, t.count, dots);
      bound_rows(m, query, codes, t.count, [which](std::size_t i) { return std::size_t{which[i]}; }, dots, about, at_most);
    }
  }
  return total;
}

/// The k-th largest of `values`. @pre 0 < k <= values.size()
float kth_largest(std::span<const float> values, std::size_t k, std::vector<float>& heap) {
  heap.assign(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(k));
  if (k > values.size() / 8) {
    heap.assign(values.begin(), values.end());
    std::nth_element(heap.begin(), heap.begin() + static_cast<std::ptrdiff_t>(k - 1), heap.end(), std::greater<>{});
    return heap[k - 1];
  }
  std::make_heap(heap.begin(), heap.end(), std::greater<>{});
  float least = heap.front();
  for (std::size_t i = k; i < values.size(); ++i) {
    if (values[i] <= least) continue;
    std::pop_heap(heap.begin(), heap.end(), std::greater<>{});
    heap.back() = values[i];
    std::push_heap(heap.begin(), heap.end(), std::greater<>{});
    least = heap.front();
  }
  return least;
}

std::vector<found_row> cut(std::vector<found_row> rows, std::span<const view_entry> entries, std::size_t k) {
  sort_by_score(rows, entries);
  if (rows.size() > k) rows.resize(k);
  return rows;
}

} // namespace

float score_of(metric m, const float* query, const float* row, std::size_t length, const kernels::table& with) noexcept {
  return m == metric::l2 ? -with.l2(query, row, length) : with.dot(query, row, length);
}

void sort_by_score(std::vector<found_row>& rows, std::span<const view_entry> entries) {
  std::sort(rows.begin(), rows.end(), [&](const found_row& a, const found_row& b) {
    if (a.score != b.score) return a.score > b.score;
    return entries[a.entry].rows->items()[a.row]->id < entries[b.entry].rows->items()[b.row]->id;
  });
}

std::vector<found_row> scan_dense(std::span<const view_entry> entries, std::span<const selection> selected, const space& measured_in,
                                  std::span<const float> query, std::size_t k, const kernels::table& with) {
  scratch& s = mine();
  const int8_query_code coded(query);
  const std::size_t total = estimate(s, entries, selected, measured_in.measure, coded, with);
  k = std::min(k, total);
  if (k == 0) return {};

  const aligned_vector<float> exact_query = padded_copy(query);
  const auto exact = [&](const stretch& t, std::size_t i) -> found_row {
    const std::uint32_t row = t.every ? static_cast<std::uint32_t>(i) : s.which[t.first + i];
    const float score = score_of(measured_in.measure, exact_query.data(), entries[t.entry].rows->floats(row), exact_query.size(), with);
    return {t.entry, row, double{score}};
  };

  // The k rows with the best estimates, computed; then whatever could beat the worst of them.
  const float least = kth_largest({s.about.data(), total}, k, s.best);
  std::vector<found_row> out;
  double enough = 1e300;
  for (const stretch& t : s.stretches)
    for (std::size_t i = 0; i < t.count; ++i)
      if (s.about[t.first + i] >= least) {
        out.push_back(exact(t, i));
        enough = std::min(enough, out.back().score);
      }
  const auto threshold = static_cast<float>(enough);
  for (const stretch& t : s.stretches)
    for (std::size_t i = 0; i < t.count; ++i)
      if (s.at_most[t.first + i] >= threshold && s.about[t.first + i] < least) out.push_back(exact(t, i));
  return cut(std::move(out), entries, k);
}

std::vector<found_row> scan_exact(std::span<const view_entry> entries, std::span<const selection> selected, const space& measured_in,
                                  std::span<const float> query, std::size_t k, const kernels::table& with) {
  const aligned_vector<float> exact_query = padded_copy(query);
  std::vector<found_row> out;
  for (std::size_t e = 0; e < entries.size(); ++e)
    selected[e].allowed.for_each([&](std::uint32_t row) {
      const float score = score_of(measured_in.measure, exact_query.data(), entries[e].rows->floats(row), exact_query.size(), with);
      out.push_back({static_cast<std::uint32_t>(e), row, double{score}});
    });
  return cut(std::move(out), entries, k);
}

} // namespace hive::vector
