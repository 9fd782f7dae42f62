/// @file
/// `survey.coordinator`: surveys directories with a pool of readers and writes a report.
///
/// | ask             | payload | answer |
/// |-----------------|---------|--------|
/// | `survey.run`    | `{"roots":["/abs"], "report_dir":"/abs", "include"?, "exclude"?, "max_file_bytes"?}` | as a task
/// or another agent's ask, at the end: `{"files","folders","bytes","lines","report","report_json"}`; as a client's ask,
/// at once: `{"started":true,"run":N}` | | `survey.status` |         |
/// `{"state","run","files","finished","folders","bytes","lines","last"}` | | `survey.stop`   |         |
/// `{"stopped":true}`; the task that waits fails with "stopped" |
///
/// Config: `{"readers":["reader-1",...], "window"? (16), "clock"?, "stall_ms"? (30,000), "exclude"?}`.
///
/// Every turn is short: a page of files listed, one file's result stored, a page summed up, a part of the report
/// written; then it sends itself `survey.next`. Each file is a row, so no crash of anybody loses or repeats one: an
/// answer for a file that is not under way is dropped. A file that no reader answers for is given to another, and in
/// the end named in the report.
#pragma once

#include "actors/behaviour.hpp"
#include "actors/behaviours/survey/order.hpp"
#include "actors/behaviours/survey/progress.hpp"
#include "actors/behaviours/survey/summary.hpp"

namespace hive::actors::survey {

class coordinator final : public behaviour {
public:
  task<> handle(turn& self, message m) const override;
  result<void> check(const json& config) const override;

private:
  // One for each message.
  task<> start(turn& self, message m) const;
  task<> next(turn& self, message m) const;
  task<> done(turn& self, message m) const;
  task<> tick(turn& self, message m) const;
  task<> status(turn& self) const;
  task<> stop(turn& self, message m) const;

  // One for each phase: does a bounded piece and says in `p` where it stands.
  task<result<void>> prepare(turn& self, progress& p, const order& o) const;
  task<result<void>> erase(turn& self, progress& p) const;
  task<result<void>> walk(turn& self, progress& p, order& o) const;
  task<result<void>> sum_links(turn& self, progress& p) const;
  task<result<void>> sum_files(turn& self, progress& p, const order& o) const;
  task<result<void>> write_head(turn& self, progress& p, const order& o) const;
  task<result<void>> write_list(turn& self, progress& p, const order& o) const;
  task<result<void>> write_end(turn& self, progress& p, const order& o) const;

  task<> discard_part(turn& self, const progress& p, const order& o) const;
  /// Gives files to readers that have less than they may.
  task<> hand_out(turn& self, progress& p, const order& o, const pool& readers) const;
  task<> give_again(turn& self, progress& p, const pool& readers) const;
  task<> give_up_files(turn& self, progress& p) const;
  task<result<void>> write_part(turn& self, progress& p, const order& o, std::string text) const;
};

} // namespace hive::actors::survey
