#include "cluster/links/credit.hpp"

namespace hive::cluster::links {

bool credit_ledger::received(const credit& c) {
  auto& a = accounts_[c.tenant.value()];
  a.out_messages += c.messages;
  a.out_bytes += c.bytes;
  out_messages_ += c.messages;
  out_bytes_ += c.bytes;
  return a.out_messages <= limits_.tenant_messages && a.out_bytes <= limits_.tenant_bytes && out_messages_ <= limits_.messages &&
         out_bytes_ <= limits_.bytes;
}

bool credit_ledger::released(const credit& c) {
  const auto found = accounts_.find(c.tenant.value());
  if (found == accounts_.end()) return false;
  auto& a = found->second;
  a.owed_messages += c.messages;
  a.owed_bytes += c.bytes;
  owed_messages_ += c.messages;
  owed_bytes_ += c.bytes;
  // A quarter at a time: seldom enough to cost little, often enough that a steady sender never waits for it.
  return a.owed_messages * 4 >= limits_.tenant_messages || a.owed_bytes * 4 >= limits_.tenant_bytes ||
         owed_messages_ * 4 >= limits_.messages || owed_bytes_ * 4 >= limits_.bytes;
}

std::vector<credit> credit_ledger::take() {
  std::vector<credit> all;
  if (!owes()) return all;
  for (auto i = accounts_.begin(); i != accounts_.end();) {
    auto& a = i->second;
    if (a.owed_messages != 0) all.push_back({tenant_id{i->first}, a.owed_messages, a.owed_bytes});
    a.out_messages -= a.owed_messages;
    a.out_bytes -= a.owed_bytes;
    a.owed_messages = a.owed_bytes = 0;
    const auto here = i++;
    if (here->second.out_messages == 0) accounts_.erase(here);
  }
  out_messages_ -= owed_messages_;
  out_bytes_ -= owed_bytes_;
  owed_messages_ = owed_bytes_ = 0;
  return all;
}

} // namespace hive::cluster::links
