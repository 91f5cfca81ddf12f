#include "studies/sweep/ranks.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <utility>

#include "units/error.hpp"

namespace meshsim {
namespace {

using Message = std::vector<std::byte>;

enum class Word : std::uint8_t { block, end, known, taken, stop };

// All ranks run one program on machines of one kind: numbers travel as they lie in memory.
class Writer {
 public:
  explicit Writer(Word word) { number(word); }

  template <class Number>
  void number(Number value) {
    append(&value, sizeof value);
  }
  void text(const std::string& value) {
    number(static_cast<std::uint64_t>(value.size()));
    append(value.data(), value.size());
  }
  Message take() { return std::move(message_); }

 private:
  void append(const void* from, std::size_t size) {
    const std::size_t end = message_.size();
    message_.resize(end + size);
    if (size > 0) std::memcpy(message_.data() + end, from, size);
  }

  Message message_;
};

class Reader {
 public:
  explicit Reader(const Message& message) : message_(message) {}

  template <class Number>
  Number number() {
    Number value;
    std::memcpy(&value, part(sizeof value), sizeof value);
    return value;
  }
  std::string text() {
    const auto size = number<std::uint64_t>();
    return {reinterpret_cast<const char*>(part(size)), size};
  }
  bool at_end() const { return at_ == message_.size(); }

 private:
  const std::byte* part(std::size_t size) {
    if (message_.size() - at_ < size)
      throw Error(ErrorKind::internal, "a message between ranks is cut short");
    at_ += size;
    return message_.data() + at_ - size;
  }

  const Message& message_;
  std::size_t at_ = 0;
};

void write_plan(Writer& to, const StoredPlan& plan) {
  const SweepOutcome& outcome = plan.judgement.outcome;
  to.number(plan.index);
  to.text(plan.judgement.plan_hash);
  to.number(outcome.verdict);
  to.number(static_cast<std::uint8_t>((outcome.step_time ? 1 : 0) + (outcome.peak ? 2 : 0) +
                                      (outcome.peak_is_least ? 4 : 0)));
  to.number(outcome.step_time.value_or(Picoseconds()).value());
  to.number(outcome.tokens_per_s_per_device);
  to.number(outcome.mfu);
  to.number(outcome.fit_probability);
  to.number(outcome.peak.value_or(Bytes()).value());
  to.text(outcome.reason);
  to.text(outcome.cause);
}

StoredPlan read_plan(Reader& from) {
  StoredPlan plan;
  SweepOutcome& outcome = plan.judgement.outcome;
  plan.index = from.number<std::int64_t>();
  plan.judgement.plan_hash = from.text();
  outcome.verdict = from.number<SweepVerdict>();
  const auto has = from.number<std::uint8_t>();
  const Picoseconds time(from.number<std::int64_t>());
  outcome.tokens_per_s_per_device = from.number<double>();
  outcome.mfu = from.number<double>();
  outcome.fit_probability = from.number<double>();
  const Bytes peak(from.number<std::int64_t>());
  if ((has & 1U) != 0) outcome.step_time = time;
  if ((has & 2U) != 0) outcome.peak = peak;
  outcome.peak_is_least = (has & 4U) != 0;
  outcome.reason = from.text();
  outcome.cause = from.text();
  return plan;
}

void pause() { std::this_thread::sleep_for(std::chrono::microseconds(100)); }

}  // namespace

SweepRanks::SweepRanks(Ranks& ranks)
    : ranks_(ranks),
      ended_(static_cast<std::size_t>(ranks.size()), false),
      taken_(static_cast<std::size_t>(ranks.size()), 0) {}

void SweepRanks::deal(std::int64_t blocks) {
  constexpr std::int64_t runs_per_rank = 16, longest_run = 64;
  run_ = std::clamp<std::int64_t>(blocks / (ranks_.size() * runs_per_rank), 1, longest_run);
}

std::optional<Message> SweepRanks::next(int from) {
  const std::lock_guard lock(mutex_);
  return ranks_.next(from);
}

void SweepRanks::post(int to, Message message) {
  const std::lock_guard lock(mutex_);
  ranks_.post(to, std::move(message));
}

std::vector<bool> SweepRanks::share_known(std::vector<bool> known,
                                          const std::function<bool()>& stop) {
  if (is_first()) {
    Writer list(Word::known);
    list.number(static_cast<std::int64_t>(known.size()));
    for (const bool one : known) list.number(static_cast<std::uint8_t>(one));
    const Message message = list.take();
    for (int rank = 1; rank < ranks_.size(); ++rank) post(rank, message);
    return known;
  }
  std::optional<Message> message;
  while (!(message = next(0))) {
    if (stop()) return {};
    pause();
  }
  Reader list(*message);
  if (list.number<Word>() == Word::stop) {
    stop_ = true;
    return {};
  }
  known.resize(static_cast<std::size_t>(list.number<std::int64_t>()));
  for (std::size_t i = 0; i < known.size(); ++i) known[i] = list.number<std::uint8_t>() != 0;
  return known;
}

std::optional<std::vector<StoredPlan>> SweepRanks::receive(std::int64_t block,
                                                           const std::function<bool()>& stop) {
  const int rank = owner(block);
  const auto at = static_cast<std::size_t>(rank);
  std::optional<Message> message;
  if (ended_[at]) return {};
  while (!(message = next(rank))) {
    if (stop()) return {};
    pause();
  }
  Reader list(*message);
  if (list.number<Word>() == Word::end) {
    ended_[at] = true;
    return {};
  }
  std::vector<StoredPlan> plans;
  while (!list.at_end()) plans.push_back(read_plan(list));
  constexpr std::int64_t now_and_then = most_ahead / 8;
  if (++taken_[at] % now_and_then == 0) {
    Writer taken(Word::taken);
    taken.number(taken_[at]);
    post(rank, taken.take());
  }
  return plans;
}

// Of rank 0, by the others.
void SweepRanks::read_orders() {
  const std::lock_guard lock(mutex_);
  while (const std::optional<Message> message = ranks_.next(0)) {
    Reader order(*message);
    if (order.number<Word>() == Word::taken) {
      acknowledged_ = order.number<std::int64_t>();
    } else {
      stop_ = true;
    }
  }
}

bool SweepRanks::told_to_stop() {
  read_orders();
  const std::lock_guard lock(mutex_);
  return stop_;
}

void SweepRanks::send(const std::vector<StoredPlan>& plans) {
  while (!told_to_stop() && sent_ - acknowledged_ >= most_ahead) pause();
  Writer list(Word::block);
  for (const StoredPlan& plan : plans) write_plan(list, plan);
  ++sent_;
  post(0, list.take());
}

void SweepRanks::finish() {
  if (!is_first()) {
    post(0, Writer(Word::end).take());
    // Messages of rank 0 that nobody has read would be left behind.
    while (!told_to_stop()) pause();
    return;
  }
  for (int rank = 1; rank < ranks_.size(); ++rank) post(rank, Writer(Word::stop).take());
  for (int rank = 1; rank < ranks_.size(); ++rank) {
    const auto at = static_cast<std::size_t>(rank);
    while (!ended_[at]) {
      const std::optional<Message> message = next(rank);
      if (!message) {
        pause();
        continue;
      }
      Reader list(*message);
      ended_[at] = list.number<Word>() == Word::end;
    }
  }
}

}  // namespace meshsim
