/// @file
/// Bytes as text: standard base64 with padding.
#pragma once

#include <string>
#include <string_view>

namespace hive {

std::string to_base64(std::string_view bytes);
/// @returns false for anything but canonical, padded base64.
bool from_base64(std::string_view text, std::string& out);

} // namespace hive
