#include "actors/executors/text/language.hpp"

#include <algorithm>
#include <string>
#include <unordered_map>

namespace hive::actors::text {
namespace {

constexpr keyword go_words[] = {{"func", "function"}, {"type", "type"}, {}};
constexpr keyword rust_words[] = {
    {"fn", "function"}, {"struct", "struct"}, {"enum", "enum"}, {"trait", "trait"},        {"union", "union"},
    {"mod", "module"},  {"type", "type"},     {"impl", "impl"}, {"macro_rules!", "macro"}, {}};
constexpr keyword ruby_words[] = {{"def", "function"}, {"class", "class"}, {"module", "module"}, {}};
constexpr keyword perl_words[] = {{"sub", "function"}, {"package", "package"}, {}};
constexpr keyword lua_words[] = {{"function", "function"}, {}};
constexpr keyword php_words[] = {
    {"function", "function"}, {"class", "class"}, {"interface", "interface"}, {"trait", "trait"}, {}};
constexpr keyword pascal_words[] = {{"procedure", "procedure"},
                                    {"function", "function"},
                                    {"constructor", "function"},
                                    {"destructor", "function"},
                                    {"unit", "unit"},
                                    {"program", "program"},
                                    {}};
constexpr keyword proto_words[] = {
    {"message", "message"}, {"service", "service"}, {"rpc", "rpc"}, {"enum", "enum"}, {}};
constexpr keyword kotlin_words[] = {{"fun", "function"},        {"func", "function"},      {"class", "class"},
                                    {"interface", "interface"}, {"protocol", "interface"}, {"struct", "struct"},
                                    {"enum", "enum"},           {"object", "class"},       {}};
constexpr keyword cmake_words[] = {{"function", "function"}, {"macro", "macro"}, {}};
constexpr keyword sql_words[] = {{"create table", "table"},
                                 {"create view", "view"},
                                 {"create function", "function"},
                                 {"create index", "index"},
                                 {"create unique index", "index"},
                                 {"create trigger", "trigger"},
                                 {}};
constexpr keyword lisp_words[] = {{"(defun", "function"},  {"(defmacro", "macro"}, {"(define", "function"},
                                  {"(defvar", "variable"}, {"(defclass", "class"}, {}};
constexpr keyword tex_words[] = {{"\\chapter", "heading"},
                                 {"\\section", "heading"},
                                 {"\\subsection", "heading"},
                                 {"\\subsubsection", "heading"},
                                 {}};
constexpr keyword ascii_doc_words[] = {
    {"=", "heading"}, {"==", "heading"}, {"===", "heading"}, {"====", "heading"}, {}};

constexpr language plain_text{"Text", grammar::plain};
constexpr language c{"C", grammar::braces_c, "//", true};
constexpr language cpp{"C++", grammar::braces_c, "//", true};
constexpr language java{"Java", grammar::braces_java, "//", true};
constexpr language c_sharp{"C#", grammar::braces_java, "//", true};
constexpr language javascript{"JavaScript", grammar::braces_js, "//", true};
constexpr language typescript{"TypeScript", grammar::braces_js, "//", true};
constexpr language go{"Go", grammar::keywords, "//", true, go_words};
constexpr language rust{"Rust", grammar::keywords, "//", true, rust_words};
constexpr language python{"Python", grammar::python, "#"};
constexpr language shell{"Shell", grammar::shell, "#"};
constexpr language ruby{"Ruby", grammar::keywords, "#", false, ruby_words};
constexpr language perl{"Perl", grammar::keywords, "#", false, perl_words};
constexpr language lua{"Lua", grammar::keywords, "--", false, lua_words};
constexpr language php{"PHP", grammar::keywords, "//", true, php_words};
constexpr language pascal{"Pascal", grammar::keywords, "//", false, pascal_words};
constexpr language protobuf{"Protocol Buffers", grammar::keywords, "//", true, proto_words};
constexpr language kotlin{"Kotlin", grammar::keywords, "//", true, kotlin_words};
constexpr language swift{"Swift", grammar::keywords, "//", true, kotlin_words};
constexpr language cmake{"CMake", grammar::keywords, "#", false, cmake_words};
constexpr language sql{"SQL", grammar::keywords, "--", true, sql_words};
constexpr language lisp{"Lisp", grammar::keywords, ";", false, lisp_words};
constexpr language tex{"TeX", grammar::keywords, "%", false, tex_words};
constexpr language ascii_doc{"AsciiDoc", grammar::keywords, "//", false, ascii_doc_words};
constexpr language markdown{"Markdown", grammar::markdown};
constexpr language restructured{"reStructuredText", grammar::restructured};
constexpr language html{"HTML", grammar::html};
constexpr language man_page{"Man page", grammar::man};
constexpr language css{"CSS", grammar::none, "", true};
constexpr language json{"JSON"};
constexpr language yaml{"YAML", grammar::none, "#"};
constexpr language toml{"TOML", grammar::none, "#"};
constexpr language xml{"XML"};
constexpr language svg{"SVG"};
constexpr language make{"Make", grammar::none, "#"};
constexpr language dockerfile{"Dockerfile", grammar::none, "#"};
constexpr language config{"Configuration", grammar::none, "#"};
constexpr language csv{"CSV"};
constexpr language diff{"Diff"};
constexpr language awk{"Awk", grammar::none, "#"};
constexpr language assembly{"Assembly", grammar::none, "#"};

using table = std::unordered_map<std::string_view, const language*>;

const table& by_extension() {
  static const table t{{"c", &c},
                       {"h", &c},
                       {"cc", &cpp},
                       {"cpp", &cpp},
                       {"cxx", &cpp},
                       {"c++", &cpp},
                       {"hh", &cpp},
                       {"hpp", &cpp},
                       {"hxx", &cpp},
                       {"h++", &cpp},
                       {"inl", &cpp},
                       {"ipp", &cpp},
                       {"tpp", &cpp},
                       {"ixx", &cpp},
                       {"java", &java},
                       {"cs", &c_sharp},
                       {"js", &javascript},
                       {"mjs", &javascript},
                       {"cjs", &javascript},
                       {"jsx", &javascript},
                       {"ts", &typescript},
                       {"tsx", &typescript},
                       {"mts", &typescript},
                       {"go", &go},
                       {"rs", &rust},
                       {"py", &python},
                       {"pyi", &python},
                       {"pyw", &python},
                       {"sh", &shell},
                       {"bash", &shell},
                       {"zsh", &shell},
                       {"ksh", &shell},
                       {"rb", &ruby},
                       {"pl", &perl},
                       {"pm", &perl},
                       {"lua", &lua},
                       {"php", &php},
                       {"pas", &pascal},
                       {"pp", &pascal},
                       {"proto", &protobuf},
                       {"kt", &kotlin},
                       {"kts", &kotlin},
                       {"swift", &swift},
                       {"cmake", &cmake},
                       {"sql", &sql},
                       {"el", &lisp},
                       {"lisp", &lisp},
                       {"scm", &lisp},
                       {"tex", &tex},
                       {"adoc", &ascii_doc},
                       {"asciidoc", &ascii_doc},
                       {"md", &markdown},
                       {"markdown", &markdown},
                       {"rst", &restructured},
                       {"html", &html},
                       {"htm", &html},
                       {"xhtml", &html},
                       {"css", &css},
                       {"scss", &css},
                       {"json", &json},
                       {"yaml", &yaml},
                       {"yml", &yaml},
                       {"toml", &toml},
                       {"xml", &xml},
                       {"xsl", &xml},
                       {"xsd", &xml},
                       {"svg", &svg},
                       {"mk", &make},
                       {"conf", &config},
                       {"cfg", &config},
                       {"ini", &config},
                       {"csv", &csv},
                       {"tsv", &csv},
                       {"diff", &diff},
                       {"patch", &diff},
                       {"awk", &awk},
                       {"s", &assembly},
                       {"asm", &assembly},
                       {"txt", &plain_text},
                       {"text", &plain_text},
                       {"1", &man_page},
                       {"2", &man_page},
                       {"3", &man_page},
                       {"4", &man_page},
                       {"5", &man_page},
                       {"6", &man_page},
                       {"7", &man_page},
                       {"8", &man_page}};
  return t;
}

const table& by_name() {
  static const table t{{"Makefile", &make},        {"makefile", &make},         {"GNUmakefile", &make},
                       {"CMakeLists.txt", &cmake}, {"Dockerfile", &dockerfile}, {"Rakefile", &ruby},
                       {"Gemfile", &ruby},         {".bashrc", &shell},         {".profile", &shell},
                       {".gitignore", &config},    {".clang-format", &yaml},    {".clang-tidy", &yaml},
                       {"go.mod", &config}};
  return t;
}

const language* by_interpreter(std::string_view head) {
  if (!head.starts_with("#!")) return nullptr;
  const auto line = head.substr(0, std::min(head.find('\n'), head.size()));
  constexpr std::pair<std::string_view, const language*> known[] = {
      {"python", &python}, {"bash", &shell}, {"zsh", &shell}, {"node", &javascript}, {"perl", &perl},
      {"ruby", &ruby},     {"lua", &lua},    {"awk", &awk},   {"php", &php},         {"sh", &shell}};
  for (const auto& [word, which] : known)
    if (line.find(word) != std::string_view::npos) return which;
  return nullptr;
}

bool is_man(std::string_view head) {
  return head.starts_with(".TH ") || head.starts_with(".Dd ") || head.starts_with(".\\\"") ||
         head.find("\n.TH ") != std::string_view::npos || head.find("\n.SH ") != std::string_view::npos;
}

const language* by_first_lines(std::string_view head) {
  if (head.starts_with("\xEF\xBB\xBF")) head.remove_prefix(3);
  const auto start = head.substr(std::min(head.find_first_not_of(" \t\r\n"), head.size()));
  std::string lower(start.substr(0, 256));
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char ch) { return ch >= 'A' && ch <= 'Z' ? static_cast<char>(ch + 32) : ch; });
  if (lower.starts_with("<!doctype html") || lower.starts_with("<html")) return &html;
  if (lower.starts_with("<?xml")) return lower.find("<svg") != std::string::npos ? &svg : &xml;
  if (is_man(head)) return &man_page;
  if (lower.starts_with("diff --git ")) return &diff;
  return nullptr;
}

/// A header is C++ when it says something that C cannot.
bool speaks_cpp(std::string_view head) {
  for (const std::string_view sign : {"namespace ", "template <", "template<", "std::", "\nclass ",
                                      "public:", "private:", "constexpr ", "#include <c"})
    if (head.find(sign) != std::string_view::npos) return true;
  return false;
}

} // namespace

bool is_binary(std::string_view head) noexcept {
  return head.substr(0, sniffed_bytes).find('\0') != std::string_view::npos;
}

std::string_view binary_type(std::string_view head) noexcept {
  using namespace std::string_view_literals;
  constexpr std::pair<std::string_view, std::string_view> known[] = {{"\x7f"
                                                                      "ELF"sv,
                                                                      "ELF program"},
                                                                     {"\x1f\x8b"sv, "gzip archive"},
                                                                     {"\x89PNG"sv, "PNG image"},
                                                                     {"\xff\xd8\xff"sv, "JPEG image"},
                                                                     {"GIF8"sv, "GIF image"},
                                                                     {"%PDF-"sv, "PDF document"},
                                                                     {"PK\x03\x04"sv, "zip archive"},
                                                                     {"\xfd"
                                                                      "7zXZ"sv,
                                                                      "xz archive"},
                                                                     {"BZh"sv, "bzip2 archive"},
                                                                     {"\x28\xb5\x2f\xfd"sv, "zstd archive"},
                                                                     {"SQLite format 3"sv, "SQLite database"},
                                                                     {"\xca\xfe\xba\xbe"sv, "Java class"},
                                                                     {"\0asm"sv, "WebAssembly"},
                                                                     {"!<arch>"sv, "static library"},
                                                                     {"wOFF"sv, "font"},
                                                                     {"wOF2"sv, "font"},
                                                                     {"OTTO"sv, "font"},
                                                                     {"\0\x01\0\0"sv, "font"},
                                                                     {"RIFF"sv, "RIFF media"},
                                                                     {"OggS"sv, "Ogg media"},
                                                                     {"ID3"sv, "MP3 audio"},
                                                                     {"\xff\xfe"sv, "UTF-16 text"},
                                                                     {"\xfe\xff"sv, "UTF-16 text"},
                                                                     {"\0\0\x01\0"sv, "icon"}};
  for (const auto& [magic, name] : known)
    if (head.starts_with(magic)) return name;
  if (head.size() > 262 && head.substr(257, 5) == "ustar") return "tar archive";
  return "binary";
}

const language& language_of(std::string_view path, std::string_view head) noexcept {
  const auto name = path.substr(path.rfind('/') + 1);
  if (const auto found = by_name().find(name); found != by_name().end()) return *found->second;
  if (const auto dot = name.rfind('.'); dot != std::string_view::npos && dot > 0) {
    std::string extension(name.substr(dot + 1));
    std::transform(extension.begin(), extension.end(), extension.begin(),
                   [](char ch) { return ch >= 'A' && ch <= 'Z' ? static_cast<char>(ch + 32) : ch; });
    if (const auto found = by_extension().find(extension); found != by_extension().end()) {
      if (found->second == &man_page) return is_man(head) ? man_page : plain_text;
      if (extension == "h" && speaks_cpp(head)) return cpp;
      return *found->second;
    }
  }
  if (const auto* which = by_interpreter(head)) return *which;
  if (const auto* which = by_first_lines(head)) return *which;
  return plain_text;
}

} // namespace hive::actors::text
