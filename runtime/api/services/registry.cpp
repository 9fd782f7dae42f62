#include "runtime/api/services/at_owner.hpp"
#include "runtime/api/services/services.hpp"

namespace hive::api {

service_registry::service_registry(const collaborators& with)
  : tenants_(with), agents_(with), supervisors_(with), messages_(with), tasks_(with), schedules_(with), contexts_(with), swarms_(with), keys_(with),
    dead_letters_(with), nodes_(with), health_(with) {
  for (const auto* file : {v1::PutTenantRequest::descriptor()->file(), v1::PutAgentRequest::descriptor()->file(),
                           v1::AskRequest::descriptor()->file(), v1::Task::descriptor()->file(), v1::Schedule::descriptor()->file(), v1::Collection::descriptor()->file(),
                           v1::Tree::descriptor()->file(), v1::Event::descriptor()->file(), v1::Key::descriptor()->file(),
                           v1::DeadLetter::descriptor()->file(), v1::Node::descriptor()->file(), v1::HealthRequest::descriptor()->file()})
    for (int i = 0; i < file->service_count(); ++i) table_.add(*file->service(i));

  table_.bind("TenantService.PutTenant", tenants_, &tenant_service::put);
  table_.bind("TenantService.GetTenant", tenants_, &tenant_service::get);
  table_.bind("TenantService.ListTenants", tenants_, &tenant_service::list);
  table_.bind("TenantService.DeleteTenant", tenants_, &tenant_service::remove);
  table_.bind("AgentService.PutAgent", agents_, &agent_service::put);
  table_.bind("AgentService.GetAgent", agents_, &agent_service::get);
  table_.bind("AgentService.ListAgents", agents_, &agent_service::list);
  table_.bind("AgentService.DeleteAgent", agents_, &agent_service::remove);
  table_.bind("AgentService.StopAgent", agents_, &agent_service::stop);
  table_.bind("AgentService.StartAgent", agents_, &agent_service::start);
  table_.bind("AgentService.RestartAgent", agents_, &agent_service::restart);
  table_.bind("SupervisorService.PutSupervisor", supervisors_, &supervisor_service::put);
  table_.bind("SupervisorService.GetSupervisor", supervisors_, &supervisor_service::get);
  table_.bind("SupervisorService.ListSupervisors", supervisors_, &supervisor_service::list);
  table_.bind("SupervisorService.DeleteSupervisor", supervisors_, &supervisor_service::remove);
  table_.bind("SupervisorService.StopSupervisor", supervisors_, &supervisor_service::stop);
  table_.bind("SupervisorService.StartSupervisor", supervisors_, &supervisor_service::start);
  table_.bind("SupervisorService.RestartSupervisor", supervisors_, &supervisor_service::restart);
  table_.bind("MessagingService.Ask", messages_, &messaging_service::ask);
  table_.bind("MessagingService.Tell", messages_, &messaging_service::tell);
  table_.bind("TaskService.SubmitTask", tasks_, &task_service::submit);
  table_.bind("TaskService.GetTask", tasks_, &task_service::get);
  table_.bind("TaskService.ListTasks", tasks_, &task_service::list);
  table_.bind("TaskService.CancelTask", tasks_, &task_service::cancel);
  table_.bind("QueueService.SubmitTasks", tasks_, &task_service::submit_many);
  table_.bind("QueueService.GetQueue", tasks_, &task_service::queue);
  table_.bind("QueueService.PauseQueue", tasks_, &task_service::pause);
  table_.bind("QueueService.ResumeQueue", tasks_, &task_service::resume);
  table_.bind("QueueService.LimitQueue", tasks_, &task_service::limit);
  table_.bind("ScheduleService.PutSchedule", schedules_, &schedule_service::put);
  table_.bind("ScheduleService.GetSchedule", schedules_, &schedule_service::get);
  table_.bind("ScheduleService.ListSchedules", schedules_, &schedule_service::list);
  table_.bind("ScheduleService.DeleteSchedule", schedules_, &schedule_service::remove);
  table_.bind("ContextService.PutCollection", contexts_, &context_service::put);
  table_.bind("ContextService.GetCollection", contexts_, &context_service::get);
  table_.bind("ContextService.ListCollections", contexts_, &context_service::list);
  table_.bind("ContextService.DeleteCollection", contexts_, &context_service::remove);
  table_.bind("ContextService.PutItems", contexts_, &context_service::put_items);
  table_.bind("ContextService.DeleteItems", contexts_, &context_service::delete_items);
  table_.bind("ContextService.GetItem", contexts_, &context_service::get_item);
  table_.bind("ContextService.ListItems", contexts_, &context_service::list_items);
  table_.bind("ContextService.Search", contexts_, &context_service::search);
  table_.bind("ContextService.Pack", contexts_, &context_service::pack);
  table_.bind("SwarmService.Apply", swarms_, &swarm_service::apply);
  table_.bind("TreeService.GetTree", swarms_, &swarm_service::tree);
  table_.bind("ExplainService.Explain", swarms_, &swarm_service::explain);
  table_.bind("KeyService.CreateKey", keys_, &key_service::create);
  table_.bind("KeyService.ListKeys", keys_, &key_service::list);
  table_.bind("KeyService.DeleteKey", keys_, &key_service::remove);
  table_.bind("DeadLetterService.ListDeadLetters", dead_letters_, &dead_letter_service::list);
  table_.bind("DeadLetterService.GetDeadLetter", dead_letters_, &dead_letter_service::get);
  table_.bind("DeadLetterService.RedriveDeadLetter", dead_letters_, &dead_letter_service::redrive);
  table_.bind("DeadLetterService.DropDeadLetter", dead_letters_, &dead_letter_service::drop);
  table_.bind("NodeService.ListNodes", nodes_, &node_service::list);
  table_.bind("NodeService.ListShards", nodes_, &node_service::shards);
  table_.bind("NodeService.DrainNode", nodes_, &node_service::drain);
  table_.bind("NodeService.UndrainNode", nodes_, &node_service::undrain);
  table_.bind("HealthService.Live", health_, &health_service::live);
  table_.bind("HealthService.Ready", health_, &health_service::ready);
  table_.bind("HealthService.Started", health_, &health_service::started);
  table_.bind("HealthService.Metrics", health_, &health_service::metrics);

  for (const char* rpc : {"ContextService.GetCollection", "ContextService.GetItem", "ContextService.ListItems", "ContextService.Search", "ContextService.Pack"})
    serve_at_owner(*table_.find(rpc), with.hive);
}

} // namespace hive::api
