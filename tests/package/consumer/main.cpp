#include <array>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <thread>
#include <vector>

#include "comm/in_process.hpp"
#include "comm/wire.hpp"
#include "sampling/sampler.hpp"

namespace {

/// The two largest of four norms.
bool samples() {
  const std::array<float, 4> norms{1, 4, 2, 3};
  slicereduce::RandomStream random(1, slicereduce::RandomPurpose::plan, 0, 0);
  const auto set = slicereduce::make_sampler("topk")->draw(
      {.norms = norms, .waiting = {}}, {.ratio = 0.5, .minimal_k = 1, .channel_multiple = 1}, random);
  return set.kept == std::vector<std::int32_t>{1, 3};
}

/// 1 from one rank and 2 from the other are 3 on both.
bool reduces() {
  slicereduce::InProcessGroup group(2);
  std::array<double, 2> values{1, 2};
  {
    std::jthread other([&] { group.rank(1).allreduce_sum(std::span(values).subspan(1)); });
    group.rank(0).allreduce_sum(std::span(values).first(1));
  }
  return values == std::array<double, 2>{3, 3};
}

}  // namespace

int main() {
  const bool sampled = samples();
  const bool reduced = reduces();
  std::printf("sampling %s, comm %s\n", sampled ? "works" : "FAILS", reduced ? "works" : "FAILS");
  return sampled && reduced && slicereduce::wire_size(slicereduce::WireType::bf16) == 2 ? EXIT_SUCCESS
                                                                                        : EXIT_FAILURE;
}
