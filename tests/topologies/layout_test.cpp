#include "topologies/layout.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <numeric>
#include <random>
#include <vector>

#include "tests/refusal.hpp"

using namespace meshsim;

namespace {

std::int64_t padded(std::vector<std::int64_t> shape, DType type) {
  return padded_bytes(shape, type).value();
}

// The oracle: writes every padded shape out and takes the smallest product.
std::int64_t naive(const std::vector<std::int64_t>& shape, std::int64_t item) {
  const std::int64_t rows = 4 / item;
  std::vector<std::int64_t> sizes;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    for (std::size_t j = 0; j < shape.size(); ++j) {
      if (i == j) continue;
      std::vector<std::int64_t> stored = shape;
      while (stored[j] % 128 != 0) ++stored[j];
      const auto small = [&](std::int64_t n) {
        return n == 1 || n == 2 || n == 4 ? n >= rows : n % 8 == 0;
      };
      while (!small(stored[i])) ++stored[i];
      sizes.push_back(std::accumulate(stored.begin(), stored.end(), item, std::multiplies<>()));
    }
  }
  return *std::min_element(sizes.begin(), sizes.end());
}

}  // namespace

TEST_CASE("scalars take 512 bytes", "[layout]") {
  CHECK(padded({}, DType::float32) == 512);
  CHECK(padded({}, DType::bfloat16) == 512);
}

TEST_CASE("vectors are rounded up to their tile", "[layout]") {
  CHECK(padded({1}, DType::float32) == 128 * 4);
  CHECK(padded({128}, DType::float32) == 128 * 4);
  CHECK(padded({129}, DType::float32) == 256 * 4);        // tile 256
  CHECK(padded({600}, DType::float32) == 1024 * 4);       // tile 1024
  CHECK(padded({1025}, DType::float32) == 2 * 1024 * 4);  // tiles of 1024 at most
  CHECK(padded({5000}, DType::int32) == 5 * 1024 * 4);    // ceil(5000 / 1024) = 5
  CHECK(padded({1}, DType::bfloat16) == 256 * 2);         // two elements to a 32-bit word
  CHECK(padded({257}, DType::bfloat16) == 512 * 2);
  CHECK(padded({1}, DType::int8) == 512 * 1);  // four elements to a word
}

TEST_CASE("matrices choose the cheaper orientation", "[layout]") {
  // Batch arrays int32 [1, 4096]: one row, 32 x 128 columns; five of them are the published 81,920.
  CHECK(5 * padded({1, 4096}, DType::int32) == 5 * 4096 * 4);
  // Hash table fp32 [129280, 6]: 6 -> 8 rows of 129280 = 1010 x 128 columns; the other way round
  // would pad 6 to 128.
  CHECK(padded({129280, 6}, DType::float32) == 8 * 129280 * 4);
  // Norm scales fp32 [4096, 20]: 20 -> 24 rows.
  CHECK(padded({4096, 20}, DType::float32) == 24 * 4096 * 4);
  // Rows of 1, 2 and 4 stay, 3 becomes 4, 5 becomes 8.
  for (const auto& [rows, stored] :
       std::vector<std::pair<int, int>>{{1, 1}, {2, 2}, {3, 4}, {4, 4}, {5, 8}, {9, 16}}) {
    CHECK(padded({rows, 1280}, DType::float32) == stored * 1280 * 4);
  }
  // bf16 stores at least two rows, a byte type four.
  CHECK(padded({1, 1280}, DType::bfloat16) == 2 * 1280 * 2);
  CHECK(padded({1, 1280}, DType::float16) == 2 * 1280 * 2);
  CHECK(padded({1, 1280}, DType::int8) == 4 * 1280);
  CHECK(padded({1, 1280}, DType::float8) == 4 * 1280);
  CHECK(padded({5, 1280}, DType::int8) == 8 * 1280);
}

TEST_CASE("aligned expert weights are stored as they are", "[layout]") {
  // 44 layers x (parameters, mu, nu) of one expert's fp32 [4096, 2048] on each of 256 devices:
  // 44 x 3 x 4096 x 2048 x 4 = 4,429,185,024, the largest entry of the published run.
  CHECK(44 * 3 * padded({1, 4096, 2048}, DType::float32) == 4'429'185'024);
  // The stacked layer axis at dim 1 costs nothing as long as it is not one of the two minor ones.
  CHECK(padded({1, 20, 4096, 2048}, DType::float32) ==
        20 * padded({1, 4096, 2048}, DType::float32));
}

TEST_CASE("an empty tensor takes no bytes, whatever its other dimensions", "[layout]") {
  CHECK(padded({0}, DType::float32) == 0);
  CHECK(padded({0, 128}, DType::bfloat16) == 0);
  CHECK(padded({std::int64_t{1} << 62, 0, std::int64_t{1} << 62}, DType::float32) == 0);
}

TEST_CASE("random shapes agree with the naive rule", "[layout]") {
  std::mt19937_64 random(7);
  for (int round = 0; round < 3000; ++round) {
    std::vector<std::int64_t> shape(2 + random() % 3);
    for (std::int64_t& size : shape) size = 1 + static_cast<std::int64_t>(random() % 300);
    if (random() % 2 == 0)
      shape[random() % shape.size()] = 1 + static_cast<std::int64_t>(random() % 9);
    INFO(Catch::StringMaker<std::vector<std::int64_t>>::convert(shape));
    CHECK(padded(shape, DType::float32) == naive(shape, 4));
    CHECK(padded(shape, DType::bfloat16) == naive(shape, 2));
    CHECK(padded(shape, DType::int8) == naive(shape, 1));
    // The layout is chosen, so the order of the dimensions cannot matter.
    const std::int64_t before = padded(shape, DType::bfloat16);
    std::shuffle(shape.begin(), shape.end(), random);
    CHECK(padded(shape, DType::bfloat16) == before);
  }
}

TEST_CASE("negative dimensions and sizes beyond 63 bits are refused", "[layout]") {
  const Error negative = refusal([] { padded({4, -1}, DType::float32); });
  CHECK(negative.kind() == ErrorKind::invalid_input);
  CHECK(std::string(negative.what()).find("[4, -1]") != std::string::npos);
  const Error huge = refusal([] {
    padded({std::int64_t{1} << 31, std::int64_t{1} << 31, 2}, DType::float32);
  });
  CHECK(huge.kind() == ErrorKind::invalid_input);
  CHECK(std::string(huge.what()).find("2147483648 x") != std::string::npos);
  CHECK_THROWS_AS(padded({std::int64_t{1} << 62}, DType::float32), Error);
}
