// The tenant's directory: applies are all or nothing, names are not ids, deletions end what they name. (R1)
#include "tests/actors/kit_fixture.hpp"

namespace hive::actors {
namespace {

class DirectoryTest : public KitTest {
protected:
  static json agent(const std::string& name, json spec) { return {{"name", name}, {"spec", std::move(spec)}}; }
};

TEST_F(DirectoryTest, ApplyIsAllOrNothingAndNamesTheFieldAtFault) {
  auto kit = make();
  struct bad {
    json body;
    std::string field;
  };
  const json good = agent("good", {{"behaviour", "echo"}});
  for (const auto& [body, field] : std::vector<bad>{
         {{{"agents", {good, agent("x", {{"behaviour", "nope"}})}}}, "agents[1].spec.behaviour"},
         {{{"agents", {good, agent("-x", {{"behaviour", "echo"}})}}}, "agents[1].name"},
         {{{"agents", {good, agent("x/../y", {{"behaviour", "echo"}})}}}, "agents[1].name"},
         {{{"agents", {good, agent("x", {{"behaviour", "echo"}, {"wieght", 1}})}}}, "agents[1].spec.wieght"},
         {{{"agents", {good, agent("x", {{"behaviour", "echo"}, {"weight", 0}})}}}, "agents[1].spec.weight"},
         {{{"agents", {good, agent("x", {{"behaviour", "echo"}, {"restart", "sometimes"}})}}}, "agents[1].spec.restart"},
         {{{"agents", {good, agent("x", {{"behaviour", "echo"}, {"supervisor", "nobody"}})}}}, "agents[1].spec.supervisor"},
         {{{"agents", {good, good}}}, "agents[1].name"},
         {{{"agents", "text"}}, "agents"},
         {{{"supervisors", {{{"name", "s"}, {"spec", {{"intensity", -1}}}}}}}, "supervisors[0].spec.intensity"},
         {{{"supervisors", {{{"name", "s"}, {"spec", {{"supervisor", "s"}}}}}}}, "supervisors[0].spec.supervisor"},
       }) {
    const auto r = kit->admin("directory.apply", body);
    ASSERT_FALSE(r) << body;
    EXPECT_EQ(r.error().code, errc::invalid_argument) << body;
    EXPECT_EQ(r.error().field, field) << r.error().message;
    EXPECT_FALSE(kit->ask("good", "x", nullptr)) << "nothing of it is there";
  }
}

TEST_F(DirectoryTest, ApplyAgainChangesOnlyWhatDiffers) {
  auto kit = make();
  const json manifest{{"supervisors", {{{"name", "s"}, {"spec", json::object()}}}},
                      {"agents", {agent("a", {{"behaviour", "echo"}, {"supervisor", "s"}}), agent("b", {{"behaviour", "echo"}})}}};
  EXPECT_EQ(kit->admin("directory.apply", manifest)->at("created"), 3);
  EXPECT_EQ(kit->admin("directory.apply", manifest)->at("unchanged"), 3);
  auto changed = manifest;
  changed["agents"][0]["spec"]["weight"] = 7;
  const auto r = kit->admin("directory.apply", changed);
  EXPECT_EQ(r->at("updated"), 1);
  EXPECT_EQ(r->at("unchanged"), 2);
  const auto audit = kit->reader().audit(kit->context(), 100);
  ASSERT_TRUE(audit);
  EXPECT_EQ(audit->size(), 4U) << "a row for each change, none for what stayed";
}

TEST_F(DirectoryTest, NewConfigIsInForceAtTheNextTurn) {
  auto kit = make();
  kit->add_agent("a", "ledger");
  EXPECT_EQ(kit->ask("a", "append", {{"op", "x"}})->at("count"), 1);
  ASSERT_TRUE(kit->admin("directory.apply", {{"agents", {agent("a", {{"behaviour", "echo"}})}}}));
  kit->settle();
  EXPECT_EQ(*kit->ask("a", "append", {{"op", "y"}}), json({{"op", "y"}})) << "it echoes now";
}

TEST_F(DirectoryTest, DeletedNameCanBeUsedAgainAndTheNewOneHasNothingOfTheOld) {
  auto kit = make();
  kit->add_agent("a", "ledger");
  ASSERT_TRUE(kit->ask("a", "append", {{"op", "old"}}, "k"));
  const auto old = kit->id_of("a");
  EXPECT_TRUE(kit->admin("directory.delete", {{"kind", "agent"}, {"name", "a"}}));
  kit->settle();
  EXPECT_EQ(kit->ask("a", "list", nullptr).error().code, errc::not_found);
  kit->add_agent("a", "ledger");
  EXPECT_NE(kit->id_of("a"), old);
  EXPECT_EQ(ops_of(*kit, "a"), json::array());
  EXPECT_EQ(kit->ask("a", "append", {{"op", "new"}}, "k")->at("count"), 1) << "keys belong to the id";
}

TEST_F(DirectoryTest, SupervisorWithChildrenIsNotDeleted) {
  auto kit = make();
  kit->add_supervisor("s");
  kit->add_agent("a", "echo", json::object(), "s");
  const auto r = kit->admin("directory.delete", {{"kind", "supervisor"}, {"name", "s"}});
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, errc::failed_precondition);
}

TEST_F(DirectoryTest, SupervisorsCannotStandAboveThemselvesByWayOfOthersThatAreThere) {
  auto kit = make();
  const auto put = [&](const std::string& name, const std::string& above) {
    json spec = json::object();
    if (!above.empty()) spec["supervisor"] = above;
    return kit->admin("directory.apply", {{"supervisors", json::array({{{"name", name}, {"spec", spec}}})}});
  };
  ASSERT_TRUE(put("x", ""));
  ASSERT_TRUE(put("y", "x"));
  ASSERT_TRUE(put("z", "y"));
  const auto refused = put("x", "z");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().field, "supervisors[0].spec.supervisor");
  EXPECT_FALSE(put("y", "y"));
  EXPECT_TRUE(put("z", "x")) << "moving is fine";
}

TEST_F(DirectoryTest, AManifestMayChangeMoreThanAnAgentMaySend) {
  config::settings s;
  s.entity.outbox_messages = 10;
  auto kit = make(s);
  json manifest{{"agents", json::array()}};
  for (int i = 0; i < 40; ++i) manifest["agents"].push_back(agent("a" + std::to_string(i), {{"behaviour", "echo"}}));
  ASSERT_EQ(kit->admin("directory.apply", manifest)->at("created"), 40);
  for (auto& a : manifest["agents"]) a["spec"]["weight"] = 3;
  const auto changed = kit->admin("directory.apply", manifest);
  ASSERT_TRUE(changed) << to_string(changed.error());
  EXPECT_EQ(changed->at("updated"), 40);
  kit->settle();
  for (auto& a : manifest["agents"]) a["spec"]["weight"] = 4;
  EXPECT_EQ(kit->admin("directory.apply", manifest)->at("updated"), 40) << "the notices have gone";
}

TEST_F(DirectoryTest, ACheckChangesNothing) {
  auto kit = make();
  const json good{{"check", true}, {"agents", {agent("good", {{"behaviour", "echo"}})}}};
  EXPECT_EQ(*kit->admin("directory.apply", good), json({{"good", true}}));
  EXPECT_EQ(kit->ask("good", "x", nullptr).error().code, errc::not_found);
  const json bad{{"check", true}, {"agents", {agent("bad", {{"behaviour", "nope"}})}}};
  EXPECT_EQ(kit->admin("directory.apply", bad).error().field, "agents[0].spec.behaviour");
}

} // namespace
} // namespace hive::actors
