// What a sweep has found so far, in a file that survives the sweep.
//
// An SQLite database in WAL mode with two tables: `configuration`, what the sweep is (name, value),
// and `plans`, a row for each plan that was judged, by its index in the space, with the hash of the
// resolved plan. The index is the key and not the hash, so that rows are appended to the file and a
// resumed sweep reads them in one pass without resolving a plan; that the index means the same plan
// is what the configuration says.
//
// What is put is committed within half a second, whether or not anything follows, and flushed to
// disk. One run at a time has the file.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "studies/sweep/judgement.hpp"

namespace meshsim {

// name -> value: all that the rows depend on, but the index.
using StoreConfiguration = std::map<std::string, std::string>;

struct StoredPlan {
  std::int64_t index = 0;
  Judgement judgement;
};

class SweepStore {
 public:
  // Throws Error:
  //   io             the file cannot be opened or written, or another run has it
  //   invalid_input  it is no store; it holds plans and `resume` is false; it is of another
  //                  configuration (with every difference)
  // A file that is missing or empty becomes an empty store.
  SweepStore(const std::string& path, const StoreConfiguration& configuration, bool resume);
  ~SweepStore();
  SweepStore(const SweepStore&) = delete;
  SweepStore& operator=(const SweepStore&) = delete;

  // The first row at or after `index` that was there when the store was opened. To be called with
  // growing indices.
  const StoredPlan* at_or_after(std::int64_t index);

  // Of `total` plans, which have a row.
  std::vector<bool> known(std::int64_t total);

  // By any thread. Throws Error(io), also for what was put before.
  void put(std::span<const StoredPlan> plans);

  // Commits what was put. Throws Error(io).
  void finish();

 private:
  struct Database;

  void commit_now_and_then();
  void read_ahead(std::int64_t index);

  std::unique_ptr<Database> database_;
  std::vector<StoredPlan> ahead_;  // rows that were read and not asked for yet
  std::size_t next_ahead_ = 0;
  bool read_all_ = false;

  std::mutex mutex_;  // of what follows, and of the database
  std::condition_variable wake_;
  bool open_ = false;      // a transaction
  bool finished_ = false;  // no more commits
  std::exception_ptr failure_;
  std::thread committer_;
};

}  // namespace meshsim
