/// @file
/// The embedding endpoint over HTTP/1.1, in the clear or with TLS, one kept-alive connection for each thread.
#pragma once

#include "actors/context/endpoint_embedder.hpp"

namespace hive::actors {

/// Reads the URL, the key and the certificates that `settings` names, once. Null when it names no URL.
/// @returns `invalid_argument` naming the setting.
result<endpoint_embedder::connect> http_endpoint(const config::embedding_settings& settings);

} // namespace hive::actors
