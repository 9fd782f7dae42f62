// The embedded store does what every store does: plain, and with payloads sealed by a codec.
#include "tests/persistence/store_contract.hpp"

#include "persistence/sqlite/sqlite_store.hpp"
#include "tests/persistence/temp_dir.hpp"
#include "tests/persistence/test_codec.hpp"

namespace hive::test {
namespace {

class sqlite_home final : public store_home {
public:
  explicit sqlite_home(bool seal) : seal_(seal) {}
  result<std::unique_ptr<turn_store>> open() override {
    return open_sqlite({.directory = dir_.path() / "data", .shard_count = 256, .codec = seal_ ? &codec_ : nullptr, .vfs = {}});
  }

private:
  temp_dir dir_;
  test_codec codec_;
  bool seal_;
};

INSTANTIATE_TEST_SUITE_P(Sqlite, StoreContract, testing::Values([] { return std::make_unique<sqlite_home>(false); }));
INSTANTIATE_TEST_SUITE_P(SqliteSealed, StoreContract, testing::Values([] { return std::make_unique<sqlite_home>(true); }));

} // namespace
} // namespace hive::test
