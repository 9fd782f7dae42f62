// PostgreSQL does what every store does: plain, and with payloads sealed by a codec.
#include "tests/persistence/store_contract.hpp"

#include "tests/persistence/postgres_server.hpp"
#include "tests/persistence/test_codec.hpp"

namespace hive::test {
namespace {

class postgres_home final : public store_home {
public:
  explicit postgres_home(bool seal) : seal_(seal), database_(postgres_server::shared().new_database()) {}
  result<std::unique_ptr<turn_store>> open() override {
    auto options = postgres_server::shared().options(database_);
    options.codec = seal_ ? &codec_ : nullptr;
    return open_postgres(options);
  }

private:
  test_codec codec_;
  bool seal_;
  std::string database_;
};

INSTANTIATE_TEST_SUITE_P(Postgres, StoreContract,
                         testing::Values([] { return std::make_unique<postgres_home>(false); }));
INSTANTIATE_TEST_SUITE_P(PostgresSealed, StoreContract,
                         testing::Values([] { return std::make_unique<postgres_home>(true); }));

} // namespace
} // namespace hive::test
