#include "ranks/in_process_ranks.hpp"

#include <fmt/format.h>

#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "units/error.hpp"

namespace meshsim {
namespace {

// Thrown in the ranks that did not fail themselves.
struct AnotherRankFailed : std::exception {
  const char* what() const noexcept override { return "another rank failed"; }
};

// Where ranks meet: a barrier that gives up when one of them will not come.
class Meeting {
 public:
  explicit Meeting(int ranks) : expected_(ranks) {}

  void arrive_and_wait() {
    std::unique_lock lock(mutex_);
    const std::int64_t round = round_;
    if (++arrived_ == expected_) {
      arrived_ = 0;
      ++round_;
      all_here_.notify_all();
      return;
    }
    all_here_.wait(lock, [&] { return failed_ || round_ != round; });
    if (round_ == round) throw AnotherRankFailed();
  }

  // Throws if another rank has failed.
  void check() {
    const std::lock_guard lock(mutex_);
    if (failed_) throw AnotherRankFailed();
  }

  // Wakes everybody; keeps the first failure that is not itself a consequence.
  void fail(std::exception_ptr error, bool consequence) {
    const std::lock_guard lock(mutex_);
    failed_ = true;
    if (!consequence && first_ == nullptr) first_ = std::move(error);
    all_here_.notify_all();
  }

  std::exception_ptr first() const { return first_; }

 private:
  const int expected_;
  std::mutex mutex_;
  std::condition_variable all_here_;
  int arrived_ = 0;
  std::int64_t round_ = 0;
  bool failed_ = false;
  std::exception_ptr first_;
};

// Messages that have not been taken, by sender and receiver.
class Letters {
 public:
  void put(int from, int to, std::vector<std::byte> message) {
    const std::lock_guard lock(mutex_);
    waiting_[{from, to}].push_back(std::move(message));
  }

  std::optional<std::vector<std::byte>> take(int from, int to) {
    const std::lock_guard lock(mutex_);
    std::deque<std::vector<std::byte>>& queue = waiting_[{from, to}];
    if (queue.empty()) return {};
    std::vector<std::byte> first = std::move(queue.front());
    queue.pop_front();
    return first;
  }

 private:
  std::mutex mutex_;
  std::map<std::pair<int, int>, std::deque<std::vector<std::byte>>> waiting_;
};

struct Offer {
  const std::byte* data = nullptr;
  std::span<const Block> to;
};

class InProcessRank : public Ranks {
 public:
  InProcessRank(int rank, Meeting& meeting, std::vector<Offer>& offers, Letters& letters)
      : rank_(rank), meeting_(meeting), offers_(offers), letters_(letters) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(offers_.size()); }

  void all_to_all(const std::byte* send, std::span<const Block> to, std::byte* receive,
                  std::span<const Block> from) override {
    offers_[static_cast<std::size_t>(rank_)] = {send, to};
    meeting_.arrive_and_wait();
    for (std::size_t i = 0; i < from.size(); ++i) {
      const Block& source = offers_[i].to[static_cast<std::size_t>(rank_)];
      if (source.size != from[i].size)
        throw Error(ErrorKind::internal,
                    fmt::format("rank {} sends {} bytes to rank {}, which expects {}", i,
                                source.size, rank_, from[i].size));
      if (source.size > 0)
        std::memcpy(receive + from[i].offset, offers_[i].data + source.offset,
                    static_cast<std::size_t>(source.size));
    }
    meeting_.arrive_and_wait();  // nobody changes its buffer while it is read
  }

  void post(int to, std::vector<std::byte> message) override {
    meeting_.check();
    letters_.put(rank_, to, std::move(message));
  }
  std::optional<std::vector<std::byte>> next(int from) override {
    meeting_.check();
    return letters_.take(from, rank_);
  }

 private:
  int rank_;
  Meeting& meeting_;
  std::vector<Offer>& offers_;
  Letters& letters_;
};

}  // namespace

void run_in_process(int ranks, const std::function<void(Ranks&)>& rank_main) {
  Meeting meeting(ranks);
  std::vector<Offer> offers(static_cast<std::size_t>(ranks));
  Letters letters;
  const auto run = [&](int rank) {
    InProcessRank self(rank, meeting, offers, letters);
    try {
      rank_main(self);
    } catch (const AnotherRankFailed&) {
      meeting.fail(nullptr, true);
    } catch (...) {
      meeting.fail(std::current_exception(), false);
    }
  };
  std::vector<std::thread> threads;
  for (int rank = 1; rank < ranks; ++rank) threads.emplace_back(run, rank);
  run(0);
  for (std::thread& thread : threads) thread.join();
  if (meeting.first() != nullptr) std::rethrow_exception(meeting.first());
}

}  // namespace meshsim
