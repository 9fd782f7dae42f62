/// @file
/// What broken, careless and hostile clients send. Each gets a clear typed error (or a closed connection where no answer
/// can be understood), nothing is stored, nothing reaches an agent, and the gateway goes on.
#include "tests/runtime/gateway_fixture.hpp"

#include "config/base/random.hpp"

namespace hive::test {
namespace {

class BadInputTest : public GatewayTest {
protected:
  BadInputTest() {
    limits.body_bytes = 64 * 1024;
    limits.json_depth = 16;
    limits.header_timeout = std::chrono::milliseconds(300);
    limits.idle_timeout = std::chrono::milliseconds(1500);
  }
  void TearDown() override {
    EXPECT_EQ(hive.stored(), 0U) << "something was stored";
    EXPECT_TRUE(may_reach_agent || hive.last().count == 0) << "something reached an agent";
    EXPECT_EQ(send("GET", "/healthz", "").status, 200) << "the gateway is gone";
  }
  void refused(const http_answer& a, int status, const std::string& field = {}) {
    EXPECT_EQ(a.status, status) << a.body;
    EXPECT_EQ(a.code(), status == 404 ? "not_found" : "invalid_argument") << a.body;
    EXPECT_EQ(a.field(), field) << a.body;
    EXPECT_FALSE(a.message().empty());
    EXPECT_EQ(a.json()["error"]["status"], status);
  }
  bool may_reach_agent = false;
};

// -- JSON

TEST_F(BadInputTest, TruncatedJsonAtEveryByte) {
  const std::string whole = R"({"type":"sa\u00e9y","payload":{"a":[1,-2.5e3,true,null,"x"]},"deadline_ms":5})";
  raw_http http(port);
  for (std::size_t n = 1; n < whole.size(); ++n) {
    http.send(request("POST", "/v1/tenants/acme/agents/bob:ask", acme, whole.substr(0, n)));
    const auto a = http.answer();
    EXPECT_EQ(a.status, 400) << whole.substr(0, n);
    EXPECT_NE(a.message().find("JSON"), std::string::npos) << a.message();
  }
}

TEST_F(BadInputTest, RandomBytesAsBody) {
  may_reach_agent = true; // one of them might be right
  random_source random(7);
  const std::string alphabet = "{}[]\",:\\ue0123456789.-+truefalsn \n\x01\x80\xFF";
  raw_http http(port);
  for (int i = 0; i < 2000; ++i) {
    std::string body = i % 2 ? R"({"type":)" : "";
    for (std::uint64_t n = random.below(60); n > 0; --n) body.push_back(i % 3 ? alphabet[random.below(alphabet.size())] : static_cast<char>(random.next()));
    http.send(request("POST", "/v1/tenants/acme/agents/bob:ask", acme, body));
    const auto a = http.answer();
    ASSERT_TRUE(a.status == 400 || a.status == 200) << i << ": " << a.status;
    ASSERT_TRUE(a.json().is_object());
  }
}

TEST_F(BadInputTest, UnknownFieldsAreNamed) {
  refused(ask(R"({"type":"x","paylaod":1})"), 400, "paylaod");
  refused(send("PUT", "/v1/tenants/acme/agents/a", acme, R"({"behaviour":"echo","restarts":1})"), 400, "restarts");
  refused(send("POST", "/v1/apply", acme, R"({"tenant":"acme","supervisors":[{"name":"s","spec":{"period":1}}]})"), 400, "supervisors[0].spec.period");
  refused(send("GET", "/v1/tenants/acme/agents?pagesize=1", acme), 400, "pagesize");
  refused(send("GET", "/v1/tenants/acme?x", acme), 400, "x");
}

TEST_F(BadInputTest, WrongTypesAreNamed) {
  refused(ask(R"({"type":7})"), 400, "type");
  refused(ask(R"({"type":"x","deadline_ms":"5"})"), 400, "deadline_ms");
  refused(ask(R"({"type":"x","deadline_ms":1.5})"), 400, "deadline_ms");
  refused(ask(R"({"type":"x","deadline_ms":-1})"), 400, "deadline_ms");
  refused(ask(R"({"type":"x","deadline_ms":99999999999999999999999})"), 400, "deadline_ms");
  refused(ask(R"({"type":"x","deadline_ms":1e400})"), 400);
  refused(ask(R"({"type":"x","priority":"highest"})"), 400, "priority");
  refused(ask(R"({"type":"x","priority":2})"), 400, "priority");
  refused(ask(R"([])"), 400);
  refused(ask(R"("x")"), 400);
  refused(ask("null"), 400);
  refused(ask(""), 400, "type");
  refused(ask(R"({"type":""})"), 400, "type");
  refused(ask(R"({"type":null})"), 400, "type");
  refused(send("PUT", "/v1/tenants/acme/agents/a", acme, R"({"behaviour":"echo","capabilities":"x"})"), 400, "capabilities");
  refused(send("PUT", "/v1/tenants/acme/agents/a", acme, R"({"behaviour":"echo","capabilities":["a",1]})"), 400, "capabilities[1]");
  refused(send("POST", "/v1/apply", acme, R"({"tenant":"acme","agents":{}})"), 400, "agents");
  refused(send("POST", "/v1/apply", acme, R"({"tenant":"acme","agents":[null]})"), 400, "agents[0]");
  refused(send("POST", "/v1/tenants/acme/tasks", acme, R"({"agent":"bob","type":"x","labels":{"a":1}})"), 400, "labels.a");
  refused(send("GET", "/v1/tenants/acme/agents?page_size=many", acme), 400, "page_size");
  refused(send("GET", "/v1/tenants/acme/agents?page_size=1001", acme), 400, "page_size");
}

TEST_F(BadInputTest, HostileItemsAndSearchesAreNamed) {
  const auto put = [&](const std::string& items) { return send("POST", "/v1/tenants/acme/collections/notes/items:put", acme, R"({"items":)" + items + "}"); };
  const auto search = [&](const std::string& body) { return send("POST", "/v1/tenants/acme/collections/notes:search", acme, body); };
  refused(put("[]"), 400, "items");
  refused(put("{}"), 400, "items");
  refused(put(R"([{"text":"a"},{"text":"b","vector":["1"]}])"), 400, "items[1].vector[0]");
  refused(put(R"([{"text":"a","vector":[1,1e39]}])"), 400, "items[0].vector[1]");
  refused(put(R"([{"text":"a","vector":[]}])"), 400, "items[0].vector");
  refused(put(R"([{"text":"a","vector":"x"}])"), 400, "items[0].vector");
  refused(put(R"([{"text":"a","metadata":[1]}])"), 400, "items[0].metadata");
  refused(put(R"([{"text":"a","trust":"system"}])"), 400, "items[0].trust");
  refused(put(R"([{"text":"a","ttl_ms":-1}])"), 400, "items[0].ttl_ms");
  refused(put(R"([{"text":"a","expires_at":999999999999999999}])"), 400, "items[0].expires_at");
  refused(put(R"([{"text":"a","links":[{"to":1}]}])"), 400, "items[0].links[0].to");
  refused(search(R"({})"), 400, "text");
  refused(search(R"({"text":"x","k":0})"), 400, "k");
  refused(search(R"({"text":"x","k":1000000})"), 400, "k");
  refused(search(R"({"text":"x","mode":"magic"})"), 400, "mode");
  refused(search(R"({"vector":[1,2,3]})"), 400, "vector");
  refused(search(R"({"text":"x","diversity":7})"), 400, "diversity");
  refused(send("POST", "/v1/tenants/acme/collections/notes:pack", acme, R"({"text":"x","tokens":0})"), 400, "tokens");
  const auto filtered = search(R"({"text":"x","filter":{"a":{"$bad":1}}})");
  EXPECT_EQ(filtered.status, 400);
  EXPECT_TRUE(filtered.field().starts_with("filter")) << filtered.body;
  refused(send("PUT", "/v1/tenants/acme/collections/x", acme, R"({"dimension":7})"), 400, "dimension");
  EXPECT_EQ(search(R"({"text":"x"})").status, 200) << "and the others are served";
  EXPECT_EQ(send("POST", "/v1/tenants/acme/collections/nothing:search", acme, R"({"text":"x"})").status, 404);
}

TEST_F(BadInputTest, DuplicateMembersAreRefused) {
  refused(ask(R"({"type":"a","type":"b"})"), 400, "type");
  refused(ask(R"({"type":"a","payload":{"x":1,"y":{"z":1,"z":2}}})"), 400);
  refused(ask(R"({"type":"a","payload":{"ab":1,"a\u0062":2}})"), 400);
  refused(send("POST", "/v1/tenants/acme/tasks", acme, R"({"agent":"bob","type":"x","labels":{"a":"1","a":"2"}})"), 400, "labels.a");
  refused(send("GET", "/v1/tenants/acme/agents?page_size=1&page_size=2", acme), 400, "page_size");
}

TEST_F(BadInputTest, DeepNestingIsRefusedBeforeAnythingIsBuilt) {
  const auto nested = [](std::size_t n, char open, char close) { return R"({"type":"x","payload":)" + std::string(n, open) + std::string(n, close) + "}"; };
  may_reach_agent = true;
  EXPECT_EQ(ask(nested(15, '[', ']')).status, 200) << "one level is the request itself";
  refused(ask(nested(16, '[', ']')), 400);
  refused(ask(nested(30'000, '[', ']')), 400);
  refused(ask(R"({"type":"x","payload":)" + std::string(60'000, '[')), 400);
  std::string objects;
  for (int i = 0; i < 9000; ++i) objects += R"({"a":)";
  refused(ask(R"({"type":"x","payload":)" + objects), 400);
}

TEST_F(BadInputTest, BrokenTextIsRefused) {
  refused(ask("{\"type\":\"a\xFF\"}"), 400);
  refused(ask("{\"type\":\"x\",\"payload\":\"\xC0\xAF\"}"), 400);        // overlong slash
  refused(ask("{\"type\":\"x\",\"payload\":\"\xED\xA0\x80\"}"), 400);    // surrogate
  refused(ask(R"({"type":"x","payload":"\ud800"})"), 400);
  refused(ask(R"({"type":"x","payload":"\udc00\ud800"})"), 400);
  refused(ask("{\"type\":\"a\nb\"}"), 400);
  refused(ask(R"({"type":"a\u0000b"})"), 400, "type");
  refused(ask(std::string("{\"type\":\"a\0b\"}", 14)), 400);
  refused(ask(R"({"type":"x","idempotency_key":"a\u0000b"})"), 400, "idempotency_key");
  refused(ask(R"({"type":"x"} {"type":"y"})"), 400);
  refused(ask("\xEF\xBB\xBF{\"type\":\"x\"}"), 400); // byte order mark
  refused(ask(R"({'type':'x'})"), 400);
  refused(ask(R"({"type":"x",})"), 400);
  refused(ask(R"({"type":"x","payload":[1,]})"), 400);
  refused(ask(R"({"type":"x","payload":01})"), 400);
  refused(ask(R"({"type":"x","payload":NaN})"), 400);
  refused(ask(R"({"type":"x","payload":1e999999999})"), 400);
  refused(ask(R"({"type":"x"} // yes)"), 400);
}

TEST_F(BadInputTest, OversizeFieldsAreRefused) {
  refused(ask(R"({"type":")" + std::string(129, 'x') + "\"}"), 400, "type");
  refused(ask(R"({"type":"x","idempotency_key":")" + std::string(257, 'k') + "\"}"), 400, "idempotency_key");
  refused(ask(R"({"type":"x"})", "Idempotency-Key: " + std::string(257, 'k') + "\r\n"), 400, "idempotency_key");
}

// -- names and paths

TEST_F(BadInputTest, NamesThatAreNone) {
  for (const std::string name : {"..", ".", "%2e%2e", "%2E%2e%2Fetc", "a%2Fb", "a%00b", "%00", "-a", "_a", "a%20b", "a*", "%25", "caf%C3%A9", "%FF", "a%0d%0aX", "a;b", "~root"})
    refused(send("GET", "/v1/tenants/acme/agents/" + name, acme), 400, "agent");
  refused(send("GET", "/v1/tenants/acme/agents/" + std::string(129, 'a'), acme), 400, "agent");
  refused(send("GET", "/v1/tenants/acme/agents/" + std::string(4000, 'a'), acme), 400, "agent");
  refused(send("GET", "/v1/tenants/acme/agents/%zz", acme), 400, "agent");
  refused(send("GET", "/v1/tenants/acme/agents/%4", acme), 400, "agent");
  refused(send("GET", "/v1/tenants//agents/bob", acme), 400, "tenant");
  refused(send("GET", "/v1/tenants/../agents/bob", acme), 400, "tenant");
  refused(send("GET", "/v1/tenants/acme/agents/", acme), 400, "agent");
  refused(send("PUT", "/v1/tenants/acme/agents/a", acme, R"({"behaviour":"../x"})"), 400, "behaviour");
  refused(send("POST", "/v1/apply", acme, R"({"tenant":"acme","agents":[{"name":"a/b","spec":{"behaviour":"echo"}}]})"), 400, "agents[0].name");
  EXPECT_EQ(send("GET", "/v1/tenants/ACME/agents/bob", acme).status, 404) << "case counts";
  EXPECT_EQ(send("GET", "/v1/tenants/a%63me/agents/bob", acme).status, 200) << "an escape that was not needed is still the same name";
}

TEST_F(BadInputTest, PathsThatAreNone) {
  for (const std::string path : {"/", "//", "/v1", "/v1/", "/v2/tenants", "/V1/tenants", "/v1/tenants/acme/agents/bob/x", "/v1/tenants/acme/agents/bob:ask/", "/v1/../v1/tenants",
                                 "/v1/tenants/acme/agents/bob:", "/v1/tenants/acme/agents/bob:kill", "/v1//tenants", "/healthz/", "/healthz:x", "/v1/tenants/acme/tree:x"})
    refused(send("GET", path, acme), 404);
  EXPECT_EQ(send("GET", "http://hive/healthz", acme).status, 404) << "absolute forms are for proxies";
  EXPECT_EQ(send("OPTIONS", "*", acme).status, 404);
  const auto a = send("PATCH", "/v1/tenants/acme", acme, "{}");
  EXPECT_EQ(a.status, 405);
  EXPECT_EQ(a.headers.at("allow"), "DELETE, GET, PUT");
  EXPECT_EQ(send("BREW", "/healthz", "").status, 405);
  EXPECT_EQ(send("get", "/healthz", "").status, 405);
  refused(send("GET", "/healthz?" + std::string(9000, 'q'), ""), 414);
}

TEST_F(BadInputTest, BodyWhereNoneBelongs) {
  refused(send("GET", "/v1/tenants/acme", acme, "{}"), 400);
  refused(send("DELETE", "/v1/tenants/acme/agents/bob", acme, R"({"force":true})"), 400);
}

// -- HTTP

TEST_F(BadInputTest, BodyOverTheLimitIsRefusedUnread) {
  const auto head = request("POST", "/v1/tenants/acme/agents/bob:ask", acme, "", "");
  auto big = head;
  big.replace(big.find("Content-Length: 0"), 17, "Content-Length: 99999999");
  EXPECT_EQ(raw(big).status, 413) << "before a byte of it was sent";
  refused(ask(R"({"type":"x","payload":")" + std::string(70'000, 'x') + "\"}"), 413);
  auto chunked = head;
  chunked.replace(chunked.find("Content-Length: 0"), 17, "Transfer-Encoding: chunked");
  raw_http http(port);
  http.send(chunked);
  for (int i = 0; i < 5; ++i) http.send("4000\r\n" + std::string(0x4000, 'x') + "\r\n");
  EXPECT_EQ(http.answer().status, 413);
}

TEST_F(BadInputTest, HeadOverTheLimitIsRefused) {
  EXPECT_EQ(send("GET", "/healthz", "", "", "X: " + std::string(20'000, 'x') + "\r\n").status, 431);
  std::string many;
  for (int i = 0; i < 3000; ++i) many += "X" + std::to_string(i) + ": y\r\n";
  EXPECT_EQ(send("GET", "/healthz", "", "", many).status, 431);
}

TEST_F(BadInputTest, WhatTwoParsersCouldReadInTwoWaysIsRefusedAndTheConnectionClosed) {
  const std::string smuggled = "GET /healthz HTTP/1.1\r\nHost: hive\r\n\r\n";
  const std::string post = "POST /v1/tenants/acme/agents/bob:ask HTTP/1.1\r\nHost: hive\r\nAuthorization: Bearer " + acme + "\r\n";
  for (const std::string& headers : {
         std::string("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
         std::string("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
         std::string("Content-Length: 5\r\nContent-Length: 6\r\n\r\n{\"t\":"),
         std::string("Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}"),
         std::string("Content-Length: +2\r\n\r\n{}"),
         std::string("Content-Length: -2\r\n\r\n{}"),
         std::string("Content-Length: 0x2\r\n\r\n{}"),
         std::string("Content-Length: 2,2\r\n\r\n{}"),
         std::string("Content-Length: 99999999999999999999999\r\n\r\n{}"),
         std::string("Content-Length : 2\r\n\r\n{}"),
         std::string("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
         std::string("Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
         std::string("Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
         std::string("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
         std::string("Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n"),
         std::string("Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n"),
         std::string("Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n\r\n"),
         std::string("X\0Y: 1\r\n\r\n", 10),
         std::string("Authorization: Bearer other\r\n\r\n"),
         std::string("Host: other\r\n\r\n"),
       }) {
    raw_http http(port);
    http.send(post + headers + smuggled);
    const auto a = http.answer();
    EXPECT_TRUE(a.status == 400 || a.status == 501 || a.status == 413) << a.status << " for " << headers;
    EXPECT_TRUE(http.at_end()) << headers;
    EXPECT_EQ(http.answer().status, 0) << "what followed was answered: " << headers;
  }
}

TEST_F(BadInputTest, WhatIsNoHttpIsRefused) {
  for (const std::string& bytes : {std::string("hello\r\n\r\n"), std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 15),
                                   std::string("GET /healthz\r\n\r\n"), std::string("GET /healthz HTTP/3.0\r\n\r\n"),
                                   std::string("GET /heal thz HTTP/1.1\r\n\r\n"), std::string("GET  /healthz HTTP/1.1\r\n\r\n"),
                                   std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), std::string(40'000, 'a')}) {
    const auto a = raw(bytes);
    EXPECT_TRUE(a.status >= 400 && a.status < 500) << a.status << " for " << bytes.substr(0, 30);
    EXPECT_EQ(a.code(), "invalid_argument");
  }
}

TEST_F(BadInputTest, CompressedBodiesAndOddExpectationsAreRefused) {
  refused(ask("{}", "Content-Encoding: gzip\r\n"), 415);
  refused(ask("{}", "Expect: a-miracle\r\n"), 417);
}

TEST_F(BadInputTest, HonestUnusualRequestsAreServed) {
  may_reach_agent = true;
  raw_http http(port);
  const auto head = "POST /v1/tenants/acme/agents/bob:ask HTTP/1.1\r\nHost: hive\r\nauthorization: bearer " + acme + "\r\n";
  http.send(head + "Transfer-Encoding: chunked\r\n\r\n7;ext=1\r\n{\"type\"\r\n5\r\n:\"x\"}\r\n0\r\nTrailer: 1\r\n\r\n");
  EXPECT_EQ(http.answer().status, 200) << "chunked";
  http.send(head + "Content-Length: 12\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(http.take_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  http.send(R"({"type":"x"})");
  EXPECT_EQ(http.answer().status, 200) << "expect";
  http.send("GET /healthz HTTP/1.0\r\n\r\n");
  EXPECT_EQ(http.answer().status, 200) << "HTTP/1.0";
  EXPECT_TRUE(http.at_end());
}

TEST_F(BadInputTest, PipelinedRequestsAreAnsweredInOrder) {
  may_reach_agent = true;
  std::string all;
  for (int i = 0; i < 50; ++i) {
    all += request("POST", "/v1/tenants/acme/agents/bob:ask", acme, R"({"type":"say","payload":)" + std::to_string(i) + "}");
    if (i % 10 == 3) all += request("GET", "/nowhere", acme);
  }
  raw_http http(port);
  http.send(all);
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(http.answer().json()["payload"]["said"], i);
    if (i % 10 == 3) {
      EXPECT_EQ(http.answer().status, 404);
    }
  }
}

TEST_F(BadInputTest, RequestByteByByteIsReadAndASlowOneIsCutOff) {
  may_reach_agent = true;
  const auto whole = request("POST", "/v1/tenants/acme/agents/bob:ask", acme, R"({"type":"x"})");
  raw_http quick(port);
  for (const char c : whole) quick.send({&c, 1});
  EXPECT_EQ(quick.answer().status, 200);

  raw_http slow(port); // drips for ever: the whole request has header_timeout
  const auto began = std::chrono::steady_clock::now();
  std::thread drip([&] {
    for (const char c : whole) {
      slow.send({&c, 1});
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  });
  const auto a = slow.answer();
  EXPECT_EQ(a.status, 408);
  EXPECT_EQ(a.reason(), "request_timeout");
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(2));
  drip.join();
}

TEST_F(BadInputTest, SilentConnectionsAreClosed) {
  raw_http silent(port);
  EXPECT_TRUE(silent.at_end()) << "never said a word";
  raw_http idle(port);
  idle.send(request("GET", "/healthz", ""));
  EXPECT_EQ(idle.answer().status, 200);
  EXPECT_TRUE(idle.at_end()) << "kept alive and idle";
}

TEST_F(BadInputTest, CallerThatLeavesInTheMiddleIsForgotten) {
  may_reach_agent = true;
  for (int i = 0; i < 200; ++i) {
    raw_http http(port);
    const auto whole = request("POST", "/v1/tenants/acme/agents/bob:ask", acme, R"({"type":"x"})");
    http.send(std::string_view(whole).substr(0, whole.size() * static_cast<std::size_t>(i) / 200));
  }
  raw_http http(port);
  http.send(request("POST", "/v1/tenants/acme/agents/bob:ask", acme, R"({"type":"x"})"));
  EXPECT_EQ(http.answer().status, 200);
}

class FewConnectionsTest : public BadInputTest {
protected:
  FewConnectionsTest() {
    limits.connections = 3;
    limits.idle_timeout = std::chrono::seconds(30);
    limits.header_timeout = std::chrono::seconds(30);
  }
  void TearDown() override {}
};

TEST_F(FewConnectionsTest, OneConnectionTooManyIsToldSo) {
  raw_http a(port), b(port), c(port);
  for (auto* http : {&a, &b, &c}) {
    http->send(request("GET", "/v1/tenants/acme/agents/bob", acme));
    EXPECT_EQ(http->answer().status, 200);
  }
  raw_http d(port);
  const auto told = d.answer();
  EXPECT_EQ(told.status, 503);
  EXPECT_EQ(told.reason(), "too_many_connections");
  EXPECT_TRUE(told.headers.contains("retry-after"));
}

TEST_F(FewConnectionsTest, ConnectionsWithoutAKeyKeepNobodyOut) {
  raw_http silent(port), with_key(port), healthy(port);
  with_key.send(request("GET", "/v1/tenants/acme/agents/bob", acme));
  EXPECT_EQ(with_key.answer().status, 200);
  silent.send("GET /v1/tenants"); // and no more
  healthy.send(request("GET", "/healthz", ""));
  EXPECT_EQ(healthy.answer().status, 200);
  for (int i = 0; i < 5; ++i) {
    raw_http more(port);
    more.send(request("GET", "/v1/tenants/acme/agents/bob", acme));
    EXPECT_EQ(more.answer().status, 200) << i;
  }
  EXPECT_TRUE(silent.at_end()) << "the oldest one made room";
  with_key.send(request("GET", "/v1/tenants/acme/agents/bob", acme));
  EXPECT_EQ(with_key.answer().status, 200) << "one that has shown a key stays";
}

class FewOfATenantTest : public BadInputTest {
protected:
  FewOfATenantTest() {
    limits.connections_per_tenant = 2;
    limits.header_timeout = std::chrono::milliseconds(1000);
    limits.idle_timeout = std::chrono::seconds(30);
  }
  void TearDown() override {}
  http_answer get(raw_http& http, const std::string& tenant, const std::string& key) const {
    http.send(request("GET", "/v1/tenants/" + tenant, key));
    return http.answer();
  }
};

TEST_F(FewOfATenantTest, TenantWithTooManyConnectionsHearsSoAndTheOthersDoNot) {
  auto a = std::make_unique<raw_http>(port);
  raw_http b(port), c(port), other(port), boss(port);
  EXPECT_EQ(get(*a, "acme", acme).status, 200);
  EXPECT_EQ(get(b, "acme", viewer).status, 200) << "any key of the tenant";
  const auto refused = get(c, "acme", acme);
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.code(), "resource_exhausted");
  EXPECT_EQ(refused.reason(), "too_many_tenant_connections");
  EXPECT_TRUE(refused.headers.contains("retry-after"));
  EXPECT_TRUE(c.at_end());
  EXPECT_EQ(get(*a, "acme", acme).status, 200) << "those that are open go on";
  EXPECT_EQ(get(other, "rival", rival).status, 200) << "another tenant";
  for (int i = 0; i < 4; ++i) EXPECT_EQ(get(boss, "acme", admin).status, 200) << "administrators are not counted";
  a.reset();
  for (int tries = 0;; ++tries) { // its end is noticed a moment later
    raw_http again(port);
    if (get(again, "acme", acme).status == 200) break;
    ASSERT_LT(tries, 1000);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

TEST_F(FewOfATenantTest, ConnectionIsTheTenantsWhoseKeyItShowedLast) {
  raw_http shared(port), b(port), c(port), d(port);
  EXPECT_EQ(get(shared, "acme", acme).status, 200);
  EXPECT_EQ(get(b, "acme", acme).status, 200);
  EXPECT_EQ(get(shared, "rival", rival).status, 200);
  EXPECT_EQ(get(c, "acme", acme).status, 200) << "its place is free";
  EXPECT_EQ(get(d, "acme", acme).status, 429);
}

TEST_F(FewOfATenantTest, OnlyWhoHasShownAKeyMayIdle) {
  raw_http stranger(port), known(port);
  stranger.send(request("GET", "/healthz", ""));
  EXPECT_EQ(stranger.answer().status, 200);
  EXPECT_EQ(get(known, "acme", acme).status, 200);
  EXPECT_TRUE(stranger.at_end()) << "after api.header_timeout";
  EXPECT_EQ(get(known, "acme", acme).status, 200);
}

class FewWrongKeysTest : public BadInputTest {
protected:
  FewWrongKeysTest() { limits.wrong_keys_per_minute = 3; }
  void TearDown() override {}
  std::string wrong_key() const { return security::authenticator::make_key().text; }
};

TEST_F(FewWrongKeysTest, AddressThatShowsTooManyIsHeldOffAndKnownKeysGoOn) {
  const std::string path = "/v1/tenants/acme";
  ASSERT_EQ(send("GET", path, acme).status, 200);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(send("GET", path, i == 1 ? "no key at all" : wrong_key()).status, 401) << i;
  const auto held = send("GET", path, wrong_key());
  EXPECT_EQ(held.status, 429);
  EXPECT_EQ(held.reason(), "too_many_wrong_keys");
  const auto wait = held.json()["error"]["retry_after_ms"].get<std::int64_t>();
  EXPECT_GT(wait, 50'000);
  EXPECT_LE(wait, 60'000);
  EXPECT_EQ(held.headers.at("connection"), "close");
  EXPECT_EQ(send("GET", path, acme).status, 200) << "a key that was right before is not held off by others behind the same address";
  EXPECT_EQ(send("GET", path, rival).status, 404) << "nor is a right one that nobody knows yet";
  EXPECT_EQ(send("GET", "/v1/tenants/rival", rival).status, 200);
  EXPECT_EQ(send("GET", path, "").status, 401) << "none at all costs nothing, and says what is missing";
}

TEST_F(FewWrongKeysTest, RightKeysDoNotCount) {
  for (int i = 0; i < 20; ++i) EXPECT_EQ(send("GET", "/v1/tenants/acme", hive.add_key(hive.id_of("acme"), "tenant")).status, 200) << i;
  EXPECT_EQ(send("GET", "/v1/tenants/acme", wrong_key()).status, 401);
}

class FewRequestsTest : public BadInputTest {
protected:
  FewRequestsTest() { limits.connections_in_flight = 1; }
  void TearDown() override {}
};

TEST_F(FewRequestsTest, OneRequestTooManyIsToldToRetry) {
  send("POST", "/v1/tenants/acme/tasks", acme, R"({"agent":"bob","type":"x"})");
  raw_http waiting(port);
  waiting.send(request("GET", "/v1/tenants/acme/tasks/t0000000000000001?wait_ms=5000", acme));
  while (hive.subscriptions() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const auto a = send("GET", "/v1/tenants/acme", acme);
  EXPECT_EQ(a.status, 429);
  EXPECT_EQ(a.reason(), "too_many_requests");
  EXPECT_EQ(a.headers.at("retry-after"), "1");
  hive.set_task("acme", "t0000000000000001", "cancelled");
  EXPECT_EQ(waiting.answer().json()["state"], "cancelled");
  EXPECT_EQ(send("GET", "/v1/tenants/acme", acme).status, 200);
}

class FewRequestsOfATenantTest : public BadInputTest {
protected:
  FewRequestsOfATenantTest() { limits.in_flight_per_tenant = 1; }
  void TearDown() override {}
};

TEST_F(FewRequestsOfATenantTest, OneTenantsLongPollsLeaveRoomForTheOthers) {
  send("POST", "/v1/tenants/acme/tasks", acme, R"({"agent":"bob","type":"x"})");
  raw_http waiting(port);
  waiting.send(request("GET", "/v1/tenants/acme/tasks/t0000000000000001?wait_ms=5000", acme));
  while (hive.subscriptions() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(send("GET", "/v1/tenants/acme", acme).reason(), "too_many_requests");
  EXPECT_EQ(send("GET", "/v1/tenants/rival", rival).status, 200);
  EXPECT_EQ(send("GET", "/v1/tenants/acme", admin).status, 200);
  hive.set_task("acme", "t0000000000000001", "cancelled");
  EXPECT_EQ(waiting.answer().status, 200);
  EXPECT_EQ(send("GET", "/v1/tenants/acme", acme).status, 200);
}

/// One client of acme asks for an answer that no socket buffer holds, and does not read it.
class UnreadAnswersTest : public GatewayTest {
protected:
  static constexpr std::size_t large = 16 << 20;
  UnreadAnswersTest() {
    limits.body_bytes = 32 << 20;
    limits.unsent_bytes_per_tenant = 24 << 20;
  }
  static std::string echo(std::size_t bytes) { return R"({"type":"x","payload":")" + std::string(bytes, 'x') + R"("})"; }
  void ask_and_read_little(raw_http& http) const {
    http.send(request("POST", "/v1/tenants/acme/agents/bob:ask", acme, echo(large)));
    ASSERT_TRUE(http.read_until("HTTP/1.1 200")); // it is being written
  }
  /// The server hears of the end of a write a moment after its client.
  http_answer ask_until_it_is_taken(const std::string& body) const {
    for (int tries = 0;; ++tries) {
      auto a = ask(body);
      if (a.status == 200 || tries == 500) return a;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
};

TEST_F(UnreadAnswersTest, AreBoundedByTenantAndNameTheSetting) {
  raw_http slow(port);
  ask_and_read_little(slow);
  const auto before = hive.last().count;
  const auto refused = ask(echo(10 << 20));
  EXPECT_EQ(refused.status, 504) << "it was done";
  EXPECT_EQ(refused.code(), "unknown");
  EXPECT_EQ(refused.reason(), "answer_dropped");
  EXPECT_FALSE(refused.json()["error"]["details"]["idempotency_key"].get<std::string>().empty()) << "the answer's own";
  EXPECT_NE(refused.message().find("api.unsent_bytes_per_tenant"), std::string::npos) << refused.message();
  EXPECT_NE(refused.message().find("was handled"), std::string::npos) << refused.message();
  EXPECT_EQ(hive.last().count, before + 1);
  EXPECT_EQ(ask(echo(100)).status, 200) << "small ones are heard";
  EXPECT_EQ(send("POST", "/v1/tenants/rival/agents/eve:ask", rival, echo(10 << 20)).status, 200);
  EXPECT_EQ(send("POST", "/v1/tenants/acme/agents/bob:ask", admin, echo(10 << 20)).status, 200);
  EXPECT_GT(slow.answer().body.size(), large);
  EXPECT_EQ(ask_until_it_is_taken(echo(10 << 20)).status, 200);
}

TEST_F(UnreadAnswersTest, OfAClientThatGoesCountNoMore) {
  {
    raw_http gone(port);
    ask_and_read_little(gone);
    EXPECT_EQ(ask(echo(10 << 20)).status, 504);
  }
  EXPECT_EQ(ask_until_it_is_taken(echo(10 << 20)).status, 200);
}

TEST_F(UnreadAnswersTest, OneThatIsLargerThanTheBoundIsGiven) {
  const auto a = ask(echo(26 << 20));
  EXPECT_EQ(a.status, 200);
  EXPECT_GT(a.body.size(), limits.unsent_bytes_per_tenant);
}

class SlowReadersTest : public UnreadAnswersTest {
protected:
  SlowReadersTest() { limits.write_timeout = std::chrono::seconds(1); }
};

TEST_F(SlowReadersTest, GetAllThatTheyTake) {
  raw_http slow(port);
  ask_and_read_little(slow);
  const auto began = std::chrono::steady_clock::now();
  std::size_t got = 0;
  for (std::size_t n = 1; n != 0 && got < large; got += n) {
    n = slow.drop(large / 16);
    std::this_thread::sleep_for(std::chrono::milliseconds(150));
  }
  EXPECT_GE(got, large);
  EXPECT_GT(std::chrono::steady_clock::now() - began, 2 * limits.write_timeout);
}

TEST_F(SlowReadersTest, WhoTakesNothingIsCutOff) {
  raw_http stalled(port);
  ask_and_read_little(stalled);
  EXPECT_EQ(ask_until_it_is_taken(echo(10 << 20)).status, 200) << "its answer counts no more";
  std::size_t got = 0;
  for (std::size_t n = 1; n != 0; got += n) n = stalled.drop(large);
  EXPECT_LT(got, large);
}

class ManyUnreadAnswersTest : public UnreadAnswersTest {
protected:
  ManyUnreadAnswersTest() { limits.unsent_bytes_per_tenant = 20 << 20; }
};

TEST_F(ManyUnreadAnswersTest, NoMoreRequestsBegin) {
  raw_http slow(port);
  ask_and_read_little(slow);
  const auto before = hive.last().count;
  const auto refused = ask(echo(100));
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.reason(), "unsent_answers");
  EXPECT_EQ(hive.last().count, before) << "nothing was done";
  EXPECT_EQ(send("GET", "/v1/tenants/rival", rival).status, 200);
  EXPECT_EQ(slow.answer().status, 200);
  EXPECT_EQ(ask_until_it_is_taken(echo(100)).status, 200);
}

} // namespace
} // namespace hive::test
