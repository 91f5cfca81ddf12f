#include "units/bounded_memo.hpp"

#include <catch2/catch.hpp>

using meshsim::BoundedMemo;

TEST_CASE("a bounded memo forgets its oldest result") {
  BoundedMemo<int, int> squares(2);
  int made = 0;
  const auto square = [&](int number) {
    return squares.get(number, [&] {
      ++made;
      return number * number;
    });
  };
  CHECK(square(3) == 9);
  CHECK(square(4) == 16);
  CHECK(square(3) == 9);
  CHECK(made == 2);
  CHECK(square(5) == 25);  // 3 is the oldest, however lately it was asked for
  CHECK(square(4) == 16);
  CHECK(made == 3);
  CHECK(square(3) == 9);
  CHECK(made == 4);
}
