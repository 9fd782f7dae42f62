// The load of bench/cluster_bench: callers of a hive with several nodes, in a process of their own. Each has a connection and one operation at
// a time, repeats it with its key at another node when the API says that it may be repeated, and gives up after `patience`. Ends when
// standard input does, after `seconds`, or after one round (`each`). Prints one line an operation that began after `warm` seconds:
// KIND BEGIN_US TOOK_US ATTEMPTS STATUS, by CLOCK_MONOTONIC.
// With a rate, operations have a time at which they are due and count from then, so that a stall counts for all that it delays.
// Options: --ports P,P,P --key KEY --kind mixed|append|echo|each --tenants N --agents N (of each) --callers N --rate N --seconds S --warm S --patience S
#include "bench/support/bench.hpp"
#include "config/base/random.hpp"

#include <arpa/inet.h>
#include <cmath>
#include <cstring>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

using namespace hive;

namespace {

double now() { return std::chrono::duration<double>(bench::clock::now().time_since_epoch()).count(); }

constexpr double attempt_seconds = 6;     // a little longer than the deadline that the node is given
constexpr double home_again_seconds = 1;  // a node that failed its caller is tried again after this
constexpr std::size_t relay_every = 5;    // among the agents of a tenant; the others are ledgers

struct operation {
  char kind = 0;
  double due = 0;
  int attempts = 0;
  std::string request;
};

struct caller {
  std::size_t home = 0;
  std::size_t node = 0;
  double home_after = 0;
  int fd = -1;
  bool busy = false;    ///< Has an operation.
  bool waiting = false; ///< For an answer to it, until `wake`; otherwise it sends at `wake`.
  double wake = 0;
  std::string in;
  operation op;
};

struct outcome {
  char kind;
  double begin;
  double took;
  int attempts;
  int status;
};

class load {
public:
  explicit load(const bench::options& o)
    : key_(o.text("key", "")), kind_(o.text("kind", "mixed")), tenants_(o.number("tenants", 50)), agents_(o.number("agents", 1000)),
      rate_(static_cast<double>(o.number("rate", 0))), patience_(static_cast<double>(o.number("patience", 10))), random_(bench::options::seed()) {
    for (std::string ports = o.text("ports", "7070"); !ports.empty();) {
      const auto comma = ports.find(',');
      ports_.push_back(static_cast<std::uint16_t>(std::stoul(ports.substr(0, comma))));
      ports = comma == std::string::npos ? "" : ports.substr(comma + 1);
    }
    callers_.resize(o.number("callers", 64));
    for (std::size_t i = 0; i < callers_.size(); ++i) callers_[i].home = callers_[i].node = i % ports_.size();
    began_ = next_due_ = now();
    const auto seconds = static_cast<double>(o.number("seconds", 0));
    until_ = seconds > 0 ? began_ + seconds : INFINITY;
    counted_from_ = began_ + static_cast<double>(o.number("warm", 0));
    prefix_ = std::to_string(bench::options::seed()) + "-" + std::to_string(::getpid()) + "-";
  }

  void run() {
    pollfd ended{STDIN_FILENO, POLLIN, 0};
    std::vector<epoll_event> events(1024);
    std::size_t open = 1;
    const timespec tick{0, 250'000};
    for (bool stopping = false; open > 0 || !stopping;) {
      const int n = epoll_pwait2(epoll_, events.data(), static_cast<int>(events.size()), &tick, nullptr);
      for (int i = 0; i < n; ++i) readable(callers_[events[static_cast<std::size_t>(i)].data.u64]);
      const double t = now();
      stopping = stopping || t >= until_ || (kind_ == "each" && serial_ >= tenants_ * agents_) || ::poll(&ended, 1, 0) > 0;
      open = 0;
      for (auto& c : callers_) {
        if (c.busy && c.wake <= t) c.waiting ? retry(c, 0, "no answer in time") : send(c);
        if (!c.busy && !stopping) begin(c);
        open += c.busy ? 1 : 0;
      }
    }
  }

  void print() const {
    for (const auto& o : outcomes_)
      if (o.begin >= counted_from_) std::printf("%c %.0f %.0f %d %d\n", o.kind, o.begin * 1e6, o.took * 1e6, o.attempts, o.status);
  }

private:
  std::string name(std::size_t tenant, std::size_t agent) const {
    return "/v1/tenants/t" + std::to_string(tenant) + "/agents/a" + std::to_string(agent);
  }
  std::size_t ledger_among(std::size_t any) const { return any % relay_every == relay_every - 1 ? any - 1 : any; }

  void begin(caller& c) {
    const double t = now();
    if (rate_ > 0 && next_due_ > t) return;
    if (kind_ == "each" && serial_ == tenants_ * agents_) return;
    c.op = {};
    c.op.due = rate_ > 0 ? next_due_ : t;
    if (rate_ > 0) next_due_ += 1 / rate_;
    std::size_t tenant = random_.below(tenants_);
    std::size_t agent = random_.below(agents_);
    if (kind_ == "each") {
      tenant = serial_ % tenants_;
      agent = serial_ / tenants_;
    } else if (kind_ == "mixed" && random_.below(100) < 30) { // an agent that sends to an agent
      agent = agent / relay_every * relay_every + relay_every - 1;
    } else {
      agent = ledger_among(agent);
    }
    const std::string op = prefix_ + std::to_string(serial_++);
    const bool relay = agent % relay_every == relay_every - 1;
    std::string body = R"({"deadline_ms":5000,"type":")";
    if (kind_ == "echo") body += R"(echo","payload":")" + op + "\"}"; // no key: nothing is kept of it
    else if (relay) body += R"(forward","payload":{"to":"a)" + std::to_string(ledger_among(random_.below(agents_))) + R"(","op":")" + op + R"("},"idempotency_key":")" + op + "\"}";
    else body += R"(append","payload":{"op":")" + op + R"("},"idempotency_key":")" + op + "\"}";
    c.op.kind = kind_ == "echo" ? 'e' : relay ? 'f' : 'a';
    c.op.request = "POST " + name(tenant, agent) + ":ask HTTP/1.1\r\nHost: hive\r\nAuthorization: Bearer " + key_ +
                   "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
    c.busy = true;
    if (c.node != c.home && t >= c.home_after) go_to(c, c.home);
    send(c);
  }

  void send(caller& c) {
    c.op.attempts += 1;
    c.waiting = true;
    c.wake = now() + attempt_seconds;
    c.in.clear();
    if (c.fd < 0 && !connect(c)) return retry(c, 0, "no connection");
    // A request is far below what a socket takes at once.
    if (::send(c.fd, c.op.request.data(), c.op.request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(c.op.request.size())) retry(c, 0, "connection lost");
  }

  bool connect(caller& c) {
    c.fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(ports_[c.node]);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int on = 1;
    ::setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_event e{EPOLLIN, {.u64 = static_cast<std::uint64_t>(&c - callers_.data())}};
    return ::connect(c.fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0 && ::epoll_ctl(epoll_, EPOLL_CTL_ADD, c.fd, &e) == 0;
  }

  void readable(caller& c) {
    if (c.fd < 0) return;
    char block[4096];
    const auto n = ::recv(c.fd, block, sizeof block, MSG_DONTWAIT);
    if (n <= 0) {
      if (n < 0 && errno == EAGAIN) return;
      if (c.busy && c.waiting) return retry(c, 0, "connection lost");
      return close(c);
    }
    c.in.append(block, static_cast<std::size_t>(n));
    const auto head = c.in.find("\r\n\r\n");
    if (head == std::string::npos) return;
    const auto length = c.in.find("Content-Length: ");
    const auto whole = head + 4 + (length < head ? std::stoul(c.in.substr(length + 16, 10)) : 0);
    if (c.in.size() < whole || !c.busy || !c.waiting) return;
    const int status = std::stoi(c.in.substr(9, 3));
    if (status == 429 || status == 503 || status == 504) return retry(c, status, c.in.substr(head + 4));
    if (status != 200) complain(status, c.in.substr(head + 4));
    end(c, status);
  }

  /// Where the API's errors say that an operation may be repeated with its key: at another node, unless this one is only full.
  void retry(caller& c, int status, const std::string& why) {
    const double t = now();
    if (status != 429) {
      go_to(c, (c.node + 1 + random_.below(std::max<std::size_t>(1, ports_.size() - 1))) % ports_.size());
      c.home_after = t + home_again_seconds;
    }
    c.waiting = false;
    c.wake = t + 0.005 + 0.01 * static_cast<double>(random_.below(100)) / 100;
    if (t - c.op.due < patience_) return;
    complain(status, why);
    end(c, status);
  }

  void end(caller& c, int status) {
    outcomes_.push_back({c.op.kind, c.op.due, now() - c.op.due, c.op.attempts, status});
    c.busy = false;
  }

  void go_to(caller& c, std::size_t node) {
    close(c);
    c.node = node;
  }

  static void close(caller& c) {
    if (c.fd >= 0) ::close(c.fd);
    c.fd = -1;
  }

  void complain(int status, const std::string& why) {
    if (complaints_++ < 5) std::fprintf(stderr, "failed: %d %s\n", status, why.substr(0, 300).c_str());
  }

  std::string key_, kind_, prefix_;
  std::size_t tenants_, agents_;
  double rate_, patience_;
  random_source random_;
  std::vector<std::uint16_t> ports_;
  std::vector<caller> callers_;
  std::vector<outcome> outcomes_;
  int epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  double began_ = 0, next_due_ = 0, until_ = 0, counted_from_ = 0;
  std::size_t serial_ = 0;
  int complaints_ = 0;
};

} // namespace

int main(int argc, char** argv) {
  load callers{bench::options(argc, argv)};
  callers.run();
  callers.print();
}
