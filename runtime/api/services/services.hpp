/// @file
/// The services of hive.v1 behind every transport: a typed request and a `call` in, a reply out. They hold no state but
/// that of waiting readers; what they know is in the store and in the entities.
///
/// A change is a durable ask to the entity that owns what changes (actors/directory.hpp), which also writes the audit
/// row; a read goes to committed rows on a reader thread.
#pragma once

#include "actors/messaging.hpp"
#include "cluster/control.hpp"
#include "config/settings.hpp"
#include "persistence/read_cache.hpp"
#include "runtime/api/loop.hpp"
#include "runtime/api/method.hpp"
#include "runtime/ops/metrics.hpp"

#include "hive/v1/agents.pb.h"
#include "hive/v1/collections.pb.h"
#include "hive/v1/events.pb.h"
#include "hive/v1/health.pb.h"
#include "hive/v1/dead_letters.pb.h"
#include "hive/v1/keys.pb.h"
#include "hive/v1/messaging.pb.h"
#include "hive/v1/nodes.pb.h"
#include "hive/v1/schedules.pb.h"
#include "hive/v1/swarm.pb.h"
#include "hive/v1/tasks.pb.h"
#include "hive/v1/tenants.pb.h"

namespace hive::api {

/// Outlives the services.
struct collaborators {
  const config::api_limits& limits;
  actors::messaging& hive;
  security::authenticator& auth;
  ops::metrics& metrics;
  std::shared_ptr<loop> home;
  config::context_limits context{};
  cluster::control* nodes = nullptr; ///< Null: the node is alone.
  persistence::read_cache* cache = nullptr; ///< Null: every read goes to the store.
};

class tenant_service {
public:
  explicit tenant_service(collaborators with) : with_(std::move(with)) {}
  void put(const call& c, v1::PutTenantRequest& request, reply<v1::Tenant> done);
  void get(const call& c, v1::GetTenantRequest& request, reply<v1::Tenant> done);
  void list(const call& c, v1::ListTenantsRequest& request, reply<v1::ListTenantsResponse> done);
  void remove(const call& c, v1::DeleteTenantRequest& request, reply<v1::Deleted> done);

private:
  collaborators with_;
};

class agent_service {
public:
  explicit agent_service(collaborators with) : with_(std::move(with)) {}
  void put(const call& c, v1::PutAgentRequest& request, reply<v1::Change> done);
  void get(const call& c, v1::GetAgentRequest& request, reply<v1::Agent> done);
  void list(const call& c, v1::ListAgentsRequest& request, reply<v1::ListAgentsResponse> done);
  void remove(const call& c, v1::DeleteAgentRequest& request, reply<v1::Deleted> done);
  void stop(const call& c, v1::StopAgentRequest& request, reply<v1::Change> done);
  void start(const call& c, v1::StartAgentRequest& request, reply<v1::Change> done);
  void restart(const call& c, v1::RestartAgentRequest& request, reply<v1::Change> done);

private:
  collaborators with_;
};

class supervisor_service {
public:
  explicit supervisor_service(collaborators with) : with_(std::move(with)) {}
  void put(const call& c, v1::PutSupervisorRequest& request, reply<v1::Change> done);
  void get(const call& c, v1::GetSupervisorRequest& request, reply<v1::Supervisor> done);
  void list(const call& c, v1::ListSupervisorsRequest& request, reply<v1::ListSupervisorsResponse> done);
  void remove(const call& c, v1::DeleteSupervisorRequest& request, reply<v1::Deleted> done);
  void stop(const call& c, v1::StopSupervisorRequest& request, reply<v1::Change> done);
  void start(const call& c, v1::StartSupervisorRequest& request, reply<v1::Change> done);
  void restart(const call& c, v1::RestartSupervisorRequest& request, reply<v1::Change> done);

private:
  collaborators with_;
};

class messaging_service {
public:
  explicit messaging_service(collaborators with) : with_(std::move(with)) {}
  void ask(const call& c, v1::AskRequest& request, reply<v1::AskResponse> done);
  void tell(const call& c, v1::TellRequest& request, reply<v1::TellResponse> done);

private:
  collaborators with_;
};

class task_service {
public:
  explicit task_service(collaborators with);
  ~task_service();
  void submit(const call& c, v1::SubmitTaskRequest& request, reply<v1::Task> done);
  void get(const call& c, v1::GetTaskRequest& request, reply<v1::Task> done);
  void list(const call& c, v1::ListTasksRequest& request, reply<v1::ListTasksResponse> done);
  void cancel(const call& c, v1::CancelTaskRequest& request, reply<v1::Task> done);

  // -- QueueService
  void submit_many(const call& c, v1::SubmitTasksRequest& request, reply<v1::SubmitTasksResponse> done);
  void queue(const call& c, v1::GetQueueRequest& request, reply<v1::Queue> done);
  void pause(const call& c, v1::ControlQueueRequest& request, reply<v1::Queue> done);
  void resume(const call& c, v1::ControlQueueRequest& request, reply<v1::Queue> done);
  void limit(const call& c, v1::LimitQueueRequest& request, reply<v1::Queue> done);

private:
  /// The task when it has ended, or as it is after that time.
  void wait_for(const call& c, const std::string& id, std::chrono::milliseconds at_most, reply<v1::Task> done);

  collaborators with_;
  std::shared_ptr<class task_waits> waits_;
};

class schedule_service {
public:
  explicit schedule_service(collaborators with) : with_(std::move(with)) {}
  void put(const call& c, v1::PutScheduleRequest& request, reply<v1::Schedule> done);
  void get(const call& c, v1::GetScheduleRequest& request, reply<v1::Schedule> done);
  void list(const call& c, v1::ListSchedulesRequest& request, reply<v1::ListSchedulesResponse> done);
  void remove(const call& c, v1::DeleteScheduleRequest& request, reply<v1::Deleted> done);

private:
  collaborators with_;
};

class context_service {
public:
  explicit context_service(collaborators with) : with_(std::move(with)) {}
  void put(const call& c, v1::PutCollectionRequest& request, reply<v1::Change> done);
  void get(const call& c, v1::GetCollectionRequest& request, reply<v1::Collection> done);
  void list(const call& c, v1::ListCollectionsRequest& request, reply<v1::ListCollectionsResponse> done);
  void remove(const call& c, v1::DeleteCollectionRequest& request, reply<v1::Deleted> done);
  void put_items(const call& c, v1::PutItemsRequest& request, reply<v1::PutItemsResponse> done);
  void delete_items(const call& c, v1::DeleteItemsRequest& request, reply<v1::DeleteItemsResponse> done);
  void get_item(const call& c, v1::GetItemRequest& request, reply<v1::Item> done);
  void list_items(const call& c, v1::ListItemsRequest& request, reply<v1::ListItemsResponse> done);
  void search(const call& c, v1::SearchRequest& request, reply<v1::SearchResponse> done);
  void pack(const call& c, v1::PackRequest& request, reply<v1::PackResponse> done);

private:
  collaborators with_;
};

class swarm_service {
public:
  explicit swarm_service(collaborators with) : with_(std::move(with)) {}
  void apply(const call& c, v1::ApplyRequest& request, reply<v1::ApplyResponse> done);
  void tree(const call& c, v1::GetTreeRequest& request, reply<v1::Tree> done);
  void explain(const call& c, v1::ExplainRequest& request, reply<v1::ExplainResponse> done);

private:
  collaborators with_;
};

class key_service {
public:
  explicit key_service(collaborators with) : with_(std::move(with)) {}
  void create(const call& c, v1::CreateKeyRequest& request, reply<v1::CreatedKey> done);
  void list(const call& c, v1::ListKeysRequest& request, reply<v1::ListKeysResponse> done);
  void remove(const call& c, v1::DeleteKeyRequest& request, reply<v1::Deleted> done);

private:
  collaborators with_;
};

class dead_letter_service {
public:
  explicit dead_letter_service(collaborators with) : with_(std::move(with)) {}
  void list(const call& c, v1::ListDeadLettersRequest& request, reply<v1::ListDeadLettersResponse> done);
  void get(const call& c, v1::DeadLetterRequest& request, reply<v1::DeadLetter> done);
  void redrive(const call& c, v1::DeadLetterRequest& request, reply<v1::DeadLetterSettled> done);
  void drop(const call& c, v1::DeadLetterRequest& request, reply<v1::DeadLetterSettled> done);

private:
  void settle(const char* how, const call& c, const v1::DeadLetterRequest& request, reply<v1::DeadLetterSettled> done);
  collaborators with_;
};

class node_service {
public:
  explicit node_service(collaborators with) : with_(std::move(with)) {}
  void list(const call& c, v1::ListNodesRequest& request, reply<v1::ListNodesResponse> done);
  void shards(const call& c, v1::ListShardsRequest& request, reply<v1::ListShardsResponse> done);
  void drain(const call& c, v1::DrainNodeRequest& request, reply<v1::Drain> done);
  void undrain(const call& c, v1::UndrainNodeRequest& request, reply<v1::Drain> done);

private:
  collaborators with_;
};

class health_service {
public:
  explicit health_service(collaborators with) : with_(std::move(with)) {}
  void live(const call& c, v1::HealthRequest& request, reply<v1::HealthResponse> done);
  void ready(const call& c, v1::HealthRequest& request, reply<v1::HealthResponse> done);
  void started(const call& c, v1::HealthRequest& request, reply<v1::HealthResponse> done);
  void metrics(const call& c, v1::MetricsRequest& request, reply<v1::MetricsResponse> done);

private:
  collaborators with_;
  std::atomic<bool> started_{false};
};

/// All of them, bound to their RPCs.
class service_registry {
public:
  explicit service_registry(const collaborators& with);
  const method_table& table() const noexcept { return table_; }

private:
  tenant_service tenants_;
  agent_service agents_;
  supervisor_service supervisors_;
  messaging_service messages_;
  task_service tasks_;
  schedule_service schedules_;
  context_service contexts_;
  swarm_service swarms_;
  key_service keys_;
  dead_letter_service dead_letters_;
  node_service nodes_;
  health_service health_;
  method_table table_;
};

} // namespace hive::api
