// Question: on real text, is hybrid search better than dense alone and than lexical alone, with no model and no network?
// Data: the machine's own documentation. Every section of every Markdown, reStructuredText and plain text file that has headings
// is an item (without its heading); its heading is the question, the section the one right answer. Headings of one word, and those
// that several sections share, ask nothing. Split by file: `tune` is what constants were chosen on, `test` is what counts.
// Beside it, in the same run: SQLite FTS5 (porter, unicode61; terms quoted and joined by OR), for ranking and for time.
// Options: --roots DIR:DIR (/usr/share/cmake-3.25/Help:/usr/share/doc and the directory it runs in), --dimension D (384, as collections
// have), --items N (20000), --dense-weights W:W (the default of a search): hybrid is measured with each
#include "bench/support/bench.hpp"
#include "config/base/payload.hpp"
#include "vector/collection.hpp"
#include "vector/embedding/hashing_embedder.hpp"
#include "vector/fusion.hpp"
#include "vector/lexical/tokenizer.hpp"

#include <sqlite3.h>

#include <cmath>
#include <fstream>
#include <sstream>

using namespace hive;
using namespace hive::vector;

namespace {

struct section {
  std::string file;
  std::string heading;
  std::string text;
};

bool underline(const std::string& line) {
  return line.size() >= 3 && std::string_view{"=-~^*+\"'`#"}.find(line[0]) != std::string_view::npos &&
         line.find_first_not_of(line[0]) == std::string::npos;
}

/// "## Heading", or a line with a line of one character repeated below it.
std::vector<section> sections_of(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line) && lines.size() < 100'000;) lines.push_back(std::move(line));
  std::vector<section> out;
  section current{file, "", ""};
  const auto close = [&](std::string heading) {
    if (!current.heading.empty() && current.text.size() >= 100) out.push_back(current);
    current = {file, std::move(heading), ""};
  };
  bool code = false;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string& line = lines[i];
    if (line.starts_with("```")) code = !code;
    const auto hashes = line.find_first_not_of('#');
    if (!code && hashes != 0 && hashes != std::string::npos && hashes <= 6 && line[hashes] == ' ') {
      close(line.substr(hashes + 1));
    } else if (!code && i + 1 < lines.size() && underline(lines[i + 1]) && !line.empty() && line[0] != ' ' && line.size() <= lines[i + 1].size() + 2) {
      close(line);
      ++i;
    } else if (current.text.size() < 4000) {
      current.text += line + "\n";
    }
  }
  close("");
  return out;
}

/// BM25 as SQLite does it, in memory.
class fts5 {
public:
  fts5() {
    sqlite3_open(":memory:", &db_);
    sqlite3_exec(db_, "CREATE VIRTUAL TABLE t USING fts5(text, content='', tokenize='porter unicode61'); BEGIN", nullptr, nullptr, nullptr);
    sqlite3_prepare_v2(db_, "INSERT INTO t(rowid, text) VALUES(?, ?)", -1, &insert_, nullptr);
    sqlite3_prepare_v2(db_, "SELECT rowid FROM t WHERE t MATCH ? ORDER BY rank LIMIT 10", -1, &search_, nullptr);
  }
  fts5(const fts5&) = delete;
  fts5& operator=(const fts5&) = delete;
  ~fts5() {
    sqlite3_finalize(insert_);
    sqlite3_finalize(search_);
    sqlite3_close(db_);
  }
  void put(std::int64_t row, const std::string& text) {
    sqlite3_bind_int64(insert_, 1, row);
    sqlite3_bind_text(insert_, 2, text.data(), static_cast<int>(text.size()), SQLITE_STATIC);
    sqlite3_step(insert_);
    sqlite3_reset(insert_);
  }
  void done() { sqlite3_exec(db_, "COMMIT; INSERT INTO t(t) VALUES('optimize')", nullptr, nullptr, nullptr); }
  std::vector<std::int64_t> search(const std::string& question) {
    std::string match;
    std::string word;
    for (const char c : question + " ") {
      if (std::isalnum(static_cast<unsigned char>(c)) || static_cast<unsigned char>(c) >= 0x80U) {
        word += c;
      } else if (!word.empty()) {
        match += (match.empty() ? "\"" : " OR \"") + word + "\"";
        word.clear();
      }
    }
    std::vector<std::int64_t> rows;
    sqlite3_bind_text(search_, 1, match.data(), static_cast<int>(match.size()), SQLITE_STATIC);
    while (sqlite3_step(search_) == SQLITE_ROW) rows.push_back(sqlite3_column_int64(search_, 0));
    sqlite3_reset(search_);
    return rows;
  }

private:
  sqlite3* db_ = nullptr;
  sqlite3_stmt* insert_ = nullptr;
  sqlite3_stmt* search_ = nullptr;
};

struct quality {
  double gain = 0;
  double recalled = 0;
  std::size_t questions = 0;
};

} // namespace

int main(int argc, char** argv) {
  const bench::options o(argc, argv);
  const auto dimension = static_cast<std::uint32_t>(o.number("dimension", space{}.dimension));
  const auto items_max = o.number("items", 20'000);
  std::stringstream weights(o.text("dense-weights", std::to_string(dense_weight_default)));
  std::vector<double> dense_weights;
  for (std::string w; std::getline(weights, w, ':');) dense_weights.push_back(std::stod(w));
  std::stringstream roots(o.text("roots", "/usr/share/cmake-3.25/Help:/usr/share/doc:" + std::filesystem::current_path().string()));

  std::vector<std::string> files;
  for (std::string root; std::getline(roots, root, ':');) {
    std::error_code ec;
    for (std::filesystem::recursive_directory_iterator it(root, std::filesystem::directory_options::skip_permission_denied, ec), end; !ec && it != end; it.increment(ec)) {
      const auto name = it->path().filename().string();
      if (it->is_directory() && (name == "build" || name == ".git" || name == ".hive")) it.disable_recursion_pending();
      const auto kind = it->path().extension();
      if (it->is_regular_file() && !it->is_symlink() && (kind == ".md" || kind == ".rst" || kind == ".txt") && it->file_size() < 2'000'000) files.push_back(it->path().string());
    }
  }
  std::sort(files.begin(), files.end());

  std::vector<section> sections;
  std::map<std::string, int> shared;
  for (const auto& f : files)
    for (auto& s : sections_of(f)) {
      if (sections.size() >= items_max) break;
      ++shared[s.heading];
      sections.push_back(std::move(s));
    }

  collection_limits wide;
  wide.items = static_cast<std::uint32_t>(items_max);
  collection c({metric::cosine, dimension, std::string{hashing_embedder::name}}, wide);
  const wall_time now{std::chrono::milliseconds{1}};
  std::size_t bytes = 0;
  std::vector<std::string> ids;
  fts5 beside;
  const auto began = bench::clock::now();
  for (std::size_t i = 0; i < sections.size(); ++i) {
    item one;
    one.id = "s" + std::to_string(i);
    one.text = sections[i].text;
    one.source = sections[i].file.substr(0, 256);
    bytes += one.text.size();
    const auto done = c.put(std::move(one), {}, {}, now);
    ids.push_back(done ? done->id : ""); // a repeated section is found under its first id
  }
  const double seconds = std::chrono::duration<double>(bench::clock::now() - began).count();
  for (std::size_t i = 0; i < sections.size(); ++i)
    if (ids[i] == "s" + std::to_string(i)) beside.put(static_cast<std::int64_t>(i), sections[i].text);
  beside.done();
  const auto v = c.publish();
  v->warm();
  std::printf("%zu files, %zu sections, %u items of %zu bytes on average, dimension %u; embedded and put at %.0f/s\n", files.size(), sections.size(), c.size(),
              sections.empty() ? 0 : bytes / sections.size(), dimension, static_cast<double>(sections.size()) / seconds);

  const auto measure = [&](bool tune, const std::string& name, auto&& ranked) {
    quality sum;
    std::vector<double> micros;
    for (std::size_t i = 0; i < sections.size(); ++i) {
      if (ids[i].empty() || shared[sections[i].heading] > 1 || query_terms(sections[i].heading).size() < 2) continue;
      if ((hash_of(sections[i].file) % 2 == 0) != tune) continue;
      const auto at = bench::clock::now();
      const std::vector<std::string> found = ranked(sections[i].heading);
      micros.push_back(std::chrono::duration<double, std::micro>(bench::clock::now() - at).count());
      ++sum.questions;
      for (std::size_t rank = 0; rank < found.size(); ++rank)
        if (found[rank] == ids[i]) {
          sum.gain += 1 / std::log2(static_cast<double>(rank) + 2);
          sum.recalled += 1;
        }
    }
    if (sum.questions == 0) return;
    const double n = static_cast<double>(sum.questions);
    double total = 0;
    for (const double m : micros) total += m;
    const std::string title = (tune ? "tune " : "test ") + name;
    std::printf("%-44s nDCG@10 %.4f   recall@10 %.4f   (%zu questions)\n", title.c_str(), sum.gain / n, sum.recalled / n, sum.questions);
    bench::report(title, n * 1e6 / total, bench::percentiles_of(micros),
                  {{"ndcg_at_10", sum.gain / n}, {"recall_at_10", sum.recalled / n}, {"questions", sum.questions}, {"items", c.size()}, {"dimension", dimension}});
  };
  const auto by = [&](search_mode mode, double dense_weight) {
    return [&v, &now, mode, dense_weight](const std::string& question) {
      search_request r;
      r.mode = mode;
      r.text = question;
      r.now = now;
      r.highlights = false;
      r.dense_weight = dense_weight;
      std::vector<std::string> out;
      const auto answer = v->search(r, {});
      if (!answer) std::fprintf(stderr, "%s\n", to_string(answer.error()).c_str()), std::exit(1);
      for (const auto& h : answer->hits) out.push_back(h.content->id);
      return out;
    };
  };
  for (const bool tune : {true, false}) {
    measure(tune, "dense", by(search_mode::dense, 1));
    measure(tune, "lexical", by(search_mode::lexical, 1));
    for (const double w : dense_weights) {
      char name[40];
      std::snprintf(name, sizeof name, "hybrid, dense %.2f", w);
      measure(tune, name, by(search_mode::hybrid, w));
    }
    measure(tune, "SQLite FTS5", [&](const std::string& question) {
      std::vector<std::string> out;
      for (const auto row : beside.search(question)) out.push_back("s" + std::to_string(row));
      return out;
    });
  }
  return 0;
}
