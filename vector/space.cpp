#include "vector/space.hpp"

#include <cmath>

namespace hive::vector {

std::string_view to_string(metric m) noexcept {
  switch (m) {
  case metric::cosine: return "cosine";
  case metric::inner_product: return "inner_product";
  case metric::l2: return "l2";
  }
  return "?";
}

result<metric> metric_from(std::string_view word) {
  for (const metric m : {metric::cosine, metric::inner_product, metric::l2})
    if (word == to_string(m)) return m;
  return invalid("metric", "metric is \"" + std::string{word} + "\"; allowed: cosine, inner_product, l2");
}

result<void> validate(const space& s) {
  if (s.dimension < dimension_min || s.dimension > dimension_max)
    return invalid("dimension", "dimension is " + std::to_string(s.dimension) + "; allowed: " + std::to_string(dimension_min) + ".." +
                                  std::to_string(dimension_max));
  return {};
}

result<std::vector<float>> prepare(const space& s, std::vector<float> raw, std::string_view field) {
  const std::string name{field};
  if (raw.size() != s.dimension)
    return invalid(name, name + " has " + std::to_string(raw.size()) + " components; this collection's have " + std::to_string(s.dimension));
  double squares = 0;
  for (std::size_t i = 0; i < raw.size(); ++i) {
    if (!std::isfinite(raw[i])) {
      const std::string at = name + "[" + std::to_string(i) + "]";
      return invalid(at, at + (std::isnan(raw[i]) ? " is not a number" : " is infinite") + "; all components must be finite");
    }
    squares += double{raw[i]} * raw[i];
  }
  // Scores are fp32: (|a| + |b|)^2 must stay far below 3e38.
  if (squares > 1e36) return invalid(name, name + " is longer than 1e18; scale it down");
  if (s.measure != metric::cosine) return raw;
  if (squares == 0) return invalid(name, name + " is zero and has no direction; cosine needs one");
  const double inverse = 1 / std::sqrt(squares);
  for (float& x : raw) x = static_cast<float>(double{x} * inverse);
  return raw;
}

} // namespace hive::vector
