/// @file
/// Protobuf messages from and to JSON, by reflection, under the rules that the protos name (`hive.v1.field`).
///
/// Errors are `invalid_argument` with the path of the field as the caller wrote it: "agents[3].spec.weight".
#pragma once

#include "config/base/result.hpp"

#include <google/protobuf/message.h>

#include <span>
#include <string>
#include <string_view>

namespace hive::api {

struct json_rules {
  std::uint32_t depth = 64;             ///< `api.json_depth`
  bool ignore_unknown = false;          ///< For what we stored ourselves, maybe by a newer version.
};

/// Fills `into` from one JSON object. @param fixed fields that the path names already: refused in the text.
result<void> from_json(std::string_view text, google::protobuf::Message& into, const json_rules& rules,
                       std::span<const std::string> fixed = {});

/// Sets one field from text, as the path and the query give it; lists are separated by commas.
result<void> set_from_text(google::protobuf::Message& into, std::string_view field, std::string_view text);

/// Required fields, bounds and names of the whole message. Every transport calls it before a service sees a request.
result<void> validate(const google::protobuf::Message& message);

struct json_style {
  bool omit_defaults = false;           ///< Leave out what is zero or empty; otherwise only absent messages are left out.
};
/// Appends `message` as one JSON object, without white space.
void append_json(std::string& out, const google::protobuf::Message& message, json_style style = {});
std::string to_json(const google::protobuf::Message& message, json_style style = {});
/// Appends one field's value.
void append_json_field(std::string& out, const google::protobuf::Message& message, std::string_view field);

/// "permanent" for RESTART_TYPE_PERMANENT.
std::string enum_word(const google::protobuf::EnumValueDescriptor& value);

} // namespace hive::api
