#include "runtime/api/json_mapping.hpp"

#include "hive/v1/common.pb.h"
#include "hive/v1/options.pb.h"
#include "runtime/api/json_reader.hpp"

#include <google/protobuf/descriptor.h>

#include <charconv>
#include <limits>

namespace hive::api {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using kind = json_reader::kind;

/// Where we are, as a chain on the stack: turned into text only when something is wrong.
struct place {
  const place* above = nullptr;
  std::string_view name{};
  std::ptrdiff_t index = -1;

  std::string path() const {
    if (!above) return {};
    std::string p = above->path();
    if (index >= 0) return p + "[" + std::to_string(index) + "]";
    return p.empty() ? std::string(name) : p + "." + std::string(name);
  }
};

[[noreturn]] void fail(const place& at, const std::string& what) {
  auto path = at.path();
  throw json_failure{path.empty() ? "the body " + what : path + " " + what, path};
}

const hive::v1::FieldRule& rule_of(const FieldDescriptor& field) { return field.options().GetExtension(hive::v1::field); }

bool is_object(const FieldDescriptor& field) { return field.is_repeated() && field.message_type() && rule_of(field).object(); }

const char* word_for(kind k) {
  switch (k) {
  case kind::object: return "an object";
  case kind::array: return "a list";
  case kind::string: return "a string";
  case kind::number: return "a number";
  case kind::boolean: return "true or false";
  case kind::null: return "null";
  }
  return "a value";
}

void need(json_reader& in, kind wanted, const place& at) {
  if (const kind got = in.peek(); got != wanted) fail(at, std::string("must be ") + word_for(wanted) + ", not " + word_for(got));
}

template <class Integer> Integer integer(std::string_view text, const place& at) {
  Integer value{};
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec == std::errc::result_out_of_range || (std::is_unsigned_v<Integer> && text.starts_with('-')))
    fail(at, "is out of range: " + std::to_string(std::numeric_limits<Integer>::min()) + ".." + std::to_string(std::numeric_limits<Integer>::max()));
  if (ec != std::errc{} || end != text.data() + text.size()) fail(at, "must be a whole number");
  return value;
}

double floating(std::string_view text, const place& at) {
  double value{};
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc{} || end != text.data() + text.size()) fail(at, "must be a number");
  return value;
}

std::string prefix_of(const EnumDescriptor& type) {
  std::string out;
  for (const char c : type.name()) {
    if (c >= 'A' && c <= 'Z' && !out.empty()) out.push_back('_');
    out.push_back(static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c));
  }
  return out + "_";
}

const EnumValueDescriptor& enum_value(const EnumDescriptor& type, std::string_view word, const place& at) {
  std::string all;
  for (int i = 0; i < type.value_count(); ++i) {
    const auto text = enum_word(*type.value(i));
    if (text == "unspecified") continue;
    if (text == word) return *type.value(i);
    all += (all.empty() ? "" : ", ") + text;
  }
  fail(at, "must be one of: " + all);
}

std::string checked_text(std::string text, const place& at) {
  if (text.find('\0') != std::string::npos) fail(at, "must not contain a NUL character");
  return text;
}

// -- reading

class mapper {
public:
  mapper(json_reader& in, const json_rules& rules) : in_(in), rules_(rules) {}

  void object(Message& into, const place& at, std::span<const std::string> fixed = {}) {
    need(in_, kind::object, at);
    in_.enter_object();
    std::uint64_t seen = 0;
    bool raw_values = false;
    std::string name;
    while (in_.next_member(name)) {
      const place here{&at, name};
      const auto* field = into.GetDescriptor()->FindFieldByName(name);
      if (!field) {
        if (!rules_.ignore_unknown) fail(here, "is not a field that is known here");
        in_.skip();
        continue;
      }
      for (const auto& f : fixed)
        if (f == name) fail(here, "is given by the path: leave it out of the body");
      const std::uint64_t bit = 1ULL << static_cast<unsigned>(field->index());
      if (seen & bit) fail(here, "is there twice");
      seen |= bit;
      raw_values = raw_values || field->type() == FieldDescriptor::TYPE_BYTES;
      value(into, *field, here);
    }
    if (raw_values) settle_raw_values(into, at);
  }

private:
  void value(Message& into, const FieldDescriptor& field, const place& at) {
    const Reflection& r = *into.GetReflection();
    if (field.type() == FieldDescriptor::TYPE_BYTES) return r.SetString(&into, &field, std::string(in_.skip()));
    if (in_.peek() == kind::null) return in_.null();
    if (is_object(field)) return pairs(into, field, at);
    if (field.is_repeated()) return list(into, field, at);
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) return object(*r.MutableMessage(&into, &field), at);
    scalar(into, field, at);
  }

  void scalar(Message& into, const FieldDescriptor& field, const place& at) {
    const Reflection& r = *into.GetReflection();
    switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      need(in_, kind::string, at);
      return r.SetString(&into, &field, checked_text(in_.string(), at));
    case FieldDescriptor::CPPTYPE_BOOL:
      need(in_, kind::boolean, at);
      return r.SetBool(&into, &field, in_.boolean());
    case FieldDescriptor::CPPTYPE_ENUM:
      need(in_, kind::string, at);
      return r.SetEnum(&into, &field, &enum_value(*field.enum_type(), in_.string(), at));
    default:
      need(in_, kind::number, at);
      return set_number(into, field, in_.number(), at);
    }
  }

public:
  static void set_number(Message& into, const FieldDescriptor& field, std::string_view text, const place& at) {
    const Reflection& r = *into.GetReflection();
    switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32: return r.SetInt32(&into, &field, integer<std::int32_t>(text, at));
    case FieldDescriptor::CPPTYPE_INT64: return r.SetInt64(&into, &field, integer<std::int64_t>(text, at));
    case FieldDescriptor::CPPTYPE_UINT32: return r.SetUInt32(&into, &field, integer<std::uint32_t>(text, at));
    case FieldDescriptor::CPPTYPE_UINT64: return r.SetUInt64(&into, &field, integer<std::uint64_t>(text, at));
    case FieldDescriptor::CPPTYPE_DOUBLE: return r.SetDouble(&into, &field, floating(text, at));
    default: fail(at, "has a type that is not mapped");
    }
  }

private:
  void list(Message& into, const FieldDescriptor& field, const place& at) {
    const Reflection& r = *into.GetReflection();
    need(in_, kind::array, at);
    in_.enter_array();
    for (std::ptrdiff_t i = 0; in_.next_element(); ++i) {
      const place here{&at, {}, i};
      if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        object(*r.AddMessage(&into, &field), here);
      } else { // only strings are repeated in our protos
        need(in_, kind::string, here);
        r.AddString(&into, &field, checked_text(in_.string(), here));
      }
    }
  }

  void pairs(Message& into, const FieldDescriptor& field, const place& at) {
    const Reflection& r = *into.GetReflection();
    const Descriptor& entry = *field.message_type();
    need(in_, kind::object, at);
    in_.enter_object();
    std::vector<std::string> seen;
    std::string name;
    while (in_.next_member(name)) {
      const place here{&at, name};
      if (seen.size() >= 10'000) fail(at, "has too many members");
      seen.push_back(checked_text(name, here));
      need(in_, kind::string, here);
      Message& added = *r.AddMessage(&into, &field);
      added.GetReflection()->SetString(&added, entry.FindFieldByName("name"), name);
      added.GetReflection()->SetString(&added, entry.FindFieldByName("value"), checked_text(in_.string(), here));
    }
    std::sort(seen.begin(), seen.end());
    if (const auto twice = std::adjacent_find(seen.begin(), seen.end()); twice != seen.end())
      fail(place{&at, *twice}, "is there twice");
  }

  /// Members come in any order, so what a raw value is, is known only now.
  void settle_raw_values(Message& into, const place& at) {
    const Descriptor& type = *into.GetDescriptor();
    const Reflection& r = *into.GetReflection();
    for (int i = 0; i < type.field_count(); ++i) {
      const auto& field = *type.field(i);
      const auto* beside = field.type() == FieldDescriptor::TYPE_BYTES ? type.FindFieldByName(field.name() + "_type") : nullptr;
      if (!beside) continue;
      const int content = r.GetEnumValue(into, beside);
      if (content == hive::v1::CONTENT_TYPE_JSON) continue;
      const std::string raw = r.GetString(into, &field);
      if (raw.empty()) continue;
      const place here{&at, field.name()};
      json_reader value(raw, rules_.depth);
      need(value, kind::string, here);
      std::string text = value.string();
      if (content == hive::v1::CONTENT_TYPE_BINARY) {
        std::string bytes;
        if (!from_base64(text, bytes)) fail(here, "must be base64 (with padding), as its type is \"binary\"");
        text = std::move(bytes);
      }
      r.SetString(&into, &field, std::move(text));
    }
  }

  json_reader& in_;
  const json_rules& rules_;
};

template <class Work> result<void> guarded(const Work& work) {
  try {
    work();
    return {};
  } catch (json_failure& f) {
    return invalid(std::move(f.field), std::move(f.message));
  }
}

// -- rules

bool is_name(std::string_view name) {
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); };
  if (name.empty() || name.size() > 128 || !plain(name[0])) return false;
  return std::all_of(name.begin(), name.end(), [&](char c) { return plain(c) || c == '.' || c == '_' || c == '-'; });
}

void check_size(std::uint64_t size, const hive::v1::FieldRule& rule, const place& at, const char* what) {
  if (size < rule.min() || (rule.max() != 0 && size > rule.max()))
    fail(at, "must have " + std::to_string(rule.min()) + ".." + (rule.max() ? std::to_string(rule.max()) : "") + what);
}

void check_number(std::uint64_t n, const hive::v1::FieldRule& rule, const place& at) {
  if (n < rule.min() || (rule.max() != 0 && n > rule.max()))
    fail(at, "is " + std::to_string(n) + "; allowed: " + std::to_string(rule.min()) + ".." + (rule.max() ? std::to_string(rule.max()) : ""));
}

void check_text(const std::string& text, const hive::v1::FieldRule& rule, const place& at) {
  if (rule.name()) {
    if (!is_name(text)) fail(at, "must be a name: 1 to 128 of [a-z A-Z 0-9 . _ -], starting with a letter or a digit");
    return;
  }
  check_size(text.size(), rule, at, " bytes");
}

void check(const Message& m, const place& at);

void check_field(const Message& m, const FieldDescriptor& field, const place& here) {
  const auto& rule = rule_of(field);
  const Reflection& r = *m.GetReflection();
  if (field.is_repeated()) {
    const int n = r.FieldSize(m, &field);
    if (rule.required() && n == 0) fail(here, "is required");
    if (n != 0) check_size(static_cast<std::uint64_t>(n), rule, here, " members");
    if (field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) return;
    for (int i = 0; i < n; ++i) check(r.GetRepeatedMessage(m, &field, i), place{&here, {}, i});
    return;
  }
  if (!r.HasField(m, &field)) { // in proto3 zero and empty are absent
    if (rule.required()) fail(here, "is required");
    return;
  }
  std::string scratch;
  switch (field.cpp_type()) {
  case FieldDescriptor::CPPTYPE_MESSAGE: return check(r.GetMessage(m, &field), here);
  case FieldDescriptor::CPPTYPE_STRING: {
    if (rule.json()) return;
    const auto& text = r.GetStringReference(m, &field, &scratch);
    // Other transports do not come by `from_json`: what holds for all is checked here.
    if (find_invalid_utf8(text) != std::string_view::npos) fail(here, "must be UTF-8");
    if (text.find('\0') != std::string::npos) fail(here, "must not contain a NUL character");
    return check_text(text, rule, here);
  }
  case FieldDescriptor::CPPTYPE_UINT32: return check_number(r.GetUInt32(m, &field), rule, here);
  case FieldDescriptor::CPPTYPE_UINT64: return check_number(r.GetUInt64(m, &field), rule, here);
  default: return;
  }
}

void check(const Message& m, const place& at) {
  const Descriptor& type = *m.GetDescriptor();
  for (int i = 0; i < type.field_count(); ++i) check_field(m, *type.field(i), place{&at, type.field(i)->name()});
}

// -- writing

void append_number(std::string& out, auto value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  out.append(text, end);
}

void append_raw(std::string& out, const std::string& bytes, int content) {
  if (content == hive::v1::CONTENT_TYPE_BINARY) append_json_string(out, to_base64(bytes));
  else if (content == hive::v1::CONTENT_TYPE_JSON && bytes.empty()) out.append("null");
  else if (content == hive::v1::CONTENT_TYPE_JSON && is_json(bytes, 10'000)) out.append(bytes);
  else append_json_string(out, bytes); // text; or called JSON by its behaviour and none
}

void append_value(std::string& out, const Message& m, const FieldDescriptor& field, json_style style) {
  const Reflection& r = *m.GetReflection();
  std::string scratch;
  switch (field.cpp_type()) {
  case FieldDescriptor::CPPTYPE_MESSAGE: return append_json(out, r.GetMessage(m, &field), style);
  case FieldDescriptor::CPPTYPE_STRING:
    if (field.type() == FieldDescriptor::TYPE_BYTES) {
      const auto* beside = field.containing_type()->FindFieldByName(field.name() + "_type");
      return append_raw(out, r.GetStringReference(m, &field, &scratch), beside ? r.GetEnumValue(m, beside) : 0);
    }
    return append_json_string(out, r.GetStringReference(m, &field, &scratch));
  case FieldDescriptor::CPPTYPE_BOOL: out.append(r.GetBool(m, &field) ? "true" : "false"); return;
  case FieldDescriptor::CPPTYPE_ENUM: return append_json_string(out, enum_word(*r.GetEnum(m, &field)));
  case FieldDescriptor::CPPTYPE_INT32: return append_number(out, r.GetInt32(m, &field));
  case FieldDescriptor::CPPTYPE_INT64: return append_number(out, r.GetInt64(m, &field));
  case FieldDescriptor::CPPTYPE_UINT32: return append_number(out, r.GetUInt32(m, &field));
  case FieldDescriptor::CPPTYPE_UINT64: return append_number(out, r.GetUInt64(m, &field));
  case FieldDescriptor::CPPTYPE_DOUBLE: return append_number(out, r.GetDouble(m, &field));
  case FieldDescriptor::CPPTYPE_FLOAT: return append_number(out, r.GetFloat(m, &field));
  }
}

void append_repeated(std::string& out, const Message& m, const FieldDescriptor& field, json_style style) {
  const Reflection& r = *m.GetReflection();
  const bool pairs = is_object(field);
  out.push_back(pairs ? '{' : '[');
  for (int i = 0; i < r.FieldSize(m, &field); ++i) {
    if (i != 0) out.push_back(',');
    if (field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
      append_json_string(out, r.GetRepeatedString(m, &field, i));
      continue;
    }
    const Message& member = r.GetRepeatedMessage(m, &field, i);
    if (!pairs) {
      append_json(out, member, style);
      continue;
    }
    append_value(out, member, *field.message_type()->FindFieldByName("name"), style);
    out.push_back(':');
    append_value(out, member, *field.message_type()->FindFieldByName("value"), style);
  }
  out.push_back(pairs ? '}' : ']');
}

/// A field that says what the raw value beside it is.
const FieldDescriptor* raw_value_of(const FieldDescriptor& type_field) {
  if (type_field.enum_type() != hive::v1::ContentType_descriptor() || !type_field.name().ends_with("_type")) return nullptr;
  return type_field.containing_type()->FindFieldByName(type_field.name().substr(0, type_field.name().size() - 5));
}

/// Absent optional fields and messages are left out; so are absent raw values with their types, and unspecified enums.
bool shown(const Message& m, const FieldDescriptor& field, json_style style) {
  const Reflection& r = *m.GetReflection();
  if (field.is_repeated()) return !style.omit_defaults || r.FieldSize(m, &field) != 0;
  if (r.HasField(m, &field)) return true;
  if (style.omit_defaults || field.has_presence()) return false;
  if (field.type() == FieldDescriptor::TYPE_BYTES) return false;
  if (field.cpp_type() != FieldDescriptor::CPPTYPE_ENUM) return true;
  if (const auto* raw = raw_value_of(field)) return r.HasField(m, raw);
  return enum_word(*r.GetEnum(m, &field)) != "unspecified";
}

} // namespace

std::string enum_word(const EnumValueDescriptor& value) {
  std::string text = value.name();
  if (const auto prefix = prefix_of(*value.type()); text.starts_with(prefix)) text.erase(0, prefix.size());
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

result<void> from_json(std::string_view text, Message& into, const json_rules& rules, std::span<const std::string> fixed) {
  if (const auto bad = find_invalid_utf8(text); bad != std::string_view::npos)
    return invalid("", "the body is not UTF-8 at byte " + std::to_string(bad));
  return guarded([&] {
    json_reader in(text, rules.depth);
    mapper(in, rules).object(into, place{}, fixed);
    in.finish();
  });
}

result<void> set_from_text(Message& into, std::string_view name, std::string_view text) {
  return guarded([&] {
    const place root;
    const place at{&root, name};
    const auto* field = into.GetDescriptor()->FindFieldByName(std::string(name));
    if (!field || field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE || field->type() == FieldDescriptor::TYPE_BYTES)
      fail(at, "is not a parameter that is known here");
    if (find_invalid_utf8(text) != std::string_view::npos) fail(at, "must be UTF-8");
    const Reflection& r = *into.GetReflection();
    if (field->is_repeated()) {
      for (std::size_t from = 0; from <= text.size();) {
        const std::size_t comma = std::min(text.find(',', from), text.size());
        if (comma > from) r.AddString(&into, field, checked_text(std::string(text.substr(from, comma - from)), at));
        from = comma + 1;
      }
      return;
    }
    switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING: return r.SetString(&into, field, checked_text(std::string(text), at));
    case FieldDescriptor::CPPTYPE_ENUM: return r.SetEnum(&into, field, &enum_value(*field->enum_type(), text, at));
    case FieldDescriptor::CPPTYPE_BOOL:
      if (text != "true" && text != "false") fail(at, "must be true or false");
      return r.SetBool(&into, field, text == "true");
    default: return mapper::set_number(into, *field, text, at);
    }
  });
}

result<void> validate(const Message& message) {
  return guarded([&] { check(message, place{}); });
}

void append_json(std::string& out, const Message& message, json_style style) {
  const Descriptor& type = *message.GetDescriptor();
  out.push_back('{');
  bool first = true;
  for (int i = 0; i < type.field_count(); ++i) {
    const auto& field = *type.field(i);
    if (!shown(message, field, style)) continue;
    if (!std::exchange(first, false)) out.push_back(',');
    out.push_back('"');
    out.append(field.name());
    out.append("\":");
    if (field.is_repeated()) append_repeated(out, message, field, style);
    else append_value(out, message, field, style);
  }
  out.push_back('}');
}

std::string to_json(const Message& message, json_style style) {
  std::string out;
  append_json(out, message, style);
  return out;
}

void append_json_field(std::string& out, const Message& message, std::string_view field) {
  append_value(out, message, *message.GetDescriptor()->FindFieldByName(std::string(field)), {});
}

} // namespace hive::api
