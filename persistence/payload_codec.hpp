/// @file
/// The seam through which every stored payload passes: plain today, sealed with a tenant's key later.
#pragma once

#include "config/base/ids.hpp"

#include <string>
#include <string_view>

namespace hive::persistence {

/// Any thread.
class payload_codec {
public:
  virtual ~payload_codec() = default;
  /// True when `seal` and `open` give back their input: the store then binds the bytes without a copy.
  virtual bool plain() const noexcept = 0;
  /// @param place table and column: part of what is authenticated, so that bytes cannot be moved.
  virtual std::string seal(tenant_id tenant, entity_id entity, std::string_view place, std::string_view bytes) const = 0;
  virtual std::string open(tenant_id tenant, entity_id entity, std::string_view place, std::string_view sealed) const = 0;
};

class plain_codec final : public payload_codec {
public:
  bool plain() const noexcept override { return true; }
  std::string seal(tenant_id, entity_id, std::string_view, std::string_view bytes) const override { return std::string(bytes); }
  std::string open(tenant_id, entity_id, std::string_view, std::string_view sealed) const override { return std::string(sealed); }
};

} // namespace hive::persistence
