#include "runtime/cli/http_client.hpp"

#include "runtime/cli/failure.hpp"

#include <gtest/gtest.h>

namespace hive::cli {
namespace {

failure failure_of(int status, const std::string& body) {
  try {
    check({status, nlohmann::json::parse(body, nullptr, false), body});
  } catch (const failure& e) {
    return e;
  }
  return {exit_code::ok, ""};
}

TEST(HttpClientTest, ServerAddresses) {
  EXPECT_EQ(parse_server("http://127.0.0.1:7070").host, "127.0.0.1");
  EXPECT_EQ(parse_server("localhost:8080/").port, "8080");
  EXPECT_EQ(parse_server("http://[::1]:9").host, "::1");
  EXPECT_EQ(parse_server("http://host").port, "7070");
  for (const char* bad : {"", "https://x", "http://", "http://x:y", "http://x:70000", "http://x/path", "ftp://x", "x:"})
    EXPECT_THROW(parse_server(bad), failure) << bad;
}

TEST(HttpClientTest, UrlEncoding) { EXPECT_EQ(url_encode("a/b c.ä~"), "a%2Fb%20c.%C3%A4~"); }

TEST(HttpClientTest, SuccessIsNoFailure) { EXPECT_EQ(failure_of(201, "{}").code, exit_code::ok); }

TEST(HttpClientTest, ErrorsNameFieldAndCode) {
  const auto e = failure_of(400, R"({"error":{"code":"invalid_argument","message":"must be 1..1000","field":"agents[3].spec.weight"}})");
  EXPECT_STREQ(e.what(), "agents[3].spec.weight: must be 1..1000 (invalid_argument)");
  EXPECT_EQ(e.code, exit_code::failed);
}

TEST(HttpClientTest, StatusBecomesExitCode) {
  EXPECT_EQ(failure_of(401, "{}").code, exit_code::denied);
  EXPECT_EQ(failure_of(403, "{}").code, exit_code::denied);
  EXPECT_EQ(failure_of(404, "{}").code, exit_code::not_found);
  EXPECT_EQ(failure_of(429, "{}").code, exit_code::unavailable);
  EXPECT_EQ(failure_of(503, "").code, exit_code::unavailable);
  EXPECT_EQ(failure_of(422, "[]").code, exit_code::failed);
}

TEST(HttpClientTest, UnknownSaysWhichKeyToRepeat) {
  EXPECT_NE(failure_of(504, R"({"error":{"code":"unknown","details":{"idempotency_key":"k1"}}})").hint.find("--key k1"),
            std::string::npos);
  EXPECT_NE(failure_of(429, R"({"error":{"code":"resource_exhausted","retry_after_ms":250}})").hint.find("250 ms"),
            std::string::npos);
}

TEST(EventParserTest, EventsAreSplitWhereverTheBytesBreak) {
  const std::string stream = ": hello\n\nid: c1\nevent: task.queued\ndata: {\"a\":\ndata: 1}\n\r\nid: c2\r\ndata:x\r\n\r\nid: c3\ndata: cut";
  for (std::size_t cut = 1; cut < stream.size(); ++cut) {
    event_parser parser;
    std::vector<http_client::event> got;
    const auto keep = [&](const http_client::event& e) { return got.push_back(e), true; };
    parser.feed(stream.substr(0, cut), keep);
    parser.feed(stream.substr(cut), keep);
    ASSERT_EQ(got.size(), 2U) << cut;
    EXPECT_EQ(got[0].id, "c1");
    EXPECT_EQ(got[0].type, "task.queued");
    EXPECT_EQ(got[0].data, "{\"a\":\n1}");
    EXPECT_EQ(got[1].id, "c2");
    EXPECT_EQ(got[1].data, "x");
  }
}

TEST(EventParserTest, StopsWhenTold) {
  event_parser parser;
  int seen = 0;
  EXPECT_FALSE(parser.feed("data: 1\n\ndata: 2\n\n", [&](const http_client::event&) { return ++seen, false; }));
  EXPECT_EQ(seen, 1);
}

} // namespace
} // namespace hive::cli
