#include "runtime/api/services/at_owner.hpp"

#include "config/base/bytes.hpp"

#include <shared_mutex>

namespace hive::api {

namespace {

using namespace std::chrono_literals;

constexpr auto again_after = 100ms;
constexpr auto again_for = 10s; // a node that dies is replaced within a lease and a few reads

/// The entity was, or may have been, on its way from one node to another: a moment later its owner is known. These requests
/// only read, so that one that may have been served can be made again.
bool on_the_move(const error& why) {
  static constexpr std::string_view unavailable[] = {"elsewhere", "no_owner", "not_here", "moved", "dropped", "link_down", "no_lease", "stopping", "starting"};
  static constexpr std::string_view unknown[] = {"link_lost", "peer_replaced", "owner_lost"};
  const auto is_one_of = [&](const auto& reasons) { return std::find(std::begin(reasons), std::end(reasons), why.reason) != std::end(reasons); };
  return why.code == errc::unavailable ? is_one_of(unavailable) : why.code == errc::unknown && is_one_of(unknown);
}

/// Whether the services are still there: a repeat may come due when the gateway has gone. Closed with the table of methods,
/// which goes before them.
struct door {
  std::shared_mutex guard;
  bool open = true;
};
struct door_keeper {
  std::shared_ptr<door> mine = std::make_shared<door>();
  door_keeper() = default;
  door_keeper(const door_keeper&) = delete;
  door_keeper& operator=(const door_keeper&) = delete;
  ~door_keeper() {
    std::unique_lock lock(mine->guard);
    mine->open = false;
  }
};

/// One request, made here or at the owner until somebody serves it.
class read_at_owner : public std::enable_shared_from_this<read_at_owner> {
public:
  read_at_owner(const method& m, std::shared_ptr<door> in, actors::messaging& hive, const call& c, const google::protobuf::Message& request,
                reply<any_message> done)
    : method_(m), door_(std::move(in)), rpc_(m.rpc), hive_(hive), call_(c), bytes_(request.SerializeAsString()), done_(std::move(done)) {}

  void begin() {
    request_ = method_.make_request(); // its own: a service may move from it
    (void)request_->ParseFromString(bytes_);
    method_.invoke_here(call_, *request_, [self = shared_from_this()](result<any_message> r) {
      if (r || r.error().reason != "elsewhere") return self->ended(std::move(r));
      self->carry_to(r.error().field);
    });
  }

private:
  void carry_to(const std::string& node) {
    byte_writer carried;
    carried.text(rpc_->full_name()).text(bytes_);
    hive_.call_node(node, carried_request, call_.context, carried.take(), [self = shared_from_this()](result<std::string> said) {
      if (!said) return self->ended(std::move(said).error());
      any_message out(google::protobuf::MessageFactory::generated_factory()->GetPrototype(self->rpc_->output_type())->New());
      if (!out->ParseFromString(*said)) return self->ended(error{errc::unknown, "malformed", "the answer of another node cannot be read"});
      self->ended(std::move(out));
    });
  }
  void ended(result<any_message> r) {
    const bool again = !r && on_the_move(r.error()) && std::chrono::steady_clock::now() + again_after < until_ && !hive_.not_ready();
    if (again && hive_.later(again_after, [self = shared_from_this()] { self->begin_again(); })) return;
    done_(std::move(r));
  }
  void begin_again() {
    std::shared_lock lock(door_->guard);
    if (door_->open) return begin();
    lock.unlock();
    done_(error{errc::unavailable, "stopping", "this node is stopping", {}, std::chrono::seconds(1)});
  }

  const method& method_; // while the door is open
  const std::shared_ptr<door> door_;
  const google::protobuf::MethodDescriptor* rpc_;
  actors::messaging& hive_;
  const call call_;
  const std::string bytes_;
  const reply<any_message> done_;
  const std::chrono::steady_clock::time_point until_ = std::chrono::steady_clock::now() + again_for;
  any_message request_;
};

} // namespace

void serve_at_owner(method& m, actors::messaging& hive) {
  m.invoke_here = m.invoke;
  m.invoke = [&m, &hive, keeper = std::make_shared<door_keeper>()](const call& c, google::protobuf::Message& request, reply<any_message> done) {
    if (!hive.clustered()) return m.invoke_here(c, request, std::move(done));
    std::make_shared<read_at_owner>(m, keeper->mine, hive, c, request, std::move(done))->begin();
  };
}

void answer_carried(const method_table& table, tenant_context who, const std::string& body, std::function<void(result<std::string>)> done) {
  byte_reader in(body);
  const auto name = in.text();
  const auto bytes = in.text();
  const auto& all = table.methods();
  const auto found = std::find_if(all.begin(), all.end(), [&](const auto& m) { return m->rpc->full_name() == name; });
  if (!in.ok() || found == all.end() || !(*found)->invoke_here) return done(error{errc::unimplemented, "unknown_call", "this node does not know that request"});
  std::shared_ptr<google::protobuf::Message> request((*found)->make_request());
  if (!request->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return done(error{errc::invalid_argument, "malformed", "the request cannot be read"});
  const call c{{who, security::role::tenant, {}}, who};
  (*found)->invoke_here(c, *request, [request, done = std::move(done)](result<any_message> r) {
    if (!r) return done(std::move(r).error());
    done((*r)->SerializeAsString());
  });
}

} // namespace hive::api
