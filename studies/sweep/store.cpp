#include "studies/sweep/store.hpp"

#include <fmt/format.h>

#include <chrono>
#include <exception>
#include <utility>

#include "studies/sweep/sqlite.hpp"
#include "units/print.hpp"

namespace meshsim {
namespace {

constexpr auto commit_interval = std::chrono::milliseconds(500);
// "mshs": tells our stores from other databases.
constexpr std::int64_t application_id = 0x6d736873;
constexpr std::int64_t layout_version = 1;

constexpr const char* create_tables =
    "CREATE TABLE configuration (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE plans (plan INTEGER PRIMARY KEY, plan_hash TEXT NOT NULL, verdict TEXT NOT NULL,"
    " step_time_ps INTEGER, tokens_per_s_per_device REAL, mfu_ratio REAL, fit_probability REAL, "
    "peak_bytes INTEGER,"
    " peak_is_least INTEGER NOT NULL, reason TEXT NOT NULL, cause TEXT NOT NULL);";

constexpr const char* insert_plan =
    "INSERT OR REPLACE INTO plans VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
constexpr const char* select_plans = "SELECT * FROM plans WHERE plan >= ? ORDER BY plan LIMIT 1024";

// The values are long at times: a whole model.
std::string shortened(const std::string& text) {
  constexpr std::size_t shown = 60;
  return text.size() <= shown ? in_quotes(text) : in_quotes(text.substr(0, shown) + "...");
}

void check_same(const std::string& path, const StoreConfiguration& stored,
                const StoreConfiguration& now) {
  std::vector<Diagnostic> differences;
  const auto differ = [&](const std::string& name, const std::string& there,
                          const std::string& here) {
    differences.push_back({{path}, name, fmt::format("{} there, {} now", there, here), {}});
  };
  for (const auto& [name, value] : stored) {
    const auto found = now.find(name);
    if (found == now.end()) {
      differ(name, shortened(value), "nothing");
    } else if (found->second != value) {
      differ(name, shortened(value), shortened(found->second));
    }
  }
  for (const auto& [name, value] : now) {
    if (!stored.contains(name)) differ(name, "nothing", shortened(value));
  }
  if (differences.empty()) return;
  differences.insert(differences.begin(),
                     {{path},
                      {},
                      "is the store of another sweep",
                      "resume with what it was begun with, or give another --store"});
  throw Error(ErrorKind::invalid_input, std::move(differences));
}

SweepVerdict verdict_of(const std::string& path, const std::string& text) {
  for (const SweepVerdict verdict :
       {SweepVerdict::fits, SweepVerdict::does_not_fit, SweepVerdict::inconclusive,
        SweepVerdict::refused, SweepVerdict::failed}) {
    if (name(verdict) == text) return verdict;
  }
  throw Error(ErrorKind::invalid_input,
              Diagnostic{{path}, "plans.verdict", in_quotes(text) + " is no verdict", {}});
}

}  // namespace

struct SweepStore::Database : SqliteDatabase {
  explicit Database(const std::string& path) : SqliteDatabase(path) {}

  std::int64_t plans() {
    SqliteStatement count(*this, "SELECT count(*) FROM plans");
    count.step();
    return count.integer(0);
  }

  StoreConfiguration configuration() {
    StoreConfiguration stored;
    SqliteStatement rows(*this, "SELECT name, value FROM configuration");
    while (rows.step()) stored.emplace(rows.text(0), rows.text(1));
    return stored;
  }

  // In one transaction: a file that cannot be written stays the store it was.
  void begin(const StoreConfiguration& configuration) {
    execute("BEGIN");
    execute("DROP TABLE IF EXISTS plans; DROP TABLE IF EXISTS configuration");
    execute(create_tables);
    execute(fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}", application_id,
                        layout_version));
    SqliteStatement line(*this, "INSERT INTO configuration VALUES (?, ?)");
    for (const auto& [name, value] : configuration) {
      line.bind(1, name);
      line.bind(2, value);
      line.run();
    }
    execute("COMMIT");
  }

  void prepare() {
    insert = std::make_unique<SqliteStatement>(*this, insert_plan);
    select = std::make_unique<SqliteStatement>(*this, select_plans);
  }

  void put(const StoredPlan& plan) {
    const SweepOutcome& outcome = plan.judgement.outcome;
    insert->bind(1, plan.index);
    insert->bind(2, plan.judgement.plan_hash);
    insert->bind(3, name(outcome.verdict));
    if (outcome.step_time) {
      insert->bind(4, outcome.step_time->value());
      insert->bind(5, outcome.tokens_per_s_per_device);
      insert->bind(6, outcome.mfu);
      insert->bind(7, outcome.fit_probability);
    } else {
      for (const int column : {4, 5, 6, 7}) insert->bind_null(column);
    }
    if (outcome.peak) {
      insert->bind(8, outcome.peak->value());
    } else {
      insert->bind_null(8);
    }
    insert->bind(9, std::int64_t{outcome.peak_is_least});
    insert->bind(10, outcome.reason);
    insert->bind(11, outcome.cause);
    insert->run();
  }

  StoredPlan row() {
    StoredPlan plan;
    plan.index = select->integer(0);
    plan.judgement.plan_hash = select->text(1);
    SweepOutcome& outcome = plan.judgement.outcome;
    outcome.verdict = verdict_of(path(), select->text(2));
    if (!select->is_null(3)) {
      outcome.step_time = Picoseconds(select->integer(3));
      outcome.tokens_per_s_per_device = select->real(4);
      outcome.mfu = select->real(5);
      outcome.fit_probability = select->real(6);
    }
    if (!select->is_null(7)) outcome.peak = Bytes(select->integer(7));
    outcome.peak_is_least = select->integer(8) != 0;
    outcome.reason = select->text(9);
    outcome.cause = select->text(10);
    return plan;
  }

  std::unique_ptr<SqliteStatement> insert, select;
};

SweepStore::SweepStore(const std::string& path, const StoreConfiguration& configuration,
                       bool resume)
    : database_(std::make_unique<Database>(path)) {
  Database& database = *database_;
  if (database.pragma("schema_version") == 0) {
    database.begin(configuration);
    read_all_ = true;
  } else if (database.pragma("application_id") != application_id ||
             database.pragma("user_version") != layout_version) {
    throw Error(ErrorKind::invalid_input,
                Diagnostic{{path},
                           {},
                           "is a database, but no store of this version of meshsim",
                           "give another --store"});
  } else if (database.plans() == 0) {
    database.begin(configuration);
  } else {
    if (!resume) {
      throw Error(ErrorKind::invalid_input,
                  Diagnostic{{path},
                             {},
                             fmt::format("holds {} plans of an earlier run", database.plans()),
                             "--resume goes on from there; remove the file to start afresh"});
    }
    check_same(path, database.configuration(), configuration);
  }
  database.prepare();
  committer_ = std::thread([this] { commit_now_and_then(); });
}

SweepStore::~SweepStore() {
  try {
    finish();
  } catch (const std::exception&) {
    // Whoever wanted to know has called finish(): what was committed stays.
  }
}

const StoredPlan* SweepStore::at_or_after(std::int64_t index) {
  while (true) {
    while (next_ahead_ < ahead_.size() && ahead_[next_ahead_].index < index) ++next_ahead_;
    if (next_ahead_ < ahead_.size()) return &ahead_[next_ahead_];
    if (read_all_) return nullptr;
    read_ahead(index);
  }
}

std::vector<bool> SweepStore::known(std::int64_t total) {
  std::vector<bool> all(static_cast<std::size_t>(total), false);
  const std::lock_guard lock(mutex_);
  SqliteStatement rows(*database_, "SELECT plan FROM plans");
  while (rows.step()) {
    const std::int64_t plan = rows.integer(0);
    if (plan >= 0 && plan < total) all[static_cast<std::size_t>(plan)] = true;
  }
  return all;
}

void SweepStore::read_ahead(std::int64_t index) {
  ahead_.clear();
  next_ahead_ = 0;
  const std::lock_guard lock(mutex_);
  database_->select->bind(1, index);
  while (database_->select->step()) ahead_.push_back(database_->row());
  database_->select->reset();
  read_all_ = ahead_.empty();
}

void SweepStore::put(std::span<const StoredPlan> plans) {
  if (plans.empty()) return;
  const std::lock_guard lock(mutex_);
  if (failure_) std::rethrow_exception(failure_);
  if (!open_) database_->execute("BEGIN IMMEDIATE");
  open_ = true;
  for (const StoredPlan& plan : plans) database_->put(plan);
}

void SweepStore::finish() {
  {
    const std::lock_guard lock(mutex_);
    finished_ = true;
  }
  wake_.notify_all();
  if (committer_.joinable()) committer_.join();
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void SweepStore::commit_now_and_then() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait_for(lock, commit_interval, [this] { return finished_; });
    try {
      if (open_) database_->execute("COMMIT");
      open_ = false;
    } catch (const Error&) {
      failure_ = std::current_exception();
      return;
    }
    if (finished_) return;
  }
}

}  // namespace meshsim
