#include "tests/vector/kit.hpp"
#include "vector/highlight.hpp"
#include "vector/lexical/tokenizer.hpp"

#include <gtest/gtest.h>

#include <map>
#include <set>

namespace hive::vector {
namespace {

using test::at;

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> out;
  tokenizer t(text);
  for (token w; t.next(w);) out.emplace_back(w.folded);
  return out;
}

using list = std::vector<std::string>;

std::uint64_t term(std::string_view word) {
  tokenizer t(word);
  token w;
  return t.next(w) ? w.term : 0;
}

TEST(TokenizerTest, FoldsCaseAndAccents) {
  EXPECT_EQ(words("The NODES, their query!"), (list{"the", "nodes", "their", "query"}));
  EXPECT_EQ(words("Ärger über Émile's naïve Straße Łódź"), (list{"arger", "uber", "emile", "s", "naive", "strase", "lodz"}));
  EXPECT_EQ(words("e\xCC\x81t\xC3\xA9"), (list{"ete"})); // the accent on its own, and as one character
  EXPECT_EQ(words("snake_case x2 3.14 a-b"), (list{"snake", "case", "x2", "3", "14", "a", "b"}));
  EXPECT_EQ(words("ΣΟΦΙΑ МОСКВА Ёлка"), (list{"σοφια", "москва", "ёлка"}));
  EXPECT_EQ(words("東京 tower カナ"), (list{"東", "京", "tower", "カ", "ナ"}));
  EXPECT_EQ(words("“quoted” — dash… €5 😀 x"), (list{"quoted", "dash", "5", "x"}));
  EXPECT_EQ(words(""), list{});
}

TEST(TokenizerTest, WordsOfOneStemAreOneTerm) {
  EXPECT_EQ(term("Nodes"), term("node"));
  EXPECT_EQ(term("queries"), term("query"));
  EXPECT_EQ(term("configuring"), term("Configured"));
  EXPECT_NE(term("node"), term("mode"));
  EXPECT_NE(term("москва"), term("москве")) << "only English is stemmed";
  // The thread's memory of words is bounded and starts anew: the answers stay.
  const auto before = term("configuring");
  for (int i = 0; i < 70'000; ++i) term("word" + std::to_string(i));
  EXPECT_EQ(term("configuring"), before);
}

TEST(TokenizerTest, AnyBytesAreSafeAndOffsetsAreInside) {
  random_source chance(3);
  for (int round = 0; round < 20'000; ++round) {
    std::string text(chance.below(40), ' ');
    for (char& c : text) c = static_cast<char>(chance.one_in(3) ? chance.next() : 'a' + chance.below(4));
    tokenizer t(text);
    std::uint32_t last = 0;
    for (token w; t.next(w);) {
      ASSERT_LE(last, w.begin);
      ASSERT_LT(w.begin, w.end);
      ASSERT_LE(w.end, text.size());
      ASSERT_FALSE(w.folded.empty());
      last = w.end;
    }
  }
  EXPECT_EQ(words(std::string(100'000, 'a')).size(), 1);
  EXPECT_EQ(words(std::string("a\0b", 3)), (list{"a", "b"}));
}

TEST(HighlightTest, SpansAreTheWordsOfTheText) {
  const std::string text = "A node, two Nodes — the Knoten.";
  const auto spans = highlight(text, "NODE knoten");
  ASSERT_EQ(spans.size(), 3);
  EXPECT_EQ(text.substr(spans[0].begin, spans[0].end - spans[0].begin), "node");
  EXPECT_EQ(text.substr(spans[1].begin, spans[1].end - spans[1].begin), "Nodes");
  EXPECT_EQ(text.substr(spans[2].begin, spans[2].end - spans[2].begin), "Knoten");
  EXPECT_EQ(highlight(text, "node", 1).size(), 1);
  EXPECT_TRUE(highlight(text, "!!").empty());
}

/// BM25 by its formula, over a map: what the postings are tested against.
std::map<std::string, double> naive_bm25(const std::map<std::string, std::string>& texts, const std::string& query) {
  std::map<std::string, std::map<std::string, double>> counts;
  std::map<std::string, double> lengths, frequency;
  double total = 0;
  for (const auto& [id, text] : texts) {
    for (const auto& w : words(text)) counts[id][w] += 1, lengths[id] += 1, total += 1;
    for (const auto& [w, n] : counts[id]) frequency[w] += 1;
  }
  const double items = static_cast<double>(texts.size());
  std::map<std::string, double> out;
  for (const auto& w : words(query))
    for (const auto& [id, text] : texts) {
      const double tf = counts[id].contains(w) ? counts[id][w] : 0;
      if (tf == 0) continue;
      const double idf = std::log(1 + (items - frequency[w] + 0.5) / (frequency[w] + 0.5));
      out[id] += idf * tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * lengths[id] / (total / items)));
    }
  return out;
}

TEST(LexicalSearchTest, ScoresAreBm25OverWhatIsAlive) {
  random_source chance(17);
  collection c(test::in_space(metric::cosine, 8), {});
  std::map<std::string, std::string> model;
  const auto random_text = [&] {
    std::string text;
    for (std::uint64_t n = chance.below(12); n > 0; --n) text += "w" + std::to_string(chance.below(chance.one_in(2) ? 3 : 60)) + " ";
    return text;
  };
  for (int step = 0; step < 1500; ++step) {
    const std::string id = "i" + std::to_string(chance.below(400));
    if (chance.one_in(4)) {
      (void)c.remove(id, at(0));
      model.erase(id);
    } else {
      item i = test::text_item(id, random_text());
      // Some expire at 100: a search at 200 must neither find nor count them.
      if (chance.one_in(5)) i.expires_at = at(100);
      put_options how;
      how.allow_duplicate = true;
      ASSERT_TRUE(c.put(i, test::random_vector(chance, 8), how, at(0)));
      if (i.expires_at == never)
        model[id] = i.text;
      else
        model.erase(id);
    }
    if (step % 50 != 49) continue;
    const auto v = c.publish();
    search_request r;
    r.mode = search_mode::lexical;
    r.text = random_text() + " w1 w1";
    r.k = 1000;
    r.now = at(200);
    const auto answer = v->search(r, {});
    ASSERT_TRUE(answer) << to_string(answer.error());
    const auto expected = naive_bm25(model, r.text);
    ASSERT_EQ(answer->hits.size(), expected.size());
    double last = 1e300;
    for (const auto& h : answer->hits) {
      ASSERT_TRUE(expected.contains(h.content->id));
      ASSERT_NEAR(h.score, expected.at(h.content->id), 1e-9);
      ASSERT_LE(h.score, last);
      last = h.score;
    }
  }
}

TEST(LexicalSearchTest, QuerySyntaxOfOtherEnginesIsJustText) {
  collection c(test::in_space(metric::cosine, 8), {});
  const std::vector<float> vector(8, 1.0F);
  ASSERT_TRUE(c.put(test::text_item("a", "apple OR pear near text"), vector, {}, at(0)));
  ASSERT_TRUE(c.put(test::text_item("b", "banana"), vector, {}, at(0)));
  const auto v = c.publish();
  for (const char* hostile : {"banana\" OR 1=1 --", "banana*", "NEAR(banana, 2)", "text:banana", "^banana", "{id text}: banana", "(banana", "banana AND NOT",
                              "banana'); DROP TABLE t;", "-banana", "\"banana", "banana + +", "banana\xFF\xFE", "%banana%", "${banana}"}) {
    search_request r;
    r.mode = search_mode::lexical;
    r.text = hostile;
    const auto answer = v->search(r, {});
    ASSERT_TRUE(answer) << hostile;
    const auto ids = test::ids(*answer);
    EXPECT_TRUE(std::find(ids.begin(), ids.end(), "b") != ids.end()) << hostile;
  }
  for (const char* nothing : {"\"", "* - + ( ) : ^", "''", "\xFF"}) {
    search_request r;
    r.mode = search_mode::lexical;
    r.text = nothing;
    const auto answer = v->search(r, {});
    ASSERT_TRUE(answer) << nothing;
    EXPECT_TRUE(answer->hits.empty()) << nothing;
  }
}

} // namespace
} // namespace hive::vector
