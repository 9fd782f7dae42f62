/// @file
/// Bounds of collections and of searches. Whoever owns a collection fills them from the settings; the defaults are theirs.
#pragma once

#include <cstdint>

namespace hive::vector {

/// Bounds that hold whatever the settings say: durable rows and index layouts rely on them.
inline constexpr std::uint32_t dimension_min = 8;
inline constexpr std::uint32_t dimension_max = 4096;

struct collection_limits {
  std::uint32_t items = 20'000;          ///< In one collection; beyond it a put is `resource_exhausted`.
  std::uint32_t id_bytes = 256;          ///< Also of kinds, sources and relations.
  std::uint32_t text_bytes = 64 * 1024;  ///< Of one item.
  std::uint32_t metadata_keys = 64;      ///< Of one item.
  std::uint32_t metadata_bytes = 16 * 1024; ///< Keys and values of one item.
  std::uint32_t links = 64;              ///< Of one item.
};

struct search_limits {
  std::uint32_t k = 1000;                ///< Hits of one search.
  std::uint32_t query_bytes = 16 * 1024; ///< Text of one search.
  std::uint32_t query_terms = 256;       ///< Different words of one search; later ones are an error, not dropped.
  std::uint32_t filter_depth = 16;
  std::uint32_t filter_nodes = 256;
  std::uint32_t filter_values = 4096;    ///< Values of all sets of one filter together.
  std::uint32_t filter_bytes = 64 * 1024;
  std::uint32_t hops = 3;                ///< Links followed from a hit.
  std::uint32_t related = 200;           ///< Items found through links, in one answer.
  std::uint32_t pack_tokens = 1'000'000; ///< Of one pack.
  std::uint64_t answer_bytes = 8 * 1024 * 1024; ///< Items of one answer: texts, metadata and the rest, without vectors.
  /// Multiplications of one reordering for diversity: candidates x answers x dimension. Some 0.4 s where memory is slow.
  std::uint64_t diversity_work = 400'000'000;
};

} // namespace hive::vector
