/// @file
/// A codec whose sealed bytes show that they were sealed, and open only where they were put. Not a cipher.
#pragma once

#include "persistence/payload_codec.hpp"

#include <stdexcept>

namespace hive::test {

class test_codec final : public persistence::payload_codec {
public:
  bool plain() const noexcept override { return false; }
  std::string seal(tenant_id tenant, entity_id entity, std::string_view place, std::string_view bytes) const override {
    std::string sealed = label(tenant, entity, place);
    for (const char c : bytes) sealed.push_back(static_cast<char>(c ^ 0x5A));
    return sealed;
  }
  std::string open(tenant_id tenant, entity_id entity, std::string_view place, std::string_view sealed) const override {
    const std::string expected = label(tenant, entity, place);
    if (!sealed.starts_with(expected)) throw std::runtime_error("opened in another place than it was sealed for");
    std::string bytes(sealed.substr(expected.size()));
    for (char& c : bytes) c = static_cast<char>(c ^ 0x5A);
    return bytes;
  }

private:
  static std::string label(tenant_id tenant, entity_id entity, std::string_view place) {
    return std::to_string(tenant.value()) + "/" + to_string(entity) + "/" + std::string(place) + ":";
  }
};

} // namespace hive::test
