#include "runtime/cli/manifest.hpp"

#include "runtime/cli/failure.hpp"

#include <yaml-cpp/yaml.h>

#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <regex>

namespace hive::cli {
namespace {

using nlohmann::json;

constexpr std::size_t depth_max = 64;
constexpr std::size_t values_per_byte_max = 10; // aliases can multiply what a small file holds

class converter {
public:
  converter(const std::string& name, std::size_t bytes) : name_(name), values_max_(1000 + values_per_byte_max * bytes) {}

  json convert(const YAML::Node& node, std::size_t depth = 0) {
    if (depth > depth_max) refuse(node, "nested deeper than " + std::to_string(depth_max));
    if (++values_ > values_max_) refuse(node, "aliases make more than " + std::to_string(values_max_) + " values of it");
    switch (node.Type()) {
    case YAML::NodeType::Sequence: {
      json out = json::array();
      for (const auto& item : node) out.push_back(convert(item, depth + 1));
      return out;
    }
    case YAML::NodeType::Map: return map(node, depth);
    case YAML::NodeType::Scalar: return scalar(node);
    default: return nullptr;
    }
  }

private:
  json map(const YAML::Node& node, std::size_t depth) {
    json out = json::object();
    for (const auto& entry : node) {
      if (!entry.first.IsScalar()) refuse(entry.first, "a key must be a word");
      const std::string& key = entry.first.Scalar();
      if (key == "<<") refuse(entry.first, "merge keys are not supported; write the members out");
      if (out.contains(key)) refuse(entry.first, "'" + key + "' is there twice");
      out[key] = convert(entry.second, depth + 1);
    }
    return out;
  }

  json scalar(const YAML::Node& node) {
    const std::string& text = node.Scalar();
    const std::string& tag = node.Tag();
    if (tag == "!" || tag == "tag:yaml.org,2002:str") return text; // quoted
    if (tag != "?" && !tag.empty()) refuse(node, "tag '" + tag + "' is not supported");
    if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") return nullptr;
    if (text == "true" || text == "True" || text == "TRUE") return true;
    if (text == "false" || text == "False" || text == "FALSE") return false;
    static const std::regex integer("[-+]?[0-9]+");
    static const std::regex decimal(R"([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?)");
    if (std::regex_match(text, integer)) return whole_number(node, text);
    if (std::regex_match(text, decimal)) {
      const double value = std::strtod(text.c_str(), nullptr);
      if (!std::isfinite(value)) refuse(node, "the number '" + text + "' is too large");
      return value;
    }
    return text;
  }

  json whole_number(const YAML::Node& node, const std::string& text) {
    const char* begin = text.data() + (text[0] == '+' ? 1 : 0);
    const char* end = text.data() + text.size();
    if (text[0] == '-') {
      std::int64_t value = 0;
      if (std::from_chars(begin, end, value).ec == std::errc{}) return value;
    } else {
      std::uint64_t value = 0;
      if (std::from_chars(begin, end, value).ec == std::errc{}) return value;
    }
    refuse(node, "the number '" + text + "' is too large; quote it if it is a text");
  }

  [[noreturn]] void refuse(const YAML::Node& node, const std::string& why) const {
    const auto mark = node.Mark();
    throw failure(exit_code::usage, name_ + ":" + std::to_string(mark.line + 1) + ":" +
                                        std::to_string(mark.column + 1) + ": " + why);
  }

  const std::string& name_;
  std::size_t values_max_;
  std::size_t values_ = 0;
};

} // namespace

std::vector<json> parse_yaml(const std::string& text, const std::string& name) {
  try {
    std::vector<json> out;
    converter c(name, text.size());
    for (const auto& document : YAML::LoadAll(text)) {
      json value = c.convert(document);
      if (!value.is_null()) out.push_back(std::move(value));
    }
    return out;
  } catch (const YAML::Exception& e) {
    throw failure(exit_code::usage, name + ":" + std::to_string(e.mark.line + 1) + ":" +
                                        std::to_string(e.mark.column + 1) + ": " + e.msg);
  }
}

namespace {

constexpr std::size_t text_bytes_max = 256U << 20U; ///< More than any hive takes (api.body_bytes).

std::string read_all(std::istream& in, const std::string& name) {
  std::string text;
  std::string block(1U << 16U, '\0');
  while (in.read(block.data(), static_cast<std::streamsize>(block.size())) || in.gcount() > 0) {
    text.append(block, 0, static_cast<std::size_t>(in.gcount()));
    if (text.size() > text_bytes_max) throw failure(exit_code::usage, name + " is larger than 256 MiB", "A hive takes api.body_bytes at a time.");
  }
  return text;
}

} // namespace

std::string read_text(const std::string& path) {
  if (path == "-") return read_all(std::cin, "standard input");
  std::error_code ec;
  if (std::filesystem::is_directory(path, ec)) throw failure(exit_code::usage, "'" + path + "' is a directory", "Name a file; '-' reads standard input.");
  std::ifstream in(path, std::ios::binary);
  std::string text = in ? read_all(in, "'" + path + "'") : std::string();
  if (!in.good() && !in.eof()) throw failure(exit_code::usage, "cannot read '" + path + "'", "Check the path; '-' reads standard input.");
  return text;
}

json read_payload(const std::string& argument) {
  if (argument.empty()) return nullptr;
  const bool from_file = argument[0] == '@';
  const bool elsewhere = from_file || argument == "-";
  const std::string text = elsewhere ? read_text(from_file ? argument.substr(1) : argument) : argument;
  try {
    return json::parse(text);
  } catch (const json::parse_error& e) {
    std::string why = e.what();
    if (const auto colon = why.find("] "); colon != std::string::npos) why.erase(0, colon + 2);
    throw failure(exit_code::usage,
                  (elsewhere ? "payload from '" + argument.substr(from_file ? 1 : 0) + "'" : "payload '" + argument + "'") +
                      " is not JSON: " + why,
                  elsewhere ? "" : "A text is written as '\"text\"', an object as '{\"name\": 1}'; @FILE reads a file.");
  }
}

} // namespace hive::cli
