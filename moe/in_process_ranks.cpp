#include "moe/in_process_ranks.hpp"

#include <fmt/format.h>

#include <condition_variable>
#include <cstring>
#include <exception>
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

struct Offer {
  const std::byte* data = nullptr;
  std::span<const Block> to;
};

class InProcessRank : public Communicator {
 public:
  InProcessRank(int rank, Meeting& meeting, std::vector<Offer>& offers)
      : rank_(rank), meeting_(meeting), offers_(offers) {}

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

 private:
  int rank_;
  Meeting& meeting_;
  std::vector<Offer>& offers_;
};

}  // namespace

void run_in_process(int ranks, const std::function<void(Communicator&)>& rank_main) {
  Meeting meeting(ranks);
  std::vector<Offer> offers(static_cast<std::size_t>(ranks));
  const auto run = [&](int rank) {
    InProcessRank self(rank, meeting, offers);
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
