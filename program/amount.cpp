#include "program/amount.hpp"

#include <algorithm>

namespace meshsim {

void Amount::add(const Amount& other, std::int64_t sign) {
  traced_ = traced_ && other.traced_;
  for (const AmountTerm& term : other.terms_) {
    const auto at =
        std::lower_bound(terms_.begin(), terms_.end(), term.number,
                         [](const AmountTerm& a, NumberId number) { return a.number < number; });
    if (at == terms_.end() || at->number != term.number) {
      terms_.insert(at, {term.number, sign * term.times});
    } else {
      at->times += sign * term.times;
    }
  }
  std::erase_if(terms_, [](const AmountTerm& term) { return term.times == 0; });
}

Amount& Amount::operator+=(const Amount& other) {
  bytes_ += other.bytes_;
  add(other, 1);
  return *this;
}

Amount& Amount::operator-=(const Amount& other) {
  bytes_ -= other.bytes_;
  add(other, -1);
  return *this;
}

Amount operator*(Amount a, std::int64_t times) {
  a.bytes_ = a.bytes_ * times;
  for (AmountTerm& term : a.terms_) term.times *= times;
  return a;
}

}  // namespace meshsim
