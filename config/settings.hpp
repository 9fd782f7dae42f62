/// @file
/// Every number that can be changed: its meaning, unit and bounds. `settings.cpp` holds the one table that names, reads
/// and checks them; a part of the hive receives only its own slice.
#pragma once

#include "config/base/result.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace hive::config {

using std::chrono::milliseconds;

/// Bounds of one entity. Read by `actors::shard_core`.
struct entity_limits {
  std::uint64_t state_bytes = 256 * 1024;      // 1 KiB..16 MiB: small state; larger data belongs into rows and logs
  std::uint64_t payload_bytes = 1024 * 1024;   // 1 KiB..64 MiB: one message, answer or step result
  std::uint32_t mailbox_messages = 1000;       // 1..1,000,000: user lane
  std::uint64_t mailbox_bytes = 4 * 1024 * 1024; // 1 KiB..1 GiB: user lane
  std::uint32_t run_ahead_turns = 64;          // 1..4,096: turns not yet on disk
  std::uint64_t run_ahead_bytes = 1024 * 1024; // 1 KiB..64 MiB
  std::uint32_t outbox_messages = 10'000;      // 1..1,000,000: sent and not yet handled by their receivers
  std::uint32_t outbox_window = 64;            // 1..4,096: under way to one receiver at a time
  std::uint32_t open_replies = 1'000;          // 1..100,000: tasks and asks whose answers it has put off
  std::uint32_t keys_kept = 100'000;           // 1..10,000,000: idempotency keys within `key_retention`
  std::uint32_t attempts = 3;                  // 1..100: of a durable message whose turn crashes; then dead letter
  std::uint32_t steps_per_turn = 10'000;       // 1..100,000
  std::uint32_t process_deaths = 2;            // 1..100: while one message ran; then it is a dead letter and never runs again
  milliseconds turn_limit{5'000};              // 10 ms..24 h: a turn that runs longer, waits apart, is reported; when all workers
                                               // are in such turns, the process ends with exit code 86
};

/// Bounds of one node. Read by `actors` and `persistence`.
struct node_limits {
  std::uint16_t shards = 256;                      // 64..4,096: fixed when the data directory is created
  std::uint32_t workers = 0;                       // 0..256: threads that run turns; 0 means one a core
  std::uint32_t executor_threads = 4;              // 1..256: threads that run blocking steps
  std::uint32_t reader_threads = 2;                // 1..64: threads that load entities
  std::uint32_t jobs_waiting = 1'000'000;          // 1..10,000,000: reads of the store that wait for a thread; steps likewise
  std::uint64_t run_ahead_bytes = 64 * 1024 * 1024; // 1 MiB..1 GiB: of all entities together
  std::uint32_t batch_turns = 4096;                // 1..65,536: in one commit
  std::uint64_t batch_bytes = 16 * 1024 * 1024;    // 64 KiB..256 MiB: in one commit
  std::uint32_t turns_per_slice = 200;             // 1..10,000: before a shard lets the next one run
  std::uint32_t asks_under_way = 256;           // 1..1,000,000: of clients, while more than one tenant asks
  std::uint32_t asks_waiting = 10'000;          // 1..10,000,000: of one tenant, beyond that
  milliseconds turn_end{60'000};                   // 10 ms..24 h: one turn that runs this long ends the process likewise
  std::uint32_t timers_in_flight = 64;             // 1..10,000: fired in one shard and not yet handled, also after an outage
  std::uint32_t memory_percent = 90;               // 1..100: of the machine's or the cgroup's memory; a turn that wants more
                                                   // ends with std::bad_alloc, before the kernel ends the process
  std::uint32_t inbox_messages = 100'000;          // 100..10,000,000: accepted by a shard and not yet dispatched
};

/// When idle activations are unloaded. Read by `actors::shard_core`.
struct passivation_limits {
  milliseconds idle{120'000};                   // 100 ms..24 h
  std::uint64_t activations = 2'000'000;        // 100..100,000,000: in one node
  std::uint64_t bytes = 2ULL * 1024 * 1024 * 1024; // 1 MiB..1 TiB: of activations in one node
};

struct retention {
  milliseconds keys{24 * 3600 * 1000};          // 1 s..30 d: answers to repeated idempotency keys
  milliseconds events{24 * 3600 * 1000};        // 1 s..30 d: of the event stream
  milliseconds dead_letters{30LL * 24 * 3600 * 1000}; // 1 s..365 d: messages that could not be handled
  milliseconds audit{365LL * 24 * 3600 * 1000}; // 1 d..3650 d: who changed what
  milliseconds tasks{7 * 24 * 3600 * 1000ULL};  // 1 s..365 d: results of finished tasks
};

/// How fast the rows of deleted entities leave the store. Read by `actors::shard_core`.
struct purge_settings {
  std::uint32_t rows = 500;                     // 1..100,000: deleted in one commit, of one entity
  milliseconds every{100};                      // 1 ms..1 h: between two such commits of one entity
  milliseconds after{5'000};                    // 0 ms..365 d: the deletion; readers that are under way have ended by then
};

/// Read by `runtime::api`.
struct api_limits {
  std::string http = "127.0.0.1:7070";          // address:port
  std::uint64_t body_bytes = 8 * 1024 * 1024;   // 1 KiB..256 MiB
  std::uint32_t json_depth = 64;                // 4..512
  std::uint32_t connections = 10'000;           // 1..1,000,000
  std::uint32_t connections_per_tenant = 2'500; // 1..1,000,000: a connection is the tenant's whose key it showed last; administrators' are not counted
  std::uint32_t wrong_keys_per_minute = 100;    // 1..1,000,000: from one remote address
  std::uint32_t connections_in_flight = 4096;   // 1..1,000,000: requests being handled; a sixteenth is kept for administrators
  std::uint32_t in_flight_per_tenant = 2048;    // 1..1,000,000: of them; administrators' are not counted
  std::uint64_t unsent_bytes_per_tenant = 256 * 1024 * 1024; // 1 MiB..64 GiB: answers that wait to be written; administrators' are not counted
  milliseconds header_timeout{10'000};          // 100 ms..10 min: to read a request
  milliseconds idle_timeout{300'000};           // 1 s..24 h: of a kept-alive connection
  milliseconds write_timeout{30'000};           // 100 ms..1 h: a reader that takes nothing of its answer or stream for so long is cut off
  milliseconds ask_deadline{30'000};            // 1 ms..24 h: when the caller names none
  milliseconds ask_deadline_max{600'000};       // 1 ms..24 h
  std::uint32_t subscribers = 1000;             // 1..100,000: event streams; a sixteenth is kept for administrators
  std::uint32_t subscribers_per_tenant = 250;   // 1..100,000: of them; administrators' are not counted
  std::uint32_t manifest_entities = 100'000;    // 1..1,000,000: in one apply
  std::uint32_t tenant_series = 200;            // 1..100,000: tenants with metrics of their own; the rest is "other"
};

/// How queues hand out tasks. Read by `actors::queue_behaviour`.
struct task_limits {
  std::uint32_t concurrency = 1;                // 1..10,000: tasks at one agent at a time
  std::uint32_t live = 1'000'000;               // 1..100,000,000: tasks of one partition of a queue that have not ended
  std::uint32_t partitions = 1;                 // 1..14: of a new tenant's queue whose spec does not say; one may have more later
  std::uint32_t partitions_max = 14;            // 1..14: of a tenant's queue
  milliseconds pass_on{1'000};                  // 10 ms..1 min: tasks that wait for a capability are offered to other partitions so often
  std::uint32_t retry_burst = 100;              // 0..1,000,000: retries of an agent at once after a quiet time; more are put off
  std::uint32_t retries_per_second = 10;        // 1..1,000,000: that an agent earns; and a tenth of its first attempts
  std::uint32_t breaker_failures = 5;           // 1..1,000: in a row, of one agent, keep work away from it for a while
  milliseconds breaker_open{1'000};             // 1 ms..1 h: the first time; doubled up to 60 times that
};

/// Bounds of collections and of searches. Read by `actors` (context).
struct context_limits {
  std::uint32_t items = 20'000;                 // 1..1,000,000: in one collection
  std::uint32_t batch_items = 1000;             // 1..10,000: in one put or delete
  std::uint64_t batch_bytes = 3 * 1024 * 1024;  // 64 KiB..64 MiB: of one put, vectors included
  std::uint32_t text_bytes = 64 * 1024;         // 1 KiB..1 MiB: of one item
  std::uint32_t metadata_bytes = 16 * 1024;     // 1 KiB..1 MiB: keys and values of one item
  std::uint32_t k = 1000;                       // 1..10,000: hits of one search
  std::uint32_t pack_tokens = 1'000'000;        // 100..10,000,000: of one pack
  std::uint64_t answer_bytes = 8 * 1024 * 1024; // 64 KiB..256 MiB: items of one answer; a search with more is refused, lists end their page
  std::uint32_t search_threads = 2;             // 1..256: threads that search
  std::uint32_t searches_waiting = 10'000;      // 1..1,000,000: for a thread, of all tenants
  std::uint64_t memory_bytes = 1024ULL * 1024 * 1024; // 1 MiB..1 TiB: collections in memory; the least used are unloaded beyond it
};

/// The endpoint that makes vectors for collections with the embedder "endpoint". Read by `actors` (context).
struct embedding_settings {
  std::string url;                              // http(s)://HOST[:PORT]/v1/embeddings, or another that speaks the same; empty: none
  std::string key_file;                         // holds its bearer token; empty: it wants none
  std::string ca_file;                          // PEM: who signs its certificate; empty: whom this machine trusts
  std::string dimensions = "never";             // never, always: whether requests name the dimension; some models can be asked for it
  std::uint32_t connections = 4;                // 1..64: requests under way
  std::uint32_t waiting = 1000;                 // 1..1,000,000: requests waiting for a connection, of all tenants
  std::uint32_t batch_texts = 64;               // 1..2,048: in one request
  std::uint64_t batch_bytes = 256 * 1024;       // 1 KiB..16 MiB: texts of one request, unless one alone is larger
  std::uint64_t answer_bytes = 256 * 1024 * 1024; // 64 KiB..1 GiB: of one answer; larger ones are not read
  std::uint32_t attempts = 4;                   // 1..20: of one request
  milliseconds timeout{5'000};                  // 10 ms..10 min: of one attempt
  milliseconds deadline{15'000};                // 10 ms..10 min: of all attempts of one request
  milliseconds turn_wait{3'000};                // 10 ms..10 min: of a put whose vectors are not at hand; the collection waits with it
  milliseconds backoff{200};                    // 1 ms..1 min: before the second attempt; doubled each time, with jitter
  std::uint64_t cache_bytes = 64 * 1024 * 1024; // 0..64 GiB: vectors kept by model and text, so that the same text is asked for once
};

/// Intensity and period when a supervisor names none.
struct supervisor_defaults {
  std::uint32_t intensity = 3;                  // 0..1,000: restarts within `period`; one more stops the supervisor
  milliseconds period{5'000};                   // 1 ms..24 h
  std::uint32_t root_intensity = 100;           // 0..1,000,000: of a tenant's root supervisor
};

/// Connections between nodes. Read by `cluster::links`. A "window" is what may be on its way to a peer, or lie there
/// unhandled, before this node stops sending; a "queue" is what may wait here for the window.
struct link_settings {
  std::string listen = "127.0.0.1:7072";        // cluster.listen: address:port of the node port
  std::string ca_file;                          // PEM: who signs the certificates of this hive's nodes
  std::string certificate_file;                 // PEM: names hive://HIVE/node/NODE
  std::string key_file;                         // PEM: of that certificate
  milliseconds certificate_check{10'000};       // 1 s..1 h: how often these files are looked at for a change
  std::uint64_t frame_bytes = 4 * 1024 * 1024;  // 64 KiB..128 MiB: one message or answer; above entity.payload_bytes and context.batch_bytes
  std::uint64_t bulk_frame_bytes = 64 * 1024 * 1024; // 1 MiB..1 GiB: one large thing
  std::uint64_t chunk_bytes = 256 * 1024;       // 4 KiB..4 MiB: of a large thing, sent at a time
  std::uint32_t batch_frames = 4096;            // 1..65,536: sent in one go
  std::uint64_t batch_bytes = 128 * 1024;       // 4 KiB..16 MiB: sent in one go (or one frame)
  std::uint32_t queue_messages = 65'536;        // 16..10,000,000: to one peer
  std::uint64_t queue_bytes = 32 * 1024 * 1024; // 64 KiB..4 GiB: to one peer
  std::uint32_t tenant_queue_messages = 16'384; // 16..10,000,000: of one tenant to one peer
  std::uint64_t tenant_queue_bytes = 8 * 1024 * 1024; // 64 KiB..4 GiB: of one tenant to one peer
  std::uint32_t window_messages = 16'384;       // 16..10,000,000: to one peer
  std::uint64_t window_bytes = 16 * 1024 * 1024; // 64 KiB..4 GiB: to one peer
  std::uint32_t tenant_window_messages = 8'192; // 16..10,000,000: of one tenant to one peer
  std::uint64_t tenant_window_bytes = 8 * 1024 * 1024; // 64 KiB..4 GiB: of one tenant to one peer
  std::uint32_t requests = 20'000;              // 1..1,000,000: waiting for one peer's answers
  std::uint32_t tenant_requests = 5'000;        // 1..1,000,000: of one tenant, waiting for one peer's answers
  std::uint32_t retry_messages = 100'000;       // 16..10,000,000: told again to peers that did not take them, until they do or a minute passed
  std::uint64_t answer_bytes = 64 * 1024 * 1024; // 1 MiB..4 GiB: answers waiting to go to one peer
  milliseconds heartbeat{500};                  // 10 ms..1 min
  milliseconds heartbeat_timeout{1'500};        // 30 ms..10 min: without an echo, the link is down
  milliseconds connect_timeout{3'000};          // 100 ms..1 min: to connect and shake hands; the same for who dials in
  milliseconds backoff_min{50};                 // 1 ms..1 min: before a peer is dialled again, doubled each time, with jitter
  milliseconds backoff_max{5'000};              // 1 ms..10 min
};

/// Membership and ownership in a hive of many nodes. Read by `cluster::membership`.
struct cluster_settings {
  std::string node;                             // this node's name, unique in the hive, as its certificate says; empty: it is alone
  std::string hive = "hive";                    // name of the hive, as the certificates say
  std::string cell = "main";                    // one database and the nodes that share it
  std::string advertise;                        // ADDRESS:PORT where peers reach this node's port; empty: cluster.listen
  std::uint32_t capacity = 100;                 // 1..1,000,000: this node's weight in placement
  std::string pool = "default";                 // nodes of one pool share the shards of a cell
  std::string zone;                             // what fails together: a rack, a data centre
  milliseconds lease_ttl{3'000};                // 1 s..60 s: a node that nobody hears of is replaced after this; three
                                                // times renew_every at least
  milliseconds renew_every{1'000};              // 100 ms..20 s
  milliseconds lease_margin{500};               // 50 ms..10 s: a node stops this long before its lease can have run out; a
                                                // third of lease_ttl at most
  milliseconds reconcile_every{1'000};          // 100 ms..60 s: the tables are read, and every shard is looked after
  milliseconds store_timeout{1'000};            // 50 ms..30 s: for one call of the membership to the store
  milliseconds outage_after{2'000};             // 200 ms..60 s: a node that could not renew for this long gives the others
                                                // one lease_ttl to come back before it replaces any
  milliseconds clock_difference{5'000};         // 500 ms..10 min: of this node's wall clock to the store's; beyond it the node does
                                                // not join, and one that is in leaves, until its clock is right
  milliseconds agreement_window{200};           // 10 ms..5 s: within which all peers must agree that one is dead
  milliseconds unreachable_after{5'000};        // 500 ms..10 min: then a peer votes against a node; most votes drain it
  milliseconds rejoin_after{5'000};             // 100 ms..10 min: such a node is reached again for this long: it is active again
  milliseconds orphan_patience{2'000};          // 100 ms..60 s: a shard that its chosen node does not take goes to the next
  milliseconds hand_off_grace{2'000};           // 0 ms..10 min: for a running turn to end; then the hand-off goes on without it
  std::uint32_t hand_offs = 8;                  // 1..1,024: of one node at a time
  std::uint32_t moves_per_second = 20;          // 1..10,000: of one node
  std::uint32_t balance_tolerance = 10;         // 1..50: percent of its share that a node may be off and nothing moves
  milliseconds drain_timeout{60'000};           // 100 ms..24 h: a node that leaves waits this long for its hand-offs
  milliseconds forget_after{24 * 3600 * 1000};  // 1 min..365 d: rows of nodes that ended
  milliseconds event_poll{1'000};               // 50 ms..1 min: watched tenants are looked at for other nodes' events, should a
                                                // wake-up have been lost
  std::uint32_t wakes_per_second = 50;          // 1..1,000: of one tenant, to the other nodes; more events share a wake-up
  milliseconds remember{30'000};                // 1 s..24 h: keys, names and weights that were read are read again after this,
                                                // should another node's word of a change have been lost
};

/// Reads that are made often and never change. Read by `persistence::read_cache`.
struct cache_settings {
  std::uint64_t memory_bytes = 64 * 1024 * 1024; // 0..64 GiB: kept in process; 0: nothing is
  milliseconds memory_ttl{60'000};              // 1 s..24 h
  std::uint64_t value_bytes = 1024 * 1024;      // 1 KiB..64 MiB: larger ones are not kept
};

/// A Redis that nodes of one hive share, for wake-ups and cached reads. Read by `persistence::redis`.
struct redis_settings {
  std::string address;                          // cache.redis.address: unix:/PATH or HOST:PORT; empty: none
  std::string user;                             // of its access list; empty: the default one
  std::string password_file;                    // empty: it wants none
  bool allow_plaintext = false;                 // another machine's Redis is spoken to without TLS
  milliseconds ttl{300'000};                    // 1 s..24 h
  std::uint32_t connections = 2;                // 1..64: for cached reads; a read that finds none free goes to the store
  milliseconds connect_timeout{500};            // 10 ms..10 s
  milliseconds command_timeout{50};             // 1 ms..10 s: then Redis counts as away
  milliseconds backoff{100};                    // 10 ms..10 s: before it is dialled again, doubled each time, with jitter
  milliseconds backoff_max{5'000};              // 10 ms..1 min
};

/// Where `redis_settings::address` leads.
struct redis_place {
  std::string socket;                           // path; empty: host and port
  std::string host;
  std::uint16_t port = 0;
  bool leaves_machine = false;
};
/// Errors name cache.redis.address.
result<redis_place> place_of(const std::string& redis_address);

/// What steps may touch on this machine. Nothing by default.
struct file_access {
  std::vector<std::string> read_roots;          // absolute directories that agents may read below
  std::vector<std::string> write_roots;         // absolute directories that agents may write below
  std::vector<std::string> programs;            // absolute paths that the `process` step may run
};

/// Where the truth is kept. Read by `node`.
struct store_settings {
  std::string kind = "sqlite";                  // sqlite (in the data directory), postgres (shared by nodes)
  std::string url;                              // of the application's role: postgres://ROLE:PASSWORD@HOST,HOST/DATABASE
  std::string readers_url;                      // the same database for reads, e.g. through PgBouncer; empty: as `url`
  std::string admin;                            // of the tables' owner, to make and migrate them; empty: they must be up to date
  std::string durability = "replicated";        // replicated (standbys must be synchronous), local (a failover may lose work)
  std::uint32_t readers = 8;                    // 1..256: connections for reading
  milliseconds read_wait{5'000};                // 100 ms..1 min: for a free connection, and for an answer
  milliseconds connect_wait{3'000};             // 1 s..1 min: each host
  milliseconds backoff{100};                    // 10 ms..10 s: between attempts to reconnect; doubled up to `backoff_max`
  milliseconds backoff_max{2'000};              // 10 ms..1 min
};

struct log_settings {
  std::string file;                             // empty: standard error
  bool json = true;
  std::string level = "info";                   // debug, info, warn, error
};

struct settings {
  std::string data_dir;
  entity_limits entity;
  node_limits node;
  passivation_limits passivation;
  retention keep;
  purge_settings purge;
  api_limits api;
  task_limits tasks;
  context_limits context;
  embedding_settings embedding;
  supervisor_defaults supervisor;
  link_settings link;
  cluster_settings cluster;
  file_access files;
  store_settings store;
  cache_settings cache;
  redis_settings redis;
  log_settings log;
};

/// Defaults, then the YAML file (if not empty), then `overrides` ("entity.mailbox_messages" -> "500").
/// @returns the error's field as "entity.mailbox_messages", its message with the value and the allowed range. Unknown
/// names, wrong types and values out of bounds are errors; nothing is guessed.
result<settings> load(const std::string& yaml_file, const std::vector<std::string>& overrides);

/// Whether the directories and programs that are named exist on this machine.
result<void> check_paths(const settings& s);

/// One line a setting, for `hived --help-settings` and the documentation: name, default, bounds, unit.
std::string describe();

} // namespace hive::config
