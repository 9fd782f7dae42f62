#include "actors/executors/text/structure.hpp"
#include "actors/executors/text/words.hpp"

#include <gtest/gtest.h>

namespace hive::actors::text {
namespace {

structure of(std::string_view path, std::string_view content) {
  return structure_of(language_of(path, content), content);
}
using counts = std::map<std::string_view, std::uint64_t>;

TEST(StructureTest, CppKnowsScopesStringsAndConditions) {
  const auto s = of("a.cpp", R"cpp(
#include <string>
#define TWICE(x) \
  do { x; x; } while (0)
namespace a::b {
/* int not_me() { */
// int nor_me() {
template <class T> class ring : public base<T> {
public:
  ring() : size_{1}, rest_(2) {}
  int at(int i) const noexcept { if (i) { return 1; } return 0; }
  bool operator==(const ring& other) const { return true; }
  void declared_only();
};
struct forward;
enum class colour { red, green };
int table[] = {1, 2, 3};
auto lambda = [](int x) { return x; };
const char* text = "int fake() {";
const char* raw = R"(int fake2() { " )";
int million = 1'000'000; char quote = '"';
#if A
int either(int a) {
#else
int either(long a) {
#endif
  for (;;) { while (a) { f([&](int q) { return q; }); } }
  return 0;
}
std::vector<int> ring::spread(std::map<int, int> m,
                              int b)
{
  return {};
}
}
extern "C" {
void c_one(void) {}
}
)cpp");
  EXPECT_EQ(s.definitions, (counts{{"macro", 1}, {"class", 1}, {"enum", 1}, {"function", 7}}));
  EXPECT_EQ(s.outline[0], "macro TWICE");
  EXPECT_EQ(s.outline[1], "class ring");
  EXPECT_EQ(s.outline[2], "function ring");
  EXPECT_EQ(s.outline[4], "function operator==");
}

TEST(StructureTest, PythonKnowsStrings) {
  const auto s =
      of("a.py", "class A(B):\n    '''\n    def not_me():\n    '''\n    def one(self): pass\nasync def two():\n    x = "
                 "\"\"\"def no(): \"\"\"\n    defer = 1\n# def no():\ndef three() -> int:\n");
  EXPECT_EQ(s.definitions, (counts{{"class", 1}, {"function", 3}}));
}

TEST(StructureTest, JavaScriptFunctionsClassesAndArrows) {
  const auto s = of("a.js", R"js(
import x from 'y'
function one(a) { return a / 2 }
const two = (a, b) => { return a }
const three = function () {}
class Thing extends Base {
  constructor() { super() }
  async load(url) { if (url) { go() } }
  get size() { return 1 }
}
list.forEach(function (x) { })
const re = /function no() {/g
const text = `function no() {`
export default function four() {}
)js");
  EXPECT_EQ(s.definitions, (counts{{"class", 1}, {"function", 4}, {"method", 3}}));
}

TEST(StructureTest, JavaTypesAndMethods) {
  const auto s = of("A.java", R"java(
package a;
@Deprecated(since = "1")
public class A<T> extends B implements C {
  private final int[] x = {1, 2};
  @Override public String toString() { return "class X {"; }
  A(int y) { this.x[0] = y; new Runnable() { public void run() {} }; }
  interface Inner { void m(); }
  enum E { ONE, TWO; int f() { return 1; } }
}
)java");
  EXPECT_EQ(s.definitions.at("class"), 1U);
  EXPECT_EQ(s.definitions.at("interface"), 1U);
  EXPECT_EQ(s.definitions.at("enum"), 1U);
  EXPECT_EQ(s.definitions.at("method"), 3U);
}

TEST(StructureTest, GoAndRust) {
  EXPECT_EQ(of("a.go", "package a\n\ntype T struct {\n}\n\nfunc (t *T) M() {\n}\n\nfunc F() {\n\tfunc() {}()\n}\n// "
                       "func no() {\nvar s = `\nfunc no() {\n`\n")
                .definitions,
            (counts{{"type", 1}, {"method", 1}, {"function", 1}}));
  EXPECT_EQ(of("a.rs", "pub(crate) struct S<'a> { x: &'a str }\nimpl<'a> S<'a> {\n    pub async fn f(&self) {}\n}\n/* "
                       "/* fn no() */ fn no() */\nfn g() { let c = '{'; }\n"
                       "mod m;\nlet s = r#\"\nfn no() {\n\"#;\n")
                .definitions,
            (counts{{"struct", 1}, {"impl", 1}, {"function", 2}, {"module", 1}}));
}

TEST(StructureTest, ShellSkipsHeredocs) {
  EXPECT_EQ(of("x", "#!/bin/sh\none() {\n}\nfunction two {\n}\ncat <<'END'\nno() {\n}\nEND\n# no() {\nthree ()\n{\n}\n")
                .definitions,
            (counts{{"function", 3}}));
}

TEST(StructureTest, Headings) {
  EXPECT_EQ(of("a.md", "---\ntitle: x\n---\n# One\n\n```sh\n# not one\n```\nTwo\n===\n\nThree\n---\n\n####### "
                       "no\n#no\n    # code\n| a |\n|---|\n- item\n---\n## Four ##\n")
                .headings,
            4U);
  EXPECT_EQ(of("a.rst", "=====\nTitle\n=====\n\nPart\n----\n\ntext\n\n===  ===\na    b\n===  ===\n").headings, 2U);
  EXPECT_EQ(of("a.html", "<html><h1>One</h1><!-- <h2>no</h2> --><H2 class=x>Two</H2><hr><head>").headings, 2U);
  EXPECT_EQ(of("a.1", ".TH A 1\n.SH NAME\na\n.SS Sub\n").headings, 2U);
  EXPECT_EQ(of("README", "Title\n=====\n\ntext text\n\n-------------------------\n").headings, 1U);
  EXPECT_EQ(of("a.md", "# One\n## Two\n").outline, (std::vector<std::string>{"# One", "# Two"}));
}

TEST(StructureTest, NeverFailsOnGarbage) {
  std::string garbage;
  unsigned seed = 1;
  const std::string_view alphabet = "{}()[]<>\"'`/*#\\\n;=:,abR rdef class function \xff\xc3";
  for (int i = 0; i < 200'000; ++i)
    garbage.push_back(alphabet[(seed = seed * 1664525U + 1013904223U) / 65536U % alphabet.size()]);
  for (const char* path : {"a.cpp", "a.java", "a.js", "a.go", "a.rs", "a.py", "a.sh", "a.md", "a.rst", "a.html", "a.1",
                           "a.txt", "a.pl", "a.sql", "a.lua", "a.cmake", "a.tex", "a.pas"})
    for (std::size_t cut = 0; cut < 300; cut += 17) (void)of(path, std::string_view(garbage).substr(cut, 20'000));
}

TEST(LanguageTest, NameThenInterpreterThenContent) {
  EXPECT_EQ(language_of("a/CMakeLists.txt", "").name, "CMake");
  EXPECT_EQ(language_of("a.h", "int x;").name, "C");
  EXPECT_EQ(language_of("a.h", "namespace x {").name, "C++");
  EXPECT_EQ(language_of("run", "#!/usr/bin/env python3\n").name, "Python");
  EXPECT_EQ(language_of("page", "<!DOCTYPE html>").name, "HTML");
  EXPECT_EQ(language_of("a.1", "just a list").name, "Text");
  EXPECT_EQ(language_of("changelog", "x").name, "Text");
}

TEST(TermsTest, MostUsedFirstThenByName) {
  const auto terms = top_terms("Mailbox mailbox MAILBOX shard shard lane lane the with return 1234 ab", 10);
  ASSERT_EQ(terms.size(), 3U);
  EXPECT_EQ(terms[0].word, "mailbox");
  EXPECT_EQ(terms[0].count, 3U);
  EXPECT_EQ(terms[1].word, "lane");
  EXPECT_EQ(terms[2].word, "shard");
}

} // namespace
} // namespace hive::actors::text
