// A sweep that several ranks walk together (mpirun, one of them on each machine).
//
// Rank 0 deals out stretches of plans, to itself and to whoever wants some; each of the others
// holds one more than it works on, so that it need not wait. They judge the plans, write their rows
// and find what stands out of them; rank 0 alone has the store, and meets the stretches in the
// order of the plans, as if it had judged them itself. So the bytes of the report depend on the
// number of ranks as little as on that of threads.
//
// Every rank has a thread that reads what the others say, and answers.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "ranks/communicator.hpp"
#include "studies/sweep/messages.hpp"

namespace meshsim {

class SweepRanks {
 public:
  explicit SweepRanks(Ranks& ranks) : ranks_(ranks) {}
  ~SweepRanks();
  SweepRanks(const SweepRanks&) = delete;
  SweepRanks& operator=(const SweepRanks&) = delete;

  bool is_first() const { return ranks_.rank() == 0; }
  int size() const { return ranks_.size(); }

  // What rank 0 does for the others and with what they say. Called by the thread that reads.
  struct Leader {
    std::function<std::optional<PlanRange>()> deal;            // nothing: there is none, or not now
    std::function<void(const std::vector<StoredPlan>&)> keep;  // unset: there is no store
    std::function<void(JudgedBlock)> arrived;
  };
  void lead(Leader leader);
  // Waits for what becomes true by the word of others, which is listened for all the more.
  void wait_until(const std::function<bool()>& done);
  // Rank 0, when everything has arrived or nothing more is wanted: tells the others to stop, and
  // waits until they have. Throws what a function of the leader has thrown.
  void end_all();

  // Another rank: the next plans to judge, in growing order; waits for them. Nothing: all is to
  // stop, or `stop` says so.
  std::optional<PlanRange> take(const std::function<bool()>& stop);
  bool has_store() const { return store_; }  // rank 0, as it said with the plans
  void send(const std::vector<StoredPlan>& plans);
  void send(const JudgedBlock& block);
  // Another rank: judges no more. Waits until rank 0 says stop.
  void end(bool interrupted);

  // Any rank, before what its leader knows is gone.
  void stop_listening();

  // Any rank: whether all is to stop, by the word of another rank or because it failed.
  bool told_to_stop() const { return stop_; }

 private:
  void listen();
  bool hear();
  void hear_of(int rank, const Message& message);
  bool answer();
  std::optional<Message> next(int from);
  void post(int to, Message message);

  Ranks& ranks_;
  std::mutex mutex_;  // of what ranks_ does
  Leader leader_;
  std::vector<std::int64_t> wanted_;      // rank 0: stretches, by rank
  std::vector<std::atomic<bool>> ended_;  // rank 0: by rank
  std::mutex dealt_mutex_;                // of dealt_
  std::deque<PlanRange> dealt_;           // to this rank
  std::atomic<bool> stop_ = false, store_ = false, quiet_ = false, failed_ = false;
  std::atomic<bool> waits_ = false;  // somebody, for what the thread hears
  std::exception_ptr failure_;       // of the thread, to be read once it has ended
  std::thread thread_;
};

}  // namespace meshsim
